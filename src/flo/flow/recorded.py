"""Recorded signals, read back to be decided once more: what is parked, oldest first. Blocks the thread it is read on."""

from __future__ import annotations

from collections.abc import Iterator

from flo.core.record import GroupView, SignalsParked, decode_group
from flo.core.record.group import decode_summary
from flo.flow.redecide import Parked, Recorded
from flo.ports.store import LedgerView

SIGNALS_MAX = 1_000
BYTES_MAX = 8 << 20
"""Of one batch: as large as those of new signals."""

HEADERS_AT_A_TIME = 1_000


def blocks_with(view: LedgerView, kinds: frozenset[str], first: int, last: int) -> Iterator[int]:
    """The blocks from `first` to `last` whose header names one of these kinds of event, oldest first."""
    for start in range(first, last + 1, HEADERS_AT_A_TIME):
        newest_first = [
            header.number
            for header in view.headers(min(start + HEADERS_AT_A_TIME - 1, last), start)
            if kinds & set(decode_summary(header.summary).events)
        ]
        yield from reversed(newest_first)


def parked_batches(
    view: LedgerView, pipeline: str, since: tuple[int, int], signals_max: int = SIGNALS_MAX
) -> Iterator[Parked]:
    """What of a pipeline is parked from a place on, as far as it is durable now. Memory: one batch and one block."""
    batch: list[Recorded] = []
    size_bytes, until = 0, since
    for number in blocks_with(view, frozenset({"parked"}), since[0], view.last_block()):
        group = decode_group(view.read(number).payload)
        loops = _parked_rows(group, pipeline)
        raws = group.raws() if loops else []
        for row in sorted(loops):
            if (number, row) < since:
                continue
            batch.append(recorded(number, row, group, raws[row], loops[row]))
            until, size_bytes = (number, row + 1), size_bytes + len(raws[row])
            if len(batch) == signals_max or size_bytes >= BYTES_MAX:
                yield Parked(pipeline, since, batch, until)
                batch, size_bytes, since = [], 0, until
    if batch:
        yield Parked(pipeline, since, batch, until)


def recorded(block: int, row: int, group: GroupView, raw: bytes, loops: list[str]) -> Recorded:
    """One signal of a block, for these loops."""
    return Recorded(block, row, group.decided_ns, raw, group.contexts.get(row), loops)


def _parked_rows(group: GroupView, pipeline: str) -> dict[int, list[str]]:
    rows: dict[int, list[str]] = {}
    for event in group.events():
        if isinstance(event, SignalsParked) and event.pipeline == pipeline:
            for first, many in event.rows:
                for row in range(first, first + many):
                    rows.setdefault(row, []).append(event.loop)
    return rows
