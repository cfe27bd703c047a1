"""The freezer: de-duplication marks from memory to files while deciding goes on, and back at the next start."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from flo.core.errors import CorruptLedger, StorageUnavailable
from flo.core.record import decode_group
from flo.flow.mark_blocks import hashes_of
from flo.flow.mark_filter import MarkFilter
from flo.flow.marks import GENERATION_MARKS_MAX, Generation, Marks
from flo.ports.marks import Hashes
from flo.stores.ledger import BlockMissing, Ledger
from flo.stores.ledger.frames import Block
from flo.stores.marks import MarkFile, MarkStore

log = logging.getLogger("flo.marks")

EVERY_S = 5.0
PAUSE_S = 60.0  # after the disk refused
SLICE_RECORDS = 2_000
SLICE_BLOCKS = 50
"""Hashed at a time, on the event loop: about 2 ms. On a thread of its own it would take the interpreter's lock from the
deciding thread for 5 ms at a time, and halve the throughput meanwhile."""

BEHIND_MAX = 8
"""With so many generations waiting, a slice is so many times as large, and no pause is made: while FLO is saturated, each
slice waits for a batch to be decided, and memory must stay bounded then too."""

RECORDS_PER_GENERATION = 2 * GENERATION_MARKS_MAX
"""A block's header counts its signals and decisions together."""

SLICE_HASHES = 10_000
"""Put into the filter at a time: about 1.5 ms."""

LEFT_TO_RUN = 1
"""Of what a replay closes, so much stays in memory and is frozen beside deciding: a start does not wait for a million."""

ROOM = 1.5
"""A filter is made for so much more than it must hold now, so that it is seldom made anew."""


class Freezer:
    """Runs as a task beside a shard. A crash at any moment loses at most files, which the next start makes again."""

    def __init__(self, marks: Marks, ledger: Ledger, store: MarkStore) -> None:
        self._marks = marks
        self._ledger = ledger
        self._store = store
        self._files: dict[tuple[int, int], MarkFile] = {}

    # -- starting -----------------------------------------------------------------------------------------

    def restore(self, now_ns: int, last_block: int) -> tuple[int, int] | None:
        """Before the replay: take what is frozen and still in the window, and freeze what should be and is not.

        Gives the last blocks up to `last_block`, as (first, last), whose marks are for the caller to read into memory.
        """
        since_ns = now_ns - self._marks.window_ns
        files = self._store.load(since_ns, self._payload)
        self._marks.turn_to(MarkFilter(int(ROOM * sum(file.count for file in files))))
        for file in files:
            self._adopt(file)
        tail: tuple[int, int] | None = None
        for generation in self._cut(self._missing(since_ns, last_block)):
            if generation.last_block == last_block:
                tail = generation.first_block, last_block
            else:
                self._freeze_now(generation)
        return tail

    def complete(self, now_ns: int) -> None:
        """After the replay: nothing of the window that is in force now may be missing."""
        for generation in self._marks.closed()[:-LEFT_TO_RUN]:
            self._freeze_now(generation)
        since_ns = now_ns - self._marks.window_ns
        for generation in self._cut(self._missing(since_ns, self._ledger.durable_block)):
            self._freeze_now(generation)
        self._marks.complete_since_ns = since_ns

    def is_frozen(self, first_block: int, last_block: int) -> bool:
        """Whether files hold the marks of all these blocks."""
        at = first_block
        for first, last in sorted(self._files):
            if first <= at <= last:
                at = last + 1
        return at > last_block

    def freeze_closed(self) -> None:
        """While replaying: keep memory bounded however much there is to replay."""
        for generation in self._marks.closed()[:-LEFT_TO_RUN]:
            if self.is_frozen(generation.first_block, generation.last_block):
                self._marks.forget(generation)
            else:
                self._freeze_now(generation)

    def _freeze_now(self, generation: Generation) -> None:
        """Where the disk refuses, its marks stand in memory instead."""
        gathered = _Gathered(generation, self._marks)
        for block in self._ledger.scan(first=generation.first_block, last=generation.last_block):
            gathered.add(block)
        try:
            file = gathered.write(self._store)
        except StorageUnavailable as error:
            log.warning("marks stay in memory: %s", error)
            self._marks.keep(generation)
            return
        if file is not None:
            self._adopt(file)
        self._marks.forget(generation)

    def _adopt(self, file: MarkFile) -> None:
        filter, files = self._marks.filter, [file]
        if filter.added + file.count > filter.capacity:
            filter, files = self._wider(file), [*self._files.values(), file]
        for each in files:
            for hashes in each.hashes():
                filter.add(hashes)
        self._marks.turn_to(filter)
        self._take(file)

    def _missing(self, since_ns: int, last_block: int) -> list[tuple[int, int]]:
        """The blocks of the window up to a block that no generation covers, as (first, last), oldest first."""
        at = 0
        for period in self._ledger.periods():
            if (
                not at or period.start_ns <= since_ns
            ):  # all that came in the periods before it is older than it
                at = period.first_block
        if not at:
            return []
        missing = []
        for first, last in sorted(self._marks.covered()):
            if first > at:
                missing.append((at, min(first - 1, last_block)))
            at = max(at, last + 1)
        if at <= last_block:
            missing.append((at, last_block))
        return [(first, last) for first, last in missing if first <= last]

    def _cut(self, ranges: list[tuple[int, int]]) -> list[Generation]:
        """Blocks cut into generations as `Marks` would, roughly; their marks are not read yet."""
        return [generation for first, last in ranges for generation in self._cut_range(first, last)]

    def _cut_range(self, first: int, last: int) -> list[Generation]:
        cut: list[Generation] = []
        records = 0
        for header in self._ledger.scan(first=first, last=last, headers_only=True):
            at_ns = header.written_ns
            is_new = not cut or at_ns - cut[-1].start_ns >= self._marks.generation_ns
            if is_new or records >= RECORDS_PER_GENERATION:
                cut.append(Generation(header.number, header.number, at_ns, at_ns, {}, set()))
                records = 0
            cut[-1].last_block, cut[-1].end_ns = header.number, at_ns
            records += header.count
        return cut

    def _payload(self, block: int) -> bytes | None:
        try:
            return self._ledger.read(block).payload
        except BlockMissing:
            return None

    # -- running ------------------------------------------------------------------------------------------

    async def run(self) -> None:
        """Freeze now and then until cancelled."""
        pause_s = EVERY_S
        while True:
            await asyncio.sleep(pause_s)
            pause_s = EVERY_S
            try:
                await self.once()
            except (StorageUnavailable, CorruptLedger) as error:
                log.warning("marks stay in memory for now: %s", error)
                pause_s = PAUSE_S

    async def once(self) -> int:
        """Freeze what is closed and durable, remove what expired; how many generations were frozen."""
        frozen = 0
        for generation in self._marks.closed():
            if generation.last_block > self._ledger.durable_block:
                break
            await self._freeze(generation)
            frozen += 1
        frozen += await self._reach_back()
        for expired in self._marks.take_expired():
            file = self._files.pop((expired.first_block, expired.last_block), None)
            if file is not None:
                await asyncio.to_thread(self._store.remove, file)
        live = sum(each.count for each in self._marks.frozen())
        if self._marks.filter.added > 2 * live + ROOM * self._marks.filter.capacity / 4:
            await self._refill(None)
        return frozen

    async def _reach_back(self) -> int:
        """After the window has become longer: freeze what lies before the oldest generation, newest first."""
        since_ns = self._marks.edge_ns
        if self._marks.complete_since_ns <= since_ns:
            return 0
        oldest = min((first for first, _ in self._marks.covered()), default=1)
        found = await asyncio.to_thread(lambda: self._cut(self._missing(since_ns, oldest - 1)))
        for generation in reversed(found):
            await self._freeze(generation)
        self._marks.complete_since_ns = since_ns
        return len(found)

    async def _freeze(self, generation: Generation) -> None:
        gathered = _Gathered(generation, self._marks)
        blocks = self._ledger.scan(first=generation.first_block, last=generation.last_block)
        while True:
            behind = max(1, min(len(self._marks.closed()), BEHIND_MAX))
            read = await asyncio.to_thread(_slice, blocks, behind)
            if not read:
                break
            began = time.perf_counter()
            for block in read:
                gathered.add(block)
            await asyncio.sleep(0 if behind > 1 else 3 * (time.perf_counter() - began))
        file = await asyncio.to_thread(gathered.write, self._store)
        if file is not None:
            if self._marks.filter.added + file.count > self._marks.filter.capacity:
                await self._refill(file)
            else:
                await _fill(self._marks.filter, file)
            self._take(file)
        self._marks.forget(generation)

    async def _refill(self, coming: MarkFile | None) -> None:
        """Another filter, for what is frozen now and what comes next; the one before answers meanwhile."""
        filter = self._wider(coming)
        for file in [*self._files.values(), *([] if coming is None else [coming])]:
            await _fill(filter, file)
        self._marks.turn_to(filter)

    def _wider(self, coming: MarkFile | None) -> MarkFilter:
        held = sum(file.count for file in self._files.values())
        return MarkFilter(int(ROOM * (held + (0 if coming is None else coming.count))))

    def _take(self, file: MarkFile) -> None:
        self._files[file.first_block, file.last_block] = file
        self._marks.take(file)


