"""Traces: what each part of an expression came to."""

from __future__ import annotations

from typing import Any

from flo.core.expression import (
    DOUBLE,
    DYN,
    INT,
    STRING,
    TIMESTAMP,
    Attribute,
    Environment,
    Field,
    Local,
    Record,
    Timestamp,
    Traced,
    Variable,
    check,
    parse,
    trace,
)

ENVIRONMENT = Environment(
    {
        "data": Variable(
            Record(
                "data",
                {
                    "amount": Field(DOUBLE, access=Attribute("amount")),
                    "time": Field(TIMESTAMP, access=Attribute("time")),
                    "note": Field(STRING, required=False, access=Attribute("note")),
                },
            )
        ),
        "state": Variable(Record("state", {"count": Field(INT, access=Local("s_count"))})),
        "now": Variable(TIMESTAMP),
        "any": Variable(DYN),
    }
)


def flat(node: Traced) -> dict[str, Any]:
    found: dict[str, Any] = {node.text: node.error.code if node.error else node.value}
    for each in node.children:
        found |= flat(each)
    return found


def traced(text: str, **bindings: Any) -> dict[str, Any]:
    checked, problems = check(parse(text), ENVIRONMENT)
    assert checked is not None, problems
    return flat(trace(checked, bindings))


def test_each_reference_comparison_and_operator_has_its_value() -> None:
    text = "data.amount > 900.0 && !(state.count >= 5) || any.x + 1 == 3"
    assert traced(text, data={"amount": 950}, state={"count": 3}, any={"x": 2}) == {
        text: True,
        "data.amount > 900.0 && !(state.count >= 5)": True,
        "data.amount > 900.0": True,
        "data.amount": 950.0,
        "!(state.count >= 5)": True,
        "state.count >= 5": False,
        "state.count": 3,
        "any.x + 1 == 3": True,
        "any.x + 1": 3,
        "any.x": 2,
    }


def test_parts_that_fail_and_parts_that_were_skipped_are_shown() -> None:
    assert traced("data.amount > 900.0 && data.note == 'x'", data={"amount": 1.0}) == {
        "data.amount > 900.0 && data.note == 'x'": False,
        "data.amount > 900.0": False,
        "data.amount": 1.0,
        "data.note == 'x'": "no_such_key",
        "data.note": "no_such_key",
    }


def test_recorded_times_are_text() -> None:
    found = traced(
        "now - data.time > duration('1m')", now="2026-01-01T00:02:00Z", data={"time": "2026-01-01T00:00:00Z"}
    )
    assert found["now - data.time > duration('1m')"] is True
    assert found["now"] == Timestamp(1767225720 * 10**9)


def test_a_missing_binding_is_an_error_of_the_parts_that_read_it() -> None:
    assert traced("any == 1 || data.amount > 1.0", data={"amount": 2.0}) == {
        "any == 1 || data.amount > 1.0": "no_such_name",
        "any == 1": "no_such_name",
        "any": "no_such_name",
        "data.amount > 1.0": True,
        "data.amount": 2.0,
    }
