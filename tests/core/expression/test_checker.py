"""Checking: every problem in one go, each with its place and the way out."""

from __future__ import annotations

import pytest

from flo.core.expression import (
    BOOL,
    DOUBLE,
    DYN,
    INT,
    STRING,
    TIMESTAMP,
    Environment,
    Field,
    FunctionDecl,
    ListOf,
    Record,
    Variable,
    check,
    parse,
)

ITEM = Record("item", {"price": Field(DOUBLE)}, mapping=True)
ENVIRONMENT = Environment(
    {
        "data": Variable(
            Record(
                "data",
                {
                    "amount": Field(DOUBLE),
                    "count": Field(INT),
                    "country": Field(STRING),
                    "note": Field(STRING, required=False),
                    "items": Field(ListOf(ITEM)),
                },
            )
        ),
        "loop": Variable(Record("loop", {"name": Field(STRING)})),
        "now": Variable(TIMESTAMP),
        "any": Variable(DYN),
    },
    [FunctionDecl("risk", (STRING,), DOUBLE, lambda country: 0.5)],
)


def problems(text: str, expect: object = None) -> list[tuple[str, str | None]]:
    _, found = check(parse(text), ENVIRONMENT, expect)  # type: ignore[arg-type]
    return [(each.message, each.hint) for each in found]


@pytest.mark.parametrize(
    ("text", "message", "hint"),
    [
        ("data.amonut > 1", "data has no field amonut", "did you mean amount?"),
        ("dat.amount > 1", "unknown name dat", "did you mean data?"),
        ("data.country.startswith('a')", "unknown function startswith", "did you mean startsWith?"),
        ("rsik(data.country)", "unknown function rsik", "did you mean risk?"),
        ("data.count * 2.0", "int * double", "convert the int: double(x)"),
        ("data.amount * 2", "double * int", "write 2.0 instead of 2"),
        (
            "data.country == 5",
            "string == int is never true",
            "put the constant in quotes, or convert: double(x)",
        ),
        ("data.country == null", "string == null is never true", "it is never null; has(x)"),
        ("data.country && true", "`&&` needs bool, this is string", 'compare it: x == "..."'),
        ("data.country > 5", "string > int has no meaning", "convert the string: double(x)"),
        ("'a' in data.country", "`in` needs a list or a map", "for text write text.contains(part)"),
        ("data.count ? 1 : 2", "`?` needs bool, this is int", "compare it: x != 0"),
        ("data.amount > 1.0 ? 'a' : 1", "the arms of `? :` are string and int", "give both one type"),
        ("data.country.matches('(')", "bad pattern", "patterns are RE2 syntax"),
        ("timestamp('yesterday')", "'yesterday' is no timestamp", None),
        ("now.getHours('Mars/Olympus')", "unknown time zone", None),
        ("duration('5 minutes')", "'5 minutes' is no duration", None),
        ("data.country.size", "string has no fields, so no size", "write size()"),
        ("data == any", "data cannot be used as one value", "use its fields: amount"),
        ("{'a': 1, 'a': 2}", "this key is there twice", None),
        ("while", "while is a reserved word", None),
        ("math.abs('a')", "math.abs does not take (string)", "it takes (int) or (uint) or (double)"),
    ],
)
def test_a_problem_says_what_is_wrong_and_the_way_out(text: str, message: str, hint: str | None) -> None:
    found = problems(text)
    assert len(found) == 1
    assert message in found[0][0]
    if hint is not None:
        assert hint in (found[0][1] or "")


def test_all_problems_come_in_one_go_in_the_order_of_the_text() -> None:
    _, found = check(parse("data.amonut > 1 &&\n (foo || data.country == 5)"), ENVIRONMENT)
    assert [(each.line, each.column) for each in found] == [(1, 1), (2, 3), (2, 10)]


def test_numbers_of_different_types_compare() -> None:
    assert problems("data.amount > 900 && data.count >= 1.5 && data.count == 2.0") == []


def test_a_reserved_word_is_a_name_where_it_is_declared() -> None:
    assert problems("loop.name == 'a'") == []


def test_the_wanted_type_is_held() -> None:
    assert problems("data.amount", BOOL) == [("the expression is double; bool is needed here", None)]
    assert problems("any.flag", BOOL) == []


@pytest.mark.parametrize(
    ("text", "paths"),
    [
        ("data.amount > 1.0 && has(data.note)", {("data", "amount"), ("data", "note")}),
        ("any.a.b == 1 || any['c'] == 2", {("any", "a", "b"), ("any", "c")}),
        ("any == 1", {("any",)}),
        ("data.items.exists(item, item.price > 5.0)", {("data", "items")}),
    ],
)
def test_references_are_the_paths_that_are_read(text: str, paths: set[tuple[str, ...]]) -> None:
    checked, found = check(parse(text), ENVIRONMENT)
    assert found == []
    assert checked is not None
    assert checked.references == paths


@pytest.mark.parametrize(
    ("text", "fallible"),
    [
        ("data.amount > 900.0 && data.country in ['DE', 'AT']", False),
        ("data.amount / data.amount > 0.0", False),
        ("data.count / 60 > 5", False),
        ("data.country.matches('^a')", False),
        ("any == 5 && any != 'x'", False),
        ("has(data.note)", False),
        ("data.note == 'x'", True),
        ("data.count + 1 > 5", True),
        ("data.count / data.count > 5", True),
        ("any > 5", True),
        ("any.a == 5", True),
        ("risk(data.country) > 0.5", True),
    ],
)
def test_it_is_known_what_can_fail(text: str, fallible: bool) -> None:
    checked, _ = check(parse(text), ENVIRONMENT)
    assert checked is not None
    assert checked.fallible is fallible


@pytest.mark.parametrize(
    "text",
    [
        "any.all(a, any.all(b, any.all(c, a == b && b == c)))",
        "['a'].map(a, a + a)" + ".map(a, a + a)" * 30,
        "'a'" + ".replace('', 'bbbbbbbbbb')" * 9,
    ],
)
def test_what_may_cost_too_much_is_refused(text: str) -> None:
    assert "steps; at most" in problems(text)[0][0]


def test_what_is_nested_deeper_than_python_takes_is_refused() -> None:
    text = "any.x0 == 1"
    for number in range(14):
        text = f"(({text} && any.a{number} == 1) || any.b{number} == 2)"
    assert "inside each other" in problems(text)[0][0]
