"""Rows of a data directory that no list of the API has: signals as they came, and state by key."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from flo.core.record import decode_group
from flo.core.signal import parse_signal, text_from_time, time_from_text
from flo.flow.mark_blocks import MARK_REPLAY, MARK_TAKEN_LATER
from flo.flow.views.decisions import query_time
from flo.runtimes.embedded.checkpointer import SHARED_KEY, decode_meta
from flo.runtimes.embedded.library import Library
from flo.runtimes.embedded.shard_views import shards_of
from flo.stores.checkpoints import CheckpointStore
from flo.stores.disk import LocalDisk
from flo.stores.ledger import LedgerReader
from flo.stores.ledger_view import ReaderView


def export_rows(data: Path, kind: str, query: Mapping[str, str]) -> Iterator[dict[str, Any]]:
    """Oldest first, streamed. `kind`: signals | state."""
    for shard in shards_of(data):
        yield from _signals(data, shard, query) if kind == "signals" else _state(data, shard, query)


def _signals(data: Path, shard: int, query: Mapping[str, str]) -> Iterator[dict[str, Any]]:
    since, until = query_time("since", query.get("since")), query_time("until", query.get("until"))
    loop = query.get("loop")
    view = ReaderView(LedgerReader.open(LocalDisk(), str(data), shard))
    for header in reversed(list(view.headers(view.last_block()))):
        if (since and header.written_ns < since) or (until and header.written_ns > until):
            continue
        group = decode_group(view.read(header.number).payload)
        wanted: set[int] | None = None
        if loop is not None:
            wanted = {
                row
                for section in group.sections
                if section.loop == loop and section.count
                for row in section.column("signal")
            }
        for row, raw in enumerate(group.raws()):
            again = group.marks.get(row, 0) & (
                MARK_REPLAY | MARK_TAKEN_LATER
            )  # it stands in an earlier block, too
            if again if wanted is None else row not in wanted:
                continue
            event = parse_signal(raw)
            t = group.decided_ns if event.time is None else time_from_text(event.time)
            yield {
                "shard": shard,
                "block": header.number,
                "row": row,
                "id": event.id,
                "source": event.source,
                "type": event.type,
                "time": text_from_time(t),
                "received": text_from_time(group.received_ns),
                "signal": raw.decode("utf-8", "replace"),
            }


def _state(data: Path, shard: int, query: Mapping[str, str]) -> Iterator[dict[str, Any]]:
    """The state of the last checkpoint, read as rules would read it now."""
    checkpoint = CheckpointStore(LocalDisk(), str(data), shard).latest()
    if checkpoint is None:
        return
    bundle = Library(data).find(decode_meta(checkpoint.meta).revision)
    now = time.time_ns()
    for loop, key, block, encoded in checkpoint.entries():
        if encoded is None:
            continue
        program = bundle.programs.get(loop)
        if program is None or ("loop" in query and query["loop"] != loop):
            continue
        if key == SHARED_KEY:
            values, seq = program.shared_plan.read(program.shared_plan.decode(encoded), now), None
        else:
            cell = program.decode_cell(encoded)
            values, seq = program.plan.read(cell[program.offset :], now), cell[0]
        yield {"shard": shard, "loop": loop, "key": key, "seq": seq, "block": block, "state": values}
