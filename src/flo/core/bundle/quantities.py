"""Durations, rates and sizes as a bundle writes them: `1h30m`, `20/s`, `64MiB`, read and written back.

Every function raises `ValueError` with a sentence fit for a bundle's problem: it names the value and what is
expected.
"""

from __future__ import annotations

import re
from fractions import Fraction

NS_PER_UNIT = {
    "ns": 1,
    "us": 1_000,
    "ms": 1_000_000,
    "s": 1_000_000_000,
    "m": 60_000_000_000,
    "h": 3_600_000_000_000,
    "d": 86_400_000_000_000,
    "w": 604_800_000_000_000,
}
DURATION_NS_MAX = 100 * 365 * NS_PER_UNIT["d"]
"""A hundred years: anything longer is a slip, and a sum of two of them with a time still fits 64 bits."""

BYTES_PER_UNIT = {
    "B": 1,
    "kB": 1_000,
    "MB": 1_000_000,
    "GB": 1_000_000_000,
    "TB": 1_000_000_000_000,
    "KiB": 1 << 10,
    "MiB": 1 << 20,
    "GiB": 1 << 30,
    "TiB": 1 << 40,
}
SIZE_BYTES_MAX = 1 << 60

QUANTITY_CHARS_MAX = 64
RATE_PER_S_MAX = 1e9

_PART = re.compile(r"(\d{1,19}(?:\.\d{1,9})?)(ns|us|ms|s|m|h|d|w)", re.ASCII)
_RATE = re.compile(r"(\d{1,12}(?:\.\d{1,9})?)\s?/\s?(s|m|h|d)", re.ASCII)
_SIZE = re.compile(r"(\d{1,19}(?:\.\d{1,9})?)\s?([A-Za-z]{1,3})", re.ASCII)

_DURATION_HELP = "a duration is written like 250ms, 10s, 10m, 1h30m or 1d"
_RATE_HELP = "a rate is written like 20/s, 500/m or 10/h"
_SIZE_HELP = "a size is written like 512B, 10kB, 64MiB or 2GiB"


def duration_ns(text: str) -> int:
    """`1h30m` to nanoseconds. Units go from large to small, each at most once; a bare `0` is none."""
    if text == "0":
        return 0
    if len(text) > QUANTITY_CHARS_MAX:
        raise ValueError(f"{_shown(text)} is too long for a duration; {_DURATION_HELP}")
    total, position, smallest = Fraction(0), 0, DURATION_NS_MAX
    while position < len(text):
        match = _PART.match(text, position)
        if match is None:
            raise ValueError(_duration_message(text))
        unit_ns = NS_PER_UNIT[match[2]]
        if unit_ns >= smallest:
            raise ValueError(f"{_shown(text)}: units go from large to small, each once; {_DURATION_HELP}")
        smallest = unit_ns
        total += Fraction(match[1]) * unit_ns
        position = match.end()
    if not text:
        raise ValueError(f"nothing is written; {_DURATION_HELP}")
    if total.denominator != 1:
        raise ValueError(f"{_shown(text)} is not a whole number of nanoseconds")
    if total > DURATION_NS_MAX:
        raise ValueError(f"{_shown(text)} is longer than a hundred years")
    return int(total)


def _duration_message(text: str) -> str:
    if re.fullmatch(r"-.*", text):
        return f"{_shown(text)} is negative; {_DURATION_HELP}"
    if re.fullmatch(r"\d+(\.\d+)?", text, re.ASCII):
        return f"{_shown(text)} has no unit; write {text}s for seconds, {text}m for minutes"
    return f"{_shown(text)} is not a duration; {_DURATION_HELP}"


def format_duration(value_ns: int) -> str:
    """Nanoseconds as a bundle writes them, exactly: `duration_ns(format_duration(n)) == n`."""
    if value_ns == 0:
        return "0"
    parts, rest = [], value_ns
    for unit in ("d", "h", "m", "s", "ms", "us", "ns"):
        count, rest = divmod(rest, NS_PER_UNIT[unit])
        if count:
            parts.append(f"{count}{unit}")
    return "".join(parts)


def rate_per_s(text: str) -> float:
    """`500/m` to a rate per second."""
    match = _RATE.fullmatch(text) if len(text) <= QUANTITY_CHARS_MAX else None
    if match is None:
        raise ValueError(f"{_shown(text)} is not a rate; {_RATE_HELP}")
    rate = float(Fraction(match[1]) * NS_PER_UNIT["s"] / NS_PER_UNIT[match[2]])
    if not 0 < rate <= RATE_PER_S_MAX:
        raise ValueError(f"{_shown(text)}: a rate is more than 0 and at most {RATE_PER_S_MAX:.0f}/s")
    return rate


def format_rate(value_per_s: float) -> str:
    """A rate as a bundle writes it, in the first unit that makes it short and reads back the same."""
    for unit in ("s", "m", "h", "d"):
        count = Fraction(value_per_s) * NS_PER_UNIT[unit] / NS_PER_UNIT["s"]
        shown = f"{float(count):.9f}".rstrip("0").rstrip(".")
        text = f"{shown}/{unit}"
        if _RATE.fullmatch(text) and float(shown) > 0 and rate_per_s(text) == value_per_s:
            return text
    return f"{float(value_per_s):.9f}".rstrip("0").rstrip(".") + "/s"


def size_bytes(text: str) -> int:
    """`64MiB` to bytes. Decimal (`kB`) and binary (`KiB`) units are different things, as their names say."""
    if text == "0":
        return 0
    match = _SIZE.fullmatch(text) if len(text) <= QUANTITY_CHARS_MAX else None
    if match is None:
        bare = re.fullmatch(r"\d+", text[:QUANTITY_CHARS_MAX], re.ASCII)
        raise ValueError(
            f"{_shown(text)} has no unit; write {text}B for bytes"
            if bare
            else f"{_shown(text)} is not a size; {_SIZE_HELP}"
        )
    unit = match[2]
    if unit not in BYTES_PER_UNIT:
        raise ValueError(
            f"{_shown(text)}: `{unit}` is not a unit of size; the units are {', '.join(BYTES_PER_UNIT)}"
        )
    size = Fraction(match[1]) * BYTES_PER_UNIT[unit]
    if size.denominator != 1:
        raise ValueError(f"{_shown(text)} is not a whole number of bytes")
    if size > SIZE_BYTES_MAX:
        raise ValueError(f"{_shown(text)} is more than {format_size(SIZE_BYTES_MAX)}")
    return int(size)


def format_size(value_bytes: int) -> str:
    """Bytes as a bundle writes them, exactly, in the largest unit that keeps a whole number."""
    if value_bytes == 0:
        return "0"
    for unit, unit_bytes in sorted(BYTES_PER_UNIT.items(), key=lambda item: -item[1]):
        if value_bytes % unit_bytes == 0:
            return f"{value_bytes // unit_bytes}{unit}"
    return f"{value_bytes}B"


def _shown(text: str) -> str:
    return f"`{text[:40]}{'…' if len(text) > 40 else ''}`"
