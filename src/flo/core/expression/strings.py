"""The string functions of CEL's string extension. Offsets count Unicode characters."""

from __future__ import annotations

import functools
import math
from typing import Any, Final

import re2

from flo.core.expression.conversions import string_of_bool, string_of_double
from flo.core.expression.errors import EvaluationError, Place
from flo.core.expression.times import duration_text, timestamp_text
from flo.core.expression.values import (
    BoolKey,
    CelType,
    Duration,
    Timestamp,
    UInt,
    type_name,
)

TEXT_LENGTH_MAX: Final = 10_000_000
"""Characters `replace` may make: its result can be as large as two inputs multiplied."""

_PRECISION_MAX: Final = 100
_PATTERN_LENGTH_MAX: Final = 1_000
_WHITE_SPACE: Final = (
    "\t\n\x0b\x0c\r \x85\xa0\u1680\u2000\u2001\u2002\u2003\u2004\u2005\u2006\u2007\u2008\u2009\u200a"
    "\u2028\u2029\u202f\u205f\u3000"
)
_LOWER: Final = {code: code + 32 for code in range(ord("A"), ord("Z") + 1)}
_UPPER: Final = {code: code - 32 for code in range(ord("a"), ord("z") + 1)}
_QUOTED: Final = str.maketrans(
    {
        "\a": r"\a",
        "\b": r"\b",
        "\f": r"\f",
        "\n": r"\n",
        "\r": r"\r",
        "\t": r"\t",
        "\v": r"\v",
        "\\": r"\\",
        '"': r"\"",
    }
)


def _offset(offset: int, length: int, at: Place | None) -> int:
    if 0 <= offset <= length:
        return offset
    raise EvaluationError("index_out_of_range", f"no offset {offset}: the text has {length} characters", at)


def char_at(text: str, offset: int, at: Place | None = None) -> str:
    """The character at an offset; empty at the very end."""
    return text[_offset(offset, len(text), at) :][:1]


def index_of(text: str, part: str, start: int = 0, at: Place | None = None) -> int:
    """The first offset of `part` from `start`, or -1."""
    return text.find(part, _offset(start, len(text), at))


def last_index_of(text: str, part: str, last: int, at: Place | None = None) -> int:
    """The last offset of `part` that is not after `last`, or -1."""
    return text.rfind(part, 0, _offset(last, len(text), at) + len(part))


def substring(text: str, start: int, end: int, at: Place | None = None) -> str:
    """The characters from `start` up to, not including, `end`."""
    _offset(start, len(text), at)
    _offset(end, len(text), at)
    if start > end:
        raise EvaluationError("bad_argument", f"the start {start} is after the end {end}", at)
    return text[start:end]


def substring_from(text: str, start: int, at: Place | None = None) -> str:
    """The characters from `start` on."""
    return text[_offset(start, len(text), at) :]


def replace_all(text: str, old: str, new: str, at: Place | None = None) -> str:
    """Every `old` made `new`."""
    return replace(text, old, new, -1, at)


def replace(text: str, old: str, new: str, count: int, at: Place | None = None) -> str:
    """The first `count` times `old` made `new`; all where negative."""
    times = text.count(old) if count < 0 else min(text.count(old), count)
    if len(text) + times * (len(new) - len(old)) > TEXT_LENGTH_MAX:
        message = f"the text would have more than {TEXT_LENGTH_MAX:,} characters"
        raise EvaluationError("budget", message, at)
    return text.replace(old, new, min(max(count, -1), len(text) + 1))


def split(text: str, separator: str, count: int = -1) -> list[str]:
    """The parts of a text, at most `count`, all where negative. An empty separator splits characters."""
    if count == 0:
        return []
    if separator == "":
        parts = list(text)
        return (
            parts if count < 0 or len(parts) <= count else [*parts[: count - 1], "".join(parts[count - 1 :])]
        )
    return text.split(separator, -1 if count < 0 else min(count, len(text) + 1) - 1)


def join(parts: list[object], separator: str, at: Place | None = None) -> str:
    """The texts of a list, one after another."""
    for part in parts:
        if type(part) is not str:
            raise EvaluationError("no_matching_overload", f"join needs strings, not {type_name(part)}", at)
    return separator.join(parts)  # type: ignore[arg-type]


def concatenate(parts: list[object], at: Place | None = None) -> str:
    """`join` without a separator."""
    return join(parts, "", at)


@functools.lru_cache(maxsize=256)
def pattern_of(pattern: str) -> Any:
    """A compiled RE2 pattern: matching takes time linear in the text. Raises ValueError for a bad pattern."""
    if len(pattern) > _PATTERN_LENGTH_MAX:
        raise ValueError(f"the pattern has more than {_PATTERN_LENGTH_MAX} characters")
    options = re2.Options()
    options.log_errors = False
    try:
        return re2.compile(pattern, options=options)
    except re2.error as error:
        reason = error.args[0] if error.args else error
        raise ValueError(reason.decode() if isinstance(reason, bytes) else str(reason)) from None


