"""From a schema to the shape of what it accepts.

Only what holds of every accepted value is said: `type`, `properties`, `items`, `enum`, `$ref` and `allOf`
describe, every other keyword can only narrow further and is left out.
"""

from __future__ import annotations

from typing import Any

from flo.core.contract.check import CheckedDocument
from flo.core.contract.naming import attribute_names
from flo.core.contract.positions import Pointer
from flo.core.contract.references import at, resolve
from flo.core.contract.shape import (
    ANY,
    FieldShape,
    ListShape,
    MapShape,
    Nullable,
    ObjectShape,
    Scalar,
    ScalarName,
    Shape,
    meet,
)

_SCALARS: dict[str, ScalarName] = {
    "string": "string",
    "number": "double",
    "integer": "int",
    "boolean": "bool",
    "null": "null",
}


def describe(checked: CheckedDocument, *, structs: bool) -> Shape:
    """The shape of the document's data; `structs`: objects with named fields decode to structs, read by
    attribute."""
    return _Describer(checked, structs).at(())


class _Describer:
    def __init__(self, checked: CheckedDocument, structs: bool) -> None:
        self.checked = checked
        self.structs = structs
        self.done: dict[Pointer, Shape] = {}
        self.open: set[Pointer] = set()

    def at(self, pointer: Pointer) -> Shape:
        if pointer in self.open:
            return ANY  # a recursive schema: its depth is the data's, and the shape stops at the first return
        if pointer not in self.done:
            self.open.add(pointer)
            self.done[pointer] = self.schema(at(self.checked.value, pointer), pointer)
            self.open.remove(pointer)
        return self.done[pointer]

    def schema(self, schema: Any, pointer: Pointer) -> Shape:
        if isinstance(schema, bool):
            return ANY
        shape = self.typed(schema, pointer)
        if "enum" in schema:
            shape = meet(shape, _of_choices(schema["enum"]))
        if "const" in schema:
            shape = meet(shape, _of_choices([schema["const"]]))
        if "$ref" in schema:
            shape = meet(shape, self.at(resolve(self.checked.value, schema["$ref"], self.checked.anchors)))
        for index in range(len(schema.get("allOf", ()))):
            shape = meet(shape, self.at((*pointer, "allOf", index)))
        return shape

    def typed(self, schema: dict[str, Any], pointer: Pointer) -> Shape:
        names = type_names(schema)
        if names is None:
            return ANY
        solid = names - {"null"}
        if not solid:
            return Scalar("null")
        if len(solid) > 1:
            return ANY
        [name] = solid
        shape = self.one_type(name, schema, pointer)
        return Nullable(shape) if "null" in names else shape

    def one_type(self, name: str, schema: dict[str, Any], pointer: Pointer) -> Shape:
        if name in _SCALARS:
            return Scalar(_SCALARS[name])
        if name == "object":
            return self.object(schema, pointer)
        if "items" not in schema or "prefixItems" in schema:
            return ListShape(ANY)
        return ListShape(self.at((*pointer, "items")))

    def object(self, schema: dict[str, Any], pointer: Pointer) -> Shape:
        properties = schema.get("properties", {})
        required = schema.get("required", [])
        patterned = "patternProperties" in schema
        additional = schema.get("additionalProperties", True)
        if not properties and not required and (additional is not False or patterned):
            closed = patterned or isinstance(additional, bool)
            return MapShape(ANY if closed else self.at((*pointer, "additionalProperties")))
        names = [*properties, *(name for name in required if name not in properties)]
        attributes = attribute_names(names) if self.structs else {}
        fields = {
            name: FieldShape(
                self.at((*pointer, "properties", name)) if name in properties else ANY,
                name in required,
                attributes.get(name),
            )
            for name in names
        }
        return ObjectShape(fields, open=additional is not False or patterned)


def type_names(schema: dict[str, Any]) -> set[str] | None:
    """The types the schema names, or None where it names none; `integer` beside `number` says nothing
    more."""
    if "type" not in schema:
        return None
    given = schema["type"]
    names = {given} if isinstance(given, str) else set(given)
    return names - {"integer"} if "number" in names else names


def _of_choices(choices: list[Any]) -> Shape:
    solid = [choice for choice in choices if choice is not None]
    if not solid:
        return Scalar("null")
    kinds = {_kind(choice) for choice in solid}
    if kinds == {"int", "double"}:
        kinds = {"double"}
    if len(kinds) > 1 or None in kinds:
        return ANY
    [kind] = kinds
    assert kind is not None
    return Nullable(Scalar(kind)) if len(solid) < len(choices) else Scalar(kind)


def _kind(choice: Any) -> ScalarName | None:
    match choice:
        case bool():
            return "bool"
        case int():
            return "int"
        case float():
            return "int" if choice.is_integer() else "double"
        case str():
            return "string"
        case _:
            return None
