"""The function table: every operator and function an expression may use. What is not here does not exist."""

from __future__ import annotations

import math
from typing import Final

from flo.core.expression import conversions as to
from flo.core.expression import mathematics, operators, strings, times
from flo.core.expression.functions import Function, Growth, Overload
from flo.core.expression.types import (
    BOOL,
    BYTES,
    DOUBLE,
    DURATION,
    DYN,
    INT,
    STRING,
    TIMESTAMP,
    TYPE,
    UINT,
    ListOf,
    MapOf,
    Simple,
    Type,
)

_LIST: Final = ListOf(DYN)
_MAP: Final = MapOf(DYN, DYN)


def _arithmetic(sign: str) -> list[Overload]:
    text = "({0} " + sign + " {1})"
    checked = [Overload((kind, kind), kind, inline=text, fallible=True, bounded=True) for kind in (INT, UINT)]
    return [*checked, Overload((DOUBLE, DOUBLE), DOUBLE, inline=text)]


def _shift_time(left: Simple, sign: str, right: Simple, result: Simple) -> Overload:
    return Overload((left, right), result, inline="({0} " + sign + " {1})", fallible=True, bounded=True)


OPERATORS: Final[dict[str, Function]] = {
    "+": Function(
        "+",
        (
            *_arithmetic("+"),
            Overload((STRING, STRING), STRING, inline="({0} + {1})", scans=True, growth="sum"),
            Overload((BYTES, BYTES), BYTES, inline="({0} + {1})", scans=True, growth="sum"),
            Overload((_LIST, _LIST), _LIST, inline="[*{0}, *{1}]", scans=True, growth="sum"),
            _shift_time(TIMESTAMP, "+", DURATION, TIMESTAMP),
            _shift_time(DURATION, "+", TIMESTAMP, TIMESTAMP),
            _shift_time(DURATION, "+", DURATION, DURATION),
        ),
    ),
    "-": Function(
        "-",
        (
            *_arithmetic("-"),
            _shift_time(TIMESTAMP, "-", DURATION, TIMESTAMP),
            _shift_time(TIMESTAMP, "-", TIMESTAMP, DURATION),
            _shift_time(DURATION, "-", DURATION, DURATION),
        ),
    ),
    "*": Function("*", tuple(_arithmetic("*"))),
    "/": Function(
        "/",
        (
            Overload((INT, INT), INT, call=operators.int_divide, fallible=True),
            Overload((UINT, UINT), UINT, call=operators.int_divide, fallible=True),
            Overload((DOUBLE, DOUBLE), DOUBLE, call=operators.double_divide),
        ),
    ),
    "%": Function(
        "%",
        (
            Overload((INT, INT), INT, call=operators.int_modulo, fallible=True),
            Overload((UINT, UINT), UINT, call=operators.int_modulo, fallible=True),
        ),
    ),
    "negate": Function(
        "-",
        (
            Overload((INT,), INT, inline="(-{0})", fallible=True, bounded=True),
            Overload((DOUBLE,), DOUBLE, inline="(-{0})"),
            Overload((DURATION,), DURATION, inline="(-{0})", fallible=True, bounded=True),
        ),
    ),
}


def _conversion(
    given: Type, result: Type, call: object, fallible: bool = True, growth: Growth = "one"
) -> Overload:
    return Overload((given,), result, call=call, fallible=fallible, growth=growth)  # type: ignore[arg-type]


def _same(kind: Type, growth: Growth = "one") -> Overload:
    return Overload((kind,), kind, inline="{0}", growth=growth)


_SIZES: Final = tuple(Overload((kind,), INT, inline="len({0})") for kind in (STRING, BYTES, _LIST, _MAP))
_MATCHES: Final = (Overload((STRING, STRING), BOOL, call=strings.matches, fallible=True, scans=True),)

