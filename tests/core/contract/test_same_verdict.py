"""The fast way, the full validator and an independent validator give one verdict, and one value."""

from __future__ import annotations

import json
from itertools import combinations
from typing import Any

import jsonschema
import jsonschema_rs
import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.core.contract.schemas import (
    AWKWARD,
    EDGE_NUMBERS,
    PATTERNS,
    WORDS,
    documents,
    everything,
    expressible,
    texts,
)

from flo.core.contract import (
    AnyShape,
    Contract,
    ContractViolation,
    ListShape,
    MapShape,
    Nullable,
    ObjectShape,
    Scalar,
    Shape,
    load_contract,
)
from flo.core.contract.plain import NotJson, decode_plain, fitter

REFUSED = object()
_PYTHON_TYPES = {"bool": bool, "int": int, "double": float, "string": str, "null": type(None)}
story = settings(
    max_examples=150,
    deadline=None,
    print_blob=True,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much, HealthCheck.data_too_large],
)


def loaded(document: Any) -> Contract | None:
    contract, problems = load_contract("t", 1, json.dumps(document).encode(), "contracts/t/1.json")
    if contract is None:
        # Schemas that nothing could satisfy are refused at load; the strategies produce a few.
        assert all("above" in problem.message or "required" in problem.message for problem in problems), (
            problems
        )
    return contract


def full_verdict(document: Any, raw: bytes, shape: Shape) -> Any:
    """What is meant: decode as JSON, validate fully, make the numbers what the shape promises."""
    try:
        value = decode_plain(raw)
        if not jsonschema_rs.Draft202012Validator(document, validate_formats=False).is_valid(value):
            return REFUSED
        fit = fitter(shape)
        return value if fit is None else fit(value)
    except NotJson:
        return REFUSED


def verdict(contract: Contract, raw: bytes) -> Any:
    try:
        return contract.decode(raw)
    except ContractViolation as refusal:
        if not refusal.violations or not contract.explain(raw):
            raise AssertionError(f"{contract} refused {raw!r} without saying why") from refusal
        return REFUSED


def named(value: Any, shape: Shape) -> Any:
    """The plain value without what the contract does not name: what a struct keeps of it."""
    match shape:
        case Nullable(inner):
            return None if value is None else named(value, inner)
        case ListShape(item):
            return [named(child, item) for child in value]
        case MapShape(inner):
            return {key: named(child, inner) for key, child in value.items()}
        case ObjectShape(fields):
            return {name: named(value[name], field.shape) for name, field in fields.items() if name in value}
        case _:
            return value


def assert_fits(data: Any, shape: Shape) -> None:
    match shape:
        case AnyShape():
            pass
        case Scalar(name):
            assert type(data) is _PYTHON_TYPES[name]
        case Nullable(inner):
            assert data is None or assert_fits(data, inner) is None
        case ListShape(item):
            assert type(data) is list
            for child in data:
                assert_fits(child, item)
        case MapShape(inner):
            assert type(data) is dict
            for child in data.values():
                assert_fits(child, inner)
        case ObjectShape(fields):
            for name, field in fields.items():
                if field.attribute is None:
                    value = data.get(name, msgspec.UNSET)
                else:
                    value = getattr(data, field.attribute)
                assert value is not msgspec.UNSET or not field.required
                if value is not msgspec.UNSET:
                    assert_fits(value, field.shape)


def assert_one_verdict(document: Any, contract: Contract, raw: bytes) -> Any:
    expected = full_verdict(document, raw, contract.shape)
    for _ in range(2):  # the second time the reader that skips unnamed fields may go first
        got = verdict(contract, raw)
        assert (got is REFUSED) == (expected is REFUSED), (document, raw, contract)
        if got is not REFUSED:
            assert_fits(got, contract.shape)
            kept = named(expected, contract.shape) if contract.fast else expected
            assert repr(msgspec.to_builtins(got)) == repr(in_field_order(kept, got)), (document, raw)
    if contract._read_open is not None:
        contract._read = contract._read_open
        assert (verdict(contract, raw) is REFUSED) == (expected is REFUSED), (document, raw, contract)
    return expected


def in_field_order(plain: Any, decoded: Any) -> Any:
    """The plain value with its keys in the order the decoded value has them, so that texts can be compared:
    equality would let True pass for 1 and 1 for 1.0."""
    return reordered(plain, msgspec.to_builtins(decoded))


def reordered(plain: Any, like: Any) -> Any:
    if isinstance(plain, dict) and isinstance(like, dict) and plain.keys() == like.keys():
        return {key: reordered(plain[key], like[key]) for key in like}
    if isinstance(plain, list) and isinstance(like, list) and len(plain) == len(like):
        return [reordered(one, other) for one, other in zip(plain, like, strict=True)]
    return plain


@story
@given(st.data())
def test_a_contract_msgspec_can_express_gives_the_full_validators_verdict_and_value(
    data: st.DataObject,
) -> None:
    document = data.draw(documents(expressible))
    contract = loaded(document)
    if contract is None:
        return
    for _ in range(4):
        assert_one_verdict(document, contract, data.draw(texts(document, document)))


