"""The segment file being written."""

from __future__ import annotations

import errno
import logging
from typing import Final

from flo.ports.disk import Disk
from flo.stores.ledger.frames import (
    SEGMENT_HEADER_BYTES,
    Block,
    SegmentHeader,
    encode_frame,
    encode_segment_header,
    frame_size_bytes,
)
from flo.stores.ledger.segment import DISK_FULL, Segment, write_all

log = logging.getLogger("flo.ledger")

ALLOCATE_BYTES: Final = (
    16 << 20
)  # a commit that need not grow the file saves a journal entry in its fdatasync


class ActiveSegment:
    """A segment file this process created and writes. Raises `OSError` as the disk does.

    `is_trusted` turns False with the first failed sync and never back: the kernel may have dropped the dirty
    pages and marked them clean, and a second sync would report success for bytes that are nowhere. Only a new
    file helps.
    """

    def __init__(
        self, disk: Disk, directory: str, segment: Segment, header: SegmentHeader, allocate_bytes: int
    ) -> None:
        """Create the file. Header and name are durable before any block goes in, so a segment without a whole
        header holds nothing.
        """
        self.segment = segment
        self.is_trusted = True
        self._salt = header.salt
        self._allocate_bytes = allocate_bytes
        self._allocated = SEGMENT_HEADER_BYTES
        self._file = disk.create(segment.path)
        try:
            write_all(self._file, 0, encode_segment_header(header))
            self._file.sync()
            disk.sync_directory(directory)
        except OSError:
            self._file.close()
            raise
        segment.adopt(self._file, header)

    def commit(self, batch: list[Block], durable: int) -> int:
        """Write and sync; returns the bytes taken. `durable` is the last block that is known to be synced.

        After a full disk the same call may be repeated, with more blocks or fewer: the same bytes go to the
        same place.
        """
        offset = self.segment.end_offset
        data = b"".join(part for block in batch for part in encode_frame(block, durable, self._salt))
        self._allocate(offset + len(data))
        write_all(self._file, offset, data)
        try:
            self._file.sync()
        except OSError:
            self.is_trusted = False
            raise
        for block in batch:
            self.segment.note(block.number, frame_size_bytes(len(block.payload), len(block.summary)))
        return len(data)

    def _allocate(self, need: int) -> None:
        if need <= self._allocated:
            return
        try:
            self._file.allocate(self._allocated, need - self._allocated + self._allocate_bytes)
        except OSError as error:
            if error.errno not in (*DISK_FULL, errno.EOPNOTSUPP, errno.EINVAL):
                raise
            return  # the block itself may still fit
        self._allocated = need + self._allocate_bytes

    def close(self) -> None:
        """Leave the file for good. What was preallocated is given back; that is for space only, so it may
        fail.
        """
        try:
            self._file.truncate(self.segment.end_offset)
        except OSError as error:
            log.warning("could not give back unused space in %s: %s", self.segment.path, error)
