"""Reading expressions: what is refused, where, and that no text can exhaust the reader."""

from __future__ import annotations

import pytest

from flo.core.expression import ExpressionSyntaxError, parse
from flo.core.expression.syntax import Literal, Logic, children


@pytest.mark.parametrize(
    ("text", "line", "column", "part"),
    [
        ("", 1, 1, "empty"),
        ("a &", 1, 3, "unexpected character"),
        ("a = 1", 1, 3, "unexpected character"),
        ("a\n  &&", 2, 5, "expected a value"),
        ("a b", 1, 3, "expected the end"),
        ("'abc", 1, 1, "closing quote"),
        (r"'a\q'", 1, 3, "unknown escape"),
        (r"'\ud800'", 1, 2, "no Unicode character"),
        (r"b'\u0041'", 1, 3, "bytes take no"),
        ("9223372036854775808", 1, 1, "out of the range"),
        ("18446744073709551616u", 1, 1, "out of the range"),
        ("1e999", 1, 1, "larger than a double"),
        ("[1, 2", 1, 6, "to close `[`"),
        ("a ? b", 1, 6, "between the two arms"),
        ("has(a)", 1, 1, "`has` takes one field"),
        ("a.all(b.c, true)", 1, 7, "name of a variable"),
        ("a.all(x)", 1, 3, "takes 2 or 3 arguments"),
        ("a.?b", 1, 3, "optional selection"),
        ("Type{a: 1}", 1, 5, "messages are not constructed"),
    ],
)
def test_what_is_wrong_is_named_with_its_place(text: str, line: int, column: int, part: str) -> None:
    with pytest.raises(ExpressionSyntaxError) as caught:
        parse(text)
    assert (caught.value.line, caught.value.column) == (line, column)
    assert part in caught.value.message


@pytest.mark.parametrize(
    "text",
    [
        "(" * 10_000,
        "(" * 10_000 + "1" + ")" * 10_000,
        "[" * 5_000,
        "{1:" * 5_000,
        "f(" * 5_000,
        "a?" * 5_000,
        "a ? b : " * 4_000 + "c",
        "a[" * 5_000,
        "a." * 10_000 + "b",
        "1 + " * 5_000 + "1",
        "1||1&&1==1+1*(" * 1_000,
        "x" * 100_000,
        "'" + "\\" * 20_000,
    ],
    ids=lambda text: text[:12],
)
def test_deep_and_long_texts_are_refused_without_exhausting_the_stack(text: str) -> None:
    with pytest.raises(ExpressionSyntaxError):
        parse(text)


def test_long_chains_of_and_are_one_level() -> None:
    root = parse(" && ".join(["a"] * 2_000)).root
    assert isinstance(root, Logic)
    assert len(list(children(root))) == 2_000


def test_the_smallest_int_is_a_literal() -> None:
    root = parse("-9223372036854775808").root
    assert isinstance(root, Literal)
    assert root.value == -(2**63)


def test_a_part_knows_its_text_with_its_brackets() -> None:
    expression = parse("!(a || b) && (c.d).e == 1")
    assert [expression.place(each).text for each in children(expression.root)] == [
        "!(a || b)",
        "(c.d).e == 1",
    ]


def test_comments_and_line_breaks_are_space() -> None:
    assert parse("1 // one\n + 2").place(parse("1 // one\n + 2").root).line == 1
