"""The ledger's bytes: the header of a segment and the frame of a block (`docs/explanation/ledger-format.md`).

Pure encoding and checking: nothing here touches a file. All integers are little endian.
"""

from __future__ import annotations

import re
import struct
from datetime import UTC, datetime, timedelta
from typing import Final, NamedTuple
from zlib import crc32

import msgspec

from flo.core.errors import UsageError

FORMAT_VERSION: Final = 1
SEGMENT_MAGIC: Final = b"FLOLEDG1"
SEGMENT_HEADER_BYTES: Final = 4096  # one page, holding the header twice
SEGMENT_HEADER_COPY_AT: Final = 2048  # in another sector, so that one bad sector does not cost the segment
BLOCK_MAGIC: Final = b"FLOB"
ALIGNMENT_BYTES: Final = 8
PAYLOAD_BYTES_MAX: Final = (
    64 << 20
)  # a group commit is some hundred kB; one that needs more is a mistake upstream
SUMMARY_BYTES_MAX: Final = 64 << 10
COUNT_MAX: Final = 2**32 - 1
TIME_NS_MIN: Final = -(2**63)
TIME_NS_MAX: Final = 2**63 - 1

CODEC_LOST: Final = 0  # the block was destroyed and `salvage` holds its place: count 0, no payload
CODEC_COLUMNS: Final = 1  # msgpack columns, zstd
CODEC_ARROW: Final = 2  # reserved: Arrow IPC
CODEC_MAX: Final = 255

_SEGMENT = struct.Struct("<8sIIQQqqqI")
_FRAME = struct.Struct("<4sBBHQQqqqIIIII")
_CRC = struct.Struct("<I")
SEGMENT_FIELDS_BYTES: Final = _SEGMENT.size + _CRC.size
FRAME_HEADER_BYTES: Final = _FRAME.size + _CRC.size
assert SEGMENT_FIELDS_BYTES == 64
assert FRAME_HEADER_BYTES == 72

_NAME = re.compile(r"(\d{8}T\d{6}Z)-(\d{20})-(\d{8})\.seg\Z")
_NAME_TIME = "%Y%m%dT%H%M%SZ"
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class BlockMissing(UsageError):
    """The block asked for is not in the ledger: not written yet, or dropped with its period."""


