"""One segment file, as a reader sees it: where its blocks lie, and their bytes, checked.

Nothing is mapped into memory: a mapped file that another process truncates kills the reader (SIGBUS).
"""

from __future__ import annotations

import errno
import threading
from array import array
from collections.abc import Iterator
from typing import Final

from flo.core.errors import CorruptLedger, StorageUnavailable
from flo.ports.disk import Disk, File
from flo.stores.ledger.frames import (
    FRAME_HEADER_BYTES,
    SEGMENT_HEADER_BYTES,
    Block,
    BlockHeader,
    Frame,
    SegmentHeader,
    SegmentName,
    block_header,
    decode_block,
    decode_frame,
    decode_segment_header,
    decode_summary,
)

INDEX_STRIDE: Final = (
    16  # one offset kept for 16 blocks: half a byte of memory a block, at most 15 headers to step over
)
READ_AHEAD_BYTES: Final = 256 << 10  # small blocks are read many at a time
HEADER_READ_AHEAD_BYTES: Final = 4 << 10  # payloads are skipped: read little more than the next header


DISK_FULL: Final = (errno.ENOSPC, errno.EDQUOT)


def refused(action: str, path: str, error: OSError) -> StorageUnavailable:
    """The disk's refusal as FLO's own error."""
    name = errno.errorcode.get(error.errno or 0, "unknown")
    way_out = "free some space" if error.errno in DISK_FULL else "check the disk"
    return StorageUnavailable(
        f"{action} {path} failed: {error.strerror or error} ({name}); what was committed is kept. "
        f"{way_out}, then try again"
    )


def corrupt(path: str, offset: int, block: int, what: str) -> CorruptLedger:
    return CorruptLedger(
        f"{path} at byte {offset}, block {block}: {what}. Restore the file from a backup, or stop FLO and "
        "run flo.stores.ledger.salvage, which keeps every whole block and reports the lost ones"
    )


def write_all(file: File, offset: int, data: bytes) -> None:
    """Write to the last byte, however short the disk's single writes are."""
    written = file.write(offset, data)
    while written < len(data):
        written += file.write(offset + written, memoryview(data)[written:])


class Cursor:
    """Reads on through a file, many small pieces in one system call."""

    __slots__ = ("_at", "_buffer", "_file", "_path", "_read_ahead_bytes")

    def __init__(self, file: File, path: str, read_ahead_bytes: int = READ_AHEAD_BYTES) -> None:
        self._file = file
        self._path = path
        self._read_ahead_bytes = read_ahead_bytes
        self._buffer = memoryview(b"")
        self._at = 0

    def take(self, offset: int, size_bytes: int) -> memoryview:
        """Those bytes; fewer where the file ends. `StorageUnavailable` if the disk refuses."""
        start = offset - self._at
        if start < 0 or start + size_bytes > len(self._buffer):
            try:
                data = self._file.read(offset, max(size_bytes, self._read_ahead_bytes))
            except OSError as error:
                raise refused("reading", self._path, error) from error
            self._buffer, self._at, start = memoryview(data), offset, 0
        return self._buffer[start : start + size_bytes]


