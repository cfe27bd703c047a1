"""What is whole at the end of the ledger, and whether what is not whole was torn by a crash or destroyed
later.

A power cut may keep any subset of the sectors written since the last sync, so behind a torn block whole ones
may stand: that is no damage, nothing of it was acknowledged. Each block names the last block known to be
synced when it was written. If any whole block says that the torn one had been synced, then acknowledged bytes
changed: `CorruptLedger`.

Only the very last commit cannot be told apart in this way: no later block vouches for it. Damage there looks
like a torn write and is cut off; `Ledger.must_reach` lets a checkpoint vouch for it instead.
"""

from __future__ import annotations

import itertools
import logging
from collections.abc import Iterator
from typing import Final, NamedTuple

from flo.ports.disk import Disk, File
from flo.stores.ledger.frames import (
    ALIGNMENT_BYTES,
    BLOCK_MAGIC,
    FRAME_HEADER_BYTES,
    SEGMENT_HEADER_BYTES,
    Frame,
    decode_block,
    decode_frame,
)
from flo.stores.ledger.segment import Cursor, Segment, corrupt, refused, write_all

log = logging.getLogger("flo.ledger")

SEARCH_BYTES: Final = 1 << 20
_ZEROS: Final = bytes(SEARCH_BYTES)


class End(NamedTuple):
    """Where the whole blocks of a segment end."""

    proven_block: int  # synced for certain: a later block, or the segment's existence, vouches for it
    torn_bytes: int  # what stands behind the end and is no whole block; preallocated zeros do not count


def whole_blocks(segment: Segment, cursor: Cursor, salt: int) -> Iterator[Frame]:
    """The blocks that follow the part already stepped over, each checked in full. Takes no note of them."""
    number, offset = segment.end_block, segment.end_offset
    while True:
        frame = decode_frame(cursor.take(offset, FRAME_HEADER_BYTES), salt)
        if frame is None or frame.number != number:
            return
        if decode_block(frame, cursor.take(offset, frame.size_bytes), salt) is None:
            return
        yield frame
        number, offset = number + 1, offset + frame.size_bytes


def find_end(segment: Segment, proven_block: int = 0, *, thorough: bool = True) -> End:
    """Step over every whole block of the last segment. `CorruptLedger` if synced blocks are not whole any
    more.

    `proven_block` is what an earlier call returned. Safe while a writer appends: a block it is in the middle
    of writing counts as torn, and is found by the next call. Without `thorough`, zeros right behind the end
    are taken for space not written yet, as they are after an earlier thorough call.
    """
    salt = segment.header().salt
    cursor = Cursor(segment.file(), segment.path)
    proven_block = max(proven_block, segment.name.first_block - 1)  # a segment begins behind what was synced
    for frame in whole_blocks(segment, cursor, salt):
        segment.note(frame.number, frame.size_bytes)
        proven_block = max(proven_block, frame.durable)
    torn_bytes = 0
    if thorough or not _is_zero(bytes(cursor.take(segment.end_offset, FRAME_HEADER_BYTES))):
        for offset, piece in _pieces(cursor, segment.end_offset, file_size(segment)):
            if not _is_zero(piece):
                torn_bytes = offset + len(piece.rstrip(b"\0")) - segment.end_offset
                for _, frame in _frames_in(cursor, offset, piece, salt):
                    proven_block = max(proven_block, frame.durable)
    if proven_block >= segment.end_block:
        raise corrupt(
            segment.path,
            segment.end_offset,
            segment.end_block,
            f"not whole, although block {proven_block} and all before it had been synced",
        )
    return End(proven_block, torn_bytes)


def file_size(segment: Segment) -> int:
    try:
        return segment.file().size()
    except OSError as error:
        raise refused("looking at", segment.path, error) from error


def frames_behind(segment: Segment, offset: int) -> Iterator[tuple[int, Frame]]:
    """Whatever looks like a block header at or behind `offset`, with its place."""
    cursor, salt = Cursor(segment.file(), segment.path), segment.header().salt
    for at, piece in _pieces(cursor, offset, file_size(segment)):
        yield from _frames_in(cursor, at, piece, salt)


