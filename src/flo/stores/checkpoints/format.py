"""A checkpoint file's bytes.

    magic, version | fields (JSON: block, kind, parent) | chunk ... | end (meta, counts) | end mark

Every part after the magic is a record: kind u8, three zero bytes, length u32, checksum u32, bytes, padding
to 8. A chunk holds one loop's entries in columns (msgpack, zstd): keys, blocks, states. A file without a
whole end record is no checkpoint.
"""

from __future__ import annotations

import re
import struct
from array import array
from collections.abc import Iterator
from typing import Final, NamedTuple
from zlib import crc32

import msgspec
import zstandard

from flo.core.errors import CorruptLedger, UsageError
from flo.ports.disk import File
from flo.stores.ledger.segment import Cursor

MAGIC: Final = b"FLOCKPT1"
FORMAT_VERSION: Final = 1
CHUNK_BYTES: Final = (
    1 << 20
)  # of keys and states, before compression: enough to compress well, little to lose in memory
CHUNK_BYTES_MAX: Final = 128 << 20
STATE_BYTES_MAX: Final = 64 << 20
META_BYTES_MAX: Final = 16 << 20
_RECORD: Final = struct.Struct("<BxxxII")
_HEAD, _CHUNK, _END = 1, 2, 3
_NAME = re.compile(r"(\d{20})-(\d{8})\.(base|delta)\Z")


class Entry(NamedTuple):
    """One key's state after block `block`. `state` None: the key is gone."""

    loop: str
    key: str
    block: int
    state: bytes | None


class Head(msgspec.Struct, frozen=True):
    """What a checkpoint file says first. A delta holds what changed since `parent`, a base everything."""

    version: int
    block: int  # the fold from the next block on, over these states, gives today's state
    sequence: int
    parent: int | None  # sequence of the checkpoint a delta builds on


class End(msgspec.Struct, frozen=True):
    """The last chunk of a checkpoint: without it the file is not whole."""

    chunks: int
    entries: int
    meta: bytes  # its writer's own


class Columns(msgspec.Struct, frozen=True, array_like=True):
    """Entries of one loop, column by column."""

    loop: str
    keys: list[str]
    blocks: bytes  # u64, little endian
    states: list[bytes | None]

    def block_array(self) -> array[int]:
        blocks = array("Q", self.blocks)
        if _BIG_ENDIAN:
            blocks.byteswap()
        return blocks


_BIG_ENDIAN = struct.pack("=H", 1) == struct.pack(">H", 1)


class CheckpointName(NamedTuple):
    """What a checkpoint's file name says of it."""

    block: int
    sequence: int
    is_base: bool

    def __str__(self) -> str:
        return f"{self.block:020d}-{self.sequence:08d}.{'base' if self.is_base else 'delta'}"


def parse_name(name: str) -> CheckpointName | None:
    match = _NAME.match(name)
    return CheckpointName(int(match[1]), int(match[2]), match[3] == "base") if match else None


def encode_head(head: Head) -> bytes:
    return MAGIC + _record(_HEAD, msgspec.json.encode(head))


def encode_chunk(loop: str, keys: list[str], blocks: array[int], states: list[bytes | None]) -> bytes:
    if _BIG_ENDIAN:
        blocks = array("Q", blocks)
        blocks.byteswap()
    columns = msgspec.msgpack.encode(Columns(loop, keys, blocks.tobytes(), states))
    return _record(_CHUNK, zstandard.ZstdCompressor(level=1).compress(columns))


def encode_end(end: End) -> bytes:
    return _record(_END, msgspec.msgpack.encode(end))


def _record(kind: int, data: bytes) -> bytes:
    fields = _RECORD.pack(kind, len(data), crc32(data, kind))
    return b"".join((fields, data, bytes(-(len(fields) + len(data)) % 8)))


def decode_chunk(data: bytes) -> Columns:
    columns = zstandard.ZstdDecompressor().decompress(data, max_output_size=CHUNK_BYTES_MAX)
    return _columns.decode(columns)


_columns = msgspec.msgpack.Decoder(Columns)


def _records(file: File, path: str) -> Iterator[tuple[int, bytes]]:
    """Each record, checked, until one is not whole."""
    cursor, offset = Cursor(file, path, CHUNK_BYTES), len(MAGIC)
    if bytes(cursor.take(0, len(MAGIC))) != MAGIC:
        return
    while len(fields := cursor.take(offset, _RECORD.size)) == _RECORD.size:
        kind, length, crc = _RECORD.unpack(fields)
        if length > CHUNK_BYTES_MAX:
            return
        data = bytes(cursor.take(offset + _RECORD.size, length))
        if len(data) != length or crc32(data, kind) != crc:
            return
        yield kind, data
        offset += (_RECORD.size + length + 7) & ~7


def verify(file: File, path: str) -> tuple[Head, End] | None:
    """Read every byte; None if the file is not a whole checkpoint."""
    head: Head | None = None
    chunks = 0
    for kind, data in _records(file, path):
        if kind == _HEAD and head is None:
            head = msgspec.json.decode(data, type=Head)
            if head.version != FORMAT_VERSION:
                raise UsageError(
                    f"{path} has checkpoint format {head.version}, and this FLO reads {FORMAT_VERSION}: "
                    "use the FLO that wrote it, or a later one"
                )
        elif kind == _CHUNK:
            chunks += 1
        elif kind == _END and head is not None:
            end = msgspec.msgpack.decode(data, type=End)
            return (head, end) if end.chunks == chunks else None
    return None


def read_columns(file: File, path: str) -> Iterator[Columns]:
    """The chunks of a file that `verify` found whole."""
    for kind, data in _records(file, path):
        if kind == _CHUNK:
            yield decode_chunk(data)
        elif kind == _END:
            return
    raise CorruptLedger(
        f"{path}: the checkpoint was whole a moment ago and is not now. Check the disk and start again: "
        "an older checkpoint will be used"
    )
