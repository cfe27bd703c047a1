"""Types as text, and back: `list(map(string, dyn))`."""

from __future__ import annotations

import re

from flo.core.expression.types import (
    BOOL,
    BYTES,
    DOUBLE,
    DURATION,
    DYN,
    INT,
    NULL,
    STRING,
    TIMESTAMP,
    TYPE,
    UINT,
    ListOf,
    MapOf,
    Type,
)

_SIMPLE = {
    each.name: each for each in (BOOL, INT, UINT, DOUBLE, STRING, BYTES, NULL, TIMESTAMP, DURATION, TYPE, DYN)
}
_TOKEN = re.compile(r"\s*([a-z]+|[(),])")


def type_of_text(text: str) -> Type:
    """What `str` of a type without records gives, as a type again; `ValueError` for anything else."""
    tokens = _TOKEN.findall(text)
    kind, rest = _read(tokens)
    if rest or str(kind) != text:
        raise ValueError(f"{text[:60]!r} is no type")
    return kind


def _read(tokens: list[str]) -> tuple[Type, list[str]]:
    match tokens:
        case ["list", "(", *rest]:
            element, rest = _read(rest)
            return ListOf(element), _after(")", rest)
        case ["map", "(", *rest]:
            key, rest = _read(rest)
            value, rest = _read(_after(",", rest))
            return MapOf(key, value), _after(")", rest)
        case [name, *rest] if name in _SIMPLE:
            return _SIMPLE[name], rest
    raise ValueError(f"{' '.join(tokens)[:60]!r} is no type")


def _after(sign: str, tokens: list[str]) -> list[str]:
    if not tokens or tokens[0] != sign:
        raise ValueError(f"a type lacks its {sign}")
    return tokens[1:]