_GLOBALS: Final[dict[str, tuple[Overload, ...]]] = {
    "size": _SIZES,
    "matches": _MATCHES,
    "dyn": (Overload((DYN,), DYN, inline="{0}", growth="first"),),
    "type": (Overload((DYN,), TYPE, call=to.type_of),),
    "int": (
        _same(INT),
        _conversion(UINT, INT, to.int_of_uint),
        _conversion(DOUBLE, INT, to.int_of_double),
        _conversion(STRING, INT, to.int_of_string),
        _conversion(TIMESTAMP, INT, to.int_of_timestamp, False),
    ),
    "uint": (
        _same(UINT),
        _conversion(INT, UINT, to.uint_of_int),
        _conversion(DOUBLE, UINT, to.uint_of_double),
        _conversion(STRING, UINT, to.uint_of_string),
    ),
    "double": (
        _same(DOUBLE),
        Overload((INT,), DOUBLE, inline="float({0})"),
        Overload((UINT,), DOUBLE, inline="float({0})"),
        _conversion(STRING, DOUBLE, to.double_of_string),
    ),
    "string": (
        _same(STRING, "first"),
        Overload((BOOL,), STRING, call=to.string_of_bool),
        Overload((INT,), STRING, inline="str({0})"),
        Overload((UINT,), STRING, inline="str(int({0}))"),
        Overload((DOUBLE,), STRING, call=to.string_of_double),
        _conversion(BYTES, STRING, to.string_of_bytes, growth="first"),
        Overload((TIMESTAMP,), STRING, call=times.timestamp_text),
        Overload((DURATION,), STRING, call=times.duration_text),
    ),
    "bytes": (_same(BYTES, "first"), _conversion(STRING, BYTES, to.bytes_of_string, False, "first")),
    "bool": (_same(BOOL), _conversion(STRING, BOOL, to.bool_of_string)),
    "timestamp": (
        _same(TIMESTAMP),
        _conversion(STRING, TIMESTAMP, times.parse_timestamp),
        _conversion(INT, TIMESTAMP, to.timestamp_of_int),
    ),
    "duration": (_same(DURATION), _conversion(STRING, DURATION, times.parse_duration)),
    "strings.quote": (_conversion(STRING, STRING, strings.quote, False, "first"),),
    "math.greatest": (Overload((), DYN, call=mathematics.greatest, fallible=True, variadic=True),),
    "math.least": (Overload((), DYN, call=mathematics.least, fallible=True, variadic=True),),
    "math.ceil": (_conversion(DOUBLE, DOUBLE, mathematics.ceil, False),),
    "math.floor": (_conversion(DOUBLE, DOUBLE, mathematics.floor, False),),
    "math.round": (_conversion(DOUBLE, DOUBLE, mathematics.round_half_away, False),),
    "math.trunc": (_conversion(DOUBLE, DOUBLE, mathematics.trunc, False),),
    "math.abs": (
        _conversion(INT, INT, mathematics.abs_int),
        _same(UINT),
        Overload((DOUBLE,), DOUBLE, inline="abs({0})"),
    ),
    "math.sign": (
        _conversion(INT, INT, mathematics.sign_int, False),
        Overload((UINT,), UINT, inline="min({0}, 1)"),
        _conversion(DOUBLE, DOUBLE, mathematics.sign_double, False),
    ),
    "math.sqrt": (
        _conversion(DOUBLE, DOUBLE, mathematics.square_root, False),
        _conversion(INT, DOUBLE, mathematics.square_root, False),
        _conversion(UINT, DOUBLE, mathematics.square_root, False),
    ),
    "math.isNaN": (_conversion(DOUBLE, BOOL, math.isnan, False),),
    "math.isInf": (_conversion(DOUBLE, BOOL, math.isinf, False),),
    "math.isFinite": (_conversion(DOUBLE, BOOL, math.isfinite, False),),
    "math.bitAnd": tuple(Overload((kind, kind), kind, inline="({0} & {1})") for kind in (INT, UINT)),
    "math.bitOr": tuple(Overload((kind, kind), kind, inline="({0} | {1})") for kind in (INT, UINT)),
    "math.bitXor": tuple(Overload((kind, kind), kind, inline="({0} ^ {1})") for kind in (INT, UINT)),
    "math.bitNot": (
        Overload((INT,), INT, inline="(~{0})"),
        _conversion(UINT, UINT, mathematics.bit_not_uint, False),
    ),
    "math.bitShiftLeft": (
        Overload((INT, INT), INT, call=mathematics.shift_left_int, fallible=True),
        Overload((UINT, INT), UINT, call=mathematics.shift_left_uint, fallible=True),
    ),
    "math.bitShiftRight": (
        Overload((INT, INT), INT, call=mathematics.shift_right_int, fallible=True),
        Overload((UINT, INT), UINT, call=mathematics.shift_right_uint, fallible=True),
    ),
}

