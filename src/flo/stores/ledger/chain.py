"""The segments of one shard in order, and the blocks in them.

Which file holds a block: of the segments that begin at or before it, the last one by (first block, sequence).
So a segment that begins at block b supersedes every block from b on in the segments before it; after a failed
sync the writer relies on that.
"""

from __future__ import annotations

import bisect
import itertools
import threading
from collections import OrderedDict
from collections.abc import Callable, Iterator
from typing import Any, Final, Literal, overload

import msgspec

from flo.core.errors import CorruptLedger
from flo.ports.disk import Disk
from flo.stores.ledger.frames import Block, BlockHeader, BlockMissing, parse_segment_name
from flo.stores.ledger.segment import INDEX_STRIDE, Segment, refused

OPEN_SEGMENTS_MAX: Final = 64  # open files, and indexes in memory


class Period(msgspec.Struct, frozen=True, kw_only=True):
    """One stretch of the ledger that is kept or dropped as a whole."""

    start_ns: int
    first_block: int
    last_block: int  # first_block - 1 if nothing is committed in it yet
    bytes: int  # on disk, preallocated space included
    files: tuple[str, ...]


def list_segments(disk: Disk, directory: str) -> list[Segment]:
    """Every segment file by (first block, sequence), superseded ones included."""
    try:
        names = disk.listdir(directory)
    except FileNotFoundError:
        return []
    except OSError as error:
        raise refused("listing", directory, error) from error
    parsed = [name for name in map(parse_segment_name, names) if name is not None]
    return [Segment(disk, directory, name) for name in sorted(parsed, key=lambda name: name[:2])]


class Chain:
    """Reading through the segments. Threads may read while the owner replaces the list."""

    def __init__(
        self, disk: Disk, segments: list[Segment], relist: Callable[[], object] | None = None
    ) -> None:
        """`relist` is called when a block is not where the list says: it looks at the directory again."""
        self._disk = disk
        self._relist = relist
        self._open: OrderedDict[str, Segment] = OrderedDict()
        self._lock = threading.Lock()
        self.last_block = 0
        self.replace(segments)

    def replace(self, segments: list[Segment]) -> None:
        """Take a new list; segments that every block of theirs is superseded in are left out."""
        kept = [
            segment
            for segment, following in itertools.zip_longest(segments, segments[1:])
            if following is None or following.name.first_block > segment.name.first_block
        ]
        self.segments = tuple(kept)
        if kept:
            self.last_block = max(self.last_block, kept[0].name.first_block - 1)
        paths = {segment.path for segment in kept}
        with self._lock:  # an open descriptor would keep the space of a dropped file taken
            for path in [path for path in self._open if path not in paths]:
                del self._open[path]

    @property
    def first_block(self) -> int:
        """The oldest block kept; `last_block + 1` if there is none."""
        segments = self.segments
        return segments[0].name.first_block if segments else self.last_block + 1

    def owner(self, number: int) -> tuple[Segment, int]:
        """The segment that holds block `number`, and the last block it holds."""
        segments = self.segments
        at = bisect.bisect_right(segments, number, key=lambda segment: segment.name.first_block) - 1
        if at < 0 or number > self.last_block:
            held = f"it holds blocks {self.first_block} to {self.last_block}"
            if self.first_block > self.last_block:
                held = "it holds none"
            raise BlockMissing(f"block {number} is not in the ledger: {held}")
        last = segments[at + 1].name.first_block - 1 if at + 1 < len(segments) else self.last_block
        segment = segments[at]
        self._touch(segment)
        return segment, min(last, self.last_block)

    def _touch(self, segment: Segment) -> None:
        with self._lock:
            self._open[segment.path] = segment
            self._open.move_to_end(segment.path)
            if len(self._open) > OPEN_SEGMENTS_MAX:
                oldest = self._open.popitem(last=False)[1]
                if oldest is not self.segments[-1]:  # the writer's own index is not to be rebuilt
                    oldest.forget()

    def read(self, number: int) -> Block:
        while True:
            segment, _ = self.owner(number)
            try:
                return segment.read(number)
            except (CorruptLedger, FileNotFoundError) as error:
                self._give_up_unless_stale(number, segment, error)

    @overload
    def scan(self, first: int, last: int, reverse: bool, headers_only: Literal[False]) -> Iterator[Block]: ...
    @overload
    def scan(
        self, first: int, last: int, reverse: bool, headers_only: Literal[True]
    ) -> Iterator[BlockHeader]: ...
    def scan(self, first: int, last: int, reverse: bool, headers_only: bool) -> Iterator[Any]:
        """Blocks `first` to `last`, both included, or from `last` down to `first`. Memory: one block at a
        time forward, 16 backward.
        """
        if not reverse:
            yield from self._run(first, last, headers_only)
            return
        for stride_first, stride_last in self._strides_backward(first, last):
            yield from reversed(list(self._run(stride_first, stride_last, headers_only)))

    def _run(self, first: int, last: int, headers_only: bool) -> Iterator[Block | BlockHeader]:
        """Blocks of one segment; goes on in another file if the list turns out to be stale."""
        while first <= last:
            segment, segment_last = self.owner(first)
            upto = min(last, segment_last)
            try:
                items: Iterator[Block | BlockHeader] = (
                    segment.scan_headers(first, upto) if headers_only else segment.scan(first, upto)
                )
                for item in items:
                    yield item
                    first = item.number + 1
            except (CorruptLedger, FileNotFoundError) as error:
                self._give_up_unless_stale(first, segment, error)

    def _strides_backward(self, first: int, last: int) -> Iterator[tuple[int, int]]:
        while last >= first:
            segment_first = self.owner(last)[0].name.first_block
            start = max(first, last - (last - segment_first) % INDEX_STRIDE)  # whole strides of its index
            yield start, last
            last = start - 1

    def _give_up_unless_stale(
        self, number: int, segment: Segment, error: CorruptLedger | FileNotFoundError
    ) -> None:
        if self._relist is not None:
            self._relist()
            if self.owner(number)[0].path != segment.path:
                return
        if isinstance(error, FileNotFoundError):
            raise BlockMissing(
                f"block {number} is gone: {segment.path} was dropped while it was being read"
            ) from error
        raise error

    def periods(self) -> list[Period]:
        """Oldest first."""
        periods: list[Period] = []
        segments = self.segments
        for at, segment in enumerate(segments):
            name = segment.name
            last = segments[at + 1].name.first_block - 1 if at + 1 < len(segments) else self.last_block
            try:
                size_bytes = self._disk.size(segment.path)
            except FileNotFoundError:  # dropped meanwhile
                continue
            except OSError as error:
                raise refused("looking at", segment.path, error) from error
            files: tuple[str, ...] = (segment.path,)
            first = name.first_block
            if periods and periods[-1].start_ns == name.period_start_ns:
                before = periods.pop()
                first, size_bytes, files = before.first_block, before.bytes + size_bytes, before.files + files
            periods.append(
                Period(
                    start_ns=name.period_start_ns,
                    first_block=first,
                    last_block=last,
                    bytes=size_bytes,
                    files=files,
                )
            )
        return periods
