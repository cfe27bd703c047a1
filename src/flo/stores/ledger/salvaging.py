"""The way out of a `CorruptLedger` without a backup: keep every whole block, and say which ones are lost."""

from __future__ import annotations

import itertools
import logging
from collections.abc import Iterator
from typing import Final, NamedTuple

from flo.core.errors import CorruptLedger
from flo.ports.disk import Disk
from flo.stores.ledger.chain import list_segments
from flo.stores.ledger.directory import ledger_directory, prepare
from flo.stores.ledger.frames import (
    CODEC_LOST,
    FRAME_HEADER_BYTES,
    SEGMENT_HEADER_BYTES,
    Block,
    SegmentHeader,
    decode_block,
    decode_frame,
    encode_frame,
    encode_segment_header,
)
from flo.stores.ledger.recovery import SEARCH_BYTES, frames_behind, never_begun
from flo.stores.ledger.segment import Cursor, Segment, refused, write_all

log = logging.getLogger("flo.ledger")

LOST_BLOCKS_MAX: Final = 10_000_000  # 72 bytes each are written to hold their places


class LostBlocks(NamedTuple):
    """Blocks that could not be saved, and the file they stood in."""

    path: str
    first_block: int
    last_block: int


class _Kept(NamedTuple):
    block: Block
    durable: int


def salvage(disk: Disk, directory: str, shard: int = 0) -> list[LostBlocks]:
    """Replace each damaged segment by one that holds its whole blocks, and a `CODEC_LOST` block in place of
    each other.

    The damaged file is kept beside it as `<name>.damaged`. Returns what was lost, oldest first; empty if
    nothing was damaged. Takes the writer's lock: FLO must not be running on this shard. A crash leaves the
    old file or the new one; running it again goes on. Blocks behind the last synced one are recovery's
    business and are left alone.
    """
    lock = prepare(disk, directory, shard)
    path = ledger_directory(directory, shard)
    try:
        segments = list_segments(disk, path)
        lost: list[LostBlocks] = []
        for segment, following in itertools.zip_longest(segments, segments[1:]):
            last = following.name.first_block - 1 if following else None
            if last is None or last >= segment.name.first_block:
                lost += _salvage_segment(disk, path, shard, segment, last)
        return lost
    finally:
        lock.release()


def _salvage_segment(
    disk: Disk, directory: str, shard: int, segment: Segment, last: int | None
) -> list[LostBlocks]:
    if last is None and segment.try_header() is None and not _is_empty(segment):
        return _set_aside(disk, directory, segment)
    lost = _lost_of(segment, last)
    if not lost:
        return []
    if sum(gap.last_block - gap.first_block + 1 for gap in lost) > LOST_BLOCKS_MAX:
        raise CorruptLedger(
            f"{segment.path}: over {LOST_BLOCKS_MAX} blocks are missing behind {lost[0].first_block - 1}. "
            "Restore the missing segment files from a backup"
        )
    for gap in lost:
        log.error("blocks %d to %d in %s are lost", gap.first_block, gap.last_block, gap.path)
    try:
        _copy(disk, segment.path, f"{segment.path}.damaged")
        _rewrite(disk, shard, segment, last)
        disk.sync_directory(directory)
    except OSError as error:
        raise refused("salvaging", segment.path, error) from error
    return lost


def _is_empty(segment: Segment) -> bool:
    """Whether nothing was ever written to it; a damaged one is not asked to explain itself."""
    try:
        return never_begun(segment)
    except CorruptLedger:
        return False


def _set_aside(disk: Disk, directory: str, segment: Segment) -> list[LostBlocks]:
    """The last segment, with both copies of its header gone: without the salt no block in it can be told from chance,
    and nobody knows how many there were. It is kept as `.damaged`; the ledger ends before it, its first block named.
    """
    first = segment.name.first_block
    log.error("blocks %d and behind it in %s are lost", first, segment.path)
    try:
        _copy(disk, segment.path, f"{segment.path}.damaged")
        disk.sync_directory(directory)
        disk.remove(segment.path)
        disk.sync_directory(directory)
    except OSError as error:
        raise refused("salvaging", segment.path, error) from error
    return [LostBlocks(segment.path, first, first)]


