"""A contract document is refused with every problem in it, each with its line, its column and the way out."""

from __future__ import annotations

import json
from typing import Any

import pytest

from flo.core.contract import ContractProblem, load_contract

FILE = "contracts/tx.authorized/2.json"


def problems_of(document: bytes | str | dict[str, Any]) -> list[ContractProblem]:
    text = json.dumps(document) if isinstance(document, dict) else document
    contract, problems = load_contract(
        "tx.authorized", 2, text.encode() if isinstance(text, str) else text, FILE
    )
    assert (contract is None) == bool(problems)
    return problems


def only_problem(document: bytes | str | dict[str, Any]) -> str:
    [problem] = problems_of(document)
    return str(problem)


def test_every_problem_is_reported_at_once_in_file_order_with_its_place() -> None:
    problems = problems_of(
        "{\n"
        ' "type": "objct",\n'
        ' "properties": {\n'
        '  "amount": {"type": "number", "minimun": 0},\n'
        '  "card": {"$ref": "#/$defs/crad"}\n'
        " },\n"
        ' "$defs": {"card": {"minLength": -1}}\n'
        "}\n"
    )
    assert [(p.file, p.line, p.column) for p in problems] == [
        (FILE, 2, 10),
        (FILE, 4, 32),
        (FILE, 5, 20),
        (FILE, 7, 34),
    ]
    assert "did you mean 'object'?" in str(problems[0])
    assert "'minimun' is not a JSON Schema 2020-12 keyword (did you mean 'minimum'?" in str(problems[1])
    assert "did you mean '#/$defs/card'?" in str(problems[2])
    assert "'minLength' is -1, but must be a whole number, 0 or more" in str(problems[3])


@pytest.mark.parametrize(
    ("text", "place", "said"),
    [
        ("", "1:1", "not the end of the file"),
        ('{"a":}', "1:6", "a JSON value is expected"),
        ('{\n "type" "object"}', "2:9", "':' is expected after a key"),
        ('{"title": "a",}', "1:15", "a key in double quotes"),
        ('{"title": "a"', "1:14", "',' is expected"),
        ("{} {}", "1:4", "text follows the end"),
        ('{"title": "a", "title": "b"}', "1:16", "'title' stands twice"),
        ('{"minimum": 1e999}', "1:13", "beyond what a double holds"),
        ('{"minimum": %s}' % ("1" * 5000), "1:13", "too many digits"),
        ('{"minimum": NaN}', "1:13", "a JSON value is expected"),
        ('{"title": "\\ud800"}', "1:11", "surrogate"),
        ('{"title": "a\nb"}', "1:13", "not JSON"),
        ('{"not":' * 200 + "{}" + "}" * 200, "1:904", "deeper than 128"),
    ],
)
def test_text_that_is_not_strict_json_is_refused_where_it_goes_wrong(
    text: str, place: str, said: str
) -> None:
    problem = only_problem(text)
    assert said in problem
    assert problem.startswith(f"{FILE}:{place}:")


def test_bytes_that_are_not_utf_8_are_refused_with_their_place() -> None:
    assert only_problem(b'{\n "title": "\xff"}').startswith(f"{FILE}:2:12: the contract is not UTF-8")


