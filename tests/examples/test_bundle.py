"""The bundle is read, its functions loaded, and its loops compiled as FLO does it."""

from __future__ import annotations

from pathlib import Path

import pytest

from flo.core.bundle import EngineKind, read_bundle
from flo.core.contract import load_contract
from flo.core.loop.compiler import compile_loop
from flo.engines.python import PythonEngine
from flo.stores.bundle_directory import read_directory
from flo.stores.bundle_functions import load_functions


def test_the_bundle_has_no_problems(payments: Path) -> None:
    files = read_directory(payments)
    python = EngineKind("python", PythonEngine.verbs, PythonEngine.settings)
    bundle, problems = read_bundle(files, {"python": python})
    assert not problems
    assert set(bundle.loops) == {"payments-score", "payments-retrain", "payments-swap"}


def test_rules_may_call_the_network_and_nothing_that_acts(payments: Path) -> None:
    functions, problems = load_functions((payments / "functions.py").read_bytes(), payments)
    assert not problems
    assert set(functions) == {"network_score"}


@pytest.mark.parametrize("name", ["payments-score", "payments-retrain", "payments-swap"])
def test_every_loop_compiles_against_its_contract_on_the_fast_path(payments: Path, name: str) -> None:
    files = read_directory(payments)
    python = EngineKind("python", PythonEngine.verbs, PythonEngine.settings)
    bundle, _ = read_bundle(files, {"python": python})
    loop = bundle.loops[name]
    title, version = loop.contract
    path = f"contracts/{title}/{version}.json"
    contract, problems = load_contract(name=title, version=version, document=files[path], file=path)
    assert not problems
    assert contract.fast, contract.why_slow
    functions, _ = load_functions(files["functions.py"], payments)
    program, problems = compile_loop(loop, contract, functions, revision=bundle.revision)
    assert not problems
    assert program is not None
