"""What a loaded contract gives: data read by attribute, refusals that say why, a shape that is true."""

from __future__ import annotations

import json
import pickle
from typing import Any

import msgspec
import pytest

from flo.core.contract import (
    AnyShape,
    Contract,
    ContractViolation,
    FieldShape,
    ListShape,
    MapShape,
    Nullable,
    ObjectShape,
    Scalar,
    load_contract,
)
from flo.core.errors import InputError

TX = {
    "type": "object",
    "required": ["card", "amount"],
    "properties": {
        "card": {"type": "string", "minLength": 2, "pattern": "^c[0-9]+$"},
        "amount": {"type": "number", "minimum": 0, "maximum": 1000},
        "count": {"type": "integer"},
        "class": {"enum": ["a", "b", None]},
        "lines": {"type": "array", "items": {"$ref": "#/$defs/line"}},
        "labels": {"type": "object", "additionalProperties": {"type": "integer"}},
        "free": {},
    },
    "$defs": {"line": {"type": "object", "properties": {"price": {"type": ["number", "null"]}}}},
}


def contract_of(schema: Any, name: str = "tx.authorized", version: int = 2) -> Contract:
    contract, problems = load_contract(name, version, json.dumps(schema).encode(), "f.json")
    assert contract is not None, problems
    return contract


def refusal(contract: Contract, raw: bytes) -> ContractViolation:
    with pytest.raises(ContractViolation) as caught:
        contract.decode(raw)
    return caught.value


def test_accepted_data_is_read_by_attribute_with_numbers_as_the_contract_says() -> None:
    data = contract_of(TX).decode(b'{"card":"c1","amount":950,"count":3.0,"class":"a"}')
    assert (data.card, data.amount, data.count, data.class_) == ("c1", 950.0, 3, "a")
    assert type(data.amount) is float
    assert type(data.count) is int
    assert data.lines is msgspec.UNSET


def test_the_shape_describes_what_is_decoded() -> None:
    line = ObjectShape({"price": FieldShape(Nullable(Scalar("double")), False, "price")}, open=True)
    assert contract_of(TX).shape == ObjectShape(
        {
            "card": FieldShape(Scalar("string"), True, "card"),
            "amount": FieldShape(Scalar("double"), True, "amount"),
            "count": FieldShape(Scalar("int"), False, "count"),
            "class": FieldShape(Nullable(Scalar("string")), False, "class_"),
            "lines": FieldShape(ListShape(line), False, "lines"),
            "labels": FieldShape(MapShape(Scalar("int")), False, "labels"),
            "free": FieldShape(AnyShape(), False, "free"),
        },
        open=True,
    )


def test_a_slow_contract_gives_plain_data_and_says_which_keyword_made_it_slow() -> None:
    contract = contract_of({**TX, "dependentRequired": {"count": ["lines"]}})
    assert not contract.fast
    assert contract.why_slow == "/: 'dependentRequired' of object"
    data = contract.decode(b'{"card":"c1","amount":950,"other":1}')
    assert data == {"card": "c1", "amount": 950.0, "other": 1}
    assert type(data["amount"]) is float
    assert isinstance(contract.shape, ObjectShape)
    assert {field.attribute for field in contract.shape.fields.values()} == {None}


def test_a_refusal_names_path_rule_and_value_and_is_an_input_error() -> None:
    violation = refusal(
        contract_of(TX), b'{"card":"x1","amount":1200,"lines":[{"price":1},{"price":"free"}],"class":"z"}'
    )
    assert isinstance(violation, InputError)
    assert violation.contract == "tx.authorized/2"
    assert (
        "the data breaks its contract tx.authorized/2: /amount: 1200 is greater than the maximum of 1000"
        in str(violation)
    )
    assert [(v.path, v.rule, v.reason_code, v.message) for v in violation.violations] == [
        ("/amount", "maximum", "maximum:/amount", "1200 is greater than the maximum of 1000"),
        ("/card", "pattern", "pattern:/card", '"x1" does not match ^c[0-9]+$'),
        ("/class", "enum", "enum:/class", '"z" is not one of "a", "b", null'),
        ("/lines/1/price", "type", "type:/lines/*/price", '"free" is not of type null or number'),
    ]
    assert violation.errors == violation.violations
    assert violation.reason_code == "maximum:/amount"


def test_the_detail_of_a_violation_never_quotes_the_value() -> None:
    secret = "4111111111111111"
    schema = {
        "type": "object",
        "properties": {
            "pan": {
                "type": "string",
                "maxLength": 4,
                "pattern": "^x",
                "enum": ["x"],
                "not": {"minLength": 9},
            },
            "n": {"type": "integer", "maximum": 3, "multipleOf": 7, "const": 3},
        },
    }
    violations = contract_of(schema).explain(json.dumps({"pan": secret, "n": int(secret)}).encode())
    assert len(violations) == 7
    assert all(secret in violation.message for violation in violations)
    assert not any(secret in violation.detail + violation.reason_code for violation in violations)