@pytest.mark.parametrize(
    ("schema", "said"),
    [
        ({"type": "text"}, "'type' is 'text', but must be one of"),
        ({"type": ["string", "string"]}, "none twice"),
        ({"type": []}, "must be one of"),
        ({"enum": []}, "at least one value"),
        ({"minimum": "3"}, "must be a number"),
        ({"minimum": True}, "must be a number"),
        ({"multipleOf": 0}, "a number above 0"),
        ({"maxLength": 1.5}, "a whole number"),
        ({"uniqueItems": 1}, "true or false"),
        ({"required": "fare"}, "a list of names"),
        ({"required": ["fare", "fare"]}, "none twice"),
        ({"dependentRequired": {"fare": "tips"}}, "lists of names"),
        ({"properties": []}, "an object of schemas"),
        ({"properties": {"fare": 3}}, "a schema is an object, true or false, not 3"),
        ({"allOf": []}, "at least one schema"),
        ({"pattern": "["}, "is not a regular expression"),
        ({"pattern": "(?=a)b"}, "lookaround"),
        ({"pattern": "(?<!a)b"}, "lookaround"),
        ({"pattern": "(a)\\1"}, "back-reference"),
        ({"patternProperties": {"(": {}}}, "the pattern '(' is not"),
        ({"$ref": "https://example.com/card.json"}, "is in another document, and FLO fetches none"),
        ({"$ref": "card.json#/x"}, "is in another document"),
        ({"$ref": "#/$defs/card"}, "leads nowhere"),
        ({"$ref": "#card"}, "no $anchor in this document is named 'card'"),
        ({"$ref": "#/title", "title": "x"}, "does not name a schema"),
        ({"$ref": "#"}, "is defined by itself"),
        ({"allOf": [{"$ref": "#/$defs/a"}], "$defs": {"a": {"not": {"$ref": "#"}}}}, "is defined by itself"),
        ({"properties": {"a": {"$id": "b"}}}, "'$id' inside a contract"),
        ({"$schema": "http://json-schema.org/draft-07/schema#"}, "contracts are JSON Schema 2020-12"),
        ({"id": "x"}, "2020-12 says $id"),
        ({"dependencies": {}}, "2020-12 says dependentRequired"),
        ({"minimum": 5, "maximum": 4}, "nothing could be accepted"),
        (
            {"properties": {"amount": {}}, "required": ["amout"], "additionalProperties": False},
            "did you mean 'amount'?",
        ),
    ],
)
def test_a_schema_that_is_wrong_is_refused_with_the_rule_it_breaks(schema: dict[str, Any], said: str) -> None:
    assert said in only_problem(schema)


@pytest.mark.parametrize(
    "schema",
    [
        {"x-owner": "payments", "$comment": "c", "default": {"minimun": 1}, "examples": [{"typ": 1}]},
        {"const": {"minimun": 1}, "enum": [{"typ": 1}]},
        {"properties": {"minimun": {}, "$ref": {}}},
        {"$id": "https://example.com/tx", "$ref": "https://example.com/tx#/$defs/a", "$defs": {"a": {}}},
        {"$ref": "#card", "$defs": {"a/b c": {"$anchor": "card"}}},
        {"$ref": "#/$defs/a~1b%20c", "$defs": {"a/b c": {}}},
        {"type": "object", "properties": {"child": {"$ref": "#"}}},
        {"$schema": "https://json-schema.org/draft/2020-12/schema#", "minLength": 2.0},
    ],
)
def test_what_the_standard_allows_and_nobody_mistyped_is_loaded(schema: dict[str, Any]) -> None:
    assert problems_of(schema) == []


def test_a_chain_of_references_longer_than_flo_follows_is_a_problem_and_not_a_crash() -> None:
    chain: dict[str, Any] = {f"d{n}": {"$ref": f"#/$defs/d{n + 1}"} for n in range(2000)}
    problem = only_problem({"$ref": "#/$defs/d0", "$defs": {**chain, "d2000": {"type": "integer"}}})
    assert "nested deeper than FLO follows (flatten the chain of $ref" in problem


def test_true_and_false_are_contracts() -> None:
    assert problems_of("true") == []
    assert problems_of("false") == []


def test_the_digest_does_not_depend_on_white_space_or_key_order() -> None:
    one, _ = load_contract("a", 1, b'{"type": "object", "title": "t"}', FILE)
    other, _ = load_contract("a", 1, b'{\n"title":"t","type":"object"}', FILE)
    changed, _ = load_contract("a", 1, b'{"title":"u","type":"object"}', FILE)
    assert one is not None
    assert other is not None
    assert changed is not None
    assert one.digest == other.digest != changed.digest
