"""Strategies: schemas from the grammar that msgspec can express and from the one that it cannot, and JSON to
try."""

from __future__ import annotations

import json
from typing import Any

from hypothesis import strategies as st

NAMES = ("amount", "card", "class", "a-b", "é", "__init__", "note")
PATTERNS = ("^[A-Z]{2}$", "^tx_[0-9]+$", "[a-c]", "^\\d{1,3}-\\w*$", "a|b", "^(x+)+$", "^[^a]$", "\\.")
WORDS = (
    "",
    "a",
    "b",
    "DE",
    "tx_12",
    "12-ab",
    "xx",
    "é",
    "😀",
    "e\u0301",
    "a\n",
    "DE\n",
    "x" * 9,
    "1",
    "null",
    "٣-",
)
EDGE_NUMBERS: tuple[Any, ...] = (
    *(0, -0.0, 1, 1.0, -1, 2, 3, 5, 0.1, 0.3, 1.5, 2.5, 1e22, 1e300, 5e-324, 2**53, 2**53 + 1, float(2**53)),
    *(2**63 - 1, 2**63, -(2**63), -(2**63) - 1, 2**64, 2**64 + 1, 10**30, -(10**30), 10**400),
)

numbers = st.one_of(st.sampled_from(EDGE_NUMBERS), st.integers(-20, 20), st.floats(-20, 20))
bounds = st.one_of(
    st.integers(-5, 5),
    st.sampled_from((0.5, -1.5, 2.0, 2**53 - 1, 2**53, 2**63 - 1, 2**63, 10**30, 1e22)),
)
strings = st.one_of(st.sampled_from(WORDS), st.text(max_size=6))
scalars = st.one_of(st.none(), st.booleans(), numbers, strings)


def any_json() -> st.SearchStrategy[Any]:
    keys = st.one_of(st.sampled_from(NAMES), st.text(max_size=3))
    return st.recursive(
        scalars,
        lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(keys, inner, max_size=3)),
        max_leaves=8,
    )


def _some(optional: dict[str, st.SearchStrategy[Any]]) -> st.SearchStrategy[dict[str, Any]]:
    return st.fixed_dictionaries({}, optional=optional)


def _typed(name: str, optional: dict[str, st.SearchStrategy[Any]]) -> st.SearchStrategy[dict[str, Any]]:
    return st.builds(
        lambda rest, null: {"type": [name, "null"] if null else name, **rest}, _some(optional), st.booleans()
    )


def _ordered(low: str, high: str, values: st.SearchStrategy[Any]) -> st.SearchStrategy[dict[str, Any]]:
    pair = st.tuples(values, values).map(sorted)
    return pair.map(lambda two: {low: two[0], high: two[1]})


def string_schemas() -> st.SearchStrategy[dict[str, Any]]:
    lengths = st.one_of(st.just({}), _ordered("minLength", "maxLength", st.integers(0, 4)))
    plain = _typed("string", {"pattern": st.sampled_from(PATTERNS), "format": st.just("email")})
    return st.builds(lambda a, b: {**a, **b}, plain, lengths)


def number_schemas() -> st.SearchStrategy[dict[str, Any]]:
    bounded = {"minimum": bounds, "exclusiveMinimum": bounds, "exclusiveMaximum": bounds}
    steps = st.sampled_from((1, 2, 3, 2.0, 0.5, 2**40))
    return st.one_of(
        _typed("number", bounded),
        _typed("number", {"maximum": bounds, "exclusiveMaximum": bounds}),
        _typed("integer", {**bounded, "multipleOf": steps}),
        _typed("integer", {"maximum": bounds, "multipleOf": steps}),
    )


