"""Masks: fields of the data that never reach the disk.

`Mask.hide` is applied to a signal's bytes before anything is recorded, so the ledger, and all that is made from it,
holds `***` where the value stood. What the loop decides, it decides on the real value, which is gone after that.
"""

from __future__ import annotations

import copy
from collections.abc import Iterable, Mapping
from typing import Any

import msgspec

from flo.core.contract import Contract, ContractViolation, load_contract
from flo.core.contract.references import at as resolved_at

STARS = "***"

Path = tuple[str, ...]

_decode = msgspec.json.Decoder().decode
_decode_fields = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode
_decode_items = msgspec.json.Decoder(list[msgspec.Raw]).decode
_encode = msgspec.json.Encoder().encode
_STARS = msgspec.Raw(_encode(STARS))
_UNREADABLE = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)


class Mask:
    """Paths such as `data.card.number`. Immutable; two masks join to one that hides what either does."""

    __slots__ = ("_tree", "paths")

    def __init__(self, paths: Iterable[str] = ()) -> None:
        self.paths = tuple(sorted(set(paths)))
        self._tree: dict[str, Any] = {}
        for path in self.paths:
            if any(path.startswith(f"{other}.") for other in self.paths):
                continue  # inside of what is hidden whole
            node = self._tree
            for step in path.split("."):
                node = node.setdefault(step, {})

    def joined(self, other: Mask) -> Mask:
        return Mask((*self.paths, *other.paths))

    def hides(self, reference: Path) -> bool:
        """Whether a reference (`("data", "card")`) reads what is masked: the field, a part of it, or what holds it."""
        masked = (tuple(path.split(".")) for path in self.paths)
        return any(reference[: len(path)] == path or path[: len(reference)] == reference for path in masked)

    def hides_any(self, references: Iterable[Path]) -> bool:
        return bool(self.paths) and any(map(self.hides, references))

    def hide(self, raw: bytes) -> bytes:
        """A signal's bytes without what is masked; the other values keep theirs. Of data that cannot be read nothing
        is left: better a dead letter that shows little than a card number on disk.
        """
        fields = _decode_fields(raw)
        inside = self._tree.get("data")
        if inside is None:
            return raw
        if "data_base64" in fields:
            fields["data"] = _from_base64(fields.pop("data_base64"))
        if "data" not in fields:
            return raw
        try:
            fields["data"] = msgspec.Raw(_hidden(fields["data"], inside))
            return _encode(fields)
        except _UNREADABLE:
            fields["data"] = _STARS
            return _encode(fields)

    def refusal(self, error: ContractViolation) -> str:
        """What a refusal may say: where and which rule, never the value."""
        said = "; ".join(f"{self._place(each.path)}: {each.detail}" for each in error.violations[:5])
        more = f"; and {len(error.violations) - 5} more" if len(error.violations) > 5 else ""
        return f"the data breaks its contract {error.contract}: {said}{more}"

    def _place(self, pointer: str) -> str:
        """A violation's path, cut where what is masked begins: names inside it are the sender's."""
        steps = pointer.strip("/").split("/")
        node = self._tree.get("data", {})
        for depth, step in enumerate(steps):
            if step.isdecimal():
                continue
            if step not in node:
                return pointer
            node = node[step]
            if not node:
                return "/" + "/".join(steps[: depth + 1])
        return pointer

    def relaxed(self, contract: Contract | None) -> Contract | None:
        """The contract as a masked signal keeps it: anything where something is masked.

        None where the schema puts its demands so that they cannot be lifted; such a signal cannot be read again.
        """
        if contract is None or not self.paths:
            return contract
        document = copy.deepcopy(contract.document)
        if isinstance(document, dict):
            _lift(document, document, self._tree.get("data", {}))
        found, _ = load_contract(contract.name, contract.version, _encode(document), "masked")
        return found if found is not None and found.fast == contract.fast else None


NO_MASK = Mask()


def _hidden(raw: msgspec.Raw, inside: Mapping[str, Any]) -> bytes:
    """A JSON value without what `inside` names. Of a list every item; a value where fields were meant is hidden whole."""
    data = bytes(raw)
    first = data.lstrip()[:1]
    if not inside:
        return bytes(_STARS)
    if first == b"[":
        return _encode([msgspec.Raw(_hidden(item, inside)) for item in _decode_items(data)])
    if first != b"{":
        return data if data.strip() == b"null" else bytes(_STARS)
    fields = _decode_fields(data)
    for name, deeper in inside.items():
        if name in fields:
            fields[name] = msgspec.Raw(_hidden(fields[name], deeper))
    checked = _encode(fields)
    _decode(checked)  # what was not looked into above may still not be JSON
    return checked


def _from_base64(raw: msgspec.Raw) -> msgspec.Raw:
    return msgspec.Raw(msgspec.json.decode(raw, type=bytes))


def _lift(document: dict[str, Any], schema: Any, inside: Mapping[str, Any]) -> None:
    """Take the demands on masked fields out of a schema, along `properties`, `items` and local references."""
    if not isinstance(schema, dict):
        return
    reference = schema.get("$ref")
    if isinstance(reference, str) and reference.startswith("#/"):
        schema.pop("$ref")
        steps = tuple(step.replace("~1", "/").replace("~0", "~") for step in reference[2:].split("/"))
        target = resolved_at(document, steps)
        if isinstance(target, dict):
            for keyword, value in copy.deepcopy(target).items():
                schema.setdefault(keyword, value)
    _lift(document, schema.get("items"), inside)
    properties = schema.get("properties")
    for name, deeper in inside.items():
        if not isinstance(properties, dict) or name not in properties:
            continue
        if deeper:
            _lift(document, properties[name], deeper)
        else:
            properties[name] = {}
