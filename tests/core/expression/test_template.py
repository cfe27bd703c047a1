"""Templates of command arguments."""

from __future__ import annotations

from typing import Any

import pytest

from flo.core.expression import (
    DOUBLE,
    DYN,
    INT,
    STRING,
    TIMESTAMP,
    Emitter,
    Environment,
    ExpressionSyntaxError,
    Field,
    Record,
    Variable,
    check_template,
    emit_template,
    parse_template,
)

ENVIRONMENT = Environment(
    {
        "data": Variable(
            Record(
                "data",
                {
                    "id": Field(STRING),
                    "count": Field(INT),
                    "amount": Field(DOUBLE),
                    "time": Field(TIMESTAMP),
                    "extra": Field(DYN, required=False),
                },
                mapping=True,
            )
        )
    }
)
DATA = {"id": "tx-1", "count": 3, "amount": 950.0, "time": 10**18, "extra": {"a": [1, None]}}


def filled(value: object, data: dict[str, Any] = DATA) -> Any:
    checked, problems = check_template(value, ENVIRONMENT)
    assert checked is not None, problems
    emitter = Emitter()
    code = emit_template(emitter, checked)
    space: dict[str, Any] = dict(emitter.constants)
    exec("\n".join(["def f(data):", *emitter.lines, f"    return {code}"]), space)
    return space["f"](data)


@pytest.mark.parametrize(
    ("template", "value"),
    [
        ("plain", "plain"),
        ("", ""),
        ("${data.count}", 3),
        ("${data.amount}", 950.0),
        ("${data.extra}", {"a": [1, None]}),
        ("${data.time}", "2001-09-09T01:46:40Z"),
        ("tx ${data.id}", "tx tx-1"),
        ("${data.count}${data.count}", "33"),
        ("${data.amount} at ${data.time}", "950 at 2001-09-09T01:46:40Z"),
        ("$${data.id} is ${data.id}", "${data.id} is tx-1"),
        ("${ {'a': '}'}['a'] }", "}"),
        ("cost: $5", "cost: $5"),
        ({"a": ["${data.count}", {"b": "x${data.id}"}], "n": 5, "t": True, "z": None, "f": 1.5}, None),
    ],
)
def test_a_template_is_filled(template: object, value: object) -> None:
    if value is None:
        value = {"a": [3, {"b": "xtx-1"}], "n": 5, "t": True, "z": None, "f": 1.5}
    assert filled(template) == value


def test_problems_say_where_in_the_structure_and_in_the_text() -> None:
    _, problems = check_template({"a": "x ${data.idd}", "b": [{"c": "${"}], "d": "${1 +}"}, ENVIRONMENT)
    assert [(path, each.line, each.column) for path, each in problems] == [
        (("a",), 1, 5),
        (("b", 0, "c"), 1, 1),
        (("d",), 1, 6),
    ]


def test_an_open_template_is_refused() -> None:
    with pytest.raises(ExpressionSyntaxError, match="without its closing"):
        parse_template("tx ${data.id")
