"""Random texts never crash; random expressions mean what the reference interpreter says."""

from __future__ import annotations

import math
import os
from contextlib import suppress
from typing import Any

import msgspec
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from flo.core.expression import (
    BOOL,
    DOUBLE,
    DURATION,
    DYN,
    INT,
    STRING,
    TIMESTAMP,
    UINT,
    Attribute,
    Duration,
    Environment,
    EvaluationError,
    ExpressionSyntaxError,
    Field,
    Item,
    ListOf,
    Local,
    MapOf,
    Record,
    Timestamp,
    Type,
    UInt,
    Variable,
    check,
    compile_expression,
    parse,
    parse_template,
)

from .reference import Wrong, evaluate

SETTINGS = settings(
    max_examples=int(os.environ.get("FLO_FUZZ_EXAMPLES", "400")),
    deadline=None,
    print_blob=True,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much, HealthCheck.data_too_large],
)


class Struct(msgspec.Struct):
    i: int
    u: int
    f: float
    s: str
    b: bool
    t: int
    p: int
    li: list[int]
    ls: list[str]
    m: dict[str, int]
    oi: int | msgspec.UnsetType = msgspec.UNSET
    os: str | msgspec.UnsetType = msgspec.UNSET


FIELDS: dict[str, Type] = {
    "i": INT,
    "u": UINT,
    "f": DOUBLE,
    "s": STRING,
    "b": BOOL,
    "t": TIMESTAMP,
    "p": DURATION,
    "li": ListOf(INT),
    "ls": ListOf(STRING),
    "m": MapOf(STRING, INT),
}
RECORD = Record(
    "r",
    {
        **{name: Field(kind, access=Attribute(name)) for name, kind in FIELDS.items()},
        "oi": Field(INT, required=False, access=Attribute("oi")),
        "os": Field(STRING, required=False, access=Attribute("os")),
    },
)
ENVIRONMENT = Environment(
    {
        "r": Variable(RECORD),
        "q": Variable(
            Record("q", {"x": Field(DOUBLE), "y": Field(STRING, required=False, access=Item("y"))})
        ),
        "st": Variable(Record("st", {"n": Field(INT, access=Local("s_n"))})),
        "d": Variable(DYN),
    }
)

ints = st.one_of(
    st.integers(-5, 5),
    st.sampled_from([2**63 - 1, -(2**63), 2**53, 2**53 + 1, 2**31]),
    st.integers(-(2**63), 2**63 - 1),
)
uints = st.one_of(st.integers(0, 5), st.sampled_from([2**64 - 1, 2**63]))
doubles = st.one_of(st.sampled_from([0.0, -0.0, 1.0, 0.5, 1e300, -2.5, 9007199254740992.0]), st.floats())
texts = st.sampled_from(["", "a", "ab", "fp", "é", "x\n'\"\\", "5", "\x00"])
times = st.sampled_from([0, 10**18, -62_135_596_800 * 10**9, 1_577_836_800 * 10**9])
spans = st.sampled_from([0, 10**9, -1, 2**63 - 1, 300 * 10**9])
json_values = st.recursive(
    st.one_of(st.none(), st.booleans(), ints, doubles, texts),
    lambda inner: st.one_of(
        st.lists(inner, max_size=3), st.dictionaries(st.sampled_from(["a", "b", "c"]), inner, max_size=3)
    ),
    max_leaves=6,
)


@st.composite
def data(draw: st.DrawFn) -> tuple[dict[str, Any], dict[str, Any]]:
    """Bindings for the emitted code, and the same for the reference."""
    values: dict[str, Any] = {
        "i": draw(ints),
        "u": draw(uints),
        "f": draw(doubles),
        "s": draw(texts),
        "b": draw(st.booleans()),
        "t": draw(times),
        "p": draw(spans),
        "li": draw(st.lists(ints, max_size=4)),
        "ls": draw(st.lists(texts, max_size=4)),
        "m": draw(st.dictionaries(texts, ints, max_size=3)),
    }
    for name, strategy in (("oi", ints), ("os", texts)):
        if draw(st.booleans()):
            values[name] = draw(strategy)
    q: dict[str, Any] = {"x": draw(doubles)}
    if draw(st.booleans()):
        q["y"] = draw(texts)
    n, d = draw(ints), draw(json_values)
    plain = {**values, "u": UInt(values["u"]), "t": Timestamp(values["t"]), "p": Duration(values["p"])}
    return {"r": Struct(**values), "q": q, "s_n": n, "d": d}, {"r": plain, "q": q, "st": {"n": n}, "d": d}


def literal_of(value: object) -> str:
    if isinstance(value, float):
        return f"{value!r}" if math.isfinite(value) else "(0.0/0.0)" if math.isnan(value) else "(1.0/0.0)"
    if isinstance(value, str):
        return '"' + "".join(f"\\u{ord(each):04x}" for each in value) + '"'
    return str(value)