def matches(text: str, pattern: str, at: Place | None = None) -> bool:
    """Whether the pattern (RE2 syntax) is found anywhere in the text."""
    try:
        compiled = pattern_of(pattern)
    except ValueError as error:
        raise EvaluationError("bad_argument", f"bad pattern {pattern[:100]!r}: {error}", at) from None
    return found_in(compiled, text)


def found_in(compiled: Any, text: str) -> bool:
    """Whether a compiled pattern is found in a text. A half surrogate (JSON allows it) is matched as `?`."""
    try:
        return compiled.search(text) is not None
    except UnicodeEncodeError:
        return compiled.search(text.encode("utf-8", "replace").decode()) is not None


def lower_ascii(text: str) -> str:
    return text.translate(_LOWER)


def upper_ascii(text: str) -> str:
    return text.translate(_UPPER)


def trim(text: str) -> str:
    return text.strip(_WHITE_SPACE)


def quote(text: str) -> str:
    """The text as a literal of the language."""
    return '"' + text.translate(_QUOTED) + '"'


def format_text(pattern: str, values: list[object], at: Place | None = None) -> str:
    """`"%s is %.2f".format([name, amount])`: the verbs s, d, f, e, b, o, x and X."""
    pieces: list[str] = []
    used = offset = 0
    while (found := pattern.find("%", offset)) >= 0:
        pieces.append(pattern[offset:found])
        offset = found + 1
        precision = None
        if pattern[offset : offset + 1] == ".":
            digits = offset + 1
            offset = digits
            while pattern[offset : offset + 1].isdecimal():
                offset += 1
            precision = _precision(pattern[digits:offset], at)
        verb = pattern[offset : offset + 1]
        offset += 1
        if verb == "%":
            pieces.append("%")
            continue
        if used >= len(values):
            raise EvaluationError("bad_argument", f"the format asks for more than {len(values)} values", at)
        pieces.append(_formatted(verb, precision, values[used], at))
        used += 1
    pieces.append(pattern[offset:])
    return "".join(pieces)


def _precision(digits: str, at: Place | None) -> int:
    if not digits or len(digits) > 3 or int(digits) > _PRECISION_MAX:
        raise EvaluationError(
            "bad_argument", f"the precision must be 0 to {_PRECISION_MAX}, not {digits!r}", at
        )
    return int(digits)


def _formatted(verb: str, precision: int | None, value: object, at: Place | None) -> str:
    kind = type(value)
    if verb == "s":
        return text_of(value)
    if verb == "d" and (kind is int or kind is UInt):
        return str(int(value))  # type: ignore[call-overload]
    if verb in ("d", "f", "e") and kind is float and not math.isfinite(value):  # type: ignore[arg-type]
        return text_of(value)
    if verb == "d" and kind is float and value == int(value):  # type: ignore[call-overload]
        return str(int(value))  # type: ignore[call-overload]
    if verb in ("f", "e") and kind in (int, UInt, float):
        return f"{float(value):.{6 if precision is None else precision}{verb}}"  # type: ignore[arg-type]
    if verb == "b" and kind is bool:
        return "1" if value else "0"
    if verb in ("b", "o", "x", "X") and (kind is int or kind is UInt):
        return f"{int(value):{verb}}"  # type: ignore[call-overload]
    if verb in ("x", "X") and kind in (str, bytes):
        octets = value.encode() if isinstance(value, str) else bytes(value)  # type: ignore[call-overload]
        return octets.hex().upper() if verb == "X" else octets.hex()
    if verb not in ("s", "d", "f", "e", "b", "o", "x", "X"):
        raise EvaluationError(
            "bad_argument", f"unknown format %{verb}: write one of %s %d %f %e %b %o %x %X", at
        )
    raise EvaluationError("no_matching_overload", f"%{verb} does not format {type_name(value)}", at)


def text_of(value: object) -> str:
    """Any value as a person reads it: what `%s` and an interpolation within a longer text give."""
    kind = type(value)
    if kind is str:
        return value  # type: ignore[return-value]
    if kind is bool:
        return string_of_bool(value)  # type: ignore[arg-type]
    if kind is float:
        text = string_of_double(value)  # type: ignore[arg-type]
        return {"+Inf": "Infinity", "-Inf": "-Infinity"}.get(text, text)
    if value is None:
        return "null"
    if kind is Timestamp:
        return timestamp_text(value)  # type: ignore[arg-type]
    if kind is Duration:
        return duration_text(value)  # type: ignore[arg-type]
    if isinstance(value, int):
        return str(int(value))
    if isinstance(value, bytes):
        return value.decode("utf-8", "replace")
    if isinstance(value, list | tuple):
        return "[" + ", ".join(map(text_of, value)) + "]"
    if isinstance(value, dict):
        return (
            "{" + ", ".join(sorted(f"{text_of(key)}: {text_of(item)}" for key, item in value.items())) + "}"
        )
    if isinstance(value, BoolKey):
        return string_of_bool(value.value)
    return value.name if isinstance(value, CelType) else str(value)
