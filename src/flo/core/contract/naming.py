"""Field names to Python attribute names."""

from __future__ import annotations

import keyword
import re

_IDENTIFIER = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")


def attribute_names(names: list[str]) -> dict[str, str]:
    """A distinct attribute for every name, in order. A name that is a plain ASCII identifier keeps it; any
    other (a keyword, a dunder, `chargeback-rate`) gets the nearest identifier that no other field has."""
    taken = {name for name in names if _usable(name)}
    attributes: dict[str, str] = {}
    for name in names:
        attributes[name] = name if _usable(name) else _free(name, taken)
        taken.add(attributes[name])
    return attributes


def _usable(name: str) -> bool:
    return (
        _IDENTIFIER.fullmatch(name) is not None and not keyword.iskeyword(name) and not name.startswith("__")
    )


def _free(name: str, taken: set[str]) -> str:
    stem = re.sub(r"[^A-Za-z0-9_]", "_", name).lstrip("_") or "field"
    if stem[0].isdigit():
        stem = f"n{stem}"
    if keyword.iskeyword(stem):
        stem += "_"
    candidate, number = stem, 2
    while candidate in taken or not _usable(candidate):
        candidate, number = f"{stem}_{number}", number + 1
    return candidate
