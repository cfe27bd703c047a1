"""From a schema to a type that msgspec decodes into, where msgspec's verdict is provably the schema's.

The built type may refuse what the schema accepts (1.0 for an integer, a key that stands twice): the caller
then asks the full validator. It must never accept what the schema refuses. A keyword for which that is not
proven raises
NeedsFullValidator, and the whole contract goes the slow way.
"""

from __future__ import annotations

import math
import re
from types import GenericAlias
from typing import Annotated, Any, Literal, Union

import msgspec
from msgspec import UNSET, Meta, UnsetType

from flo.core.contract.check import CheckedDocument, full_validator
from flo.core.contract.describe import type_names
from flo.core.contract.keywords import KEYWORDS, is_annotation
from flo.core.contract.naming import attribute_names
from flo.core.contract.pattern import python_pattern
from flo.core.contract.positions import Pointer
from flo.core.contract.references import at, pointer_text, resolve

_INT64 = range(-(2**63), 2**63)
# Below this every integer is a double of its own, so comparing the double is comparing the integer.
_EXACT_MAX = 2**53
CALM_MAX = 2**62
"""Whoever reads a number within this knows, without looking at its digits, that 64 bits hold it."""
_UNWRITABLE = re.compile(r'["\\\x00-\x1f]')  # field names msgspec cannot rename to
_SPEAKS_OF = {"integer": "number"}
_DONE = {
    "string": {"minLength", "maxLength", "pattern"},
    "integer": {"minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "multipleOf"},
    "number": {"minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum"},
    "boolean": set[str](),
    "array": {"items", "minItems", "maxItems"},
    "object": {"properties", "required", "additionalProperties"},
}


class NeedsFullValidator(Exception):
    """A schema msgspec cannot be trusted with; the message names the place and the keyword."""

    def __init__(self, pointer: Pointer, why: str) -> None:
        super().__init__(f"{pointer_text(pointer)}: {why}")


def build_type(
    checked: CheckedDocument, name: str, *, closed: bool, calm: bool = False
) -> tuple[Any, bool, bool]:
    """The type for the document's data, whether it skips unnamed fields, whether it holds parts of any shape.

    `closed`: refuse every unnamed field, also where the schema allows them. `calm`: refuse numbers beyond
    `CALM_MAX` too. Raises NeedsFullValidator.
    """
    builder = _Builder(checked, name, closed, calm)
    return builder.at(()), builder.skips, builder.free


class _Builder:
    def __init__(self, checked: CheckedDocument, name: str, closed: bool, calm: bool) -> None:
        self.checked = checked
        self.name = re.sub(r"[^A-Za-z0-9]", "_", name)
        self.closed = closed
        self.calm = calm
        self.skips = False
        self.free = False
        self.done: dict[Pointer, Any] = {}
        self.open: set[Pointer] = set()

    def at(self, pointer: Pointer) -> Any:
        if pointer in self.open:
            raise NeedsFullValidator(pointer, "the schema is recursive")
        if pointer not in self.done:
            self.open.add(pointer)
            self.done[pointer] = self.schema(at(self.checked.value, pointer), pointer)
            self.open.remove(pointer)
        return self.done[pointer]

    def schema(self, schema: Any, pointer: Pointer) -> Any:
        if schema is False:
            raise NeedsFullValidator(pointer, "the schema false")
        rules = (
            {} if schema is True else {name: rule for name, rule in schema.items() if not is_annotation(name)}
        )
        if not rules:
            self.free = True
            return Any
        for name in ("$ref", "enum", "const"):
            if name in rules:
                return self.reference(rules, pointer) if name == "$ref" else self.choices(rules, pointer)
        names = type_names(rules)
        if names is None:
            raise NeedsFullValidator(
                pointer, f"no 'type', so {_first(rules)!r} lets values of other types pass"
            )
        solid = names - {"null"}
        if len(solid) > 1:
            raise NeedsFullValidator(pointer, "'type' names several types")
        name = solid.pop() if solid else "null"
        built = self.one_type(name, rules, pointer)
        return Union[built, None] if "null" in names and name != "null" else built  # noqa: UP007

    def reference(self, rules: dict[str, Any], pointer: Pointer) -> Any:
        if len(rules) > 1:
            raise NeedsFullValidator(pointer, f"'$ref' beside {_first(rules, '$ref')!r}")
        return self.at(resolve(self.checked.value, rules["$ref"], self.checked.anchors))

    def choices(self, rules: dict[str, Any], pointer: Pointer) -> Any:
        """A Literal of the choices that the other keywords beside `enum` or `const` let pass."""
        for name in rules:
            if KEYWORDS[name].in_place or (
                KEYWORDS[name].speaks_of == "any" and name not in ("type", "enum", "const")
            ):
                raise NeedsFullValidator(pointer, f"'enum' beside {name!r}")
        given = rules["enum"] if "enum" in rules else [rules["const"]]
        if any(not isinstance(choice, str | int | None) or isinstance(choice, bool) for choice in given):
            raise NeedsFullValidator(pointer, "'enum' or 'const' holds more than strings, integers and null")
        full = full_validator(rules)
        left = tuple(choice for choice in given if full.is_valid(choice))
        kinds = {type(choice) for choice in left} - {type(None)}
        if len(kinds) != 1:
            raise NeedsFullValidator(pointer, "'enum' is left with no choice, only null, or several types")
        if kinds == {int} and (
            "number" in (type_names(rules) or ()) or any(c not in _INT64 for c in left if c is not None)
        ):
            raise NeedsFullValidator(pointer, "'enum' of numbers that are not 64-bit integers")
        return Literal[left]

    def one_type(self, name: str, rules: dict[str, Any], pointer: Pointer) -> Any:
        if name == "null":
            raise NeedsFullValidator(pointer, "only null is accepted")
        for rule in rules:
            spoken = KEYWORDS[rule].speaks_of
            about_it = spoken in ("any", _SPEAKS_OF.get(name, name))
            if rule != "type" and rule not in _DONE[name] and (about_it or KEYWORDS[rule].in_place):
                raise NeedsFullValidator(pointer, f"{rule!r} of {name}")
        match name:
            case "string":
                return _string(rules, pointer)
            case "integer":
                return _with_meta(int, _calmed(_integer(rules, pointer), CALM_MAX if self.calm else None))
            case "number":
                bounds = _calmed(_number(rules, pointer), float(CALM_MAX) if self.calm else None)
                return _with_meta(float, bounds)
            case "array":
                return self.array(rules, pointer)
            case "object":
                return self.object(rules, pointer)
            case _:
                return bool

    def array(self, rules: dict[str, Any], pointer: Pointer) -> Any:
        item: Any = Any
        if "items" in rules:
            item = self.at((*pointer, "items"))
        self.free = self.free or item is Any
        return _with_meta(list[item], _lengths(rules, pointer, "minItems", "maxItems"))

    def object(self, rules: dict[str, Any], pointer: Pointer) -> Any:
        properties, required = rules.get("properties", {}), rules.get("required", [])
        additional = rules.get("additionalProperties", True)
        if not properties and not required and additional is not False:
            self.free = True
            value: Any = Any
            if additional is not True:
                value = self.at((*pointer, "additionalProperties"))
            return GenericAlias(dict, (str, value))
        if additional is True or (isinstance(additional, dict) and all(map(is_annotation, additional))):
            self.skips = True
        elif additional is not False:
            raise NeedsFullValidator(
                pointer, "'properties' or 'required' beside an 'additionalProperties' schema"
            )
        names = [*properties, *(name for name in required if name not in properties)]
        attributes = attribute_names(names)
        fields: list[tuple[str, Any] | tuple[str, Any, Any]] = []
        for name in names:
            if _UNWRITABLE.search(name):
                raise NeedsFullValidator(pointer, f"a field named {name!r}")
            built: Any = Any
            if name in properties:
                built = self.at((*pointer, "properties", name))
            self.free = self.free or built is Any
            attribute = attributes[name]
            if name in required:
                fields.append((attribute, built))
            else:
                fields.append((attribute, Union[built, UnsetType], UNSET))  # noqa: UP007
        return msgspec.defstruct(
            "_".join((self.name, *map(str, pointer[1::2]))) or "data",
            fields,
            rename={attribute: name for name, attribute in attributes.items() if name != attribute},
            forbid_unknown_fields=self.closed or additional is False,
            kw_only=True,
            frozen=True,
            gc=False,
        )


def _string(rules: dict[str, Any], pointer: Pointer) -> Any:
    constraints: dict[str, Any] = _lengths(rules, pointer, "minLength", "maxLength")
    if "pattern" in rules:
        pattern = python_pattern(rules["pattern"])
        if pattern is None:
            raise NeedsFullValidator(
                pointer, f"the pattern {rules['pattern']!r} is not provably linear in Python's re"
            )
        constraints["pattern"] = pattern
    return _with_meta(str, constraints)


def _integer(rules: dict[str, Any], pointer: Pointer) -> dict[str, Any]:
    constraints: dict[str, Any] = {}
    if least := [math.ceil(rules[name]) for name in ("minimum",) if name in rules] + [
        math.floor(rules[name]) + 1 for name in ("exclusiveMinimum",) if name in rules
    ]:
        constraints["ge"] = max(least)
    if most := [math.floor(rules[name]) for name in ("maximum",) if name in rules] + [
        math.ceil(rules[name]) - 1 for name in ("exclusiveMaximum",) if name in rules
    ]:
        constraints["le"] = min(most)
    if "multipleOf" in rules:
        step = rules["multipleOf"]
        if step != int(step):
            raise NeedsFullValidator(pointer, "'multipleOf' is not a whole number")
        constraints["multiple_of"] = int(step)
    if any(bound not in _INT64 for bound in constraints.values()):
        raise NeedsFullValidator(pointer, "a bound beyond 64 bits")
    return constraints


def _number(rules: dict[str, Any], pointer: Pointer) -> dict[str, Any]:
    bounds = {name: rules[name] for name in _DONE["number"] if name in rules}
    if any(abs(bound) >= _EXACT_MAX for bound in bounds.values()):
        raise NeedsFullValidator(pointer, "a bound too large to compare as a double")
    constraints: dict[str, Any] = {}
    low, above = bounds.get("minimum"), bounds.get("exclusiveMinimum")
    if above is not None and (low is None or above >= low):
        constraints["gt"] = float(above)
    elif low is not None:
        constraints["ge"] = float(low)
    high, below = bounds.get("maximum"), bounds.get("exclusiveMaximum")
    if below is not None and (high is None or below <= high):
        constraints["lt"] = float(below)
    elif high is not None:
        constraints["le"] = float(high)
    return constraints


def _calmed(constraints: dict[str, Any], most: int | float | None) -> dict[str, Any]:
    """The constraints, and where they leave a side open, a bound on it."""
    if most is None:
        return constraints
    low = {} if "ge" in constraints or "gt" in constraints else {"ge": -most}
    high = {} if "le" in constraints or "lt" in constraints else {"le": most}
    return {**constraints, **low, **high}


def _lengths(rules: dict[str, Any], pointer: Pointer, low: str, high: str) -> dict[str, Any]:
    lengths = {}
    for name, constraint in ((low, "min_length"), (high, "max_length")):
        if name in rules:
            lengths[constraint] = int(rules[name])
            if lengths[constraint] not in _INT64:
                raise NeedsFullValidator(pointer, f"{name!r} beyond 64 bits")
    return lengths


def _with_meta(base: Any, constraints: dict[str, Any]) -> Any:
    return Annotated[base, Meta(**constraints)] if constraints else base


def _first(rules: dict[str, Any], without: str = "") -> str:
    return next(name for name in rules if name != without)