@story
@given(st.data())
def test_any_contract_gives_the_full_validators_verdict_and_value(data: st.DataObject) -> None:
    document = data.draw(documents(everything))
    contract = loaded(document)
    if contract is None:
        return
    for _ in range(2):
        assert_one_verdict(document, contract, data.draw(texts(document, document)))


@settings(story, max_examples=100)
@given(st.data())
def test_an_independent_validator_gives_the_same_verdict(data: st.DataObject) -> None:
    document = data.draw(documents(everything))
    contract = loaded(document)
    if contract is None:
        return
    validator = jsonschema.Draft202012Validator(document)
    raw = data.draw(texts(document, document))
    try:
        value = decode_plain(raw)
    except NotJson:
        assert verdict(contract, raw) is REFUSED
        return
    if "pattern" in json.dumps(document) and b"\\n" in raw:
        return  # Python's `$` also matches before a final newline; ECMA-262's, and FLO's, does not
    valid = validator.is_valid(value)
    if valid != (verdict(contract, raw) is not REFUSED):
        # The one refusal beyond the schema: a number no double holds where the contract says `number`.
        assert valid
        assert [violation.rule for violation in contract.explain(raw)] == ["number"], (document, raw)


@pytest.mark.parametrize(
    "inner", [{"type": "number"}, {"type": "integer"}, {"enum": [0.5, 2]}, {"type": "array"}]
)
@pytest.mark.parametrize("turned", [False, True])
def test_what_is_nullable_and_null_is_null(inner: dict[str, Any], turned: bool) -> None:
    nullable = (
        {**inner, "type": [inner["type"], "null"]} if "type" in inner else {"enum": [*inner["enum"], None]}
    )
    parts = [nullable, {"type": "null"}]
    contract = loaded({"allOf": parts[::-1] if turned else parts})
    assert contract is not None
    assert verdict(contract, b"null") is None
    assert verdict(contract, b"2") is REFUSED


LIMITS = ("minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum")
BOUNDS = (0, 0.5, -1, 2, 2.5, 2**53 - 1, 2**53, 2**53 + 1, 1e22, 2**63 - 1, 2**63, 2**64, -(2**63), 10**30)


@pytest.mark.parametrize("name", ["integer", "number"])
def test_every_bound_is_kept_to_the_last_digit(name: str) -> None:
    one = [{limit: bound} for limit in LIMITS for bound in BOUNDS]
    two = [{low: bound, high: bound} for low, high in combinations(LIMITS, 2) for bound in (0, 0.5, 2, 2.5)]
    multiples = (1, 2, 3, 7.0, 0.5, 2**40, 2**62, 10**30) if name == "integer" else ()
    steps = [{"multipleOf": step} for step in multiples]
    for rules in (*one, *two, *steps):
        document = {"type": name, **rules}
        contract = loaded(document)
        near = [rule + off for rule in rules.values() for off in (-1, -0.5, 0, 0.5, 1)]
        for value in (*EDGE_NUMBERS, *near, *(step * 3 for step in rules.values())) if contract else ():
            assert_one_verdict(document, contract, json.dumps(value).encode())


def test_every_string_rule_is_kept_for_every_kind_of_character() -> None:
    rules: list[dict[str, Any]] = [{"pattern": pattern} for pattern in PATTERNS]
    rules += [{limit: length} for limit in ("minLength", "maxLength") for length in range(4)]
    for rule in rules:
        document = {"type": "string", **rule}
        contract = loaded(document)
        assert contract is not None
        for word in WORDS:
            for raw in (json.dumps(word).encode(), json.dumps(word, ensure_ascii=False).encode()):
                assert_one_verdict(document, contract, raw)


@pytest.mark.parametrize("additional", [True, False, {"type": "integer"}])
@pytest.mark.parametrize(
    "inner",
    [True, {"type": "integer"}, {"type": "number"}, {"type": ["string", "null"]}],
)
def test_awkward_texts_get_one_verdict_wherever_they_stand(additional: Any, inner: Any) -> None:
    flat = {"type": "object", "properties": {"a": inner}, "additionalProperties": additional}
    nested = {"type": "object", "properties": {"o": {"type": "array", "items": flat}}, "required": ["o"]}
    for document in (flat, nested, {"type": "object", "additionalProperties": inner}, {"type": "array"}):
        for text in AWKWARD:
            contract = loaded(document)
            assert contract is not None
            for raw in (
                text,
                b'{"a":%s}' % text,
                b'{"b":%s}' % text,
                b'{"a":%s,"a":1}' % text,
                b'{"a":1,"a":%s}' % text,
                b'{"o":[{"a":1},{"b":%s}]}' % text,
                b'{"o":[],"%s":1}' % text.replace(b'"', b""),
                b"[%s]" % text,
            ):
                assert_one_verdict(document, contract, raw)


def test_most_generated_contracts_are_fast_ones() -> None:
    fast = {"yes": 0, "no": 0}

    @settings(story, max_examples=100, database=None)
    @given(documents(expressible))
    def count(document: Any) -> None:
        contract = loaded(document)
        if contract is not None:
            fast["yes" if contract.fast else "no"] += 1

    count()
    assert fast["yes"] * 4 > fast["no"], fast
