"""Conversions between the types of expressions, and between values and JSON."""

from __future__ import annotations

import base64
import math
import re

import msgspec

from flo.core.expression.errors import EvaluationError, Place
from flo.core.expression.times import (
    duration_text,
    parse_duration,
    parse_timestamp,
    timestamp_of,
    timestamp_text,
)
from flo.core.expression.types import BYTES, DOUBLE, DURATION, TIMESTAMP, UINT, Type
from flo.core.expression.values import (
    INT_MAX,
    INT_MIN,
    UINT_MAX,
    BoolKey,
    CelType,
    Duration,
    Timestamp,
    UInt,
    to_key,
    type_name,
)

_INT = re.compile(r"[+-]?\d{1,40}", re.ASCII)
_UINT = re.compile(r"\d{1,40}", re.ASCII)
_DOUBLE = re.compile(r"[+-]?(?:(?:\d+\.?\d*|\.\d+)(?:e[+-]?\d+)?|inf|infinity|nan)", re.ASCII | re.IGNORECASE)
_TRUE = frozenset({"1", "t", "T", "true", "TRUE", "True"})
_FALSE = frozenset({"0", "f", "F", "false", "FALSE", "False"})


def _bad(value: object, what: str, why: str, at: Place | None) -> EvaluationError:
    shown = repr(value) if not isinstance(value, str) else repr(value[:100])
    return EvaluationError("bad_conversion", f"{shown} is no {what}: {why}", at)


def int_of_uint(value: int, at: Place | None = None) -> int:
    if value > INT_MAX:
        raise EvaluationError("overflow", f"{value}u is larger than an int can be", at)
    return int(value)


def int_of_double(value: float, at: Place | None = None) -> int:
    # The bounds themselves are refused: 2^63 - 1 is no double, and CEL's tests want the same of -2^63.
    if not -9223372036854775808.0 < value < 9223372036854775808.0:
        raise EvaluationError("overflow", f"{value!r} is out of the range of int", at)
    return int(value)


def int_of_string(value: str, at: Place | None = None) -> int:
    """Decimal text as an int of 64 bits."""
    if _INT.fullmatch(value) is None:
        raise _bad(value, "int", "only digits and a sign are read", at)
    number = int(value)
    if not INT_MIN <= number <= INT_MAX:
        raise EvaluationError("overflow", f"{value} is out of the range of int", at)
    return number


def int_of_timestamp(value: int) -> int:
    return int(value) // 10**9


def uint_of_int(value: int, at: Place | None = None) -> int:
    if value < 0:
        raise EvaluationError("overflow", f"{value} is negative; a uint is not", at)
    return UInt(value)


def uint_of_double(value: float, at: Place | None = None) -> int:
    if not 0.0 <= value < 18446744073709551616.0:
        raise EvaluationError("overflow", f"{value!r} is out of the range of uint", at)
    return UInt(value)


def uint_of_string(value: str, at: Place | None = None) -> int:
    """Decimal text as an unsigned int of 64 bits."""
    if _UINT.fullmatch(value) is None:
        raise _bad(value, "uint", "only digits are read", at)
    number = int(value)
    if number > UINT_MAX:
        raise EvaluationError("overflow", f"{value} is out of the range of uint", at)
    return UInt(number)


def double_of_string(value: str, at: Place | None = None) -> float:
    if len(value) > 400 or _DOUBLE.fullmatch(value) is None:
        raise _bad(value, "double", "write it as 1.5 or 1e3", at)
    return float(value)


def bool_of_string(value: str, at: Place | None = None) -> bool:
    if value in _TRUE:
        return True
    if value in _FALSE:
        return False
    raise _bad(value, "bool", "write true or false", at)


def string_of_bool(value: bool) -> str:
    return "true" if value else "false"


def string_of_double(value: float) -> str:
    """The shortest text that reads back as the same double, without a trailing `.0`."""
    if not math.isfinite(value):
        return "NaN" if math.isnan(value) else "+Inf" if value > 0 else "-Inf"
    text = repr(float(value))
    return text[:-2] if text.endswith(".0") else text


