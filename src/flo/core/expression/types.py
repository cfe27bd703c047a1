"""The types of expressions, and how generated code reaches the fields of a record."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from dataclasses import field as of


class Type:
    """Any type. Compare with `==`; print with `str`."""

    __slots__ = ()


@dataclass(frozen=True, slots=True)
class Simple(Type):
    """A type without parameters."""

    name: str

    def __str__(self) -> str:
        return self.name


BOOL = Simple("bool")
INT = Simple("int")
UINT = Simple("uint")
DOUBLE = Simple("double")
STRING = Simple("string")
BYTES = Simple("bytes")
NULL = Simple("null")
TIMESTAMP = Simple("timestamp")
DURATION = Simple("duration")
TYPE = Simple("type")
DYN = Simple("dyn")
"""Known only when the expression runs: its value carries its own type."""

NUMERIC = frozenset({INT, UINT, DOUBLE})


@dataclass(frozen=True, slots=True)
class ListOf(Type):
    """A list; at run time a Python list or tuple."""

    element: Type

    def __str__(self) -> str:
        return f"list({self.element})"


@dataclass(frozen=True, slots=True)
class MapOf(Type):
    """A map; at run time a Python dict."""

    key: Type
    value: Type

    def __str__(self) -> str:
        return f"map({self.key}, {self.value})"


@dataclass(frozen=True, slots=True)
class Attribute:
    """The field is a Python attribute: `data.amount`. Absent is `msgspec.UNSET`."""

    name: str

    def code(self, owner: str) -> str:
        return f"{owner}.{self.name}"


@dataclass(frozen=True, slots=True)
class Item:
    """The field is an item of a dict: `data["amount"]`. Absent is a missing key."""

    name: str

    def code(self, owner: str) -> str:
        return f"{owner}[{self.name!a}]"


@dataclass(frozen=True, slots=True)
class Local:
    """The field is a local variable of the generated function: `s_count_10m`. Absent is `msgspec.UNSET`."""

    name: str

    def code(self, owner: str) -> str:
        return self.name


@dataclass(frozen=True, slots=True)
class Recorded(Item):
    """The field is an item of a dict of recorded JSON, where timestamps, durations and bytes are text."""


@dataclass(frozen=True, slots=True)
class Field:
    """A field of a record.

    A field of a simple type must really hold it: `double` a float (an int compares right but is no double
    to `type()`), `timestamp` and `duration` an int of nanoseconds, `uint` an int. Reading an absent
    optional field is an EvaluationError (`no_such_field`); `has()` tests it.
    """

    type: Type
    required: bool = True
    access: Attribute | Item | Local | None = None
    """None: an item of the field's own name."""


@dataclass(frozen=True, slots=True, eq=False)
class Record(Type):
    """Named fields of known types.

    `open`: keys that are not declared may be there too; they are read as items and are `dyn`. `mapping`:
    the Python value is a dict, so the record may also be used whole, as a map. A record that is not is
    used whole through `Variable.whole`, or, inside another record, by turning the struct into a dict.
    """

    name: str
    fields: Mapping[str, Field] = of(default_factory=dict)
    open: bool = False
    mapping: bool = False

    def __str__(self) -> str:
        return self.name


@dataclass(frozen=True, slots=True)
class Variable:
    """A name of the environment: its type and the Python expression that yields it (by default the name
    itself).

    `whole` is the Python expression that yields a record as a dict, for expressions that use it as one
    value.
    """

    type: Type
    code: str | None = None
    whole: str | None = None


WHOLE_RECORD = MapOf(STRING, DYN)
"""What a record is when used as one value."""


def erased(kind: Type) -> Type:
    """The type of a value once it is used whole: records become maps."""
    if isinstance(kind, Record):
        return WHOLE_RECORD
    if isinstance(kind, ListOf):
        return ListOf(erased(kind.element))
    if isinstance(kind, MapOf):
        return MapOf(kind.key, erased(kind.value))
    return kind


def holds_record(kind: Type) -> bool:
    """Whether a value of this type may contain a struct, which must become a dict before its type is
    forgotten.
    """
    if isinstance(kind, Record):
        return not kind.mapping or any(holds_record(each.type) for each in kind.fields.values())
    if isinstance(kind, ListOf):
        return holds_record(kind.element)
    return isinstance(kind, MapOf) and holds_record(kind.value)


def assignable(given: Type, wanted: Type) -> bool:
    """Whether a value of type `given` may be where `wanted` is asked for; `dyn` on either side: perhaps, so
    yes.
    """
    given, wanted = erased(given), erased(wanted)
    if given in (wanted, DYN) or wanted == DYN:
        return True
    if isinstance(given, ListOf) and isinstance(wanted, ListOf):
        return assignable(given.element, wanted.element)
    if isinstance(given, MapOf) and isinstance(wanted, MapOf):
        return assignable(given.key, wanted.key) and assignable(given.value, wanted.value)
    return False


def joined(left: Type, right: Type) -> Type:
    """The narrowest type that takes both."""
    if left == right or left is right:
        return left
    left, right = erased(left), erased(right)
    if left == right:
        return left
    if isinstance(left, ListOf) and isinstance(right, ListOf):
        return ListOf(joined(left.element, right.element))
    if isinstance(left, MapOf) and isinstance(right, MapOf):
        return MapOf(joined(left.key, right.key), joined(left.value, right.value))
    return DYN


def comparable(left: Type, right: Type) -> bool:
    """Whether `==` between the two can ever be true: the same type, or both numbers, or not known before."""
    left, right = erased(left), erased(right)
    if left in NUMERIC and right in NUMERIC:
        return True
    if isinstance(left, ListOf) and isinstance(right, ListOf):
        return comparable(left.element, right.element)
    if isinstance(left, MapOf) and isinstance(right, MapOf):
        return comparable(left.key, right.key) and comparable(left.value, right.value)
    return assignable(left, right)
