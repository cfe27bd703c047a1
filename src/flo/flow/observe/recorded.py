"""What was observed, read back from the ledger: lineage events and summaries are signals in it, oldest first."""

from __future__ import annotations

import heapq
from collections.abc import Iterable, Iterator

from flo.core.errors import SignalRejected
from flo.core.record import decode_group
from flo.core.signal import parse_signal
from flo.flow.observe.summary import LOOP_EDGES, SOURCE, TRACE_EDGES
from flo.ports.store import LedgerView

BLOCKS_MAX = 20_000
"""Blocks looked through, the newest: up to 20 million signals. Older edges show again when they are seen again."""

SUMMARIES = frozenset({TRACE_EDGES, LOOP_EDGES})

_LINEAGE = b'"openlineage.'
_SUMMARY = SOURCE.encode()


Found = tuple[str, bytes]
"""A signal that shows edges: its type, and the summary it is or the event it carries."""


def recorded(views: Iterable[LedgerView]) -> Iterator[list[Found]]:
    """For each block that is there, its signals that show edges. To be read on a thread of its own.

    Shards are merged by time: the start of a run and its end may lie in two.
    """
    for _, found in heapq.merge(*(_blocks(view) for view in views), key=lambda block: block[0]):
        yield found


def _blocks(view: LedgerView, blocks_max: int = BLOCKS_MAX) -> Iterator[tuple[int, list[Found]]]:
    last = view.last_block()
    for number in range(max(1, last - blocks_max + 1), last + 1):
        try:
            block = view.read(number)
        except KeyError:  # dropped by retention
            continue
        found: list[Found] = []
        group = decode_group(block.payload)
        for raw in group.raws():
            if _LINEAGE in raw or _SUMMARY in raw:
                try:
                    event = parse_signal(raw)
                except SignalRejected:
                    continue
                if event.type in SUMMARIES and event.source == SOURCE:
                    found.append((event.type, raw))
                elif event.type.startswith("openlineage."):
                    found.append((event.type, bytes(event.data)))
        yield group.decided_ns, found
