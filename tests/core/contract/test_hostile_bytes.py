"""Whatever the bytes are, a contract answers with a refusal that stays short, never with a crash."""

from __future__ import annotations

import json
from typing import Any

import pytest

from flo.core.contract import Contract, ContractViolation, load_contract
from flo.core.contract.contract import VIOLATIONS_MAX

SCHEMAS: dict[str, Any] = {
    "open": {"type": "object", "properties": {"n": {"type": "number"}, "i": {"type": "integer"}}},
    "closed": {"type": "object", "properties": {"n": {"type": "number"}}, "additionalProperties": False},
    "map": {"type": "object"},
    "anything": True,
    "slow": {"type": "object", "properties": {"n": {"type": "number"}}, "minProperties": 1},
    "recursive": {"type": "object", "additionalProperties": {"$ref": "#"}},
}
HOSTILE = {
    "nothing": b"",
    "a byte order mark": b"\xef\xbb\xbf{}",
    "nesting of arrays": b"[" * 1_000_000,
    "nesting of objects": b'{"n":' * 200_000,
    "nesting in an unnamed field": b'{"x":' + b"[" * 100_000 + b"]" * 100_000 + b"}",
    "nesting just too deep": b'{"x":' + b"[" * 128 + b"]" * 128 + b"}",
    "a huge exponent": b'{"n":1e999}',
    "a huge exponent in an unnamed field": b'{"x":[-1E+0999]}',
    "a hundred thousand digits": b'{"n":' + b"9" * 100_000 + b"}",
    "a hundred thousand digits in an unnamed field": b'{"x":' + b"9" * 100_000 + b"}",
    "a hundred thousand digits before a point": b'{"x":' + b"9" * 100_000 + b".0}",
    "a whole number no double holds": b'{"n":' + b"9" * 400 + b"}",
    "half a surrogate pair": b'{"x":"\\ud800"}',
    "bytes that are not UTF-8": b'{"x":"\xff"}',
    "a name that is not UTF-8": b'{"\xff":1}',
    "an encoded surrogate": b'{"x":"\xed\xa0\x80"}',
    "a control character": b'{"x":"\x00"}',
    "NaN": b'{"n":NaN}',
    "two values": b"{}{}",
    "a cut string": b'{"x":"abc',
}
REFUSED_BY_SOME = {"a whole number no double holds"}


def contract_of(schema: Any) -> Contract:
    contract, problems = load_contract("hostile", 1, json.dumps(schema).encode(), "f.json")
    assert contract is not None, problems
    return contract


@pytest.mark.parametrize("schema", SCHEMAS)
@pytest.mark.parametrize("case", HOSTILE)
def test_hostile_bytes_are_refused_by_every_kind_of_contract(schema: str, case: str) -> None:
    contract = contract_of(SCHEMAS[schema])
    if case in REFUSED_BY_SOME and schema in ("map", "anything"):
        assert contract.decode(HOSTILE[case]) is not None
        return
    for _ in range(2):
        with pytest.raises(ContractViolation) as caught:
            contract.decode(HOSTILE[case])
        assert len(str(caught.value)) < 500


@pytest.mark.parametrize("schema", SCHEMAS)
def test_every_prefix_and_every_flipped_byte_of_a_document_is_answered(schema: str) -> None:
    contract = contract_of(SCHEMAS[schema])
    whole = '{"n":1.5e3,"i":-7,"x":{"é\\u00e9":[true,null,"a\\n"]}}'.encode()
    damaged = [whole[:length] for length in range(len(whole))]
    damaged += [
        whole[:at] + bytes([whole[at] ^ bit]) + whole[at + 1 :]
        for at in range(len(whole))
        for bit in (1, 128)
    ]
    for raw in damaged:
        try:
            contract.decode(raw)
            accepted = True
        except ContractViolation:
            accepted = False
        assert accepted == (contract.explain(raw) == [])


def test_a_refusal_of_many_violations_names_a_few_and_keeps_a_bounded_number() -> None:
    contract = contract_of({"type": "array", "items": {"type": "string"}})
    small, large = (json.dumps([1] * count).encode() for count in (1000, 200_000))
    with pytest.raises(ContractViolation) as caught:
        contract.decode(small)
    assert len(caught.value.violations) == VIOLATIONS_MAX
    assert str(caught.value).endswith(f"and {VIOLATIONS_MAX - 5} more")
    with pytest.raises(ContractViolation) as caught:
        contract.decode(large)
    assert [violation.path for violation in caught.value.violations] == ["/0"]
    assert len(contract.explain(small)) == 1000


def test_long_names_and_values_are_shortened_in_every_part_of_a_violation() -> None:
    contract = contract_of({"type": "object", "additionalProperties": {"type": "integer", "enum": [1]}})
    for violation in contract.explain(json.dumps({"n" * 100_000: "v" * 100_000}).encode()):
        assert (
            max(map(len, (violation.path, violation.message, violation.value, violation.reason_code))) < 300
        )
