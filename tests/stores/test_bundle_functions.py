"""functions.py: its annotations become types, and whatever it raises becomes a problem with its line."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from flo.core.expression.types import BOOL, BYTES, DOUBLE, DYN, INT, STRING, ListOf, MapOf
from flo.stores.bundle_functions import load_functions

SOURCE = b"""
from __future__ import annotations
from dataclasses import dataclass
from math import floor
from typing import Any, Optional

LIMIT = 3.0

@dataclass
class Model:
    version: str = "1"

def score(amount: float, country: str, history: list[float], profile: dict[str, Any]) -> dict[str, float]:
    return {"score": amount / LIMIT}

def flags(ok: bool, n: int, raw: bytes) -> list[str]:
    return []

def maybe(value: Optional[str], other: int | None, *, verbose: bool = False) -> Any:
    return value

def retrain(arguments, command=None):
    return None

def odd(model: Model) -> int:
    return 1

async def later(n: int) -> int:
    return n

def spread(*numbers: int) -> int:
    return 0

def _private(n: int) -> int:
    return n
"""


def test_annotated_functions_are_declared_with_their_types() -> None:
    functions, problems = load_functions(SOURCE)
    assert not problems
    assert {name: (declared.parameters, declared.result) for name, declared in functions.items()} == {
        "score": ((DOUBLE, STRING, ListOf(DOUBLE), MapOf(STRING, DYN)), MapOf(STRING, DOUBLE)),
        "flags": ((BOOL, INT, BYTES), ListOf(STRING)),
        "maybe": ((DYN, DYN), DYN),
    }
    assert functions["score"].function(6.0, "CH", [], {}) == {"score": 2.0}


@pytest.mark.parametrize(
    ("source", "line", "part"),
    [
        (b"def f(:\n", 1, "not Python"),
        (b"import json\n\nimport no_such_module_here\n", 3, "install it"),
        (b"x = 1\ndef g():\n    return 1 / 0\n\ny = g()\n", 3, "ZeroDivisionError"),
        (b"import sys\nsys.exit(3)\n", 2, "SystemExit"),
        (b"def f(n: 'Nowhere') -> int:\n    return n\n", 1, "Nowhere"),
        (b"\xff\xfe", 1, "not Python"),
        (b"a = 1\x00\n", 1, "null byte"),
        (b"(" * 5000, 1, ""),
        (b"raise RecursionError\n", 1, "RecursionError"),
    ],
)
def test_a_file_that_fails_is_a_problem_with_its_line(source: bytes, line: int, part: str) -> None:
    functions, problems = load_functions(source)
    assert functions == {}
    assert [(problem.file, problem.line) for problem in problems] == [("functions.py", line)]
    assert part in str(problems[0])


def test_two_revisions_do_not_share_their_variables(tmp_path: Path) -> None:
    source = b"seen: list[int] = []\ndef add(n: int) -> int:\n    seen.append(n)\n    return len(seen)\n"
    first, _ = load_functions(source + b"# 1\n", tmp_path)
    second, _ = load_functions(source + b"# 2\n", tmp_path)
    assert first["add"].function(1) == 1
    assert second["add"].function(1) == 1


def test_a_module_beside_the_file_may_be_imported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "path", list(sys.path))
    (tmp_path / "beside_functions.py").write_text("LIMIT = 7\n")
    source = b"from beside_functions import LIMIT\ndef limit() -> int:\n    return LIMIT\n"
    functions, problems = load_functions(source, tmp_path)
    assert not problems
    assert functions["limit"].function() == 7
