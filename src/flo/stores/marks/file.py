"""A file of frozen marks.

    magic, length and checksum of the head | head (JSON) | padding to 8 | hashes (u64, ascending) | blocks (u32)

`blocks` holds, for each hash, its block less the first block. All little endian. A hash is found with one read: hashes
are evenly spread, so its place is guessed to within a few thousandths and that part is searched.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from math import isqrt
from typing import Final
from zlib import crc32

import msgspec
import numpy as np
from numpy.typing import NDArray

from flo.ports.disk import File
from flo.ports.marks import Hashes
from flo.stores.ledger.segment import refused

MAGIC: Final = b"FLOMARK1"
HEAD_BYTES_MAX: Final = 4096
PIECE_BYTES: Final = 4 << 20
GUESS_MARKS_MIN: Final = 64
_FIELDS: Final = struct.Struct("<8sII")


class Head(msgspec.Struct, frozen=True):
    """What a file of marks says of itself."""

    first_block: int
    last_block: int
    start_ns: int
    end_ns: int
    count: int
    seal: int  # checksum of the last block's payload: these marks belong to that ledger and no other
    body: int  # checksum of hashes and blocks


def encode(head: Head, hashes: Hashes, blocks: NDArray[np.uint32]) -> Iterator[bytes]:
    """The file's bytes, in pieces. `head.body` is computed here."""
    body = hashes.astype("<u8").tobytes(), blocks.astype("<u4").tobytes()
    checksum = crc32(body[1], crc32(body[0]))
    text = msgspec.json.encode(msgspec.structs.replace(head, body=checksum))
    yield _FIELDS.pack(MAGIC, len(text), crc32(text)) + text + bytes(-(_FIELDS.size + len(text)) % 8)
    yield from body


class MarkFile:
    """See `flo.ports.marks.FrozenMarks`. Open one with `MarkFile.open`, which checks every byte."""

    def __init__(self, path: str, file: File, head: Head, offset: int) -> None:
        self.path = path
        self.first_block, self.last_block = head.first_block, head.last_block
        self.start_ns, self.end_ns = head.start_ns, head.end_ns
        self.count, self.seal = head.count, head.seal
        self._file = file
        self._offset = offset
        self._guess = max(GUESS_MARKS_MIN, 3 * isqrt(head.count))  # six standard deviations, at least

    @classmethod
    def open(cls, path: str, file: File) -> MarkFile | None:
        """None where a byte is not what was written. `OSError` where the disk refuses."""
        start = file.read(0, _FIELDS.size + HEAD_BYTES_MAX)
        if len(start) < _FIELDS.size:
            return None
        magic, length, checksum = _FIELDS.unpack_from(start)
        text = start[_FIELDS.size : _FIELDS.size + length]
        if magic != MAGIC or length > HEAD_BYTES_MAX or crc32(text) != checksum:
            return None
        head = msgspec.json.decode(text, type=Head)
        offset = (_FIELDS.size + length + 7) & ~7
        end = offset + 12 * head.count
        found = 0
        for at in range(offset, end, PIECE_BYTES):
            found = crc32(file.read(at, min(PIECE_BYTES, end - at)), found)
        return cls(path, file, head, offset) if found == head.body and file.size() == end else None

    def blocks_of(self, hash: int) -> list[int]:
        if not self.count:
            return []
        guess = (hash * self.count) >> 64
        first, last = max(guess - self._guess, 0), min(guess + self._guess, self.count)
        hashes = self._hashes(first, last)
        is_cut = (first > 0 and (not len(hashes) or hashes[0] >= hash)) or (
            last < self.count and (not len(hashes) or hashes[-1] <= hash)
        )
        if is_cut:  # hashes that are not evenly spread
            first, hashes = 0, self._hashes(0, self.count)
        low, high = (
            np.searchsorted(hashes, np.uint64(hash), "left"),
            np.searchsorted(hashes, np.uint64(hash), "right"),
        )
        if low == high:
            return []
        at = self._offset + 8 * self.count + 4 * (first + int(low))
        blocks = np.frombuffer(self._read(at, 4 * int(high - low)), dtype="<u4")
        return sorted({self.first_block + int(block) for block in blocks})

    def hashes(self) -> Iterator[Hashes]:
        step = PIECE_BYTES // 64
        for first in range(0, self.count, step):
            yield self._hashes(first, min(first + step, self.count))

    def _hashes(self, first: int, last: int) -> Hashes:
        data = self._read(self._offset + 8 * first, 8 * (last - first))
        return np.frombuffer(data, dtype="<u8").astype(np.uint64, copy=False)

    def _read(self, offset: int, size_bytes: int) -> bytes:
        try:
            return self._file.read(offset, size_bytes)
        except OSError as error:
            raise refused("reading", self.path, error) from error

    def close(self) -> None:
        self._file.close()
