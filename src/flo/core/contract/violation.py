"""What a refusal says: each violation with its path, its rule, a sentence, and a stable code to count by."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import jsonschema_rs
import msgspec

from flo.core.contract.positions import Pointer
from flo.core.contract.references import at, pointer_text
from flo.core.errors import InputError

VALUE_CHARS_MAX = 60
MESSAGE_CHARS_MAX = 240
PATH_CHARS_MAX = 200
# Named in the message; the rest are counted.
NAMED_MAX = 5


@dataclass(frozen=True, slots=True)
class Violation:
    """One rule broken at one place of the data.

    `path` is a JSON pointer (`/` for the whole), `rule` the schema keyword, or `json`, `utf-8`, `depth`,
    `number` for bytes that are no JSON value FLO takes. `value` and `message` quote the value, shortened;
    `detail` is the message without it, for where the value must not be shown. `reason_code` is `rule:path`
    with every array index and every name the contract does not know written as `*`, so there are as many
    codes as the contract has places, whatever is sent.
    """

    path: str
    rule: str
    message: str
    value: str
    detail: str
    reason_code: str

    def __str__(self) -> str:
        return f"{self.path}: {self.message}"


class ContractViolation(InputError):
    """Data that breaks its contract. Sending it again never helps: change the data or the contract.

    `violations` holds at most VIOLATIONS_MAX (see `contract`), sorted by path and rule; `Contract.explain`
    has all.
    """

    def __init__(self, contract: str, violations: list[Violation]) -> None:
        named = "; ".join(str(violation) for violation in violations[:NAMED_MAX])
        more = len(violations) - NAMED_MAX
        tail = f"; and {more} more" if more > 0 else ""
        super().__init__(f"the data breaks its contract {contract}: {named}{tail}")
        self.contract = contract
        self.violations = violations

    @property
    def errors(self) -> list[Violation]:
        """The same list, by the name JSON Schema tools give it."""
        return self.violations

    @property
    def reason_code(self) -> str:
        """The code of the first violation: what the refusal is counted under."""
        return self.violations[0].reason_code

    def __reduce__(self) -> tuple[type[ContractViolation], tuple[str, list[Violation]]]:
        return ContractViolation, (self.contract, self.violations)


def known_names(document: Any, schemas: Iterable[Pointer]) -> frozenset[str]:
    """Every field name the contract's schemas spell out: what a reason code may contain."""
    names: set[str] = set()
    for pointer in schemas:
        schema = at(document, pointer)
        if not isinstance(schema, dict):
            continue
        names.update(schema.get("properties", {}), schema.get("required", ()))
        for source in ("dependentRequired", "dependentSchemas"):
            names.update(schema.get(source, ()))
        for required in schema.get("dependentRequired", {}).values():
            names.update(required)
    return frozenset(names)


def not_json(rule: str, detail: str, path: Pointer = (), names: frozenset[str] = frozenset()) -> Violation:
    """The violation for bytes that are not a JSON value FLO takes, or for a number no double holds."""
    return Violation(
        _cut(pointer_text(path), PATH_CHARS_MAX), rule, detail, "", detail, _code(rule, path, names)
    )


def from_full_validator(error: jsonschema_rs.ValidationError, names: frozenset[str]) -> Violation:
    """The violation that the full validator reports as `error`."""
    rule = error.kind.name
    path: Pointer = tuple(error.instance_path)
    arguments = error.kind.as_dict()
    if rule == "required":
        path = (*path, arguments["property"])
        rule = "dependentRequired" if "dependentRequired" in error.schema_path[-2:] else rule
        shown, detail, message = "", "is required and absent", "is required and absent"
    else:
        shown = shortened(error.instance)
        detail = _detail(rule, arguments, error)
        message = f"{shown} {detail}"
    text = _cut(pointer_text(path), PATH_CHARS_MAX)
    return Violation(text, rule, _cut(message, MESSAGE_CHARS_MAX), shown, detail, _code(rule, path, names))


def _detail(
    rule: str, arguments: dict[str, Any], error: jsonschema_rs.ValidationError
) -> str:  # one line a keyword
    if rule in _LIMITS:
        return _LIMITS[rule].format(shortened(arguments["limit"]))
    match rule:
        case "type":
            return f"is not of type {' or '.join(arguments['types'])}"
        case "enum":
            return f"is not one of {_cut(', '.join(map(shortened, arguments['options'])), 120)}"
        case "const":
            return f"is not {shortened(arguments['expected_value'])}"
        case "multipleOf":
            return f"is not a multiple of {shortened(arguments['multiple_of'])}"
        case "pattern":
            return f"does not match {_cut(arguments['pattern'], 120)}"
        case "additionalProperties" | "unevaluatedProperties":
            return f"has fields the contract does not name: {_cut(', '.join(arguments['unexpected']), 120)}"
        case "uniqueItems":
            return "holds an item twice"
        case "contains":
            return "holds no item, or not the right number of items, as the contract's 'contains' asks"
        case "propertyNames":
            return "has a field name the contract's 'propertyNames' refuses"
        case "anyOf":
            return "matches none of the schemas of 'anyOf'"
        case "oneOf":
            many = type(error.kind).__name__ == "OneOfMultipleValid"
            return f"matches {'more than one' if many else 'none'} of the schemas of 'oneOf'"
        case "not":
            return "matches the schema of 'not'"
        case "falseSchema":
            return "may not be there"
        case _:
            return f"breaks {rule!r}"


_LIMITS = {
    "minimum": "is less than the minimum of {}",
    "maximum": "is greater than the maximum of {}",
    "exclusiveMinimum": "is not above {}",
    "exclusiveMaximum": "is not below {}",
    "minLength": "is shorter than {} characters",
    "maxLength": "is longer than {} characters",
    "minItems": "has fewer than {} items",
    "maxItems": "has more than {} items",
    "minProperties": "has fewer than {} fields",
    "maxProperties": "has more than {} fields",
}


def shortened(value: Any) -> str:
    """The value as JSON in at most VALUE_CHARS_MAX characters, however large it is."""
    if isinstance(value, dict):
        return f"an object of {len(value)} fields"
    if isinstance(value, list):
        return f"an array of {len(value)} items"
    if isinstance(value, str):
        value = value[:VALUE_CHARS_MAX]
    if isinstance(value, int) and not isinstance(value, bool) and value.bit_length() > 256:
        return f"an integer of {value.bit_length()} bits"
    return _cut(msgspec.json.encode(value).decode("utf-8"), VALUE_CHARS_MAX)


def _code(rule: str, path: Pointer, names: frozenset[str]) -> str:
    return f"{rule}:{pointer_text([step if step in names else '*' for step in path])}"


def _cut(text: str, chars_max: int) -> str:
    return text if len(text) <= chars_max else text[: chars_max - 1] + "…"
