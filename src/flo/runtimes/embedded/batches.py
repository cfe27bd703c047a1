"""How large a group of signals may be, and what goes with each signal of one."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

BATCH_SIGNALS_MAX = 2_000
"""The more, the less each pays for what a group costs by itself; 2,000 are decided in 8 ms, and a flood waits anyway."""

BATCH_BYTES_MAX = 8 << 20
"""A group must fit into a block of 64 MiB, together with what its commands and states repeat of the signals."""

Needs = Mapping[int, Mapping[str, Mapping[str, Any]]]
Only = Mapping[int, frozenset[str]]
NOTHING: Mapping[int, Any] = {}


def cuts(raws: Sequence[bytes]) -> Iterator[tuple[int, int]]:
    """From where to where each batch goes, none with too many signals or bytes."""
    start = size_bytes = 0
    for row, raw in enumerate(raws):
        size_bytes += len(raw)
        if row > start and (row - start == BATCH_SIGNALS_MAX or size_bytes > BATCH_BYTES_MAX):
            yield start, row
            start, size_bytes = row, len(raw)
    if start < len(raws):
        yield start, len(raws)


def part_of(by_row: Mapping[int, Any], start: int, end: int) -> Mapping[int, Any]:
    """What concerns the rows of one batch, counted from its own first row."""
    return {row - start: value for row, value in by_row.items() if start <= row < end}
