"""The emitted code: plain where types are known, exact where something can fail, sharing one function."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
import re2

from flo.core.expression import (
    BOOL,
    DOUBLE,
    DYN,
    INT,
    STRING,
    TIMESTAMP,
    Attribute,
    Emitter,
    Environment,
    EvaluationError,
    Field,
    FunctionDecl,
    ListOf,
    Local,
    Record,
    Timestamp,
    Variable,
    check,
    compile_expression,
    parse,
)
from flo.core.expression.cost import WALK_STEPS_MAX


class Card(msgspec.Struct):
    country: str


class Tx(msgspec.Struct):
    amount: float
    country: str
    time: int
    card: Card
    cards: list[Card] = []
    note: str | msgspec.UnsetType = msgspec.UNSET


CARD = Record("card", {"country": Field(STRING, access=Attribute("country"))})
ENVIRONMENT = Environment(
    {
        "tx": Variable(
            Record(
                "tx",
                {
                    "amount": Field(DOUBLE, access=Attribute("amount")),
                    "country": Field(STRING, access=Attribute("country")),
                    "time": Field(TIMESTAMP, access=Attribute("time")),
                    "card": Field(CARD, access=Attribute("card")),
                    "cards": Field(ListOf(CARD), access=Attribute("cards")),
                    "note": Field(STRING, required=False, access=Attribute("note")),
                },
            ),
            code="data",
        ),
        "state": Variable(Record("state", {"count_10m": Field(INT, access=Local("s_count_10m"))})),
        "any": Variable(DYN),
        "raw": Variable(DYN, code="raw_data"),
    },
    [
        FunctionDecl("risk", (STRING,), DOUBLE, lambda country: {"DE": 0.1}[country]),
        FunctionDecl("odd", (INT,), BOOL, lambda number: "yes"),
    ],
)
TX = Tx(950.0, "DE", 10**18, Card("US"), [Card("AT")])


def emitted(text: str) -> tuple[list[str], str]:
    checked, problems = check(parse(text), ENVIRONMENT)
    assert checked is not None, problems
    emitter = Emitter(indent=0)
    return emitter.lines, emitter.expression(checked)


def result(text: str, **bindings: Any) -> Any:
    checked, problems = check(parse(text), ENVIRONMENT)
    assert checked is not None, problems
    return compile_expression(checked)(
        {"data": TX, "s_count_10m": 5, "any": None, "raw_data": None, **bindings}
    )


def failure(text: str, **bindings: Any) -> EvaluationError:
    with pytest.raises(EvaluationError) as caught:
        result(text, **bindings)
    return caught.value


def test_typed_comparisons_are_plain_python() -> None:
    lines, code = emitted("tx.amount > 900.0 && state.count_10m >= 5 && tx.country != tx.card.country")
    assert lines == []
    assert code == "((data.amount > 900.0) and (s_count_10m >= 5) and (data.country != data.card.country))"


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("tx.country in ['DE', 'AT']", "(data.country in {'DE', 'AT'})"),
        ("tx.country.startsWith('D') ? 1 : 2", "(1 if data.country.startswith('D') else 2)"),
        ("!(tx.amount < 5)", "(not (data.amount < 5))"),
        ("tx.time > timestamp('2020-01-01T00:00:00Z')", "(data.time > 1577836800000000000)"),
        ("any == 'x'", "(any == 'x')"),
        ("any == null", "(any is None)"),
    ],
)
def test_what_cannot_fail_is_one_inline_expression(text: str, code: str) -> None:
    assert emitted(text) == ([], code)


def test_one_fallible_operand_needs_no_try() -> None:
    lines, _ = emitted("tx.note == 'x' && tx.amount > 900.0")
    assert not any("try" in line for line in lines)
    assert failure("tx.note == 'x' && tx.amount > 900.0").code == "no_such_field"
    assert result("tx.note == 'x' && tx.amount > 1000.0") is False


def test_failures_are_absorbed_from_either_side_and_reported_otherwise() -> None:
    for text in ("any.a == 1 || any.b == 2 || true", "any.a == 1 || any.b.c == 2 || tx.amount > 1.0"):
        assert result(text) is True
    assert result("any.a == 1 && any.b == 2", any={"b": 3}) is False
    assert result("any.a == 1 && any.b == 2", any={"a": 3}) is False
    assert failure("any.a == 1 && any.b == 2", any={"a": 1}).code == "no_such_key"


def test_a_failure_names_its_part_of_the_expression() -> None:
    error = failure("tx.amount > 1.0 &&\n any.a.b > 5", any={"a": {}})
    assert error.code == "no_such_key"
    assert error.place is not None
    assert (error.place.text, error.place.line, error.place.column) == ("any.a.b", 2, 2)
    assert "no such key: 'b'" in str(error)


def test_several_expressions_share_one_function() -> None:
    emitter = Emitter(indent=1)
    for number, text in enumerate(["any.a + 1 > 2", "any.a == 'x'", "tx.country.matches('^D')"]):
        checked, _ = check(parse(text), ENVIRONMENT)
        assert checked is not None
        with emitter.block("try:"):
            emitter.line(f"r{number} = {emitter.expression(checked)}")
        with emitter.block("except EvaluationError:"):
            emitter.line(f"r{number} = None")
    source = "\n".join(["def f(data, any):", *emitter.lines, "    return r0, r1, r2"])
    space: dict[str, Any] = {**emitter.constants, "EvaluationError": EvaluationError}
    exec(source, space)
    assert space["f"](TX, {"a": 5}) == (True, False, True)
    assert space["f"](TX, {}) == (None, None, True)


def test_text_of_an_expression_never_becomes_code() -> None:
    nasty = "\"'); import os; os.system('x') #\\n\""
    lines, code = emitted(f"any == {nasty} && any[{nasty}] == 1")
    compile("\n".join([*lines, code]), "x", "exec")
    assert result(f"any[{nasty}]", any={"'); import os; os.system('x') #\n": 7}) == 7


def test_python_attributes_are_out_of_reach() -> None:
    for text in ("any.__class__", "any['__class__']", "raw.__dict__"):
        assert failure(text, any="text", raw_data=TX).code == "no_matching_overload"
    assert check(parse("tx.__class__"), ENVIRONMENT)[0] is None
    assert check(parse("tx.country.__len__()"), ENVIRONMENT)[0] is None


def test_a_value_of_known_type_is_boxed_where_its_type_is_forgotten() -> None:
    assert type(result("tx.time")) is Timestamp
    assert result("[dyn(tx.time), 1][0] == 1000000000000000000") is False
    assert result("string(dyn(tx.time))") == "2001-09-09T01:46:40Z"


def test_structs_become_maps_where_they_are_used_whole() -> None:
    assert result("tx.card") == {"country": "US"}
    assert result("tx.cards.exists(card, card.country == 'AT')") is True
    assert result("tx.cards") == [{"country": "AT"}]


def test_functions_of_the_bundle_are_called_and_their_failures_named() -> None:
    assert result("risk(tx.country)") == 0.1
    assert failure("risk(any)", any="FR").code == "function_failed"
    assert failure("risk(any)", any=5).code == "no_matching_overload"
    assert "returned string" in failure("odd(1)").message


def test_walks_draw_on_a_budget() -> None:
    long = [0] * (WALK_STEPS_MAX // 1000 + 1)
    assert failure("any.all(a, any.all(b, a == b))", any=long).code == "budget"


def test_nan_is_equal_to_nothing_also_within_lists() -> None:
    assert result("[0.0 / 0.0] == [0.0 / 0.0]") is False
    assert result("cel.bind(n, 0.0 / 0.0, [n] == [n] || n in [n])") is False


@pytest.mark.parametrize(
    "text",
    [
        "any.l.map(a, any.s + any.s).size() > 0",
        "any.s.replace('', any.s) == ''",
        "any.l.map(a, any.l + any.l) == []",
    ],
)
def test_results_cannot_outgrow_memory(text: str) -> None:
    assert failure(text, any={"s": "x" * 100_000, "l": [0] * 20_000}).code == "budget"


@pytest.mark.parametrize("pattern", ["^fp", "fp$", "^fp$", "fp", "^$", "^", "", "f.p", "^f+p?$", "(?i)FP"])
def test_plain_patterns_match_as_re2_does(pattern: str) -> None:
    for text in ("fp", "xfp", "fpx", "", "f", "fp\n", "\nfp", "ffp", "\ud800"):
        expected = re2.search(pattern, text.encode("utf-8", "replace").decode()) is not None
        assert result(f"any.matches('{pattern}')", any=text) is expected, text
        assert result("any.matches(raw)", any=text, raw_data=pattern) is expected, text