def _lost_of(segment: Segment, last: int | None) -> list[LostBlocks]:
    lost: list[LostBlocks] = []
    expected = segment.name.first_block
    for kept in _whole_blocks(segment, last):
        if kept.block.number > expected:
            lost.append(LostBlocks(segment.path, expected, kept.block.number - 1))
        expected = kept.block.number + 1
    if last is None:
        last = _last_synced(segment, expected)
    if expected <= last:
        lost.append(LostBlocks(segment.path, expected, last))
    return lost


def _whole_blocks(segment: Segment, last: int | None) -> Iterator[_Kept]:
    """In order, damaged ones skipped. What a torn write left behind the last synced block counts as whole
    only up to the tear: it is not known to be one history.
    """
    header = segment.try_header()
    if header is None:  # and with it the salt, without which no block can be told from chance
        return
    salt, cursor = header.salt, Cursor(segment.file(), segment.path)
    if last is None:
        last = _last_synced(segment, segment.name.first_block)
    expected, offset = segment.name.first_block, SEGMENT_HEADER_BYTES
    while True:
        frame = decode_frame(cursor.take(offset, FRAME_HEADER_BYTES), salt)
        block = decode_block(frame, cursor.take(offset, frame.size_bytes), salt) if frame else None
        if frame is None or block is None or frame.number != expected:
            found = _next_whole(segment, cursor, offset + 8, expected, last, salt)
            if found is None:
                return
            offset, expected = found
            continue
        yield _Kept(block, frame.durable)
        expected, offset = expected + 1, offset + frame.size_bytes


def _next_whole(
    segment: Segment, cursor: Cursor, offset: int, expected: int, last: int, salt: int
) -> tuple[int, int] | None:
    for at, frame in frames_behind(segment, offset):
        if expected <= frame.number <= last and decode_block(frame, cursor.take(at, frame.size_bytes), salt):
            return at, frame.number
    return None


def _last_synced(segment: Segment, expected: int) -> int:
    """The last block that one in the last segment vouches for."""
    if segment.try_header() is None:
        return expected - 1
    proven = segment.name.first_block - 1
    return max([proven, *(frame.durable for _, frame in frames_behind(segment, SEGMENT_HEADER_BYTES))])


def _copy(disk: Disk, source: str, target: str) -> None:
    if disk.exists(target):
        disk.remove(target)
    old, new = disk.open(source), disk.create(target)
    for offset in range(0, old.size(), SEARCH_BYTES):
        write_all(new, offset, old.read(offset, SEARCH_BYTES))
    new.sync()
    new.close()


def _rewrite(disk: Disk, shard: int, segment: Segment, last: int | None) -> None:
    temporary = f"{segment.path}.tmp"
    if disk.exists(temporary):
        disk.remove(temporary)
    name = segment.name
    header = segment.try_header() or SegmentHeader(
        shard=shard,
        sequence=name.sequence,
        first_block=name.first_block,
        period_start_ns=name.period_start_ns,
        period_ns=3600 * 10**9,
        created_ns=name.period_start_ns,
        salt=name.first_block & 0xFFFFFFFF,
    )
    file = disk.create(temporary)
    write_all(file, 0, encode_segment_header(header))
    offset, expected, written_ns = SEGMENT_HEADER_BYTES, name.first_block, header.created_ns
    gaps = {gap.first_block: gap.last_block for gap in _lost_of(segment, last)}

    def write(block: Block, durable: int) -> None:
        nonlocal offset, expected, written_ns
        data = b"".join(encode_frame(block, durable, header.salt))
        write_all(file, offset, data)
        offset, expected, written_ns = offset + len(data), block.number + 1, block.written_ns

    def hold_places() -> None:
        for number in range(expected, gaps.pop(expected, expected - 1) + 1):
            write(_lost_block(number, written_ns), number - 1)

    hold_places()
    for kept in _whole_blocks(segment, last):
        write(kept.block, kept.durable)
        hold_places()
    file.sync()
    file.close()
    disk.rename(temporary, segment.path)


def _lost_block(number: int, written_ns: int) -> Block:
    return Block(
        number=number,
        codec=CODEC_LOST,
        count=0,
        time_min_ns=written_ns,
        time_max_ns=written_ns,
        written_ns=written_ns,
        summary=b"",
        payload=b"",
    )