_GETTERS: Final = {
    "getFullYear": times.full_year,
    "getMonth": times.month,
    "getDate": times.date,
    "getDayOfMonth": times.day_of_month,
    "getDayOfWeek": times.day_of_week,
    "getDayOfYear": times.day_of_year,
    "getHours": times.hours,
    "getMinutes": times.minutes,
    "getSeconds": times.seconds,
    "getMilliseconds": times.milliseconds,
}
_DURATION_GETTERS: Final = {"getHours": 3600 * 10**9, "getMinutes": 60 * 10**9, "getSeconds": 10**9}


def _getter(name: str) -> tuple[Overload, ...]:
    call = _GETTERS[name]
    overloads = [
        Overload((TIMESTAMP,), INT, call=call),
        Overload((TIMESTAMP, STRING), INT, call=call, fallible=True),
    ]
    if name in _DURATION_GETTERS:
        unit_ns = _DURATION_GETTERS[name]

        def whole(length_ns: int) -> int:
            return times.duration_whole(length_ns, unit_ns)

        overloads.append(Overload((DURATION,), INT, call=whole))
    if name == "getMilliseconds":
        overloads.append(Overload((DURATION,), INT, call=_duration_milliseconds))
    return tuple(overloads)


def _duration_milliseconds(length_ns: int) -> int:
    return times.duration_whole(length_ns, 10**6) % 1000


def _text(
    result: Type, *more: Type, inline: str | None = None, call: object = None, **rest: object
) -> Overload:
    return Overload((STRING, *more), result, inline=inline, call=call, **rest)  # type: ignore[arg-type]


_METHODS: Final[dict[str, tuple[Overload, ...]]] = {
    "size": _SIZES,
    "matches": _MATCHES,
    "contains": (_text(BOOL, STRING, inline="({1} in {0})", scans=True),),
    "startsWith": (_text(BOOL, STRING, inline="{0}.startswith({1})"),),
    "endsWith": (_text(BOOL, STRING, inline="{0}.endswith({1})"),),
    **{name: _getter(name) for name in _GETTERS},
    "charAt": (_text(STRING, INT, call=strings.char_at, fallible=True),),
    "indexOf": (
        _text(INT, STRING, inline="{0}.find({1})", scans=True),
        _text(INT, STRING, INT, call=strings.index_of, fallible=True, scans=True),
    ),
    "lastIndexOf": (
        _text(INT, STRING, inline="{0}.rfind({1})", scans=True),
        _text(INT, STRING, INT, call=strings.last_index_of, fallible=True, scans=True),
    ),
    "substring": (
        _text(STRING, INT, call=strings.substring_from, fallible=True, growth="first"),
        _text(STRING, INT, INT, call=strings.substring, fallible=True, growth="first"),
    ),
    "replace": (
        _text(STRING, STRING, STRING, call=strings.replace_all, fallible=True, scans=True, growth="product"),
        _text(STRING, STRING, STRING, INT, call=strings.replace, fallible=True, scans=True, growth="product"),
    ),
    "split": (
        _text(ListOf(STRING), STRING, call=strings.split, scans=True, growth="first"),
        _text(ListOf(STRING), STRING, INT, call=strings.split, scans=True, growth="first"),
    ),
    "lowerAscii": (_text(STRING, call=strings.lower_ascii, scans=True, growth="first"),),
    "upperAscii": (_text(STRING, call=strings.upper_ascii, scans=True, growth="first"),),
    "trim": (_text(STRING, call=strings.trim, scans=True, growth="first"),),
    "reverse": (_text(STRING, inline="{0}[::-1]", scans=True, growth="first"),),
    "format": (_text(STRING, _LIST, call=strings.format_text, fallible=True, scans=True, growth="sum"),),
    "join": (
        Overload((_LIST,), STRING, call=strings.concatenate, fallible=True, scans=True, growth="sum"),
        Overload((_LIST, STRING), STRING, call=strings.join, fallible=True, scans=True, growth="sum"),
    ),
}

FUNCTIONS: Final = {name: Function(name, overloads) for name, overloads in _GLOBALS.items()}
"""Called as `name(...)`."""

METHODS: Final = {name: Function(name, overloads) for name, overloads in _METHODS.items()}
"""Called as `value.name(...)`."""
