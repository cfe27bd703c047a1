"""The faces on the real runtime: what a newcomer types, from the first bundle to the reading of its ledger."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from urllib.parse import quote

import jsonschema
import pytest
from tests.faces.commands import REPOSITORY, flo
from tests.faces.test_openapi import resolved

from flo.faces.cli.client import Client
from flo.faces.cli.failure import CommandFailed

PROGRAM = [sys.executable, "-m", "flo.faces.cli"]


@pytest.fixture
def bundle(tmp_path: Path) -> Path:
    result = flo("init", tmp_path / "my-loops", "--json")
    assert result.code == 0
    return tmp_path / "my-loops"


@pytest.fixture
def running(bundle: Path, tmp_path: Path) -> Iterator[tuple[str, Path, subprocess.Popen[str]]]:
    data = tmp_path / "data"
    process = subprocess.Popen(
        [*PROGRAM, "run", str(bundle), "--data", str(data), "--port", "0", "--json"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=REPOSITORY,
        env=os.environ,
    )
    assert process.stdout is not None
    text = ""
    while not text.endswith("}\n"):
        read = process.stdout.readline()
        assert read, process.communicate()
        text += read
    yield json.loads(text)["url"], data, process
    if process.poll() is None:
        process.send_signal(signal.SIGTERM)
    process.communicate(timeout=30)


def test_init_check_and_the_compiled_code(bundle: Path) -> None:
    checked = flo("check", bundle, "--json")
    assert (checked.code, checked.json["ok"], checked.json["loops"]) == (0, True, 1)
    assert "ok; 1 loop" in flo("check", bundle).out
    assert "def " in flo("check", bundle, "--code", "velocity").out
    assert "did you mean `velocity`" in flo("check", bundle, "--code", "velocty").err
    again = flo("init", bundle)
    assert (again.code, "not empty" in again.err) == (2, True)


def test_check_shows_each_problem_in_place(bundle: Path) -> None:
    path = bundle / "loops" / "velocity.yaml"
    path.write_text(re.sub(r"(?m)^otherwise:", "otherwse:", path.read_text()))
    shown = flo("check", bundle)
    assert shown.code == 1
    assert re.search(r"velocity\.yaml:\d+:1: .*otherwse", shown.out)
    assert "    otherwse: approve\n    ^\n" in shown.out
    assert "otherwise" in flo("check", bundle, "--json").json["problems"][0]["hint"]


def test_a_file_is_decided_without_a_server(bundle: Path, tmp_path: Path) -> None:
    arguments = ("run", bundle, "--input", bundle / "signals.ndjson", "--data", tmp_path / "data", "--json")
    summary = flo(*arguments).json
    assert (summary["signals"], summary["accepted"], summary["rejected"]) == (7, 6, 1)
    assert flo(*arguments).json["duplicates"] >= 6


def test_a_session_from_sending_to_reading_the_ledger_when_flo_is_down(
    running: tuple[str, Path, subprocess.Popen[str]], bundle: Path, tmp_path: Path
) -> None:
    url, data, process = running
    sent = flo("send", bundle / "signals.ndjson", "--to", url, "--json")
    assert (sent.code, sent.json["accepted"], sent.json["reasons"]) == (1, 6, {"contract": 1})
    kinds = ("decisions", "commands", "iterations", "dead-letters")
    live = {kind: flo("export", kind, "--to", url).out for kind in kinds}
    assert len(live["decisions"].splitlines()) >= sent.json["accepted"]
    assert len(live["dead-letters"].splitlines()) == 1
    letter = json.loads(live["dead-letters"])["dead_letter_id"]
    decision = json.loads(live["decisions"].splitlines()[0])["decision_id"]
    words = flo("explain", decision, "--to", url)
    assert (words.code, len(words.out) > 100) == (0, True)
    assert flo("loops", "--to", url).code == 0
    assert flo("dead", "show", letter, "--to", url).code == 0
    killed = flo("kill", "velocity", "--note", "test", "--to", url)
    assert killed.code == 0

    process.send_signal(signal.SIGTERM)
    _, err = process.communicate(timeout=30)
    assert (process.returncode, "Traceback" in err) == (0, False), err

    assert flo("export", "decisions", "--data", data).out == live["decisions"]
    assert flo("explain", decision, "--data", data).out == words.out
    assert flo("dead", "list", "--data", data, "--json").json["dead_letters"][0]["dead_letter_id"] == letter
    assert flo("loops", "--data", data).code == 0
    assert len(flo("export", "signals", "--data", data).out.splitlines()) >= sent.json["accepted"]
    assert flo("export", "state", "--data", data).code == 0
    parquet = tmp_path / "x.parquet"
    assert flo("export", "decisions", "--data", data, "--format", "parquet", "-o", parquet).code == 0
    assert parquet.stat().st_size > 0


def test_the_real_answers_have_the_shape_that_is_described(
    running: tuple[str, Path, subprocess.Popen[str]], bundle: Path
) -> None:
    url, _, _ = running
    assert flo("send", bundle / "signals.ndjson", "--to", url).code == 1
    with closing(Client(url)) as client:
        paths = {
            "Decisions": "/v1/decisions?limit=2",
            "Loops": "/v1/loops",
            "Loop": "/v1/loops/velocity",
            "DeadLetters": "/v1/dead-letters",
            "Iterations": "/v1/iterations",
            "Commands": "/v1/commands",
            "Bundle": "/v1/bundle",
            "Readiness": "/readyz",
        }
        for name, path in paths.items():
            jsonschema.validate(client.ask("GET", path), resolved(name))
        page = client.ask("GET", "/v1/decisions?limit=2")
        assert len(page["decisions"]) == 2
        decision = page["decisions"][0]["decision_id"]
        jsonschema.validate(client.ask("GET", f"/v1/decisions/{decision}"), resolved("Decision"))
        jsonschema.validate(client.ask("GET", f"/v1/decisions/{decision}/explain"), resolved("Explanation"))
        letter = client.ask("GET", "/v1/dead-letters")["dead_letters"][0]["dead_letter_id"]
        jsonschema.validate(client.ask("GET", f"/v1/dead-letters/{letter}"), resolved("DeadLetter"))
        event = {**json.loads((bundle / "signals.ndjson").read_bytes().splitlines()[0]), "id": "another"}
        jsonschema.validate(client.ask("POST", "/v1/decisions", event), resolved("Decided"))
        files = client.ask("GET", "/v1/bundle")["files"]
        again = client.ask("PUT", "/v1/bundle", {"files": files, "note": "the same"})
        jsonschema.validate(again, resolved("Bundle"))
        with pytest.raises(CommandFailed, match="problem"):
            client.ask("PUT", "/v1/bundle", {"files": {**files, "loops/velocity.yaml": "loop: 1"}})
        seen = client.ask("GET", "/v1/decisions?limit=2")
        following = client.ask("GET", f"/v1/decisions?limit=2&cursor={quote(seen['next'])}")
        ids = [row["decision_id"] for row in (*seen["decisions"], *following["decisions"])]
        assert len(set(ids)) == 4


def test_a_directory_that_is_in_use_is_named(
    running: tuple[str, Path, subprocess.Popen[str]], bundle: Path
) -> None:
    _, data, process = running
    second = subprocess.run(
        [*PROGRAM, "run", str(bundle), "--data", str(data), "--port", "0"],
        capture_output=True,
        text=True,
        cwd=REPOSITORY,
        timeout=30,
        check=False,
    )
    assert second.returncode in (1, 2)
    assert str(process.pid) in second.stderr
    assert "Traceback" not in second.stderr
