"""The functions of CEL's math extension."""

from __future__ import annotations

import math

from flo.core.expression.errors import EvaluationError, Place
from flo.core.expression.values import INT_MIN, NUMBERS, UINT_MAX, UInt, type_name

_INT_BITS = 2**64 - 1


def greatest(*values: object) -> object:
    """The largest of some numbers of any types; the first of equals. The last argument is the place."""
    return _extreme(values, largest=True)


def least(*values: object) -> object:
    """The smallest of some numbers of any types; the first of equals. The last argument is the place."""
    return _extreme(values, largest=False)


def _extreme(values: tuple[object, ...], largest: bool) -> object:
    *given, at = values
    if len(given) == 1 and isinstance(given[0], list | tuple):
        given = list(given[0])
        if not given:
            raise EvaluationError("bad_argument", "an empty list has no extreme", at)  # type: ignore[arg-type]
    best: object = None
    for value in given:
        if type(value) not in NUMBERS:
            message = f"{type_name(value)} where a number is needed"
            raise EvaluationError("no_matching_overload", message, at)  # type: ignore[arg-type]
        if best is None or (value > best if largest else value < best):  # type: ignore[operator]
            best = value
    return best


def ceil(value: float) -> float:
    return float(math.ceil(value)) if math.isfinite(value) else value


def floor(value: float) -> float:
    return float(math.floor(value)) if math.isfinite(value) else value


def trunc(value: float) -> float:
    return float(math.trunc(value)) if math.isfinite(value) else value


def round_half_away(value: float) -> float:
    """To the nearest whole number, halves away from zero."""
    if not math.isfinite(value):
        return value
    whole = math.trunc(value)
    return float(whole + (abs(value - whole) >= 0.5) * int(math.copysign(1, value)))


def abs_int(value: int, at: Place | None = None) -> int:
    if value == INT_MIN:
        raise EvaluationError("overflow", f"abs({value}) is out of the range of int", at)
    return abs(value)


def sign_int(value: int) -> int:
    return (value > 0) - (value < 0)


def sign_double(value: float) -> float:
    return value if math.isnan(value) else float((value > 0) - (value < 0))


def square_root(value: float) -> float:
    return math.sqrt(value) if value >= 0 else math.nan


def bit_not_uint(value: int) -> int:
    return UInt(UINT_MAX ^ value)


def _shift(by: int, at: Place | None) -> int:
    if by < 0:
        raise EvaluationError("bad_argument", f"cannot shift by {by}: write the other direction", at)
    return min(by, 64)


def shift_left_int(value: int, by: int, at: Place | None = None) -> int:
    """Within 64 bits; what is shifted out is lost, the top bit is the sign."""
    bits = (value << _shift(by, at)) & _INT_BITS
    return bits - 2**64 if bits >= 2**63 else bits


def shift_left_uint(value: int, by: int, at: Place | None = None) -> int:
    return UInt((value << _shift(by, at)) & _INT_BITS)


def shift_right_int(value: int, by: int, at: Place | None = None) -> int:
    """Logical: zeros come in from the top, also for negative numbers."""
    steps = _shift(by, at)
    bits = (value & _INT_BITS) >> steps
    return bits - 2**64 if bits >= 2**63 else bits


def shift_right_uint(value: int, by: int, at: Place | None = None) -> int:
    return UInt(value >> _shift(by, at))
