"""The dead letters of a shard that outlive the ledger's periods: one file for each period that had any.

    magic | record (the period, what left in it) | record (the letters of one block) ... | record (end)

A record is kind u8, three zero bytes, length u32, block u64, checksum u32 of its bytes, checksum u32 of all before, then
its bytes: msgpack with zstd, none at the end. All little endian. Files are written whole, before their period is dropped,
and never changed; they leave whole.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Iterable, Iterator
from itertools import groupby
from typing import Final, NamedTuple
from zlib import crc32

import msgspec
import zstandard

from flo.core.errors import CorruptLedger
from flo.core.record import KeptLetter, KeptPeriod, LetterLeft
from flo.ports.disk import Disk, File
from flo.stores.ledger.segment import Cursor, refused, write_all
from flo.stores.whole_file import whole_file

MAGIC: Final = b"FLODEAD1"
SECOND_NS: Final = 1_000_000_000
_RECORD: Final = struct.Struct("<BxxxIQII")
_HEAD, _LETTERS, _END = 1, 2, 3
_NAME = re.compile(r"(\d{20})-(\d{20})-(\d{12})\.letters\Z")

Place = tuple[int, int]


class _Head(msgspec.Struct, array_like=True):
    period: KeptPeriod
    left: list[LetterLeft]


class _Stored(NamedTuple):
    """A record of a file, where it lies."""

    kind: int
    block: int
    offset: int
    length: int
    checksum: int


_encode = msgspec.msgpack.Encoder().encode
_decode_head = msgspec.msgpack.Decoder(_Head).decode
_decode_letters = msgspec.msgpack.Decoder(list[KeptLetter]).decode


def _name(period: KeptPeriod) -> str:
    seconds = max(period.end_ns, 0) // SECOND_NS  # periods are whole seconds
    return f"{period.first_block:020d}-{period.last_block:020d}-{seconds:012d}.letters"


def _period_of(name: str) -> KeptPeriod | None:
    match = _NAME.match(name)
    return None if match is None else KeptPeriod(int(match[1]), int(match[2]), int(match[3]) * SECOND_NS)


class LetterStore:
    """See `flo.ports.store.KeptLetters`. Whoever holds the shard's ledger writes; anybody reads beside it, without a lock.

    A file that is there under its name is whole and survives a power cut from when `write` returned. Memory: what one
    block of the ledger held, and what left in one period.
    """

    def __init__(self, disk: Disk, directory: str) -> None:
        self.directory = directory
        self._disk = disk

    def periods(self) -> list[KeptPeriod]:
        """Those that have a file, oldest first."""
        try:
            names = self._disk.listdir(self.directory)
        except FileNotFoundError:
            return []
        except OSError as error:
            raise refused("listing", self.directory, error) from error
        return sorted(
            (period for period in map(_period_of, names) if period is not None),
            key=lambda period: period.first_block,
        )

    def write(
        self, period: KeptPeriod, left: list[LetterLeft], letters: Iterable[KeptLetter]
    ) -> dict[str, int]:
        """Keep the letters of a period, in their order; how many there were, by loop. No file where there is nothing."""
        written: dict[str, int] = {}
        blocks = groupby(letters, key=lambda letter: letter.block)
        first = next(blocks, None)
        if first is None and not left:
            return written
        try:
            with whole_file(self._disk, self.directory, _name(period)) as file:
                offset = len(MAGIC)
                write_all(file, 0, MAGIC)
                offset = _append(file, offset, _HEAD, 0, _encode(_Head(period, left)))
                while first is not None:
                    of_block = list(first[1])
                    for each in of_block:
                        written[each.letter.loop] = written.get(each.letter.loop, 0) + 1
                    offset = _append(file, offset, _LETTERS, first[0], _encode(of_block))
                    first = next(blocks, None)
                _append(file, offset, _END, 0, b"")
        except OSError as error:
            raise refused("writing", f"{self.directory}/{_name(period)}", error) from error
        return written

    def remove(self, period: KeptPeriod) -> None:
        """Give up a period's letters; durable on return."""
        path = f"{self.directory}/{_name(period)}"
        try:
            self._disk.remove(path)
            self._disk.sync_directory(self.directory)
        except FileNotFoundError:
            return
        except OSError as error:
            raise refused("removing", path, error) from error

    def find(self, after: Place, before: Place, *, reverse: bool = False) -> Iterator[KeptLetter]:
        periods = self.periods()
        for period in reversed(periods) if reverse else periods:
            if period.last_block < after[0] or period.first_block > before[0]:
                continue
            yield from self._find(period, after, before, reverse)

    def _find(self, period: KeptPeriod, after: Place, before: Place, reverse: bool) -> Iterator[KeptLetter]:
        file = self._open(period)
        if file is None:
            return
        path = f"{self.directory}/{_name(period)}"
        stored = [
            each
            for each in _records(file, path)
            if each.kind == _LETTERS and after[0] <= each.block <= before[0]
        ]
        for each in reversed(stored) if reverse else stored:
            letters = _decode_letters(_read(file, path, each))
            for letter in reversed(letters) if reverse else letters:
                if after < (letter.block, letter.place) < before:
                    yield letter

    def left(self) -> Iterator[LetterLeft]:
        for period in self.periods():
            file = self._open(period)
            if file is not None:
                path = f"{self.directory}/{_name(period)}"
                yield from _decode_head(_read(file, path, next(_records(file, path)))).left

    def _open(self, period: KeptPeriod) -> File | None:
        """None where it left meanwhile."""
        path = f"{self.directory}/{_name(period)}"
        try:
            return self._disk.open(path)
        except FileNotFoundError:
            return None
        except OSError as error:
            raise refused("reading", path, error) from error


def _append(file: File, offset: int, kind: int, block: int, data: bytes) -> int:
    packed = zstandard.ZstdCompressor(level=1).compress(data) if data else b""
    write_all(file, offset, _fields(kind, len(packed), block, crc32(packed)) + packed)
    return offset + _RECORD.size + len(packed)


def _fields(kind: int, length: int, block: int, checksum: int) -> bytes:
    fields = _RECORD.pack(kind, length, block, checksum, 0)
    return fields[:-4] + crc32(fields[:-4]).to_bytes(4, "little")


def _records(file: File, path: str) -> Iterator[_Stored]:
    """Up to the end that the file was written to; their bytes are not looked at."""
    cursor, offset = Cursor(file, path, 4096), len(MAGIC)
    if bytes(cursor.take(0, len(MAGIC))) != MAGIC:
        raise _corrupt(path, 0)
    while len(fields := cursor.take(offset, _RECORD.size)) == _RECORD.size:
        kind, length, block, checksum, _ = _RECORD.unpack(fields)
        if bytes(fields) != _fields(kind, length, block, checksum):
            break
        yield _Stored(kind, block, offset + _RECORD.size, length, checksum)
        if kind == _END:
            return
        offset += _RECORD.size + length
    raise _corrupt(path, offset)


def _read(file: File, path: str, stored: _Stored) -> bytes:
    try:
        packed = file.read(stored.offset, stored.length)
    except OSError as error:
        raise refused("reading", path, error) from error
    if len(packed) != stored.length or crc32(packed) != stored.checksum:
        raise _corrupt(path, stored.offset)
    return zstandard.ZstdDecompressor().decompress(packed)


def _corrupt(path: str, offset: int) -> CorruptLedger:
    return CorruptLedger(
        f"{path} is damaged at byte {offset}: dead letters older than the ledger cannot be read. Restore the file "
        "from a backup, or move it away to go on without the dead letters in it"
    )