def string_of_bytes(value: bytes, at: Place | None = None) -> str:
    try:
        return value.decode("utf-8")
    except UnicodeDecodeError as error:
        raise _bad(value[:100], "UTF-8 text", str(error), at) from None


def bytes_of_string(value: str) -> bytes:
    return value.encode("utf-8", "surrogatepass")


def timestamp_of_int(value: int, at: Place | None = None) -> Timestamp:
    return timestamp_of(value * 10**9, at)


def type_of(value: object) -> CelType:
    return CelType(type_name(value))


def record_value(value: object) -> object:
    """A struct, or a list or map that may hold structs, as plain dicts and lists, without absent fields."""
    return msgspec.to_builtins(value)


def to_json(value: object) -> object:
    """A value of the expression language as JSON: timestamps and durations become text, bytes base64, uint
    int.

    Doubles without a JSON form (NaN, infinities) become the text protobuf's JSON gives them. Keys become
    text.
    """
    kind = type(value)
    if kind is str or kind is int or kind is bool or value is None:
        return value
    if kind is float:
        return value if math.isfinite(value) else _non_finite(value)  # type: ignore[arg-type]
    if kind is dict:
        return {_json_key(key): to_json(item) for key, item in value.items()}  # type: ignore[attr-defined]
    if kind is list or kind is tuple:
        return [to_json(item) for item in value]  # type: ignore[attr-defined]
    if isinstance(value, Timestamp):
        return timestamp_text(value)
    if isinstance(value, Duration):
        return duration_text(value)
    if isinstance(value, UInt):
        return int(value)
    if isinstance(value, bytes):
        return base64.b64encode(value).decode()
    if isinstance(value, CelType):
        return value.name
    return to_json(record_value(value))


def _non_finite(value: float) -> str:
    return "NaN" if math.isnan(value) else "Infinity" if value > 0 else "-Infinity"


def _json_key(key: object) -> str:
    if isinstance(key, BoolKey):
        return string_of_bool(key.value)
    return key if isinstance(key, str) else str(int(key))  # type: ignore[call-overload]


def to_cel(value: object, kind: Type | None = None) -> object:
    """A JSON value (or what a Python function returned) as a value of the expression language.

    With a type, text becomes the timestamp, duration or bytes it stands for, and numbers the declared
    kind. Raises EvaluationError where the value is nothing the language knows (`bad_conversion`).
    """
    found = type(value)
    if kind is not None and kind in (TIMESTAMP, DURATION, BYTES, UINT, DOUBLE):
        return from_json(value, kind)
    if found is int:
        if not INT_MIN <= value <= INT_MAX:  # type: ignore[operator]
            raise EvaluationError("overflow", f"{value} is out of the range of int")
        return value
    if found is dict:
        return {to_key(key): to_cel(item) for key, item in value.items()}  # type: ignore[attr-defined]
    if found is list or found is tuple:
        return [to_cel(item) for item in value]  # type: ignore[attr-defined]
    if value is None or found in (bool, float, str, bytes, UInt, Timestamp, Duration, CelType):
        return value
    if isinstance(value, msgspec.Struct):
        return to_cel(record_value(value))
    raise EvaluationError(
        "bad_conversion", f"a Python {found.__name__} is no value of the expression language"
    )


def from_json(value: object, kind: Type, at: Place | None = None) -> object:
    """A recorded value of a declared type. Values that already are of the type pass unchanged."""
    if kind == TIMESTAMP and not isinstance(value, Timestamp):
        return (
            parse_timestamp(value, at)
            if isinstance(value, str)
            else Timestamp(_whole(value, "timestamp", at))
        )
    if kind == DURATION and not isinstance(value, Duration):
        return (
            parse_duration(value, at) if isinstance(value, str) else Duration(_whole(value, "duration", at))
        )
    if kind == UINT and not isinstance(value, UInt):
        return UInt(_whole(value, "uint", at))
    if kind == DOUBLE and type(value) is int:
        return float(value)
    if kind == BYTES and isinstance(value, str):
        return base64.b64decode(value)
    return value


def _whole(value: object, what: str, at: Place | None) -> int:
    if isinstance(value, int) and type(value) is not bool:
        return value
    raise EvaluationError("bad_conversion", f"{value!r} is no {what}", at)
