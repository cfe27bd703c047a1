"""De-duplication by itself: signals as marks, on a real ledger and freezer over a simulated disk, and a naive oracle."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

from flo.core.record import Group, decode_group, encode_group
from flo.core.signal import encode_signal
from flo.flow.mark_blocks import MARK_REFUSED, RecordedMarks
from flo.flow.mark_hash import HashMark
from flo.flow.marks import Marks
from flo.flow.reconcile import Reconciler
from flo.flow.recover import Fold, marks_only
from flo.ports.disk import Disk
from flo.runtimes.embedded.freezer import Freezer
from flo.stores.ledger import Ledger
from flo.stores.ledger_view import WriterView
from flo.stores.marks import MarkStore

S = 1_000_000_000
HOUR = 3600 * S
T0 = 1_800_000_000 * S
Mark = tuple[str, str]


def raw_of(source: str, id: str, value: int = 0) -> bytes:
    return encode_signal(id=id, source=source, type="t", time_ns=T0, data={"value": value})


class Marker:
    """One process's life: takes signals as the step does, freezes when told."""

    def __init__(
        self, disk: Disk, window_ns: int, now_ns: int, checkpoint: int = 0, hash_of: HashMark | None = None
    ) -> None:
        self.ledger = Ledger.open(disk, "/data", allocate_bytes=1 << 16)
        self.marks = Marks(window_ns, RecordedMarks(WriterView(self.ledger)), hash_of)
        self.store = MarkStore(disk, "/data")
        self.freezer = Freezer(self.marks, self.ledger, self.store)
        self.read_blocks: list[int] = []  # into memory, at this start
        fold = Fold({}, self.marks, Reconciler(lambda loop, rule, n: None))
        tail = self.freezer.restore(now_ns, checkpoint)
        if tail is not None:
            for block in self.ledger.scan(first=tail[0], last=tail[1]):
                marks_only(fold, block.number, decode_group(block.payload))
                self.read_blocks.append(block.number)
        for block in self.ledger.scan(first=checkpoint + 1):
            fold.block(block.number, decode_group(block.payload))
            self.freezer.freeze_closed()
            self.read_blocks.append(block.number)
        self.freezer.complete(now_ns)

    def take(self, now_ns: int, signals: Sequence[Mark]) -> list[bool]:
        """Which of them were taken, not repeats; they are durable on return."""
        group = self._group(now_ns)
        taken = []
        for source, id in signals:
            ids = self.marks.hot.setdefault(source, set())
            is_new = not (id in ids or (self.marks.older and self.marks.seen_before(source, id)))
            taken.append(is_new)
            if is_new:
                ids.add(id)
                group.raws.append(raw_of(source, id))
        self._commit(group)
        return taken

    def refuse(self, now_ns: int, source: str, id: str, value: int) -> bool:
        """Whether these bytes are refused for the first time."""
        group = self._group(now_ns)
        raw = raw_of(source, id, value)
        if self.marks.refused_before(source, id, raw):
            return False
        group.marks[0] = MARK_REFUSED
        group.raws.append(raw)
        self.marks.add_refused(source, id, raw)
        self._commit(group)
        return True

    def freeze(self) -> int:
        return asyncio.run(self.freezer.once())

    def _group(self, now_ns: int) -> Group:
        group = Group(block=self.ledger.next_block, shard=0, decided_ns=now_ns)
        self.marks.turn(now_ns, group.block)
        return group

    def _commit(self, group: Group) -> None:
        if group.is_empty():
            return
        payload, summary = encode_group(group)
        times: dict[str, Any] = dict.fromkeys(("time_min_ns", "time_max_ns", "written_ns"), group.decided_ns)
        self.ledger.append(payload, count=group.records(), summary=summary, **times)
        self.ledger.commit()


class Oracle:
    """Every signal ever taken, and when."""

    def __init__(self, window_ns: int) -> None:
        self.window_ns = window_ns
        self.taken_ns: dict[Mark, int] = {}

    def take(self, now_ns: int, signals: Sequence[Mark]) -> list[bool]:
        taken = []
        for mark in signals:
            before_ns = self.taken_ns.get(mark)
            taken.append(before_ns is None or now_ns - before_ns > self.window_ns)
            if taken[-1]:
                self.taken_ns[mark] = now_ns
        return taken