def choice_schemas() -> st.SearchStrategy[dict[str, Any]]:
    words = st.lists(st.one_of(st.sampled_from(WORDS), st.none()), min_size=1, max_size=4, unique=True)
    whole = st.lists(st.one_of(st.integers(-3, 3), st.just(2**63)), min_size=1, max_size=3, unique=True)
    mixed = st.lists(scalars, min_size=1, max_size=3)
    beside = _some({"type": st.sampled_from(("string", "integer", "number", ["string", "null"]))})
    chosen = st.one_of(words, whole, mixed).map(lambda items: {"enum": _distinct(items)})
    constant = scalars.map(lambda item: {"const": item})
    return st.builds(lambda a, b: {**a, **b}, st.one_of(chosen, constant), st.one_of(st.just({}), beside))


def _distinct(items: list[Any]) -> list[Any]:
    return list({json.dumps(item): item for item in items}.values())


@st.composite
def object_schemas(draw: st.DrawFn, inner: st.SearchStrategy[Any]) -> dict[str, Any]:
    schema: dict[str, Any] = {"type": draw(st.sampled_from(("object", "object", ["object", "null"])))}
    properties = draw(st.dictionaries(st.sampled_from(NAMES), inner, max_size=4))
    if properties or draw(st.booleans()):
        schema["properties"] = properties
    required = draw(st.lists(st.sampled_from(NAMES), max_size=2, unique=True))
    additional = draw(st.sampled_from((None, None, True, False, {}, {"type": "integer"})))
    if additional is False:
        required = [name for name in required if name in properties]
    if additional is not None:
        schema["additionalProperties"] = additional
    if required:
        schema["required"] = required
    return schema


def _arrays(inner: st.SearchStrategy[Any]) -> st.SearchStrategy[dict[str, Any]]:
    counts = st.one_of(st.just({}), _ordered("minItems", "maxItems", st.integers(0, 3)))
    items = _typed("array", {"items": inner, "uniqueItems": st.booleans()})
    return st.builds(lambda a, b: {**a, **b}, items, counts)


def _beyond_msgspec(inner: st.SearchStrategy[Any]) -> st.SearchStrategy[dict[str, Any]]:
    several = st.lists(inner, min_size=1, max_size=2)
    return st.one_of(
        several.map(lambda schemas: {"anyOf": schemas}),
        several.map(lambda schemas: {"oneOf": schemas}),
        several.map(lambda schemas: {"allOf": schemas}),
        inner.map(lambda schema: {"not": schema}),
        st.tuples(inner, inner).map(lambda two: {"if": two[0], "then": two[1], "type": "object"}),
        st.just({"type": "object", "dependentRequired": {"amount": ["card"]}}),
        st.just({"type": "object", "patternProperties": {"^a": {"type": "integer"}}}),
        st.just({"type": ["string", "integer"]}),
        st.just({"minimum": 1}),
        st.just({"$ref": "#/$defs/leaf", "minLength": 1}),
    )


