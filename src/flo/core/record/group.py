"""One group commit: its signals, decisions and events, and the bytes of a block.

Rows are gathered as tuples while deciding (one append a decision), turned into columns when the group closes (`zip`),
and each column is encoded and compressed by itself. So a reader that wants keys only inflates keys, a period becomes
Parquet column by column, and a later columnar path can write the same sections as Arrow.

    payload = msgpack [ version, decided_ns, signals, [section, ...], events ]
    signals = [ count, {column name: bytes} ]       columns: raw, received (ns per signal, or one for all), context
    section = [ loop, revision, count, [column name, ...], [column bytes, ...] ]
    column  = one flag byte (0 plain, 1 zstd), then msgpack of the list of values

A decision's place gives its id: `<shard>-<block>-<section>-<row>`; a signal's: `<shard>-<block>-<row>`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import islice
from typing import Any

import msgspec
import zstandard

from flo.core.errors import CorruptLedger
from flo.core.record.event import Event

PAYLOAD_VERSION = 1

COMPRESS_BYTES_MIN = 512
"""Shorter columns grow or gain nothing under zstd, and a lone decision must stay cheap."""

FIXED_COLUMNS = ("signal", "key", "seq", "exit")
"""What every decision row starts with: row of its signal, the loop's key, the sequence, and which way the rules went."""

LAST_COLUMNS = ("inputs", "extra")
"""What every decision row ends with: (fetched needs, function results, what the state of a masked loop was given) or
null, and what is out of the ordinary."""

_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder().decode
_decode_events = msgspec.msgpack.Decoder(list[Event]).decode


@dataclass(slots=True)
class DecisionSection:
    """The decisions of one loop in a group: rows of `FIXED_COLUMNS + state columns + LAST_COLUMNS`."""

    loop: str
    revision: str
    state_columns: tuple[str, ...]
    rows: list[tuple[Any, ...]] = field(default_factory=list)


@dataclass(slots=True)
class Group:
    """What commits together. `contexts` is empty, or one entry per signal: None for a root."""

    block: int
    shard: int
    decided_ns: int
    raws: list[bytes] = field(default_factory=list)
    received_ns: int = 0
    contexts: dict[int, tuple[Any, ...]] = field(default_factory=dict)
    marks: dict[int, int] = field(default_factory=dict)  # signal row -> flags (see flow.intake)
    sections: list[DecisionSection] = field(default_factory=list)
    events: list[Event] = field(default_factory=list)
    time_min_ns: int = 0
    time_max_ns: int = 0

    def is_empty(self) -> bool:
        return not (self.raws or self.events)

    def records(self) -> int:
        return len(self.raws) + sum(len(section.rows) for section in self.sections) + len(self.events)


def encode_group(group: Group) -> tuple[bytes, bytes]:
    """(payload, summary). The summary lists the loops, and whether there are events, so that readers can skip blocks."""
    plain = [_encode(group.raws), _encode(group.events)]
    for section in group.sections:
        plain += [_encode(column) for column in zip(*section.rows, strict=True)]
    packed = iter(_packed(plain))
    raws, events = next(packed), next(packed)
    sections = []
    for section in group.sections:
        if section.rows:
            names = FIXED_COLUMNS + section.state_columns + LAST_COLUMNS
            columns = list(islice(packed, len(names)))
            sections.append([section.loop, section.revision, len(section.rows), names, columns])
        else:  # keeps its number: decision ids count sections
            sections.append([section.loop, section.revision, 0, (), ()])
    signals = [len(group.raws), group.received_ns, raws, group.contexts, group.marks]
    payload = _encode([PAYLOAD_VERSION, group.decided_ns, signals, sections, events])
    kinds = sorted({type(event).__struct_config__.tag for event in group.events})  # type: ignore[type-var]
    loops = [section.loop for section in group.sections[:256]]
    return payload, _encode([len(group.raws), loops, kinds])


def _packed(plain: Sequence[bytes]) -> list[bytes]:
    """Each with its flag byte, the long ones compressed: in one call, because each call gives up the interpreter's lock,
    and to get it back from a thread that decides takes up to 5 ms."""
    long: list[bytes | bytearray | memoryview] = [
        piece for piece in plain if len(piece) >= COMPRESS_BYTES_MIN
    ]
    if not long:
        return [b"\x00" + piece for piece in plain]
    frames = iter(zstandard.ZstdCompressor(level=1).multi_compress_to_buffer(long))
    return [
        b"\x01" + next(frames).tobytes() if len(piece) >= COMPRESS_BYTES_MIN else b"\x00" + piece
        for piece in plain
    ]


class Summary(msgspec.Struct, array_like=True, frozen=True):
    """What a block's header says of its payload. `loops` is cut at 256 names: then every section must be looked at."""

    signals: int
    loops: list[str]
    events: list[str]


_decode_summary = msgspec.msgpack.Decoder(Summary).decode


def decode_summary(summary: bytes) -> Summary:
    return _decode_summary(summary)


@dataclass(slots=True, frozen=True)
class SectionView:
    """One loop's decisions in a block; columns are inflated when asked for."""

    loop: str
    revision: str
    count: int
    names: tuple[str, ...]
    packed: tuple[bytes, ...]

    def column(self, name: str) -> list[Any]:
        return _unpack(self.packed[self.names.index(name)])

    def rows(self) -> list[tuple[Any, ...]]:
        return list(zip(*(_unpack(column) for column in self.packed), strict=True)) if self.count else []

    @property
    def state_columns(self) -> tuple[str, ...]:
        return self.names[len(FIXED_COLUMNS) : -len(LAST_COLUMNS)]


@dataclass(slots=True, frozen=True)
class GroupView:
    """A block's payload, read back: nothing is inflated before it is asked for."""

    decided_ns: int
    signal_count: int
    received_ns: int
    contexts: dict[int, tuple[Any, ...]]
    marks: dict[int, int]
    sections: tuple[SectionView, ...]
    packed_raws: bytes
    packed_events: bytes

    def raws(self) -> list[bytes]:
        return _unpack(self.packed_raws)

    def events(self) -> list[Event]:
        return _decode_events(_inflate(self.packed_events))


def decode_group(payload: bytes) -> GroupView:
    """Read a payload; its checksum was checked below, so a failure here is a defect or a newer format."""
    version, decided_ns, signals, sections, events = _decode(payload)
    if version != PAYLOAD_VERSION:
        raise CorruptLedger(
            f"block payload version {version}: this FLO reads {PAYLOAD_VERSION}; use a newer FLO"
        )
    return GroupView(
        decided_ns=decided_ns,
        signal_count=signals[0],
        received_ns=signals[1],
        packed_raws=signals[2],
        contexts={row: tuple(context) for row, context in signals[3].items()},
        marks=signals[4],
        sections=tuple(
            SectionView(loop, revision, count, tuple(names), tuple(columns))
            for loop, revision, count, names, columns in sections
        ),
        packed_events=events,
    )


def _inflate(packed: bytes) -> bytes:
    if packed[0] == 0:
        return packed[1:]
    return zstandard.ZstdDecompressor().decompress(packed[1:])


def _unpack(packed: bytes) -> list[Any]:
    values = _decode(_inflate(packed))
    assert isinstance(values, list)
    return values
