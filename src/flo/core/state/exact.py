"""Sums of doubles without rounding: a value is kept as the integer `value * 2**100`, so what is added can be taken away.

A double of magnitude 2**-48 or more is a multiple of 2**-100 (52 bits of fraction below its leading bit), so the product
is an integer, and `whole(x * 2.0**100)` is it: the multiplication by a power of two is exact. Smaller values (and only
those) are kept as a `Fraction` of the same scale, which mixes with integers and costs a microsecond instead of a tenth.
Read back with `total * 2.0**-100`, the sum is rounded once, as `math.fsum` rounds it, whatever was evicted.

Values beyond `MAGNITUDE_MAX` and those that are not finite are refused before anything changes: below that bound
neither the scaled total nor the sum of 2**63 values can leave the range of a double.
"""

from __future__ import annotations

from collections.abc import Iterable
from fractions import Fraction
from math import isqrt
from typing import Any, NoReturn

from flo.core.errors import InputError
from flo.core.expression.values import NUMBERS, Duration, Timestamp, UInt, type_name

SCALE_BITS = 100
SCALE = 2.0**SCALE_BITS
UNSCALE = 2.0**-SCALE_BITS
PLAIN_MIN = 4e-15  # just above 2**-48
MAGNITUDE_MAX = 1e250
INT_MIN = -(2**63)
INT_MAX = 2**63 - 1

Exact = int | Fraction

whole = float.__trunc__
"""The integer a double is, in two thirds of the time `int` takes: the path of every signal comes by here twice."""


class StateError(InputError, ValueError):
    """A value that the state cannot take (nothing has changed then), or a figure read that CEL cannot hold."""


def exact(value: float, name: str) -> Exact:
    """The scaled value of any double or int that the plain path does not take; refuses what is not finite or too large."""
    if not value:  # the one common value that is not plain
        return 0
    if not -MAGNITUDE_MAX < value < MAGNITUDE_MAX:
        refuse_magnitude(value, name)
    numerator, denominator = value.as_integer_ratio()
    scaled, rest = divmod(numerator << SCALE_BITS, denominator)
    return Fraction(numerator << SCALE_BITS, denominator) if rest else scaled


def scaled(value: float) -> Exact:
    """The scaled value of a number already in the state."""
    if PLAIN_MIN < value < MAGNITUDE_MAX or -MAGNITUDE_MAX < value < -PLAIN_MIN:
        return whole(value * SCALE)
    return exact(value, "")


def scaled_sum(values: Iterable[float]) -> Exact:
    return sum(map(scaled, values))


def scaled_squares(values: Iterable[float]) -> Exact:
    return sum(v * v for v in map(scaled, values))


def number(value: Any, name: str) -> float:
    """A number of unknown type as a double, checked; booleans are not numbers."""
    if type(value) not in NUMBERS:
        raise StateError(
            f"state {name}: {type_name(value)} where a number is measured;"
            " convert it with double() or guard it with a condition"
        )
    if not -MAGNITUDE_MAX < value < MAGNITUDE_MAX:
        refuse_magnitude(value, name)
    return float(value)


def refuse_magnitude(value: float, name: str) -> NoReturn:
    raise StateError(
        f"state {name}: cannot measure {value!r}; values must be finite and below {MAGNITUDE_MAX:g} in magnitude"
    )


def refuse_condition(value: object, name: str) -> NoReturn:
    raise StateError(
        f"state {name}: {type_name(value)} {value!r} where a condition is counted;"
        " write a comparison that yields true or false"
    )


def scalar(value: object, name: str) -> object:
    """A value of unknown type that can be told apart from others; a boolean is no number, whatever Python says."""
    kind = type(value)
    if kind is str or kind is int or kind is bytes:
        return value
    if isinstance(value, UInt):
        return int(value)
    if isinstance(value, Timestamp | Duration):
        return f"\0{value!r}"
    if kind is bool:
        return "\0true" if value else "\0false"
    if kind is float and value == value:
        return value
    raise StateError(f"state {name}: cannot count distinct values of {type_name(value)}; name a scalar field")


def refuse_int(value: int, name: str) -> NoReturn:
    raise StateError(f"state {name}: {value} is beyond 64 bits; measure a double() or a shorter window")


def standard_deviation(count: int, total: Exact, squares: Exact, scale_bits: int) -> float:
    """The population's standard deviation from exact sums of values and squares, within one unit in the last place.

    `total` is scaled by 2**scale_bits, `squares` by its square. The variance times count² is exact, so nothing cancels.
    """
    spread = count * squares - total * total
    if spread <= 0:
        return 0.0
    numerator, denominator = spread.as_integer_ratio()
    denominator *= count * count << 2 * scale_bits
    shift = max(0, (140 - numerator.bit_length() + denominator.bit_length()) // 2 + 1)
    return isqrt((numerator << 2 * shift) // denominator) / (1 << shift)
