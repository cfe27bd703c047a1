"""Where a `$ref` leads inside its own document. Nothing is ever fetched: a reference to another document is
refused."""

from __future__ import annotations

from typing import Any
from urllib.parse import unquote

from flo.core.contract.positions import Pointer


class UnresolvedReference(Exception):
    """The reference leads nowhere in this document; the message says why."""


def resolve(document: Any, reference: str, anchors: dict[str, Pointer]) -> Pointer:
    """The pointer of the value `reference` names: `#`, `#/json/pointer`, `#anchor`, or those behind the
    root's `$id`."""
    base, _, fragment = reference.partition("#")
    root_id = document.get("$id") if isinstance(document, dict) else None
    if base and base != (root_id or "").partition("#")[0]:
        raise UnresolvedReference(f"{reference!r} is in another document, and FLO fetches none")
    fragment = unquote(fragment)
    if not fragment:
        return ()
    if not fragment.startswith("/"):
        if fragment not in anchors:
            raise UnresolvedReference(f"no $anchor in this document is named {fragment!r}")
        return anchors[fragment]
    return _walk(document, reference, fragment)


def _walk(document: Any, reference: str, fragment: str) -> Pointer:
    value: Any = document
    pointer: Pointer = ()
    for part in fragment[1:].split("/"):
        name = part.replace("~1", "/").replace("~0", "~")
        step: str | int = name
        if isinstance(value, dict) and name in value:
            value = value[name]
        elif isinstance(value, list) and name.isascii() and name.isdigit() and int(name) < len(value):
            step = int(name)
            value = value[step]
        else:
            raise UnresolvedReference(
                f"{reference!r} leads nowhere: there is no {name!r} at #{pointer_text(pointer)}"
            )
        pointer = (*pointer, step)
    return pointer


def at(document: Any, pointer: Pointer) -> Any:
    """The value at a pointer that is known to exist."""
    value = document
    for step in pointer:
        value = value[step]
    return value


def pointer_text(pointer: Pointer | list[str | int]) -> str:
    """The pointer as RFC 6901 writes it; the root, which that writes as nothing, is `/`."""
    if not pointer:
        return "/"
    return "".join("/" + str(step).replace("~", "~0").replace("/", "~1") for step in pointer)