class BlockHeader(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """What a block says of itself. `summary` is its writer's own; it lets a reader skip the payload."""

    number: int
    codec: int
    count: int  # records in the payload
    time_min_ns: int  # of the records
    time_max_ns: int
    written_ns: int
    payload_bytes: int
    summary: bytes


class Block(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """One group commit, whole: its bytes passed their checksum."""

    number: int
    codec: int
    count: int
    time_min_ns: int
    time_max_ns: int
    written_ns: int
    summary: bytes
    payload: bytes


class Frame(NamedTuple):
    """The fixed part of a block as it lies on disk; lengths are within their limits and the checksum held."""

    codec: int
    number: int
    durable: int  # the last block known to be synced when this one was written
    time_min_ns: int
    time_max_ns: int
    written_ns: int
    records: int
    payload_bytes: int
    summary_bytes: int
    payload_crc: int
    summary_crc: int

    @property
    def size_bytes(self) -> int:
        return frame_size_bytes(self.payload_bytes, self.summary_bytes)


class SegmentHeader(msgspec.Struct, frozen=True, kw_only=True):
    """What every segment file begins with."""

    shard: int
    sequence: int  # grows with every segment file ever begun in this shard
    first_block: int
    period_start_ns: int
    period_ns: int
    created_ns: int  # when its first block was written
    salt: int  # goes into every block checksum: bytes inside a payload cannot pass for a block


class SegmentName(NamedTuple):
    """A segment's file name. Sorting by (first_block, sequence) puts the one that counts last."""

    first_block: int
    sequence: int
    period_start_ns: int

    def __str__(self) -> str:
        start = _EPOCH + timedelta(microseconds=self.period_start_ns // 1000)
        return f"{start.strftime(_NAME_TIME)}-{self.first_block:020d}-{self.sequence:08d}.seg"


def parse_segment_name(name: str) -> SegmentName | None:
    """None if it is no segment's name: a temporary file, or what `salvage` put aside."""
    match = _NAME.match(name)
    if match is None:
        return None
    start = datetime.strptime(match[1], _NAME_TIME).replace(tzinfo=UTC)
    return SegmentName(int(match[2]), int(match[3]), (start - _EPOCH) // timedelta(seconds=1) * 10**9)


def frame_size_bytes(payload_bytes: int, summary_bytes: int) -> int:
    """The bytes a block takes in its segment, padding included."""
    return (FRAME_HEADER_BYTES + summary_bytes + payload_bytes + 7) & ~7


def encode_segment_header(header: SegmentHeader) -> bytes:
    """A segment's first bytes, with their checksum."""
    fields = _SEGMENT.pack(
        SEGMENT_MAGIC,
        FORMAT_VERSION,
        header.shard,
        header.sequence,
        header.first_block,
        header.period_start_ns,
        header.period_ns,
        header.created_ns,
        header.salt,
    )
    half = (fields + _CRC.pack(crc32(fields))).ljust(SEGMENT_HEADER_COPY_AT, b"\0")
    return half.ljust(SEGMENT_HEADER_BYTES - SEGMENT_HEADER_COPY_AT, b"\0") + half


def decode_segment_header(page: bytes) -> SegmentHeader | None:
    """The header from whichever copy is whole, or None. `UsageError` if a later FLO wrote it."""
    for offset in (0, SEGMENT_HEADER_COPY_AT):
        fields = page[offset : offset + SEGMENT_FIELDS_BYTES]
        if len(fields) < SEGMENT_FIELDS_BYTES or not fields.startswith(SEGMENT_MAGIC):
            continue
        if crc32(fields[: _SEGMENT.size]) != _CRC.unpack_from(fields, _SEGMENT.size)[0]:
            continue
        _, version, shard, sequence, first_block, start_ns, period_ns, created_ns, salt = (
            _SEGMENT.unpack_from(fields)
        )
        if version != FORMAT_VERSION:
            raise UsageError(
                f"this ledger has format version {version}, and this FLO reads version {FORMAT_VERSION}: "
                "use the FLO that wrote it, or a later one"
            )
        return SegmentHeader(
            shard=shard,
            sequence=sequence,
            first_block=first_block,
            period_start_ns=start_ns,
            period_ns=period_ns,
            created_ns=created_ns,
            salt=salt,
        )
    return None


def encode_frame(block: Block, durable: int, salt: int) -> list[bytes]:
    """A block as it goes to disk, in parts to be written one after the other."""
    fields = _FRAME.pack(
        BLOCK_MAGIC,
        block.codec,
        0,
        0,
        block.number,
        durable,
        block.time_min_ns,
        block.time_max_ns,
        block.written_ns,
        block.count,
        len(block.payload),
        len(block.summary),
        crc32(block.payload, salt),
        crc32(block.summary, salt),
    )
    parts = [fields + _CRC.pack(crc32(fields, salt)) + block.summary, block.payload]
    padding = -(FRAME_HEADER_BYTES + len(block.summary) + len(block.payload)) % ALIGNMENT_BYTES
    if padding:
        parts.append(bytes(padding))
    return parts


def decode_frame(data: bytes | memoryview, salt: int) -> Frame | None:
    """The fixed part of the block that begins `data`, or None if none does."""
    if len(data) < FRAME_HEADER_BYTES or data[:4] != BLOCK_MAGIC:
        return None
    if crc32(data[: _FRAME.size], salt) != _CRC.unpack_from(data, _FRAME.size)[0]:
        return None
    (
        _,
        codec,
        flags,
        reserved,
        number,
        durable,
        t_min,
        t_max,
        written,
        count,
        payload,
        summary,
        p_crc,
        s_crc,
    ) = _FRAME.unpack_from(data)
    if flags or reserved or payload > PAYLOAD_BYTES_MAX or summary > SUMMARY_BYTES_MAX:
        return None
    return Frame(codec, number, durable, t_min, t_max, written, count, payload, summary, p_crc, s_crc)


def decode_summary(frame: Frame, data: bytes | memoryview, salt: int) -> bytes | None:
    """The summary out of a frame's bytes, or None if it is not what was written."""
    summary = bytes(data[FRAME_HEADER_BYTES : FRAME_HEADER_BYTES + frame.summary_bytes])
    if len(summary) != frame.summary_bytes or crc32(summary, salt) != frame.summary_crc:
        return None
    return summary


def decode_block(frame: Frame, data: bytes | memoryview, salt: int) -> Block | None:
    """The whole block out of a frame's bytes, or None if any of them is not what was written."""
    summary = decode_summary(frame, data, salt)
    payload_at = FRAME_HEADER_BYTES + frame.summary_bytes
    end = payload_at + frame.payload_bytes
    payload = bytes(data[payload_at:end])
    if summary is None or len(payload) != frame.payload_bytes or crc32(payload, salt) != frame.payload_crc:
        return None
    if any(data[end : frame.size_bytes]):
        return None
    return Block(
        number=frame.number,
        codec=frame.codec,
        count=frame.records,
        time_min_ns=frame.time_min_ns,
        time_max_ns=frame.time_max_ns,
        written_ns=frame.written_ns,
        summary=summary,
        payload=payload,
    )


def block_header(frame: Frame, summary: bytes) -> BlockHeader:
    """A frame as readers see it, without its payload."""
    return BlockHeader(
        number=frame.number,
        codec=frame.codec,
        count=frame.records,
        time_min_ns=frame.time_min_ns,
        time_max_ns=frame.time_max_ns,
        written_ns=frame.written_ns,
        payload_bytes=frame.payload_bytes,
        summary=summary,
    )
