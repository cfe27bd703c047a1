"""The recorded signals as marks: what a hash hit is compared with, and what generations are frozen from."""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass

import msgspec
import numpy as np

from flo.core.record import GroupView, decode_group
from flo.flow.mark_hash import HashMark, digest_of_raw
from flo.ports.marks import Hashes
from flo.ports.store import LedgerView

MARK_REFUSED = 1
"""Flag of a recorded signal that every loop refused by contract: its id may come again with other bytes."""

MARK_REPLAY = 2
"""Flag of a signal that stands in the ledger before, and has left its mark there."""

MARK_TAKEN_LATER = 4
"""Flag of a signal that was refused before and is taken here: its mark as taken is this one."""

BLOCKS_KEPT_MAX = 32
"""Decoded blocks kept, about 250 kB each: repeats come in the order of the first time, so the next is in the same block."""


class _Identity(msgspec.Struct, gc=False):
    id: str
    source: str


_decode_identity = msgspec.json.Decoder(_Identity).decode


@dataclass(frozen=True, slots=True)
class BlockMarks:
    """The marks of one block."""

    time_ns: int
    taken: frozenset[tuple[str, str]]
    refused: frozenset[bytes]  # digests of their bytes


class RecordedMarks:
    """Reads a shard's blocks. Not for two threads at once."""

    def __init__(self, view: LedgerView) -> None:
        self._view = view
        self._kept: OrderedDict[int, BlockMarks | None] = OrderedDict()

    def at(self, block: int) -> BlockMarks | None:
        """A block's marks; None where the block was dropped. `StorageUnavailable`, `CorruptLedger` of the ledger."""
        if block in self._kept:
            self._kept.move_to_end(block)
            return self._kept[block]
        try:
            group = decode_group(self._view.read(block).payload)
        except LookupError:
            marks = None
        else:
            marks = _marks_of(group)
        self._kept[block] = marks
        if len(self._kept) > BLOCKS_KEPT_MAX:
            self._kept.popitem(last=False)
        return marks

    def taken_before(self, edge_ns: int, source: str, id: str, first: int, last: int) -> bool:
        """Whether the mark, known to be of these blocks, is of one older than a time. Dropped blocks are older."""
        dropped = False
        for block in range(first, min(last, self._view.last_block()) + 1):
            marks = self.at(block)
            if marks is None:
                dropped = True
            elif marks.time_ns >= edge_ns and not dropped:
                return False
            elif (source, id) in marks.taken:
                return marks.time_ns < edge_ns
        return dropped and last <= self._view.last_block()


def _marks_of(group: GroupView) -> BlockMarks:
    taken: set[tuple[str, str]] = set()
    refused: set[bytes] = set()
    for row, raw in enumerate(group.raws()):
        flags = group.marks.get(row, 0)
        if flags & MARK_REFUSED:
            refused.add(digest_of_raw(raw))
        elif not flags & MARK_REPLAY:
            identity = _decode_identity(raw)
            taken.add((identity.source, identity.id))
    return BlockMarks(group.decided_ns, frozenset(taken), frozenset(refused))


def hashes_of(group: GroupView, hash_of: HashMark) -> Hashes:
    """The hash of every signal of a block that left a mark, taken or refused."""
    if not group.signal_count:
        return np.empty(0, dtype=np.uint64)
    raws = group.raws()
    if group.marks:
        raws = [raw for row, raw in enumerate(raws) if group.marks.get(row, 0) != MARK_REPLAY]
    identities = map(_decode_identity, raws)
    return np.array([hash_of(each.source, each.id) for each in identities], dtype=np.uint64)