def _slice(blocks: Iterator[Block], times: int) -> list[Block]:
    """The next few blocks; none at the end."""
    read: list[Block] = []
    records = 0
    while records < times * SLICE_RECORDS and len(read) < times * SLICE_BLOCKS:
        block = next(blocks, None)
        if block is None:
            break
        read.append(block)
        records += block.count
    return read


async def _fill(filter: MarkFilter, file: MarkFile) -> None:
    for piece in file.hashes():
        for start in range(0, len(piece), SLICE_HASHES):
            filter.add(piece[start : start + SLICE_HASHES])
            await asyncio.sleep(0)


class _Gathered:
    """The hashes of a generation, read again from its blocks."""

    def __init__(self, generation: Generation, marks: Marks) -> None:
        self._generation = generation
        self._hash_of = marks.hash_of
        self._hashes: list[Hashes] = []
        self._blocks: list[NDArray[np.uint32]] = []
        self._last: Block | None = None

    def add(self, block: Block) -> None:
        hashes = hashes_of(decode_group(block.payload), self._hash_of)
        self._hashes.append(hashes)
        self._blocks.append(np.full(len(hashes), block.number - self._generation.first_block, np.uint32))
        self._last = block

    def write(self, store: MarkStore) -> MarkFile | None:
        """None where the ledger has none of these blocks any more."""
        if self._last is None:
            return None
        return store.write(
            first_block=self._generation.first_block,
            last_block=self._last.number,
            start_ns=self._generation.start_ns,
            end_ns=self._generation.end_ns,
            last_payload=self._last.payload,
            hashes=np.concatenate(self._hashes),
            blocks=np.concatenate(self._blocks),
        )