class Segment:
    """A segment file. Safe to read from several threads."""

    def __init__(self, disk: Disk, directory: str, name: SegmentName) -> None:
        self.name = name
        self.path = f"{directory}/{name}"
        self._disk = disk
        self._file: File | None = None
        self._header: SegmentHeader | None = None
        self._lock = threading.Lock()
        self._reset_index()

    def _reset_index(self) -> None:
        self._offsets = array("Q")  # of blocks first, first + INDEX_STRIDE, ...
        self.end_block = self.name.first_block  # as far as is known: the first block not yet stepped over
        self.end_offset = SEGMENT_HEADER_BYTES

    # -- the file

    def file(self) -> File:
        """Open for reading; `FileNotFoundError` if it was dropped."""
        file = self._file
        if file is None:
            try:
                file = self._file = self._disk.open(self.path)
            except FileNotFoundError:
                raise
            except OSError as error:
                raise refused("opening", self.path, error) from error
        return file

    def adopt(self, file: File, header: SegmentHeader) -> None:
        """The writer just created it."""
        self._file, self._header = file, header

    def forget(self) -> None:
        """Drop the open file and the index; both come back when they are needed."""
        with self._lock:
            self._file = None
            self._reset_index()

    def try_header(self) -> SegmentHeader | None:
        """The header, or None if neither copy is whole."""
        if self._header is None:
            page = bytes(Cursor(self.file(), self.path).take(0, SEGMENT_HEADER_BYTES))
            header = decode_segment_header(page)
            if header is None:
                return None
            if (header.first_block, header.sequence) != self.name[:2]:
                raise corrupt(
                    self.path,
                    0,
                    self.name.first_block,
                    f"the header says it begins with block {header.first_block} and has sequence "
                    f"{header.sequence}: the file was renamed or copied",
                )
            self._header = header
        return self._header

    def header(self) -> SegmentHeader:
        header = self.try_header()
        if header is None:
            raise corrupt(
                self.path, 0, self.name.first_block, "both copies of the segment header are damaged"
            )
        return header

    # -- where blocks lie

    def note(self, number: int, size_bytes: int) -> None:
        """Block `number`, the next one, is there and takes `size_bytes`."""
        if (number - self.name.first_block) % INDEX_STRIDE == 0:
            self._offsets.append(self.end_offset)
        self.end_offset += size_bytes
        self.end_block = number + 1

    def locate(self, number: int) -> int:
        salt = self.header().salt
        with self._lock:
            if number >= self.end_block:
                self._step_over_to(number, salt)
            if number == self.end_block:
                return self.end_offset
            nearest = (number - self.name.first_block) // INDEX_STRIDE
            offset = self._offsets[nearest]
        cursor = Cursor(self.file(), self.path, HEADER_READ_AHEAD_BYTES)
        for step in range(self.name.first_block + nearest * INDEX_STRIDE, number):
            offset += self._frame_at(cursor, offset, step, salt).size_bytes
        return offset

    def _step_over_to(self, number: int, salt: int) -> None:
        cursor = Cursor(self.file(), self.path, HEADER_READ_AHEAD_BYTES)
        for step in range(self.end_block, number):
            self.note(step, self._frame_at(cursor, self.end_offset, step, salt).size_bytes)

    def _frame_at(self, cursor: Cursor, offset: int, number: int, salt: int) -> Frame:
        frame = decode_frame(cursor.take(offset, FRAME_HEADER_BYTES), salt)
        if frame is None:
            raise corrupt(
                self.path, offset, number, "no whole block header here, though later blocks were committed"
            )
        if frame.number != number:
            raise corrupt(self.path, offset, number, f"block {frame.number} stands here: blocks are missing")
        return frame

    # -- blocks

    def read(self, number: int) -> Block:
        cursor = Cursor(self.file(), self.path, HEADER_READ_AHEAD_BYTES)
        return self._block_at(cursor, self.locate(number), number, self.header().salt)[0]

    def scan(self, first: int, last: int) -> Iterator[Block]:
        salt, offset = self.header().salt, self.locate(first)
        cursor = Cursor(self.file(), self.path)
        for number in range(first, last + 1):
            block, size_bytes = self._block_at(cursor, offset, number, salt)
            yield block
            offset += size_bytes

    def scan_headers(self, first: int, last: int) -> Iterator[BlockHeader]:
        salt, offset = self.header().salt, self.locate(first)
        cursor = Cursor(self.file(), self.path, HEADER_READ_AHEAD_BYTES)
        for number in range(first, last + 1):
            frame = self._frame_at(cursor, offset, number, salt)
            summary = decode_summary(
                frame, cursor.take(offset, FRAME_HEADER_BYTES + frame.summary_bytes), salt
            )
            if summary is None:
                raise corrupt(self.path, offset, number, "the summary fails its checksum")
            yield block_header(frame, summary)
            offset += frame.size_bytes

    def _block_at(self, cursor: Cursor, offset: int, number: int, salt: int) -> tuple[Block, int]:
        frame = self._frame_at(cursor, offset, number, salt)
        block = decode_block(frame, cursor.take(offset, frame.size_bytes), salt)
        if block is None:
            raise corrupt(self.path, offset, number, "the block fails its checksum")
        return block, frame.size_bytes
