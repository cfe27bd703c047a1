"""Everything wrong with a contract document, with its place: the check that comes before anything is
compiled."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from difflib import get_close_matches
from typing import Any, TypeGuard

import jsonschema_rs

from flo.core.contract.keywords import KEYWORDS, SUCCESSORS, TYPE_NAMES, ValueKind
from flo.core.contract.pattern import REGEX_OPTIONS, pattern_problem
from flo.core.contract.positions import JsonProblem, PlacedJson, Pointer, line_and_column, read_placed_json
from flo.core.contract.references import UnresolvedReference, pointer_text, resolve
from flo.core.errors import Problem

DIALECT = "https://json-schema.org/draft/2020-12/schema"
_BOUNDS = (
    ("minimum", "maximum"),
    ("minLength", "maxLength"),
    ("minItems", "maxItems"),
    ("minProperties", "maxProperties"),
    ("minContains", "maxContains"),
)


@dataclass(slots=True)
class CheckedDocument:
    """A document that passed: its value, and where its anchors and schemas are."""

    value: dict[str, Any] | bool
    anchors: dict[str, Pointer]
    schemas: frozenset[Pointer]


def check_document(document: bytes, file: str) -> tuple[CheckedDocument | None, list[Problem]]:
    """The checked document, or every problem found in it, in the order of the file."""
    try:
        text = document.decode("utf-8")
    except UnicodeDecodeError as error:
        line = document.count(b"\n", 0, error.start) + 1
        column = error.start - (document.rfind(b"\n", 0, error.start) + 1) + 1
        return None, [Problem(file, line, column, "the contract is not UTF-8 text", "save it as UTF-8")]
    try:
        placed = read_placed_json(text)
    except JsonProblem as problem:
        line, column = line_and_column(text, problem.offset)
        return None, [Problem(file, line, column, problem.message, problem.hint)]
    checker = _Checker(placed, file)
    checker.check()
    if checker.problems:
        return None, sorted(checker.problems, key=lambda problem: (problem.line, problem.column))
    return CheckedDocument(placed.value, checker.anchors, frozenset(checker.schemas)), []


@dataclass(slots=True)
class _Checker:
    placed: PlacedJson
    file: str
    problems: list[Problem] = field(default_factory=list)
    anchors: dict[str, Pointer] = field(default_factory=dict)
    schemas: set[Pointer] = field(default_factory=set)
    references: list[tuple[Pointer, str]] = field(default_factory=list)
    # From a schema to those that judge the same value: a ring here never ends.
    same_value: dict[Pointer, list[Pointer]] = field(default_factory=dict)

    def check(self) -> None:
        document = self.placed.value
        self.schema(document, ())
        for pointer, reference in self.references:
            self.reference(pointer, reference)
        if not self.problems:
            self.rings()
        if not self.problems:
            self.compiles()

    def say(self, pointer: Pointer, message: str, hint: str | None = None, *, key: bool = False) -> None:
        line, column = self.placed.key_place(pointer) if key else self.placed.value_place(pointer)
        self.problems.append(Problem(self.file, line, column, message, hint))

    def schema(self, schema: Any, pointer: Pointer) -> None:
        self.schemas.add(pointer)
        if isinstance(schema, bool):
            return
        if not isinstance(schema, dict):
            self.say(pointer, f"a schema is an object, true or false, not {_shown(schema)}")
            return
        for name, value in schema.items():
            if name in KEYWORDS:
                self.keyword(name, value, (*pointer, name))
            elif not name.startswith("x-"):
                self.say(
                    (*pointer, name),
                    f"{name!r} is not a JSON Schema 2020-12 keyword",
                    _nearest(name),
                    key=True,
                )
        self.contradictions(schema, pointer)

    def keyword(self, name: str, value: Any, pointer: Pointer) -> None:
        kind = KEYWORDS[name].kind
        wrong = _wrong_value(kind, value)
        if wrong is not None:
            self.say(pointer, f"{name!r} is {_shown(value)}, but must be {wrong}", _value_hint(kind, value))
            return
        match kind:
            case ValueKind.SCHEMA:
                self.subschema(name, value, pointer, pointer[:-1])
            case ValueKind.SCHEMAS:
                for index, item in enumerate(value):
                    self.subschema(name, item, (*pointer, index), pointer[:-1])
            case ValueKind.SCHEMA_MAP | ValueKind.PATTERN_MAP:
                for key, item in value.items():
                    if kind is ValueKind.PATTERN_MAP:
                        self.pattern(key, (*pointer, key), key=True)
                    self.subschema(name, item, (*pointer, key), pointer[:-1])
            case ValueKind.PATTERN:
                self.pattern(value, pointer)
            case ValueKind.REFERENCE:
                self.references.append((pointer, value))
            case ValueKind.ANCHOR:
                self.anchors[value] = pointer[:-1]
            case ValueKind.ROOT_ID if len(pointer) > 1:
                self.say(
                    pointer, "'$id' inside a contract would start another document", "use $defs and $ref"
                )
            case _:
                pass

    def subschema(self, name: str, schema: Any, pointer: Pointer, parent: Pointer) -> None:
        if KEYWORDS[name].in_place:
            self.same_value.setdefault(parent, []).append(pointer)
        self.schema(schema, pointer)

    def pattern(self, pattern: str, pointer: Pointer, *, key: bool = False) -> None:
        wrong = pattern_problem(pattern)
        if wrong is not None:
            hint = "write it without, or state the rule in a loop's rules"
            self.say(pointer, f"the pattern {_shown(pattern)} {wrong}", hint, key=key)

    def reference(self, pointer: Pointer, reference: str) -> None:
        try:
            target = resolve(self.placed.value, reference, self.anchors)
        except UnresolvedReference as error:
            known = [f"#{pointer_text(schema)}" for schema in self.schemas if schema]
            known += [f"#{anchor}" for anchor in self.anchors]
            near = get_close_matches(reference, known, 1, 0.6)
            hint = (
                f"did you mean {near[0]!r}?" if near else "copy the schema it names into $defs of this file"
            )
            self.say(pointer, f"'$ref': {error}", hint)
            return
        if target not in self.schemas:
            self.say(
                pointer, f"'$ref': {reference!r} does not name a schema", "reference something under $defs"
            )
            return
        self.same_value.setdefault(pointer[:-1], []).append(target)

    def contradictions(self, schema: dict[str, Any], pointer: Pointer) -> None:
        """Schemas no value satisfies: each is legal JSON Schema, and each is a typing error."""
        for low, high in _BOUNDS:
            least, most = schema.get(low), schema.get(high)
            if _is_number(least) and _is_number(most) and least > most:
                self.say(
                    (*pointer, low), f"{low!r} {least} is above {high!r} {most}: nothing could be accepted"
                )
        required, properties = schema.get("required"), schema.get("properties")
        if schema.get("additionalProperties") is not False or "patternProperties" in schema:
            return
        if not isinstance(required, list) or not isinstance(properties, dict | None):
            return
        named = list(properties or ())
        for index, name in enumerate(required):
            if isinstance(name, str) and name not in named:
                near = get_close_matches(name, named, 1, 0.6)
                self.say(
                    (*pointer, "required", index),
                    f"{name!r} is required, but no property is named so and 'additionalProperties' is false",
                    f"did you mean {near[0]!r}?" if near else f"add {name!r} to 'properties'",
                )

    def rings(self) -> None:
        """Schemas that lead back to themselves for one and the same value, found by walking depth first."""
        done: set[Pointer] = set()
        for start in self.same_value:
            if start in done:
                continue
            path: dict[Pointer, Iterator[Pointer]] = {start: iter(self.same_value[start])}
            while path:
                last = next(reversed(path))
                following = next(path[last], None)
                if following is None:
                    done.add(last)
                    del path[last]
                elif following in path:
                    self.say(last, f"the schema at #{pointer_text(following)} is defined by itself")
                    return
                elif following not in done:
                    path[following] = iter(self.same_value.get(following, ()))

    def compiles(self) -> None:
        """The last word is the full validator's: what it cannot compile is a problem even if nothing above
        saw why."""
        try:
            full_validator(self.placed.value)
        except jsonschema_rs.ValidationError as error:
            self.say(tuple(error.instance_path), f"the schema is not valid: {error.message[:200]}")
        except (ValueError, jsonschema_rs.ReferencingError) as error:
            self.say((), f"the schema cannot be used: {str(error)[:200]}")


def full_validator(document: dict[str, Any] | bool) -> jsonschema_rs.Draft202012Validator:
    """The complete JSON Schema 2020-12 validator: linear-time patterns, nothing fetched, `format` an
    annotation."""
    return jsonschema_rs.Draft202012Validator(
        document, validate_formats=False, pattern_options=REGEX_OPTIONS, offline=True
    )


def _is_number(value: Any) -> TypeGuard[int | float]:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _is_names(value: Any) -> bool:
    if not isinstance(value, list) or not all(isinstance(item, str) for item in value):
        return False
    return len(set(value)) == len(value)


def _is_count(value: Any) -> bool:
    return _is_number(value) and value >= 0 and value == int(value)


def _is_types(value: Any) -> bool:
    names = [value] if isinstance(value, str) else value
    return bool(names) and _is_names(names) and all(name in TYPE_NAMES for name in names)


def _wrong_value(kind: ValueKind, value: Any) -> str | None:  # one case a kind
    """What the value of a keyword of this kind must be, where it is not."""
    match kind:
        case (
            ValueKind.STRING | ValueKind.PATTERN | ValueKind.REFERENCE | ValueKind.ROOT_ID | ValueKind.ANCHOR
        ):
            return None if isinstance(value, str) else "a string"
        case ValueKind.BOOLEAN:
            return None if isinstance(value, bool) else "true or false"
        case ValueKind.COUNT:
            return None if _is_count(value) else "a whole number, 0 or more"
        case ValueKind.NUMBER:
            return None if _is_number(value) else "a number"
        case ValueKind.POSITIVE:
            return None if _is_number(value) and value > 0 else "a number above 0"
        case ValueKind.NAMES:
            return None if _is_names(value) else "a list of names, none twice"
        case ValueKind.NAMES_MAP:
            right = isinstance(value, dict) and all(map(_is_names, value.values()))
            return None if right else "an object of lists of names, none twice"
        case ValueKind.TYPES:
            return (
                None if _is_types(value) else f"one of {', '.join(TYPE_NAMES)}, or a list of them, none twice"
            )
        case ValueKind.CHOICES:
            return None if isinstance(value, list) and value else "a list of at least one value"
        case ValueKind.DIALECT:
            right = isinstance(value, str) and value.rstrip("#") == DIALECT
            return None if right else f'"{DIALECT}"'
        case ValueKind.SCHEMAS:
            return None if isinstance(value, list) and value else "a list of at least one schema"
        case ValueKind.SCHEMA_MAP | ValueKind.PATTERN_MAP:
            return None if isinstance(value, dict) else "an object of schemas by name"
        case ValueKind.SCHEMA | ValueKind.ANYTHING:
            return None


def _value_hint(kind: ValueKind, value: Any) -> str | None:
    if kind is ValueKind.TYPES:
        for name in [value] if isinstance(value, str) else value if isinstance(value, list) else []:
            if name not in TYPE_NAMES:
                near = get_close_matches(str(name), TYPE_NAMES, 1, 0.5)
                return f"did you mean {near[0]!r}?" if near else None
    if kind is ValueKind.DIALECT:
        return "contracts are JSON Schema 2020-12"
    return None


def _nearest(name: str) -> str | None:
    if name in SUCCESSORS:
        return f"2020-12 says {SUCCESSORS[name]}"
    near = get_close_matches(name, KEYWORDS, 1, 0.6)
    return (
        f"did you mean {near[0]!r}? (a note of your own begins with 'x-')"
        if near
        else ("a note of your own begins with 'x-'")
    )


def _shown(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 60 else text[:59] + "…"
