"""De-duplication marks: which `source`+`id` was taken within the window.

The recorded signals are the marks; what stands here are ways to find them fast. The newest generation is exact sets in
memory (100 bytes a mark). A generation ends after an hour or a million marks; then it is frozen: hashes in a file (12
bytes a mark) and a share of one filter in memory (2 to 3 bytes). A hash found is compared with the recorded signal, so a
collision never takes a new signal for a repeat, and the window ends to the nanosecond.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from flo.core.errors import StorageUnavailable
from flo.flow.mark_blocks import BlockMarks, RecordedMarks
from flo.flow.mark_filter import MarkFilter
from flo.flow.mark_hash import HashMark, MarkHasher, digest_of_raw
from flo.ports.marks import FrozenMarks

log = logging.getLogger("flo.marks")

GENERATION_NS = 3_600_000_000_000
GENERATION_MARKS_MAX = 1_000_000
"""100 MB in memory; and a restart reads back at most so many, in about three seconds."""

COUNT_EVERY_TURNS = 64
"""Sets are counted now and then: with many sources to count them costs time. At most 64,000 marks too many."""

_Holds = Callable[[BlockMarks], bool]


@dataclass(slots=True, eq=False)
class Generation:
    """Exact marks of consecutive blocks, closed and not frozen yet."""

    first_block: int
    last_block: int
    start_ns: int
    end_ns: int
    taken: dict[str, set[str]]
    refused: set[bytes]

    def __len__(self) -> int:
        return sum(map(len, self.taken.values())) + len(self.refused)


class Marks:
    """Owned by the deciding thread. Without `recorded` (tests, tools) nothing is frozen, and all stays exact sets.

    A look-up may read a block of the ledger, but only for a repeat or, rarely, for a collision.
    """

    def __init__(
        self, window_ns: int, recorded: RecordedMarks | None = None, hash_of: HashMark | None = None
    ) -> None:
        self.window_ns = window_ns
        self.hash_of = hash_of or MarkHasher()
        self.hot: dict[str, set[str]] = {}
        self._hot_refused: set[bytes] = set()
        self._recorded = recorded
        self._start_ns = self._end_ns = self._now_ns = 0
        self._first_block = self._block = 0
        self._turns = 0
        self._closed: list[Generation] = []  # oldest first
        self._frozen: list[FrozenMarks] = []  # the one that was hit last comes first
        self._expired: list[FrozenMarks] = []
        self._last_hit: BlockMarks | None = None
        self._filter = MarkFilter(0)
        self.complete_since_ns = 0  # earlier marks may be missing here, though the ledger may have them

    @property
    def edge_ns(self) -> int:
        """Marks of before then count no more; those of this very moment do."""
        return self._now_ns - self.window_ns

    @property
    def older(self) -> bool:
        return bool(self._closed or self._frozen)

    # -- questions ----------------------------------------------------------------------------------------

    def is_taken(self, source: str, id: str) -> bool:
        """Whether the mark stands in any generation."""
        return id in self.hot.get(source, ()) or (self.older and self.seen_before(source, id))

    def seen_before(self, source: str, id: str) -> bool:
        """Whether an earlier generation holds the mark; the newest one is asked through `hot`."""
        for generation in self._closed:
            ids = generation.taken.get(source)
            if ids is not None and id in ids and self._is_inside(generation, source, id):
                return True
        if not self._frozen:
            return False
        hash = self.hash_of(source, id)
        if not self._filter.may_hold(hash):
            return False
        mark = (source, id)
        return self._in_frozen(hash, lambda block: mark in block.taken)

    def _is_inside(self, generation: Generation, source: str, id: str) -> bool:
        """Of a generation that the window's edge runs through, only the younger part counts."""
        edge_ns = self.edge_ns
        if generation.start_ns >= edge_ns or self._recorded is None:
            return True
        first, last = generation.first_block, generation.last_block
        return not self._recorded.taken_before(edge_ns, source, id, first, last)

    def _in_frozen(self, hash: int, holds: _Holds) -> bool:
        last = self._last_hit
        if last is not None and last.time_ns >= self.edge_ns and holds(last):
            return True  # what is sent again comes in the order of the first time
        for place, generation in enumerate(self._frozen):
            try:
                numbers = generation.blocks_of(hash)
            except StorageUnavailable as error:
                log.warning("%s: its marks are read from the ledger", error)
                numbers = list(range(generation.first_block, generation.last_block + 1))
            if any(self._holds(number, holds) for number in numbers):
                if place:
                    self._frozen.insert(0, self._frozen.pop(place))
                return True
        return False

    def _holds(self, number: int, holds: _Holds) -> bool:
        assert self._recorded is not None
        block = self._recorded.at(number)
        if block is None or block.time_ns < self.edge_ns or not holds(block):
            return False
        self._last_hit = block
        return True

    # A refused signal may come again corrected, under the same id: only the very same bytes are a repeat.

    def refused_before(self, source: str, id: str, raw: bytes) -> bool:
        """Whether the very same bytes were refused within the window (of a generation in memory: or a little longer)."""
        digest = digest_of_raw(raw)
        if digest in self._hot_refused or any(digest in generation.refused for generation in self._closed):
            return True
        if not self._frozen:
            return False
        hash = self.hash_of(source, id)
        return self._filter.may_hold(hash) and self._in_frozen(hash, lambda block: digest in block.refused)

    # -- new marks ----------------------------------------------------------------------------------------

    def add(self, source: str, id: str) -> None:
        self.hot.setdefault(source, set()).add(id)

    def add_all(self, pairs: Iterable[tuple[str, str]]) -> None:
        for source, id in pairs:
            self.add(source, id)

    def add_refused(self, source: str, id: str, raw: bytes) -> None:
        self._hot_refused.add(digest_of_raw(raw))

    def turn(self, now_ns: int, block: int) -> None:
        """Before the marks of each block: end a generation that is full, drop those the window has left behind."""
        self._turns += 1
        self._now_ns = now_ns
        if not self._start_ns:
            self._start_ns, self._first_block = now_ns, block
        elif block > self._block + 1 or now_ns - self._start_ns >= self.generation_ns or self._is_full():
            self._close(now_ns, block)
        self._block, self._end_ns = block, now_ns
        edge_ns = self.edge_ns
        self.complete_since_ns = max(self.complete_since_ns, edge_ns)
        while self._closed and self._closed[0].end_ns < edge_ns:
            self._closed.pop(0)
        if any(generation.end_ns < edge_ns for generation in self._frozen):
            self._expired += [generation for generation in self._frozen if generation.end_ns < edge_ns]
            self._frozen = [generation for generation in self._frozen if generation.end_ns >= edge_ns]

    @property
    def generation_ns(self) -> int:
        """Short beside the window, so that memory is exact; long enough that a month has not a thousand files."""
        if self.window_ns < 4 * GENERATION_NS:
            return max(self.window_ns // 4, 1)
        return max(GENERATION_NS, self.window_ns // 32)

    def _is_full(self) -> bool:
        if self._turns % COUNT_EVERY_TURNS:
            return False
        return sum(map(len, self.hot.values())) + len(self._hot_refused) >= GENERATION_MARKS_MAX

    def _close(self, now_ns: int, block: int) -> None:
        last = min(self._block, block - 1)  # an empty group has no block: the next group takes its number
        if self.hot or self._hot_refused:
            ended = (self._first_block, last, self._start_ns, self._end_ns, self.hot, self._hot_refused)
            self._closed.append(Generation(*ended))
        self.hot, self._hot_refused = {}, set()
        self._start_ns, self._first_block = now_ns, block

    # -- freezing -----------------------------------------------------------------------------------------

    def closed(self) -> Sequence[Generation]:
        """What waits to be frozen, oldest first."""
        return tuple(self._closed)

    def frozen(self) -> Sequence[FrozenMarks]:
        return tuple(self._frozen)

    @property
    def filter(self) -> MarkFilter:
        return self._filter

    def turn_to(self, filter: MarkFilter) -> None:
        """Ask this filter from now on; it must hold every frozen mark."""
        self._filter = filter

    def covered(self) -> list[tuple[int, int]]:
        """The blocks whose marks stand here, as (first, last) of each generation."""
        ranges = [(each.first_block, each.last_block) for each in self._closed]
        ranges += [(each.first_block, each.last_block) for each in self._frozen]
        return [*ranges, (self._first_block, self._block)] if self._start_ns else ranges

    def take(self, frozen: FrozenMarks) -> None:
        """Ask this frozen generation too. Its hashes are in the filter already."""
        self._frozen.append(frozen)

    def keep(self, generation: Generation) -> None:
        """Hold an exact generation that could not be frozen; reads its marks if it has none."""
        if generation in self._closed or self._recorded is None:
            return
        for block in range(generation.first_block, generation.last_block + 1):
            marks = self._recorded.at(block)
            if marks is not None:
                for source, id in marks.taken:
                    generation.taken.setdefault(source, set()).add(id)
                generation.refused |= marks.refused
        self._closed.append(generation)
        self._closed.sort(key=lambda each: each.first_block)

    def forget(self, generation: Generation) -> None:
        """Drop an exact generation: it was frozen, or its blocks are gone."""
        if generation in self._closed:
            self._closed.remove(generation)

    def take_expired(self) -> list[FrozenMarks]:
        """Frozen generations the window has left: nobody asks them any more, and their files may go."""
        expired, self._expired = self._expired, []
        return expired

    def __len__(self) -> int:
        """Marks in memory, frozen ones not counted."""
        return sum(map(len, self.hot.values())) + len(self._hot_refused) + sum(map(len, self._closed))
