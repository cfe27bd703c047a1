"""Exports of a real data directory: every kind, both formats, the same rows as the lists have, nothing half written."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pyarrow
import pyarrow.parquet
import pytest

from flo.runtimes.embedded import export_decisions
from flo.runtimes.embedded.file_run import run_file

from .commands import REPOSITORY, flo

LOOPS = {
    "cards": """loop: cards
on: [paid, bad]
contract: paid/1
key: data.card
state:
  count_1h: {count: true, over: 1h}
  sum_1h: {sum: data.amount, over: 1h}
  country: {last: data.country}
rules:
  - {id: broken, when: data.amount > 900.0 && 1 / (data.limit - data.limit) > 0}
  - id: much
    when: state.sum_1h > 300.0 && state.country.changed
    result: review
    means: suspicious
    then: [{do: review, with: {card: '${data.card}'}}]
  - {id: often, when: state.count_1h > 5}
otherwise: approve
""",
    "audit": "loop: audit\non: paid\nkey: string(signal.source)\notherwise: seen\n",
}
CONTRACT = {
    "$schema": "https://json-schema.org/draft/2020-12/schema",
    "type": "object",
    "required": ["card", "amount", "country"],
    "properties": {
        "card": {"type": "string"},
        "amount": {"type": "number"},
        "country": {"type": "string"},
        "limit": {"type": "integer"},
    },
}
KINDS = ("signals", "decisions", "commands", "dead-letters", "iterations", "state")
COUNT = 2_500


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    here = tmp_path_factory.mktemp("export")
    files = {f"loops/{name}.yaml": text for name, text in LOOPS.items()}
    files["contracts/paid/1.json"] = json.dumps(CONTRACT)
    files["flo.yaml"] = "dedupe: 24h\n"
    for name, text in files.items():
        path = here / "bundle" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    signals = here / "signals.ndjson"
    signals.write_text("".join(_line(number) for number in range(COUNT)))
    run_file(
        bundle=here / "bundle", data=here / "data", workers=1, signals=signals, progress=lambda done, of: None
    )
    return here / "data"


def _line(number: int) -> str:
    amount = 950.0 if number % 97 == 0 else "dear" if number % 89 == 0 else number % 50 + 0.5
    at = datetime.fromtimestamp(1_767_600_000 + number, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    data = {"card": f"c{number % 40}", "amount": amount, "country": "DE" if number % 7 else "FR", "limit": 3}
    head = {"specversion": "1.0", "id": f"p{number}", "source": "shop", "type": "paid", "time": at}
    return json.dumps({**head, "data": data}) + "\n"


def read(path: Path) -> list[dict[str, Any]]:
    """Python's own times end at microseconds."""
    table = pyarrow.parquet.read_table(path)
    for place, field in enumerate(table.schema):
        if pyarrow.types.is_timestamp(field.type):
            micro = table.column(place).cast(pyarrow.timestamp("us", tz="UTC"), safe=False)
            table = table.set_column(place, field.name, micro)
    found: list[dict[str, Any]] = table.to_pylist()
    return found


def rows(*arguments: object) -> list[dict[str, Any]]:
    return [json.loads(line) for line in flo("export", *arguments).out.splitlines()]


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_has_the_same_rows_in_both_formats(kind: str, data: Path, tmp_path: Path) -> None:
    path = tmp_path / f"{kind}.parquet"
    done = flo("export", kind, "--data", data, "--format", "parquet", "-o", path, "--json")
    lines = rows(kind, "--data", data)
    assert done.code == 0, done.err
    assert done.json["rows"] == len(lines) == pyarrow.parquet.read_metadata(path).num_rows > 0
    assert os.listdir(tmp_path) == [path.name]


def test_columns_say_what_the_list_says(data: Path, tmp_path: Path) -> None:
    path = tmp_path / "d.parquet"
    assert flo("export", "decisions", "--data", data, "--format", "parquet", "-o", path).code == 0
    table = {row["decision_id"]: row for row in read(path)}
    listed = rows("decisions", "--data", data)
    assert len(table) == len(listed)
    for item in listed:
        row = table[item["decision_id"]]
        for name in ("loop", "key", "seq", "result", "rule", "means", "root", "revision"):
            assert row[name] == item[name], (name, item)
        source = item["signal"]
        assert (row["signal_id"], row["signal_source"], row["signal_type"]) == (
            source["id"],
            source["source"],
            source["type"],
        )
        assert row["time"] == datetime.fromisoformat(item["time"])
        assert (row["error"] is None) == ("error" not in item)
    assert {row["result"] for row in table.values()} == {"review", "often", "approve", "seen", None}


def test_with_a_loop_each_piece_of_state_is_a_column_of_its_type(data: Path, tmp_path: Path) -> None:
    path = tmp_path / "d.parquet"
    arguments = ("--data", data, "--loop", "cards", "--format", "parquet", "-o", path)
    assert flo("export", "decisions", *arguments).code == 0
    table = pyarrow.parquet.read_table(path)
    kinds = {field.name: str(field.type) for field in table.schema if field.name.startswith("state.")}
    assert kinds == {"state.count_1h": "int64", "state.sum_1h": "double", "state.country.changed": "bool"}
    assert str(table.schema.field("decided").type) == "timestamp[ns, tz=UTC]"
    for row in read(path)[1000:1020]:
        record = json.loads(flo("explain", row["decision_id"], "--data", data, "--json").out)
        state = record.get("record", record)["state"]
        assert row["state.count_1h"] == state["count_1h"]
        assert row["state.country.changed"] == state["country"]["changed"]


def test_since_and_until_cut_the_columns_as_they_cut_the_list(data: Path, tmp_path: Path) -> None:
    path = tmp_path / "d.parquet"
    middle = rows("decisions", "--data", data)[COUNT]["decided"]
    for bound in ("--since", "--until"):
        arguments = ("--data", data, bound, middle)
        assert flo("export", "decisions", *arguments, "--format", "parquet", "-o", path).code == 0
        assert pyarrow.parquet.read_metadata(path).num_rows == len(rows("decisions", *arguments))


def test_a_command_of_an_export_in_one_pass_has_the_outcome_it_has_in_the_list(data: Path) -> None:
    commands = rows("commands", "--data", data)
    assert commands
    assert {command["status"] for command in commands} == {"succeeded"}
    assert all(command["ended"] for command in commands)


def test_progress_counts_the_blocks(data: Path) -> None:
    told: list[tuple[int, int]] = []
    columns = export_decisions(data, {}, lambda done, total: told.append((done, total)))
    assert sum(len(batch["key"]) for batch in columns.batches) > COUNT
    assert told
    assert told[-1][0] == told[-1][1] == len(told)


@pytest.mark.parametrize(("kind", "form"), [("decisions", "parquet"), ("signals", "ndjson")])
def test_an_interrupted_export_leaves_no_half_file(kind: str, form: str, data: Path, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "flo.faces.cli", "export", kind, "--data", str(data), "--format", form]
    process = subprocess.Popen([*command, "-o", str(tmp_path / "x")], cwd=REPOSITORY, stderr=subprocess.PIPE)
    while not os.listdir(tmp_path) and process.poll() is None:
        time.sleep(0.001)
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=30)
    assert b"Traceback" not in err, err.decode()
    # it was cut, and there is nothing; or it was quicker, and there is all of it
    assert os.listdir(tmp_path) == ([] if process.returncode else ["x"])
