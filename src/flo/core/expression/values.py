"""The values expressions work on, and what equality and order mean between them.

JSON's own values stand for themselves: None, bool, int, float, str, list, dict. What JSON lacks is a
subclass of int (unsigned integers, timestamps, durations: plain numbers inside, so statically typed code
runs on them at full speed) or a small class. Where the type of a value is known statically it may be a
bare int; where it is not, it is one of these classes, and `type(value)` tells which.
"""

from __future__ import annotations

from typing import Final

INT_MIN: Final = -(2**63)
INT_MAX: Final = 2**63 - 1
UINT_MAX: Final = 2**64 - 1
DURATION_NS_MIN: Final = INT_MIN
DURATION_NS_MAX: Final = INT_MAX
TIMESTAMP_NS_MIN: Final = -62_135_596_800 * 10**9
TIMESTAMP_NS_MAX: Final = 253_402_300_800 * 10**9 - 1
"""The years 1 to 9999, in nanoseconds since the epoch."""


class UInt(int):
    """An unsigned integer of 64 bits. Whoever makes one has checked the range."""

    __slots__ = ()

    def __repr__(self) -> str:
        return f"{int(self)}u"


class Timestamp(int):
    """A moment: nanoseconds since the epoch, UTC, of the years 1 to 9999."""

    __slots__ = ()

    def __repr__(self) -> str:
        return f"Timestamp({int(self)})"


class Duration(int):
    """A span of time: nanoseconds, in the range of a signed integer of 64 bits (about 292 years)."""

    __slots__ = ()

    def __repr__(self) -> str:
        return f"Duration({int(self)})"


class CelType:
    """A type as a value: what `type(x)` gives."""

    __slots__ = ("name",)

    def __init__(self, name: str) -> None:
        self.name = name

    def __eq__(self, other: object) -> bool:
        return isinstance(other, CelType) and other.name == self.name

    def __hash__(self) -> int:
        return hash(self.name)

    def __repr__(self) -> str:
        return f"CelType({self.name})"


class BoolKey:
    """A bool as the key of a map: to Python `True` and `1` are one key, to CEL they are two."""

    __slots__ = ("value",)

    def __init__(self, value: bool) -> None:
        self.value = value

    def __repr__(self) -> str:
        return f"BoolKey({self.value})"


TRUE_KEY: Final = BoolKey(True)
FALSE_KEY: Final = BoolKey(False)

NUMBERS: Final = frozenset({int, UInt, float})
LISTS: Final = frozenset({list, tuple})

TYPE_NAMES: Final[dict[type, str]] = {
    bool: "bool",
    int: "int",
    UInt: "uint",
    float: "double",
    str: "string",
    bytes: "bytes",
    type(None): "null_type",
    list: "list",
    tuple: "list",
    dict: "map",
    Timestamp: "google.protobuf.Timestamp",
    Duration: "google.protobuf.Duration",
    CelType: "type",
}
CEL_TYPES: Final[dict[str, CelType]] = {name: CelType(name) for name in TYPE_NAMES.values()}


def type_name(value: object) -> str:
    """CEL's name for the type of a value; Python's where CEL has none."""
    return TYPE_NAMES.get(type(value)) or ("map" if isinstance(value, dict) else type(value).__name__)


def to_key(value: object) -> object:
    """A value as the key of a map."""
    if value is True:
        return TRUE_KEY
    if value is False:
        return FALSE_KEY
    return value


def from_key(key: object) -> object:
    """The value a map's key stands for."""
    return key.value if type(key) is BoolKey else key


def keys_of(mapping: dict[object, object]) -> list[object]:
    """The keys of a map as values, in order."""
    return [from_key(key) for key in mapping]


def equals(left: object, right: object) -> bool:
    """CEL's `==`: numbers by value whatever their type (exactly), everything else only with its own kind."""
    kind, other = type(left), type(right)
    if kind in NUMBERS:
        return other in NUMBERS and left == right
    if kind is list or kind is tuple:
        return (
            (other is list or other is tuple)
            and len(left) == len(right)  # type: ignore[arg-type]
            and all(map(equals, left, right))  # type: ignore[call-overload]
        )
    if isinstance(left, dict):
        return isinstance(right, dict) and _maps_equal(left, right)
    return kind is other and left == right


def _maps_equal(left: dict[object, object], right: dict[object, object]) -> bool:
    if len(left) != len(right):
        return False
    return all(not (key not in right or not equals(value, right[key])) for key, value in left.items())


def contains(element: object, values: list[object] | tuple[object, ...]) -> bool:
    """CEL's `in` on a list."""
    return any(equals(element, value) for value in values)
