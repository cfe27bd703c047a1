"""The other commands: what they print, how they fail, which code they end with."""

from __future__ import annotations

import asyncio
import hashlib
import json
import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import pyarrow.parquet
import pytest
from tests.faces.commands import REPOSITORY, background, fill, flo, process_arguments
from tests.faces.conftest import line
from tests.faces.memory import MemoryService

from flo.core.errors import Problem
from flo.core.signal import NS_PER_S, text_from_time, time_from_text
from flo.faces.cli import exporting, runtime
from flo.faces.cli.commands import loops
from flo.faces.cli.commands.check import excerpt_of
from flo.faces.cli.commands.run import DATA_NAME
from flo.faces.cli.main import COMMANDS
from flo.faces.http.tokens import Token, TokenTable


def test_every_command_has_help_and_takes_json() -> None:
    for name in COMMANDS:
        result = flo(name, "--help")
        assert result.code == 0
        if name != "dead":
            assert "--json" in result.out, name
    assert flo("dead", "list", "--help").out.count("--json") == 1
    overview = flo("--help").out
    assert "..." not in overview.partition("Commands:")[2]


def test_wrong_use_is_code_2_and_one_line_with_the_next_step() -> None:
    for arguments in (
        ["nope"],
        ["loops", "--nope"],
        ["explain"],
        ["export", "everything"],
        ["run", "d", "--port", "x"],
    ):
        result = flo(*arguments)
        assert result.code == 2
        assert result.err.startswith("flo: ")
        assert "--help" in result.err
    assert flo().code == 2


def test_version_is_said() -> None:
    assert flo("version").out.startswith("flo 0.")
    assert flo("version", "--json").json["flo"]


def test_loops_are_listed_and_one_is_shown() -> None:
    with background() as served:
        fill(served)
        table = flo("loops", "--to", served.url)
        assert table.code == 0
        assert "velocity" in table.out
        assert flo("loops", "--to", served.url, "--json").json["loops"][0]["decisions"] == 5
        assert "open_iterations" in flo("loops", "velocity", "--to", served.url).out
        missing = flo("loops", "velocty", "--to", served.url)
        assert (missing.code, "did you mean 'velocity'" in missing.err) == (1, True)


def test_a_decision_is_explained_in_words_or_as_json() -> None:
    with background() as served:
        fill(served)
        assert flo("explain", "0-1-0-4", "--to", served.url).out == "Decision 0-1-0-4: review for card c0\n"
        assert flo("explain", "0-1-0-4", "--to", served.url, "--json").json["decision"]["rule"] == "velocity"
        assert flo("explain", "../../metrics", "--to", served.url).code == 1


def test_dead_letters_are_listed_shown_and_cannot_drive_the_terminal() -> None:
    with background() as served:
        fill(served)
        listed = flo("dead", "list", "--to", served.url)
        assert (listed.code, "contract" in listed.out, "flo dead show" in listed.err) == (0, True, True)
        shown = flo("dead", "show", "0-1-0", "--to", served.url)
        assert "red" in shown.out
        assert "\x1b" not in shown.out
        assert flo("dead", "list", "--reason", "expired", "--to", served.url).out == "no dead letters\n"
        assert len(flo("dead", "list", "--to", served.url, "--json").json["dead_letters"]) == 1
        assert flo("dead", "show", "7", "--to", served.url, "--json").code == 1


def test_kill_says_why_to_the_ledger() -> None:
    with background() as served:
        result = flo("kill", "velocity", "--key", "c1", "--note", "stuck", "--to", served.url, "--json")
        assert (result.code, result.json["key"]) == (0, "c1")
        assert served.service.killed == [("velocity", "c1", "stuck")]