LEAVES: dict[str, list[str]] = {
    "bool": ["true", "false", "r.b", "has(r.oi)", "has(r.os)", "has(d.a)", "has(q.y)", "dyn(r.b)"],
    "int": [
        "r.i",
        "r.oi",
        "st.n",
        "0",
        "1",
        "-1",
        "5",
        "r.li[0]",
        "r.m['a']",
        "r.m.ab",
        "dyn(r.i)",
        "size(r.li)",
    ],
    "uint": ["r.u", "0u", "7u", "dyn(r.u)"],
    "double": ["r.f", "q.x", "0.0", "2.5", "dyn(q.x)"],
    "string": ["r.s", "r.os", "q.y", "'fp'", "''", "dyn(r.s)", "string(r.i)", "string(r.f)", "string(r.b)"],
    "timestamp": ["r.t", "timestamp('2020-01-01T00:00:00Z')", "dyn(r.t)"],
    "duration": ["r.p", "duration('5m')", "dyn(r.p)"],
    "list": ["r.li", "[1, 2, 3]", "[]", "dyn(r.li)"],
    "any": [
        "d",
        "d.a",
        "d.b",
        "d.a.b",
        "d['c']",
        "d[0]",
        "d.a[1]",
        "dyn(r.i)",
        "dyn(r.u)",
        "dyn(r.t)",
        "null",
        "d.b.c",
    ],
}
NUMERIC = ["int", "uint", "double", "any"]


class Writer:
    """Draws the text of an expression of a wanted type; `wild` ignores the type now and then."""

    def __init__(self, draw: st.DrawFn, wild: bool) -> None:
        self.draw = draw
        self.wild = wild
        self.variables: list[tuple[str, str]] = []

    def pick(self, *options: str) -> str:
        return self.draw(st.sampled_from(options))

    def text(self, kind: str, depth: int) -> str:
        if self.wild and self.draw(st.integers(0, 9)) == 0:
            kind = self.pick(*LEAVES)
        bound = [name for name, each in self.variables if each == kind]
        if depth <= 0 or self.draw(st.integers(0, 3)) == 0:
            if kind in ("int", "double", "string") and self.draw(st.booleans()):
                return literal_of(self.draw({"int": ints, "double": doubles, "string": texts}[kind]))
            return self.pick(*LEAVES[kind], *bound, *bound)
        return getattr(self, kind)(depth - 1)

    def any(self, depth: int) -> str:
        kind = self.pick("int", "string", "bool", "double", "any", "list")
        return f"dyn({self.text(kind, depth)})"

    def bool(self, depth: int) -> str:
        form = self.pick("&&", "||", "!", "?", "compare", "compare", "equal", "in", "text", "walk", "walk")
        if form in ("&&", "||"):
            count = self.draw(st.integers(2, 4))
            return "(" + f" {form} ".join(self.text("bool", depth) for _ in range(count)) + ")"
        if form == "!":
            return f"!({self.text('bool', depth)})"
        if form == "?":
            return self.choice("bool", depth)
        if form == "compare":
            kind = self.pick("number", "string", "timestamp", "duration", "bool", "any")
            sign = self.pick("<", "<=", ">", ">=")
            kinds = [self.pick(*NUMERIC), self.pick(*NUMERIC)] if kind == "number" else [kind, kind]
            return f"({self.text(kinds[0], depth)} {sign} {self.text(kinds[1], depth)})"
        if form == "equal":
            kind = self.pick(*LEAVES)
            other = self.pick(kind, "any")
            return f"({self.text(kind, depth)} {self.pick('==', '!=')} {self.text(other, depth)})"
        if form == "in":
            return self.pick(
                f"({self.text('int', depth)} in {self.text('list', depth)})",
                f"({self.text('string', depth)} in r.m)",
                f"({self.text('string', depth)} in ['a', 'fp'])",
                f"({self.text('any', depth)} in ['a', 'fp'])",
                f"({self.text('any', depth)} in {self.text('any', depth)})",
                f"({self.text('double', depth)} in [1, 2.5, 3u])",
            )
        if form == "text":
            function = self.pick("contains", "startsWith", "endsWith", "matches")
            part = "'^[a-f]+$'" if function == "matches" else self.text("string", depth)
            return f"{self.text('string', depth)}.{function}({part})"
        return self.walk(self.pick("all", "exists", "exists_one"), depth)

    def walk(self, kind: str, depth: int) -> str:
        source, element = self.pick("list", "list", "any"), "int"
        if source == "any":
            element = "any"
        target = self.text(source, depth)
        name = f"v{len(self.variables)}"
        self.variables.append((name, element))
        body = self.text("int" if kind == "map" else "bool", depth)
        self.variables.pop()
        return f"{target}.{kind}({name}, {body})"

    def list(self, depth: int) -> str:
        form = self.pick("literal", "+", "map", "filter", "?")
        if form == "literal":
            return "[" + ", ".join(self.text("int", depth) for _ in range(self.draw(st.integers(0, 3)))) + "]"
        if form == "+":
            return f"({self.text('list', depth)} + {self.text('list', depth)})"
        return self.choice("list", depth) if form == "?" else self.walk(form, depth)

    def choice(self, kind: str, depth: int) -> str:
        return f"({self.text('bool', depth)} ? {self.text(kind, depth)} : {self.text(kind, depth)})"

    def number(self, kind: str, depth: int, *signs: str) -> str:
        sign = self.pick(*signs, "?")
        if sign == "?":
            return self.choice(kind, depth)
        return f"({self.text(kind, depth)} {sign} {self.text(kind, depth)})"

    def int(self, depth: int) -> str:
        form = self.pick("number", "number", "negate", "size", "convert", "let")
        if form == "negate":
            return f"-({self.text('int', depth)})"
        if form == "size":
            return f"size({self.text(self.pick('string', 'list', 'any'), depth)})"
        if form == "convert":
            return f"int({self.text(self.pick('double', 'uint', 'int'), depth)})"
        if form == "let":
            value = self.text("int", depth)
            self.variables.append((f"v{len(self.variables)}", "int"))
            body = self.text("int", depth)
            return f"cel.bind({self.variables.pop()[0]}, {value}, {body})"
        return self.number("int", depth, "+", "-", "*", "/", "%")

    def uint(self, depth: int) -> str:
        if self.draw(st.booleans()):
            return f"uint({self.text('int', depth)})"
        return self.number("uint", depth, "+", "-", "*", "/", "%")

    def double(self, depth: int) -> str:
        return self.number("double", depth, "+", "-", "*", "/")

    def string(self, depth: int) -> str:
        if self.draw(st.booleans()):
            return f"string({self.text(self.pick('int', 'double', 'uint', 'timestamp', 'bool'), depth)})"
        return self.number("string", depth, "+")

    def timestamp(self, depth: int) -> str:
        return f"({self.text('timestamp', depth)} {self.pick('+', '-')} {self.text('duration', depth)})"

    def duration(self, depth: int) -> str:
        if self.draw(st.booleans()):
            return f"({self.text('timestamp', depth)} - {self.text('timestamp', depth)})"
        return self.number("duration", depth, "+", "-")