def _is_zero(piece: bytes) -> bool:
    return (
        piece == _ZEROS[: len(piece)]
    )  # a memory comparison: a fresh segment has 16 MiB of zeros to look at


def _pieces(cursor: Cursor, offset: int, end: int) -> Iterator[tuple[int, bytes]]:
    while offset < end:
        piece = bytes(cursor.take(offset, min(SEARCH_BYTES, end - offset)))
        if not piece:
            return
        yield offset, piece
        offset += len(piece)


def _frames_in(cursor: Cursor, offset: int, piece: bytes, salt: int) -> Iterator[tuple[int, Frame]]:
    at = piece.find(BLOCK_MAGIC)
    while at >= 0:
        if (offset + at) % ALIGNMENT_BYTES == 0:
            frame = decode_frame(cursor.take(offset + at, FRAME_HEADER_BYTES), salt)
            if frame is not None:
                yield offset + at, frame
        at = piece.find(BLOCK_MAGIC, at + 1)


def never_begun(segment: Segment) -> bool:
    """True if the segment's header was never whole: its creation was cut short, so it holds no block.

    Blocks are written only after the header is synced. A damaged header with anything behind it is
    `CorruptLedger`.
    """
    if segment.try_header() is not None:
        return False
    cursor = Cursor(segment.file(), segment.path)
    for _, piece in _pieces(cursor, SEGMENT_HEADER_BYTES, file_size(segment)):
        if not _is_zero(piece):
            segment.header()  # raises, with the place and the way out
    return True


def recover(disk: Disk, directory: str, segments: list[Segment]) -> list[Segment]:
    """Bring the ledger's end into a state that can be built on, and make it durable.

    - Files whose creation was cut short are removed.
    - What stands behind the last whole block is cut off (logged).
    - Whole blocks that no later one vouches for are written again in place and synced: after a failed sync
      and a restart without a power cut, they may stand in the page cache only, marked clean. The bytes are
      the same, so a crash in the middle changes nothing.

    Returns the segments kept; a second run, after a crash in the first, ends in the same state.
    """
    while segments and never_begun(segments[-1]):
        doomed = segments.pop()
        log.warning("removing %s: a crash cut its creation short, it holds no block", doomed.path)
        _remove(disk, directory, doomed)
    for superseded, following in itertools.pairwise(segments):
        if superseded.name.first_block == following.name.first_block:
            _remove(disk, directory, superseded)
            segments = [segment for segment in segments if segment is not superseded]
    if not segments:
        return segments
    last = segments[-1]
    end = find_end(last)
    try:
        file = disk.open(last.path, writable=True)
        _cut_off(file, last, end.torn_bytes)
        _write_again(file, last, end.proven_block + 1)
        file.sync()
        file.close()
    except OSError as error:
        raise refused("recovering", last.path, error) from error
    return segments


def _remove(disk: Disk, directory: str, segment: Segment) -> None:
    try:
        disk.remove(segment.path)
        disk.sync_directory(directory)
    except OSError as error:
        raise refused("removing", segment.path, error) from error


def _cut_off(file: File, segment: Segment, torn_bytes: int) -> None:
    if torn_bytes:
        log.warning(
            "cutting off %d bytes behind block %d in %s at byte %d: unfinished writes, never acknowledged",
            torn_bytes,
            segment.end_block - 1,
            segment.path,
            segment.end_offset,
        )
    # Even if the size is right already: the truncation that made it so may have been lost with a failed sync.
    file.truncate(segment.end_offset)


def _write_again(file: File, segment: Segment, first: int) -> None:
    if first >= segment.end_block:
        return
    offset = segment.locate(first)
    while offset < segment.end_offset:
        data = file.read(offset, min(SEARCH_BYTES, segment.end_offset - offset))
        write_all(file, offset, data)
        offset += len(data)
