"""A small interpreter of the language, written for being obviously right: it walks the syntax tree and knows no types.

The emitted code must agree with it, value for value and error for error.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy
import re2

from flo.core.expression import syntax
from flo.core.expression.conversions import string_of_double
from flo.core.expression.times import duration_text, parse_duration, parse_timestamp, timestamp_text
from flo.core.expression.values import (
    INT_MAX,
    INT_MIN,
    TIMESTAMP_NS_MAX,
    TIMESTAMP_NS_MIN,
    UINT_MAX,
    BoolKey,
    Duration,
    Timestamp,
    UInt,
)


class Wrong(Exception):
    """The expression has no value."""


NUMBERS = (int, UInt, float)
RANGES = {
    int: (INT_MIN, INT_MAX),
    UInt: (0, UINT_MAX),
    Timestamp: (TIMESTAMP_NS_MIN, TIMESTAMP_NS_MAX),
    Duration: (INT_MIN, INT_MAX),
}


def evaluate(node: syntax.Node, names: Mapping[str, Any]) -> Any:
    """The value of a tree, or Wrong."""
    return getattr(Reference(names), type(node).__name__.lower())(node)


class Reference:
    def __init__(self, names: Mapping[str, Any]) -> None:
        self.names = names

    def value(self, node: syntax.Node) -> Any:
        return evaluate(node, self.names)

    def literal(self, node: syntax.Literal) -> Any:
        return node.value

    def name(self, node: syntax.Name) -> Any:
        if node.name not in self.names:
            raise Wrong(node.name)
        return self.names[node.name]

    def select(self, node: syntax.Select) -> Any:
        return lookup(self.value(node.operand), node.field)

    def has(self, node: syntax.Has) -> Any:
        owner = self.value(node.select.operand)
        if not isinstance(owner, dict):
            raise Wrong("has")
        return node.select.field in owner

    def index(self, node: syntax.Index) -> Any:
        return lookup(self.value(node.operand), self.value(node.index))

    def listliteral(self, node: syntax.ListLiteral) -> Any:
        return [self.value(each) for each in node.items]

    def mapliteral(self, node: syntax.MapLiteral) -> Any:
        result: dict[Any, Any] = {}
        for key_node, value_node in node.entries:
            key, value = self.value(key_node), self.value(value_node)
            if type(key) not in (bool, int, UInt, str) or key_of(result, key) is not None:
                raise Wrong("key")
            result[BoolKey(key) if type(key) is bool else key] = value
        return result

    def unary(self, node: syntax.Unary) -> Any:
        value = self.value(node.operand)
        if node.operator == "!":
            return not truth(value)
        if type(value) not in (int, float, Duration):
            raise Wrong("negate")
        return ranged(type(value), -value)

    def logic(self, node: syntax.Logic) -> Any:
        deciding = node.operator == "||"
        wrong = None
        for each in node.operands:
            try:
                if truth(self.value(each)) is deciding:
                    return deciding
            except Wrong as error:
                wrong = error
        if wrong:
            raise wrong
        return not deciding

    def conditional(self, node: syntax.Conditional) -> Any:
        return self.value(node.then if truth(self.value(node.condition)) else node.otherwise)

    def binary(self, node: syntax.Binary) -> Any:
        left, right = self.value(node.left), self.value(node.right)
        match node.operator:
            case "==":
                return equal(left, right)
            case "!=":
                return not equal(left, right)
            case "in":
                return member(left, right)
            case "<" | "<=" | ">" | ">=":
                return ordered(node.operator, left, right)
        return arithmetic(node.operator, left, right)

    def comprehension(self, node: syntax.Comprehension) -> Any:
        target = self.value(node.target)
        if isinstance(target, dict):
            keys = [key.value if isinstance(key, BoolKey) else key for key in target]
            rounds: list[Any] = list(zip(keys, target.values(), strict=True))
            single: list[Any] = keys
        elif isinstance(target, list):
            rounds, single = list(enumerate(target)), target
        else:
            raise Wrong("walk")
        bound = [
            {**self.names, **dict(zip(node.variables, each, strict=True))}
            if len(node.variables) == 2
            else {**self.names, node.variables[0]: one}
            for each, one in zip(rounds, single, strict=True)
        ]
        if node.kind in ("all", "exists"):
            return self.quantified(node, bound)
        return self.collected(node, bound)

    def quantified(self, node: syntax.Comprehension, bound: list[dict[str, Any]]) -> Any:
        deciding = node.kind == "exists"
        wrong = None
        for names in bound:
            try:
                if truth(evaluate(node.body, names)) is deciding:
                    return deciding
            except Wrong as error:
                wrong = error
        if wrong:
            raise wrong
        return not deciding

    def collected(self, node: syntax.Comprehension, bound: list[dict[str, Any]]) -> Any:
        if node.condition is not None:
            bound = [names for names in bound if truth(evaluate(node.condition, names))]
        if node.kind == "exists_one":
            return sum(truth(evaluate(node.body, names)) for names in bound) == 1
        if node.kind == "filter":
            return [names[node.variables[0]] for names in bound if truth(evaluate(node.body, names))]
        values = [evaluate(node.body, names) for names in bound]
        return (
            values
            if node.kind == "map"
            else dict(zip((n[node.variables[0]] for n in bound), values, strict=True))
        )

    def bind(self, node: syntax.Bind) -> Any:
        return evaluate(node.body, {**self.names, node.name: self.value(node.value)})

    def call(self, node: syntax.Call) -> Any:
        arguments = [self.value(each) for each in node.arguments]
        if node.target is not None:
            arguments.insert(0, self.value(node.target))
        for types, function in FUNCTIONS.get((node.function, len(arguments)), ()):
            if all(kind is object or type(each) is kind for kind, each in zip(types, arguments, strict=True)):
                return function(*arguments)
        raise Wrong(node.function)


def truth(value: Any) -> bool:
    if type(value) is not bool:
        raise Wrong("bool")
    return value


def ranged(kind: type, value: Any) -> Any:
    if kind in RANGES:
        lowest, highest = RANGES[kind]
        if not lowest <= value <= highest:
            raise Wrong("overflow")
    return kind(value)


def equal(left: Any, right: Any) -> bool:
    if type(left) in NUMBERS and type(right) in NUMBERS:
        return bool(left == right)
    if type(left) is not type(right):
        return False
    if isinstance(left, list):
        return len(left) == len(right) and all(equal(a, b) for a, b in zip(left, right, strict=True))
    if isinstance(left, dict):
        return len(left) == len(right) and all(
            (found := key_of(right, plain(key))) is not None and equal(value, right[found[0]])
            for key, value in left.items()
        )
    return bool(left == right)


def plain(key: Any) -> Any:
    return key.value if isinstance(key, BoolKey) else key


def key_of(mapping: dict[Any, Any], key: Any) -> tuple[Any] | None:
    """The key as the map holds it."""
    for each in mapping:
        if equal(plain(each), key):
            return (each,)
    return None


def lookup(owner: Any, index: Any) -> Any:
    if isinstance(owner, dict):
        found = key_of(owner, index) if type(index) in (bool, int, UInt, float, str) else None
        if found is None:
            raise Wrong("key")
        return owner[found[0]]
    if isinstance(owner, list) and type(index) in NUMBERS and index == int(index) and 0 <= index < len(owner):
        return owner[int(index)]
    raise Wrong("index")


def member(left: Any, right: Any) -> bool:
    if isinstance(right, list):
        return any(equal(left, each) for each in right)
    if isinstance(right, dict):
        return key_of(right, left) is not None
    raise Wrong("in")


def ordered(operator: str, left: Any, right: Any) -> bool:
    numbers = type(left) in NUMBERS and type(right) in NUMBERS
    if not numbers and (
        type(left) is not type(right) or type(left) not in (bool, str, bytes, Timestamp, Duration)
    ):
        raise Wrong("order")
    results = {"<": left < right, "<=": left <= right, ">": left > right, ">=": left >= right}
    return bool(results[operator])


def arithmetic(operator: str, left: Any, right: Any) -> Any:
    kinds = (type(left), type(right))
    times = {
        ("+", Timestamp, Duration): Timestamp,
        ("+", Duration, Timestamp): Timestamp,
        ("+", Duration, Duration): Duration,
        ("-", Timestamp, Duration): Timestamp,
        ("-", Timestamp, Timestamp): Duration,
        ("-", Duration, Duration): Duration,
    }
    if (operator, *kinds) in times:
        return ranged(
            times[operator, *kinds], int(left) + int(right) if operator == "+" else int(left) - int(right)
        )
    if kinds[0] is not kinds[1]:
        raise Wrong("arithmetic")
    kind = kinds[0]
    if operator == "+" and kind in (str, bytes, list):
        return left + right
    if kind is float and operator in "+-*/":
        return real(operator, left, right)
    if kind not in (int, UInt):
        raise Wrong("arithmetic")
    return ranged(kind, whole(operator, int(left), int(right)))


def whole(operator: str, left: int, right: int) -> int:
    if operator in "/%" and right == 0:
        raise Wrong("divide")
    match operator:
        case "+":
            return left + right
        case "-":
            return left - right
        case "*":
            return left * right
    quotient = abs(left) // abs(right) * (1 if (left < 0) == (right < 0) else -1)
    return quotient if operator == "/" else left - right * quotient


def real(operator: str, left: float, right: float) -> float:
    with numpy.errstate(all="ignore"):
        a, b = numpy.float64(left), numpy.float64(right)
        return float({"+": a + b, "-": a - b, "*": a * b, "/": a / b}[operator])


def checked_int(value: float) -> int:
    if not -(2.0**63) < value < 2.0**63:
        raise Wrong("int")
    return int(value)


def checked_uint(value: float) -> int:
    if not 0.0 <= value < 2.0**64:
        raise Wrong("uint")
    return int(value)


def digits(text: str, signed: bool) -> int:
    body = text[1:] if signed and text[:1] in ("+", "-") else text
    if not (body.isascii() and body.isdigit()):
        raise Wrong("digits")
    return int(text)


def number(text: str) -> float:
    if text.strip() != text or "_" in text:
        raise Wrong("number")
    try:
        return float(text)
    except ValueError:
        raise Wrong("number") from None


FUNCTIONS: dict[tuple[str, int], list[tuple[tuple[type, ...], Callable[..., Any]]]] = {
    ("size", 1): [((kind,), len) for kind in (str, bytes, list, dict)],
    ("contains", 2): [((str, str), lambda text, part: part in text)],
    ("startsWith", 2): [((str, str), str.startswith)],
    ("endsWith", 2): [((str, str), str.endswith)],
    ("matches", 2): [((str, str), lambda text, pattern: re2.search(pattern, text) is not None)],
    ("int", 1): [
        ((int,), int),
        ((float,), checked_int),
        ((UInt,), lambda value: ranged(int, int(value))),
        ((Timestamp,), lambda value: int(value) // 10**9),
        ((str,), lambda text: ranged(int, digits(text, signed=True))),
    ],
    ("uint", 1): [
        ((UInt,), UInt),
        ((int,), lambda value: ranged(UInt, value)),
        ((float,), lambda value: ranged(UInt, checked_uint(value))),
        ((str,), lambda text: ranged(UInt, digits(text, signed=False))),
    ],
    ("double", 1): [((int,), float), ((UInt,), float), ((float,), float), ((str,), number)],
    ("string", 1): [
        ((str,), str),
        ((int,), str),
        ((UInt,), lambda value: str(int(value))),
        ((float,), string_of_double),
        ((bool,), lambda value: "true" if value else "false"),
        ((Timestamp,), timestamp_text),
        ((Duration,), duration_text),
    ],
    ("timestamp", 1): [((Timestamp,), Timestamp), ((str,), parse_timestamp)],
    ("duration", 1): [((Duration,), Duration), ((str,), parse_duration)],
    ("dyn", 1): [((object,), lambda value: value)],
}
