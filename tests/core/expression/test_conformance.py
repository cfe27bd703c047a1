"""Our expressions against the conformance cases of CEL, with exactly the failures the reference page lists."""

from __future__ import annotations

import base64
import json
import math
import re
from pathlib import Path
from typing import Any

import pytest

from flo.core.expression import (
    DYN,
    Environment,
    EvaluationError,
    ExpressionSyntaxError,
    UInt,
    Variable,
    check,
    compile_expression,
    parse,
)
from flo.core.expression.values import to_key

HERE = Path(__file__).parent
REFERENCE = HERE.parents[2] / "docs" / "reference" / "expressions.md"

CORE_FAILURES = {
    # An int and a double are compared exactly; these cases want the int rounded to a double first.
    "comparisons/lt_literal/not_lt_dyn_int_big_lossy_double",
    "comparisons/gt_literal/not_gt_dyn_big_double_int",
    "comparisons/gte_literal/gte_dyn_int_big_lossy_double",
    # The case lost a backslash when it was converted: its expression has none, its result does.
    "parse/bytes_literals/triple_single_quoted_unescaped_punctuation",
}


def cases(name: str) -> list[dict[str, Any]]:
    lines = (HERE / "conformance" / f"{name}.jsonl").read_text("utf-8").splitlines()
    return [json.loads(line) for line in lines]


def value_of(typed: dict[str, Any]) -> Any:
    ((kind, value),) = typed.items()
    match kind:
        case "int":
            return int(value)
        case "uint":
            return UInt(int(value))
        case "double":
            return float(value)
        case "bytes":
            return base64.b64decode(value)
        case "list":
            return [value_of(each) for each in value]
        case "map":
            return {to_key(value_of(key)): value_of(each) for key, each in value}
    return value


def same(left: Any, right: Any) -> bool:
    if type(left) is not type(right):
        return False
    if isinstance(left, float):
        return (left == right and math.copysign(1, left) == math.copysign(1, right)) or (
            left != left and right != right
        )
    if isinstance(left, list):
        return len(left) == len(right) and all(map(same, left, right))
    if isinstance(left, dict):
        return left.keys() == right.keys() and all(same(left[key], right[key]) for key in left)
    return bool(left == right)


def passes(case: dict[str, Any]) -> bool:
    wants_error = "error" in case["expect"]
    bindings = case.get("bindings", {})
    codes = {name: "b_" + name.replace(".", "__") for name in bindings}
    environment = Environment({name: Variable(DYN, code=code) for name, code in codes.items()})
    try:
        expression = parse(case["expr"])
    except ExpressionSyntaxError:
        return wants_error
    checked, problems = check(expression, environment, lenient=case.get("disable_check", False))
    if checked is None:
        assert problems
        return wants_error
    try:
        got = compile_expression(checked)({codes[name]: value_of(value) for name, value in bindings.items()})
    except EvaluationError:
        return wants_error
    return not wants_error and same(got, value_of(case["expect"]["value"]))


def failures(name: str) -> set[str]:
    return {case["name"] for case in cases(name) if not passes(case)}


def test_core_passes_but_for_exactly_the_listed_cases() -> None:
    assert failures("core") == CORE_FAILURES


def test_every_extension_passes_but_optional_values() -> None:
    failed = failures("extensions")
    assert {name for name in failed if not name.startswith("optionals/")} == set()


@pytest.mark.parametrize("name", ["core", "extensions"])
def test_the_reference_page_states_the_numbers(name: str) -> None:
    total, failed = len(cases(name)), len(failures(name))
    found = re.search(rf"`{name}`: (\d+) of (\d+)", REFERENCE.read_text("utf-8"))
    assert found is not None
    assert (int(found.group(1)), int(found.group(2))) == (total - failed, total)


def test_the_reference_page_names_each_core_failure() -> None:
    text = REFERENCE.read_text("utf-8")
    assert [name for name in CORE_FAILURES if name not in text] == []