def test_a_missing_field_is_reported_at_its_own_path() -> None:
    violation = refusal(contract_of(TX), b"{}")
    assert [v.reason_code for v in violation.violations] == ["required:/amount", "required:/card"]


def test_there_are_as_many_reason_codes_as_places_whatever_names_are_sent() -> None:
    contract = contract_of(TX)
    codes = set()
    for number in range(50):
        raw = json.dumps({"card": "c1", "amount": 1, "labels": {f"l{number}": "x"}, f"n{number}": 1}).encode()
        codes |= {violation.reason_code for violation in refusal(contract, raw).violations}
    assert codes == {"type:/labels/*"}


def test_a_refusal_survives_pickling_between_processes() -> None:
    violation = refusal(contract_of(TX), b"{}")
    again = pickle.loads(pickle.dumps(violation))
    assert (str(again), again.violations) == (str(violation), violation.violations)


def test_fields_the_contract_does_not_name_are_dropped_and_given_back_by_as_json() -> None:
    contract = contract_of(TX)
    raw = b'{"card":"c1","amount":950,"note":{"a":[1,2]}}'
    data = contract.decode(raw)
    assert not hasattr(data, "note")
    assert contract.as_json(raw) == {"card": "c1", "amount": 950, "note": {"a": [1, 2]}}
    assert contract.as_json(msgspec.Raw(raw)) == contract.as_json(raw)
    assert contract.as_json(data) == {"card": "c1", "amount": 950.0}
    with pytest.raises(ContractViolation):
        contract.as_json(b"{")


def test_data_arrives_as_bytes_or_as_a_raw_part_of_an_event() -> None:
    contract = contract_of(TX)
    for raw in (b'{"card":"c1","amount":1}', b'{"card":"c1","amount":1,"more":[1]}'):
        assert contract.decode(msgspec.Raw(raw)) == contract.decode(raw)
    with pytest.raises(ContractViolation):
        contract.decode(msgspec.Raw(b'{"card":"c1","amount":-1}'))


def test_unnamed_fields_are_refused_where_the_contract_closes_its_object() -> None:
    violation = refusal(contract_of({**TX, "additionalProperties": False}), b'{"card":"c1","amount":1,"x":1}')
    assert str(violation.violations[0]) == "/: an object of 3 fields has fields the contract does not name: x"


def test_field_names_that_are_no_identifiers_get_distinct_attributes() -> None:
    names = ["a-b", "a_b", "a b", "class", "class_", "__init__", "", "1st", "é", "from"]
    contract = contract_of({"type": "object", "properties": {name: {"type": "integer"} for name in names}})
    assert contract.fast
    assert isinstance(contract.shape, ObjectShape)
    attributes = [field.attribute for field in contract.shape.fields.values()]
    assert len(set(attributes)) == len(names)
    data = contract.decode(json.dumps({name: index for index, name in enumerate(names)}).encode())
    assert [getattr(data, str(attribute)) for attribute in attributes] == list(range(len(names)))


@pytest.mark.parametrize(
    "schema",
    [{"type": "string"}, {"type": "array", "items": {"type": "number"}}, True, {"type": ["integer", "null"]}],
)
def test_data_need_not_be_an_object(schema: Any) -> None:
    contract = contract_of(schema)
    assert contract.fast
    assert contract.explain(b'{"a": 1}') == [] if schema is True else contract.explain(b'{"a": 1}')


def test_format_is_an_annotation() -> None:
    assert contract_of({"type": "string", "format": "email"}).decode(b'"no"') == "no"


def test_a_recursive_contract_is_slow_and_right() -> None:
    contract = contract_of(
        {
            "type": "object",
            "properties": {"child": {"$ref": "#"}, "n": {"type": "integer"}},
            "required": ["n"],
        }
    )
    assert contract.why_slow == "/: the schema is recursive"
    assert contract.decode(b'{"n":1,"child":{"n":2}}') == {"n": 1, "child": {"n": 2}}
    assert refusal(contract, b'{"n":1,"child":{}}').reason_code == "required:/child/n"


def test_definitions_that_double_at_every_step_load_in_time_linear_in_the_document() -> None:
    both = {"type": "object", "properties": {"a": {"$ref": "#/$defs/d{}"}, "b": {"$ref": "#/$defs/d{}"}}}
    definitions = {f"d{n}": json.loads(json.dumps(both).replace("d{}", f"d{n + 1}")) for n in range(60)}
    contract = contract_of({"$ref": "#/$defs/d0", "$defs": {**definitions, "d60": {"type": "integer"}}})
    assert contract.decode(b'{"a":{"b":{}}}').a.b.a is msgspec.UNSET