def _nested(inner: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    return st.one_of(object_schemas(inner), _arrays(inner))


leaves = st.one_of(
    string_schemas(),
    number_schemas(),
    choice_schemas(),
    _typed("boolean", {}),
    st.just({"type": "null"}),
    st.sampled_from((True, {}, {"description": "anything"}, {"$ref": "#/$defs/leaf"})),
)
expressible = st.recursive(leaves, _nested, max_leaves=6)
everything = st.recursive(
    leaves, lambda inner: st.one_of(_nested(inner), _nested(inner), _beyond_msgspec(inner)), max_leaves=6
)


def documents(schemas: st.SearchStrategy[Any]) -> st.SearchStrategy[dict[str, Any]]:
    """Whole documents, most of them objects, with one definition to refer to."""
    tops = st.one_of(
        object_schemas(schemas), object_schemas(schemas), schemas.filter(lambda s: s is not True)
    )
    definition = st.one_of(string_schemas(), number_schemas())
    return st.builds(lambda top, leaf: {**top, "$defs": {"leaf": leaf}}, tops, definition)


@st.composite
def instances(draw: st.DrawFn, schema: Any, root: dict[str, Any]) -> Any:
    """A value that tries to keep the schema; now and then, anywhere in it, something else."""
    if draw(st.integers(0, 11)) == 0 or isinstance(schema, bool):
        return draw(any_json())
    if "$ref" in schema:
        return draw(instances(root["$defs"]["leaf"], root))
    for keyword in ("anyOf", "oneOf", "allOf"):
        if keyword in schema:
            return draw(instances(draw(st.sampled_from(schema[keyword])), root))
    if "enum" in schema:
        return draw(st.sampled_from(schema["enum"]))
    if "const" in schema:
        return schema["const"]
    names = schema.get("type", "any")
    return draw(_of_type(names if isinstance(names, str) else draw(st.sampled_from(names)), schema, root))


def _of_type(name: str, schema: dict[str, Any], root: dict[str, Any]) -> st.SearchStrategy[Any]:
    near = [
        schema[bound] + off
        for bound in schema
        if "imum" in bound or "Of" in bound
        for off in (0, 1, -1, 0.5)
        if not isinstance(schema[bound], list)
    ]
    match name:
        case "string":
            return strings
        case "number" | "integer":
            return st.one_of(numbers, st.sampled_from(near)) if near else numbers
        case "boolean":
            return st.booleans()
        case "null":
            return st.none()
        case "array":
            return st.lists(instances(schema.get("items", True), root), max_size=4)
        case "object":
            return _objects(schema, root)
        case _:
            return any_json()


@st.composite
def _objects(draw: st.DrawFn, schema: dict[str, Any], root: dict[str, Any]) -> dict[str, Any]:
    value = {}
    for name, inner in schema.get("properties", {}).items():
        if name in schema.get("required", ()) or draw(st.booleans()):
            value[name] = draw(instances(inner, root))
    for name in schema.get("required", ()):
        if name not in value and draw(st.integers(0, 5)):
            value[name] = draw(any_json())
    if draw(st.integers(0, 3)) == 0:
        value[draw(st.one_of(st.sampled_from(NAMES), st.text(max_size=3)))] = draw(any_json())
    return value


# Texts that stand for a value JSON Schema and msgspec might read differently.
AWKWARD = (
    b"1e999", b"-1E+999", b"1e-999", b"0e999", b"1.0", b"-0", b"-0.0", b"100e-2", b"12345678901234567890.0",
    b"1" * 400, b"1" * 5000, b"0." + b"1" * 400, b"1" * 400 + b".5",
    b'"\\ud800"', b'"\\ud83d\\ude00"', b'"\xff"',
    b'"\xed\xa0\x80"', b'"\\u0000"', b"[" * 200 + b"]" * 200, b"[" * 100 + b"]" * 100, b'{"a":' * 150 + b"1" +
    b"}" * 150, b'"[[[[[[[["', b'"1e999"', b"NaN", b"Infinity", b"01", b"+1", b'"\x01"', b"true", b"null",
    b"{}",
)  # fmt: skip


@st.composite
def texts(draw: st.DrawFn, schema: Any, root: dict[str, Any]) -> bytes:
    """JSON text of an instance, sometimes with an awkward text in place of a value, a key twice, or cut
    short."""
    value = draw(instances(schema, root))
    raw = json.dumps(value, ensure_ascii=draw(st.booleans())).encode("utf-8", "surrogatepass")
    choice = draw(st.integers(0, 9))
    if choice in (0, 1) and raw.startswith(b'{"'):
        name = json.dumps(draw(st.sampled_from(NAMES))).encode()
        member = name + b":" + draw(st.sampled_from(AWKWARD))
        # At the front the key may stand twice with the awkward one first; at the end with it last.
        return b"{" + member + b"," + raw[1:] if choice else raw[:-1] + b"," + member + b"}"
    if choice == 2:
        return draw(st.sampled_from(AWKWARD))
    if choice == 3:
        return raw[: draw(st.integers(0, len(raw)))]
    return raw
