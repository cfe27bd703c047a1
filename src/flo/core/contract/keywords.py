"""The keywords of JSON Schema 2020-12: what each one's value must be, and which JSON type it speaks about.

Source: the vocabularies core, applicator, unevaluated, validation, meta-data, format-annotation and content
of https://json-schema.org/draft/2020-12/schema. JSON Schema lets unknown keywords pass as annotations, which
turns a typing error into a contract that accepts everything; FLO knows this table and refuses what is not in
it, except names that begin with `x-`.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum, auto


class ValueKind(Enum):
    """What the value of a keyword is."""

    ANYTHING = auto()
    STRING = auto()
    BOOLEAN = auto()
    COUNT = auto()  # an integer, 0 or more
    NUMBER = auto()
    POSITIVE = auto()  # a number above 0
    NAMES = auto()  # an array of strings, none twice
    NAMES_MAP = auto()  # an object of such arrays
    TYPES = auto()
    CHOICES = auto()  # an array of at least one value, none twice
    PATTERN = auto()
    REFERENCE = auto()
    DIALECT = auto()
    ROOT_ID = auto()
    ANCHOR = auto()
    SCHEMA = auto()
    SCHEMAS = auto()  # an array of at least one schema
    SCHEMA_MAP = auto()
    PATTERN_MAP = auto()  # schemas by regular expression


@dataclass(frozen=True, slots=True)
class Keyword:
    """`speaks_of` is the JSON type the keyword constrains: it is silent about values of any other type.
    `in_place`: its subschemas apply to the same value as the keyword does."""

    kind: ValueKind
    speaks_of: str = "any"
    annotates: bool = False
    in_place: bool = False


def _about(speaks_of: str, kinds: dict[str, ValueKind]) -> dict[str, Keyword]:
    return {name: Keyword(kind, speaks_of) for name, kind in kinds.items()}


def _annotations(kind: ValueKind, *names: str) -> dict[str, Keyword]:
    return {name: Keyword(kind, annotates=True) for name in names}


def _in_place(kind: ValueKind, *names: str, speaks_of: str = "any") -> dict[str, Keyword]:
    return {name: Keyword(kind, speaks_of, in_place=True) for name in names}


KEYWORDS: dict[str, Keyword] = {
    "$schema": Keyword(ValueKind.DIALECT, annotates=True),
    "$id": Keyword(ValueKind.ROOT_ID, annotates=True),
    "$anchor": Keyword(ValueKind.ANCHOR, annotates=True),
    "$dynamicAnchor": Keyword(ValueKind.ANCHOR),
    "$ref": Keyword(ValueKind.REFERENCE, in_place=True),
    "$dynamicRef": Keyword(ValueKind.REFERENCE, in_place=True),
    "$defs": Keyword(ValueKind.SCHEMA_MAP, annotates=True),
    "definitions": Keyword(ValueKind.SCHEMA_MAP, annotates=True),
    **_annotations(ValueKind.STRING, "$comment", "title", "description", "format"),
    **_annotations(ValueKind.STRING, "contentEncoding", "contentMediaType"),
    **_annotations(ValueKind.SCHEMA, "contentSchema"),
    **_annotations(ValueKind.ANYTHING, "default", "examples"),
    **_annotations(ValueKind.BOOLEAN, "deprecated", "readOnly", "writeOnly"),
    "type": Keyword(ValueKind.TYPES),
    "enum": Keyword(ValueKind.CHOICES),
    "const": Keyword(ValueKind.ANYTHING),
    **_in_place(ValueKind.SCHEMAS, "allOf", "anyOf", "oneOf"),
    **_in_place(ValueKind.SCHEMA, "not", "if", "then", "else"),
    **_in_place(ValueKind.SCHEMA_MAP, "dependentSchemas", speaks_of="object"),
    **_about(
        "number",
        {
            "minimum": ValueKind.NUMBER,
            "maximum": ValueKind.NUMBER,
            "exclusiveMinimum": ValueKind.NUMBER,
            "exclusiveMaximum": ValueKind.NUMBER,
            "multipleOf": ValueKind.POSITIVE,
        },
    ),
    **_about(
        "string",
        {"minLength": ValueKind.COUNT, "maxLength": ValueKind.COUNT, "pattern": ValueKind.PATTERN},
    ),
    **_about(
        "array",
        {
            "items": ValueKind.SCHEMA,
            "prefixItems": ValueKind.SCHEMAS,
            "contains": ValueKind.SCHEMA,
            "minContains": ValueKind.COUNT,
            "maxContains": ValueKind.COUNT,
            "minItems": ValueKind.COUNT,
            "maxItems": ValueKind.COUNT,
            "uniqueItems": ValueKind.BOOLEAN,
            "unevaluatedItems": ValueKind.SCHEMA,
        },
    ),
    **_about(
        "object",
        {
            "properties": ValueKind.SCHEMA_MAP,
            "patternProperties": ValueKind.PATTERN_MAP,
            "additionalProperties": ValueKind.SCHEMA,
            "unevaluatedProperties": ValueKind.SCHEMA,
            "propertyNames": ValueKind.SCHEMA,
            "required": ValueKind.NAMES,
            "dependentRequired": ValueKind.NAMES_MAP,
            "minProperties": ValueKind.COUNT,
            "maxProperties": ValueKind.COUNT,
        },
    ),
}

TYPE_NAMES = ("object", "array", "string", "number", "integer", "boolean", "null")

# Keywords of older drafts, and what says the same today.
SUCCESSORS = {
    "id": "$id",
    "dependencies": "dependentRequired or dependentSchemas",
    "additionalItems": "items, beside prefixItems",
    "$recursiveRef": "$dynamicRef",
    "$recursiveAnchor": "$dynamicAnchor",
    "extends": "allOf",
    "divisibleBy": "multipleOf",
    "disallow": "not",
}


def is_annotation(name: str) -> bool:
    """Whether the keyword says nothing about which values are accepted."""
    keyword = KEYWORDS.get(name)
    return name.startswith("x-") if keyword is None else keyword.annotates
