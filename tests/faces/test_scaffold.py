"""What `flo init` writes is a bundle that works."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from flo.core.bundle import read_bundle
from flo.core.contract import load_contract
from flo.core.errors import UsageError
from flo.core.signal import parse_signal
from flo.faces.scaffold import write_scaffold
from flo.stores.bundle_directory import read_directory
from flo.stores.bundle_functions import load_functions


def test_the_first_bundle_reads_without_problems(tmp_path: Path) -> None:
    written = write_scaffold(tmp_path / "deep" / "loops")
    assert {path.name for path in written} >= {"flo.yaml", "velocity.yaml", "functions.py", "README.md"}
    files = read_directory(tmp_path / "deep" / "loops")
    definition, problems = read_bundle(files, {})
    assert not problems
    assert definition is not None
    assert list(definition.loops) == ["velocity"]
    functions, problems = load_functions(files["functions.py"])
    assert not problems
    assert list(functions) == ["limit_of"]


def test_the_first_loop_is_short(tmp_path: Path) -> None:
    write_scaffold(tmp_path)
    assert len((tmp_path / "loops" / "velocity.yaml").read_text().splitlines()) <= 20


def test_its_signals_are_events_and_one_breaks_the_contract(tmp_path: Path) -> None:
    write_scaffold(tmp_path)
    path = "contracts/tx.authorized/1.json"
    document = (tmp_path / path).read_bytes()
    contract, problems = load_contract(name="tx.authorized", version=1, document=document, file=path)
    assert not problems
    assert contract is not None
    refused = [
        event["id"]
        for line in (tmp_path / "signals.ndjson").read_text().splitlines()
        if contract.explain(json.dumps((event := json.loads(line))["data"]).encode())
        and parse_signal(line.encode()).id
    ]
    assert refused == ["tx-7"]


def test_a_directory_with_anything_in_it_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "mine").write_text("x")
    with pytest.raises(UsageError, match="not empty"):
        write_scaffold(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["mine"]
    with pytest.raises(UsageError, match="cannot be written"):
        write_scaffold(tmp_path / "mine" / "x")