def test_a_token_comes_from_the_environment_and_its_absence_is_explained(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    secret = "reader-0123456789abcdef"
    table = TokenTable((Token("r", hashlib.sha256(secret.encode()).digest(), frozenset({"read"})),))
    with background(table) as served:
        assert flo("loops", "--to", served.url).err.count("FLO_TOKEN") == 1
        monkeypatch.setenv("FLO_TOKEN", secret)
        assert flo("loops", "--to", served.url).code == 0
        refused = flo("kill", "velocity", "--to", served.url)
        assert (refused.code, "operate" in refused.err, secret in refused.err) == (1, True, False)


def test_export_pages_through_everything(tmp_path: Path) -> None:
    with background() as served:
        fill(served, 2500)
        result = flo("export", "decisions", "--to", served.url)
        assert len(result.out.splitlines()) == 2500
        assert json.loads(result.out.splitlines()[0])["decision_id"] == "0-1-0-2499"
        parquet = tmp_path / "d.parquet"
        done = flo(
            "export",
            "decisions",
            "--loop",
            "velocity",
            "--format",
            "parquet",
            "-o",
            parquet,
            "--to",
            served.url,
            "--json",
        )
        assert (done.code, done.json["rows"]) == (0, 2500)
        assert pyarrow.parquet.read_table(parquet).num_rows == 2500
        assert os.listdir(tmp_path) == ["d.parquet"]
        assert flo("export", "decisions", "--since", "15m", "--to", served.url).code == 0


def test_export_says_what_it_needs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert "--data" in flo("export", "state").err
    assert "-o FILE" in flo("export", "decisions", "--format", "parquet").err
    assert flo("export", "decisions", "--since", "yesterday").code == 2
    monkeypatch.setattr(exporting, "pyarrow", None)
    missing = flo("export", "decisions", "--format", "parquet", "-o", tmp_path / "x")
    assert "pip install 'flo-orchestrator[parquet]'" in missing.err


def test_parquet_keeps_every_value_of_mixed_rows(tmp_path: Path) -> None:
    rows = [
        {"a": 1, "b": 1.5, "c": True, "d": {"x": [1]}, "e": "t", "f": None},
        {"a": None, "b": 2, "c": False, "d": [2], "e": 5, "f": None, "more": "m"},
        {"a": 2**70, "b": "text", "c": 3},
    ]
    with exporting.replacing(tmp_path / "x") as file:
        assert exporting.write_parquet(rows, file) == 3
    table = pyarrow.parquet.read_table(tmp_path / "x").to_pylist()
    assert [row["a"] for row in table] == ["1", None, str(2**70)] or table[2]["more"] is not None
    assert table[0]["d"] == '{"x":[1]}'
    assert table[1]["e"] == "5"
    restored = [json.loads(row["more"]) if row["more"] else {} for row in table]
    assert restored[1] == {"more": "m"}


def test_an_export_that_fails_leaves_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "x.ndjson"
    path.write_text("old")
    with pytest.raises(TypeError), exporting.replacing(path) as file:
        exporting.write_ndjson([{"a": 1}, {"a": object()}], file)
    assert (path.read_text(), os.listdir(tmp_path)) == ("old", ["x.ndjson"])


def test_a_data_directory_is_read_like_a_running_flo(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    service = MemoryService()
    asyncio.run(service.ingest([line(number) for number in range(3)]))
    monkeypatch.setattr(runtime, "open_reader", lambda data: service)
    assert flo("loops", "--data", tmp_path, "--json").json["loops"][0]["decisions"] == 3
    assert flo("loops", "velocity", "--data", tmp_path).code == 0
    assert flo("explain", "0-1-0-2", "--data", tmp_path).code == 0
    assert flo("explain", "9", "--data", tmp_path).code == 1
    assert flo("dead", "list", "--data", tmp_path).code == 0
    assert len(flo("export", "iterations", "--data", tmp_path).out.splitlines()) == 3
    both = flo("loops", "--data", tmp_path, "--to", "http://x")
    assert (both.code, "two different sources" in both.err) == (2, True)
    assert flo("loops", "--data", tmp_path / "none").code == 2


def test_an_excerpt_points_at_the_column(tmp_path: Path) -> None:
    path = tmp_path / "x.yaml"
    path.write_text("a: 1\n\tkey: données + 1\n" + "y" * 500 + "Z\n")
    assert excerpt_of(path, Problem("x.yaml", 2, 7, "m")) == "    \tkey: données + 1\n    \t     ^"
    text, caret = excerpt_of(path, Problem("x.yaml", 3, 501, "m")).split("\n")
    assert text[caret.index("^")] == "Z"
    assert excerpt_of(path, Problem("x.yaml", 9, 1, "m")) == ""
    assert excerpt_of(tmp_path / "none", Problem("x.yaml", 1, 1, "m")) == ""


def test_a_missing_bundle_is_wrong_use(tmp_path: Path) -> None:
    result = flo("check", tmp_path)
    assert (result.code, "flo init" in result.err) == (2, True)


def start(*arguments: object, **environment: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        process_arguments(*arguments),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=REPOSITORY,
        env={**os.environ, **environment},
    )


def url_of(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    text = ""
    while not (found := re.search(r"http://[\d.]+:\d+", text)):
        read = process.stdout.readline()
        assert read, process.communicate()
        text += read
    return found.group()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_run_listens_and_stops_gracefully(tmp_path: Path, number: signal.Signals) -> None:
    process = start("run", tmp_path, "--port", 0, "--data", tmp_path / DATA_NAME)
    url = url_of(process)
    assert process.stdout is not None
    tries = [process.stdout.readline() for _ in range(6)]
    assert [text.split()[0] for text in tries] == ["try:", "flo", "flo", "curl", "flo", "flo"]
    path = tmp_path / "s.ndjson"
    path.write_bytes(line(1))
    assert flo("send", path, "--to", url).code == 0
    process.send_signal(number)
    out, err = process.communicate(timeout=20)
    assert (process.returncode, "drained 1" in err) == (0, True), (out, err)


def test_a_second_ctrl_c_ends_run_at_once(tmp_path: Path) -> None:
    process = start("run", tmp_path, "--port", 0, "--json", SLOW_STOP="1")
    url_of(process)
    process.send_signal(signal.SIGINT)
    assert process.stderr is not None
    while "drained" not in process.stderr.readline():
        pass
    process.send_signal(signal.SIGINT)
    assert process.wait(20) == 130
    process.communicate()


def test_run_beyond_loopback_without_tokens_is_refused(tmp_path: Path) -> None:
    result = flo("run", tmp_path, "--host", "0.0.0.0")
    assert (result.code, "--tokens FILE" in result.err) == (2, True)


def test_run_on_a_taken_port_says_so(tmp_path: Path) -> None:
    with background() as served:
        process = start("run", tmp_path, "--port", served.port)
        _, err = process.communicate(timeout=20)
    assert (process.returncode, f"port {served.port} is taken" in err, "Traceback" in err) == (2, True, False)
    assert "drained 0" in err


def test_a_reader_that_has_enough_is_no_error(tmp_path: Path) -> None:
    with background() as served:
        fill(served, 3000)
        program = f"{sys.executable} -m flo.faces.cli"
        export = f"{program} export decisions --to {served.url} | head -1; echo ${{PIPESTATUS[0]}}"
        done = subprocess.run(
            ["bash", "-c", export], capture_output=True, text=True, cwd=REPOSITORY, check=True
        )
    assert done.stdout.splitlines()[-1] == "0"
    assert done.stderr == ""


def test_an_unforeseen_error_is_one_line_unless_asked_for(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def explode(directory: Path) -> None:
        raise RuntimeError("boom")

    monkeypatch.setattr(runtime, "load", explode)
    result = flo("check", tmp_path)
    assert (result.code, "FLO_DEBUG=1" in result.err) == (1, True)


def test_demos_are_listed_with_what_they_show_and_one_that_is_none_is_refused() -> None:
    listed = flo("demo", "--list", "--json").json["demos"]
    assert listed[0]["name"] == "payments"
    assert all(each["about"] for each in listed)
    scenarios = {
        path.name.replace("_", "-")
        for path in (REPOSITORY / "examples/scenarios").glob("*")
        if (path / "run.py").is_file()
    }
    assert {each["name"] for each in listed} == {"payments", *scenarios}
    missing = flo("demo", "paymnts")
    assert (missing.code, "did you mean `payments`?" in missing.err) == (2, True)


def test_a_demo_is_given_the_arguments_behind_its_name_and_payments_is_meant_without_one() -> None:
    for arguments in (["payments", "--nope"], ["--nope"]):
        process = subprocess.run(
            process_arguments("demo", *arguments), cwd=REPOSITORY, capture_output=True, text=True
        )
        assert process.returncode == 2
        assert "unrecognized arguments: --nope" in process.stderr


@pytest.mark.parametrize(
    ("seconds", "said"),
    [
        (0, "0 s ago"),
        (119, "119 s ago"),
        (120, "2 min ago"),
        (7_200, "2 h ago"),
        (200_000, "2 d ago"),
        (-5, "0 s ago"),
    ],
)
def test_a_last_decision_is_told_by_its_age(seconds: int, said: str) -> None:
    now_ns = time_from_text("2026-11-25T12:00:00Z")
    assert loops._ago(text_from_time(now_ns - seconds * NS_PER_S), now_ns) == said
    assert loops._ago(None, now_ns) is None
