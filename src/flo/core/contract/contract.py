"""A contract: the named, versioned JSON Schema that a signal's data must keep.

One verdict, two ways to it. The full validator (jsonschema-rs, JSON Schema 2020-12) on the plainly decoded
data is the meaning. Where `structs.build_type` can express the schema, msgspec decodes and checks in one
pass; it may refuse more than the schema does, so a refusal goes to the full validator, which names every
violation or overrules it. It accepts nothing the full validator refuses;
tests/core/contract/test_same_verdict.py holds that.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from itertools import islice
from typing import Any

import jsonschema_rs
import msgspec

from flo.core.contract.check import CheckedDocument, check_document, full_validator
from flo.core.contract.describe import describe
from flo.core.contract.plain import (
    SURELY_SHALLOW_BYTES_MAX,
    NotJson,
    decode_plain,
    fitter,
    maybe_deep,
    maybe_out_of_range,
)
from flo.core.contract.shape import Shape
from flo.core.contract.structs import NeedsFullValidator, build_type
from flo.core.contract.violation import (
    ContractViolation,
    Violation,
    from_full_validator,
    known_names,
    not_json,
)
from flo.core.errors import Problem

VIOLATIONS_MAX = 64
# The full validator collects all violations before it gives the first, at about 13 µs each, and a byte or two
# can be one. Beyond this size a refusal names only the first violation; `explain` still names all.
REFUSAL_SIZE_BYTES_MAX = 4096

_UNREADABLE = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)


class Contract:
    """A loaded contract. Immutable in meaning, safe to share, and holds no connection or file.

    `name`, `version`; `id` is `name/version`. `document` is the schema, `digest` the SHA-256 of its canonical
    JSON (key order and white space do not count). `shape` describes the decoded data. `fast`: data decodes to
    msgspec structs in one pass; otherwise `why_slow` names the first keyword that forbids it and data is
    plain Python. `calm_type`, where there is one: what it decodes is accepted by `decode` too, as the same
    values, and needs no look at its bytes: it is as shallow as the schema and its numbers fit 64 bits.
    """

    def __init__(self, name: str, version: int, checked: CheckedDocument) -> None:
        self.name = name
        self.version = version
        self.id = f"{name}/{version}"
        self.document = checked.value
        self.digest = hashlib.sha256(msgspec.json.encode(checked.value, order="sorted")).hexdigest()
        self._validator = full_validator(checked.value)
        self._names = known_names(checked.value, checked.schemas)
        self.why_slow: str | None = None
        self._type: Any = None
        self._read: Callable[[bytes | msgspec.Raw], Any]
        self._read_open: Callable[[bytes | msgspec.Raw], Any] | None = None
        self.calm_type: Any = None
        try:
            self._prepare_fast(checked)
        except NeedsFullValidator as reason:
            self.why_slow = str(reason)
            self._read = self._judge
        self.fast = self.why_slow is None
        self.shape: Shape = describe(checked, structs=self.fast)
        self._fit = fitter(self.shape)

    def _prepare_fast(self, checked: CheckedDocument) -> None:
        self._type, skips, free = build_type(checked, self.id, closed=True)
        self._read = msgspec.json.Decoder(self._type).decode
        if free:
            self._read = _bounded_depth(self._read)
        else:
            self.calm_type, _, _ = build_type(checked, self.id, closed=True, calm=True)
        if skips:
            self._type, _, _ = build_type(checked, self.id, closed=False)
            self._read_open = _checked_unnamed(msgspec.json.Decoder(self._type).decode)

    def decode(self, raw: bytes | msgspec.Raw) -> Any:
        """The data, or ContractViolation. Nothing else is raised, whatever the bytes are.

        Fast contracts give frozen structs read by attribute, slow ones plain Python. A `number` is a float
        and an `integer` an int, also where the sender wrote 950 or 950.0. Fields the contract does not name
        are dropped from structs (`as_json` has them).
        """
        try:
            return self._read(raw)
        except _UNREADABLE:
            return self._read_again(raw)

    def _read_again(self, raw: bytes | msgspec.Raw) -> Any:
        """The first reader refused, perhaps only for a field that the contract does not name but allows. Once
        such data was seen, more is expected, and the reader that skips unnamed fields goes first from then
        on. That changes the speed of later calls and never a verdict.
        """
        if self._read_open is None or self._read is self._read_open:
            return self._judge(raw)
        try:
            data = self._read_open(raw)
        except _UNREADABLE:
            return self._judge(raw)
        self._read = self._read_open
        return data

    def _judge(self, raw: bytes | msgspec.Raw) -> Any:
        """The full verdict, and the data in the form the shape promises."""
        raw = bytes(raw)
        try:
            value = decode_plain(raw)
            violations = self._violations(value, len(raw))
            if violations:
                raise ContractViolation(self.id, violations)
            if self._fit is not None:
                value = self._fit(value)
            return value if self._type is None else msgspec.convert(value, self._type)
        except NotJson as problem:
            violation = not_json(problem.rule, problem.detail, problem.path, self._names)
            raise ContractViolation(self.id, [violation]) from problem

    def _violations(self, value: Any, size_bytes: int) -> list[Violation]:
        if size_bytes > REFUSAL_SIZE_BYTES_MAX:
            try:
                self._validator.validate(value)
            except jsonschema_rs.ValidationError as error:
                return [from_full_validator(error, self._names)]
            return []
        if self._validator.is_valid(value):
            return []
        errors = islice(self._validator.iter_errors(value), VIOLATIONS_MAX)
        return _sorted(from_full_validator(error, self._names) for error in errors)

    def explain(self, raw: bytes | msgspec.Raw) -> list[Violation]:
        """Every violation, sorted by path and rule; empty where the data is accepted. It takes time in
        proportion to the number of violations, so it is for people and tools, not for the way of a signal."""
        try:
            value = decode_plain(bytes(raw))
            violations = _sorted(
                from_full_validator(e, self._names) for e in self._validator.iter_errors(value)
            )
            if not violations and self._fit is not None:
                self._fit(value)
            return violations
        except NotJson as problem:
            return [not_json(problem.rule, problem.detail, problem.path, self._names)]

    def as_json(self, data: Any) -> Any:
        """Plain JSON value of a signal's data. Given the bytes: all of it, as sent, with the fields the
        contract does not name. Given decoded data: what was decoded. Bytes that are not JSON raise
        ContractViolation."""
        if not isinstance(data, bytes | bytearray | memoryview | msgspec.Raw):
            return msgspec.to_builtins(data)
        try:
            return decode_plain(bytes(data))
        except NotJson as problem:
            raise ContractViolation(
                self.id, [not_json(problem.rule, problem.detail, problem.path)]
            ) from problem

    def __repr__(self) -> str:
        return f"Contract({self.id}, {'fast' if self.fast else f'slow: {self.why_slow}'})"


def load_contract(
    name: str, version: int, document: bytes, file: str
) -> tuple[Contract | None, list[Problem]]:
    """The contract in `document`, or every problem found in it: exactly one of the two.

    `file` is the name problems carry. Nothing is read from disk and nothing is fetched.
    """
    checked, problems = check_document(document, file)
    if checked is None:
        return None, problems
    try:
        return Contract(name, version, checked), []
    except RecursionError:
        hint = "flatten the chain of $ref, or of schemas inside schemas"
        return None, [Problem(file, 1, 1, "the schema is nested deeper than FLO follows", hint)]


def _sorted(violations: Any) -> list[Violation]:
    return sorted(violations, key=lambda violation: (violation.path, violation.rule))


def _bounded_depth(read: Callable[[bytes | msgspec.Raw], Any]) -> Callable[[bytes | msgspec.Raw], Any]:
    def read_bounded(raw: bytes | msgspec.Raw) -> Any:
        raw = bytes(raw)
        if len(raw) > SURELY_SHALLOW_BYTES_MAX and maybe_deep(raw):
            raise RecursionError
        return read(raw)

    return read_bounded


def _checked_unnamed(read: Callable[[bytes | msgspec.Raw], Any]) -> Callable[[bytes | msgspec.Raw], Any]:
    """msgspec skips unnamed fields without looking at their UTF-8, their numbers' range or (within Python's
    recursion limit) their depth, all of which the full way refuses. Whatever might be one of those goes the
    full way."""

    def read_checked(raw: bytes | msgspec.Raw) -> Any:
        if type(raw) is not bytes:
            raw = bytes(raw)
        if not raw.isascii():
            str(raw, "utf-8")
        if maybe_out_of_range(raw) or (len(raw) > SURELY_SHALLOW_BYTES_MAX and maybe_deep(raw)):
            raise RecursionError
        return read(raw)

    return read_checked