@st.composite
def expressions(draw: st.DrawFn, wild: bool) -> str:
    return Writer(draw, wild).text(draw(st.sampled_from(list(LEAVES))), 4)


def same(left: Any, right: Any) -> bool:
    if type(left) is not type(right):
        return False
    if isinstance(left, float):
        return (math.isnan(left) and math.isnan(right)) or (left == right and str(left) == str(right))
    if isinstance(left, list):
        return len(left) == len(right) and all(map(same, left, right))
    if isinstance(left, dict):
        return left.keys() == right.keys() and all(same(each, right[key]) for key, each in left.items())
    return bool(left == right)


def agree(text: str, environment: Environment, bindings: Any, names: Any, lenient: bool) -> None:
    expression = parse(text)
    checked, problems = check(expression, environment, lenient=lenient)
    assume(checked is not None or not problems)
    assert checked is not None
    try:
        expected: Any = evaluate(expression.root, names)
    except (Wrong, EvaluationError):
        expected = Wrong
    try:
        got: Any = compile_expression(checked)(bindings)
    except EvaluationError:
        got = Wrong
    assert checked.fallible or got is not Wrong, f"{text}: it cannot fail, and did"
    assert (got is expected) or same(got, expected), f"{text}\n got {got!r}\n not {expected!r}"


@SETTINGS
@given(text=expressions(wild=False), pair=data())
def test_typed_expressions_mean_what_the_reference_says(text: str, pair: Any) -> None:
    agree(text, ENVIRONMENT, pair[0], pair[1], lenient=False)


@SETTINGS
@given(text=expressions(wild=True), pair=data())
def test_untyped_expressions_mean_what_the_reference_says(text: str, pair: Any) -> None:
    names = pair[1]
    environment = Environment({name: Variable(DYN) for name in names})
    agree(text, environment, names, names, lenient=True)


def parsed_and_compiled(text: str) -> None:
    """Takes a text as far as it goes; whatever it is, nothing else is raised."""
    try:
        expression = parse(text)
    except ExpressionSyntaxError as error:
        refused = error
    else:
        checked, problems = check(expression, ENVIRONMENT)
        assert (checked is None) == bool(problems)
        if checked is not None:
            compile_expression(checked)
        return
    assert refused.line >= 1
    assert refused.column >= 1


@SETTINGS
@given(
    st.one_of(st.text(max_size=60), st.text(alphabet="()[]{}.,:?!&|=<>+-*/%'\"\\abrx015u e\n`$", max_size=60))
)
def test_no_text_does_anything_but_parse_or_be_refused(text: str) -> None:
    parsed_and_compiled(text)
    with suppress(ExpressionSyntaxError):
        parse_template(text)


@SETTINGS
@given(
    text=expressions(wild=True),
    place=st.integers(0, 200),
    insert=st.text(alphabet="().,[]{}?:&|'\"\\0a-", max_size=3),
)
def test_damaged_expressions_are_refused_or_checked(text: str, place: int, insert: str) -> None:
    damaged = text[:place] + insert + text[place + 1 :]
    parsed_and_compiled(damaged)
