"""What the data of an accepted signal looks like: the description the expression type checker reads.

A shape says less than the schema (no bounds, no patterns) and is always true of decoded data: whatever
`Contract.decode` returns fits the contract's shape. Where the schema does not say, the shape is `AnyShape`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

ScalarName = Literal["bool", "int", "double", "string", "null"]


@dataclass(frozen=True, slots=True)
class Scalar:
    """One JSON scalar. `int` is a Python int of any size, `double` always a finite Python float."""

    name: ScalarName


@dataclass(frozen=True, slots=True)
class Nullable:
    """The shape, or null (Python None)."""

    shape: Shape


@dataclass(frozen=True, slots=True)
class ListShape:
    """A JSON array: a Python list whose items all have one shape."""

    item: Shape


@dataclass(frozen=True, slots=True)
class MapShape:
    """A JSON object used as a map: a Python dict, read by item, whose keys the contract does not name."""

    value: Shape


@dataclass(frozen=True, slots=True)
class FieldShape:
    """One named field of an object.

    `attribute` is the Python attribute that holds it where objects decode to structs, or None where they are
    plain dicts read by the field's own name. An absent optional field is `msgspec.UNSET` in a struct and a
    missing key in a dict.
    """

    shape: Shape
    required: bool
    attribute: str | None


@dataclass(frozen=True, slots=True)
class ObjectShape:
    """A JSON object with named fields. `open`: fields the contract does not name are allowed."""

    fields: dict[str, FieldShape]
    open: bool


@dataclass(frozen=True, slots=True)
class AnyShape:
    """Any JSON value, as plain Python (dict, list, str, int, float, bool, None)."""


Shape = Scalar | Nullable | ListShape | MapShape | ObjectShape | AnyShape

ANY = AnyShape()
NULL = Scalar("null")


def meet(one: Shape, other: Shape) -> Shape:
    """A shape true of every value both shapes are true of. Where they contradict, no value exists and any
    answer is true; the first is given."""
    if isinstance(one, AnyShape):
        return other
    if isinstance(other, AnyShape):
        return one
    if NULL in (one, other) and (isinstance(one, Nullable) or isinstance(other, Nullable)):
        return NULL
    if isinstance(one, Nullable):
        return (
            Nullable(meet(one.shape, other.shape)) if isinstance(other, Nullable) else meet(one.shape, other)
        )
    if isinstance(other, Nullable):
        return meet(one, other.shape)
    if isinstance(one, Scalar) and isinstance(other, Scalar):
        # Whoever says double makes it a float when it is decoded, whatever else is said.
        return other if (one.name, other.name) == ("int", "double") else one
    if isinstance(one, ListShape) and isinstance(other, ListShape):
        return ListShape(meet(one.item, other.item))
    if isinstance(one, MapShape) and isinstance(other, MapShape):
        return MapShape(meet(one.value, other.value))
    if isinstance(one, MapShape) and isinstance(other, ObjectShape):
        return other
    if isinstance(one, ObjectShape) and isinstance(other, ObjectShape):
        return ObjectShape(_meet_fields(one.fields, other.fields), one.open and other.open)
    return one


def _meet_fields(one: dict[str, FieldShape], other: dict[str, FieldShape]) -> dict[str, FieldShape]:
    fields = dict(one)
    for name, field in other.items():
        if name in fields:
            mine = fields[name]
            shape = meet(mine.shape, field.shape)
            field = FieldShape(shape, mine.required or field.required, mine.attribute or field.attribute)
        fields[name] = field
    return fields
