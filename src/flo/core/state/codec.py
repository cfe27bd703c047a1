"""The stored form of a key's slots.

MessagePack: `[VERSION, fingerprint of the plan, newest, until, window, ...]`. A window of entries is stored as its columns
alone, `[times, values, ...]`, arrays as their bytes, little end first; its running figures are summed anew when it is
read back. What counts since ever is stored as its slots, panes as their figures. Integers beyond 64 bits, fractions,
sketches and CEL's own kinds of value are extensions. Version 1 stored a window as one list, `time, value of each column,
time, ...`; it is read, and not written any more.
"""

from __future__ import annotations

import sys
from array import array
from fractions import Fraction
from typing import Any

import msgspec
from datasketches import hll_sketch, tdigest_double

from flo.core.expression.values import BoolKey, CelType, Duration, Timestamp, UInt
from flo.core.state.accumulate import Pane
from flo.core.state.entries import Cell, Entries
from flo.core.state.exact import StateError
from flo.core.state.late import refill
from flo.core.state.layout import MISSING, NEVER, SLOW, Figure, Missing, Window
from flo.core.state.panes import Panes, Ring
from flo.core.state.sketches import Digest

VERSION = 2
IS_BIG_ENDIAN = sys.byteorder == "big"

MISSING_CODE, INT_CODE, FRACTION_CODE, DIGEST_CODE, HLL_CODE, KEY_CODE, TYPE_CODE = range(1, 8)
NUMBER_CODES: dict[type[int], int] = {UInt: 8, Timestamp: 9, Duration: 10}
NUMBER_TYPES = {code: kind for kind, code in NUMBER_CODES.items()}


def _hook(value: Any) -> msgspec.msgpack.Ext:
    kind = type(value)
    if kind in NUMBER_CODES:
        return msgspec.msgpack.Ext(NUMBER_CODES[kind], _bytes_of(value))
    if kind is Missing:
        return msgspec.msgpack.Ext(MISSING_CODE, b"")
    if kind is Fraction:
        parts = [_bytes_of(value.numerator), _bytes_of(value.denominator)]
        return msgspec.msgpack.Ext(FRACTION_CODE, msgspec.msgpack.encode(parts))
    if kind is Digest:
        return msgspec.msgpack.Ext(DIGEST_CODE, value.sketch.serialize())
    if kind is hll_sketch:
        return msgspec.msgpack.Ext(HLL_CODE, value.serialize_compact())
    if kind is BoolKey:
        return msgspec.msgpack.Ext(KEY_CODE, bytes([value.value]))
    if kind is CelType:
        return msgspec.msgpack.Ext(TYPE_CODE, value.name.encode())
    raise StateError(
        f"state holds a {kind.__name__}, which cannot be stored; measure a value of JSON's or CEL's types"
    )


def _ext_hook(code: int, data: memoryview) -> Any:
    raw = bytes(data)
    if code in NUMBER_TYPES:
        return NUMBER_TYPES[code](int.from_bytes(raw, "little", signed=True))
    match code:
        case 1:
            return MISSING
        case 2:
            return int.from_bytes(raw, "little", signed=True)
        case 3:
            numerator, denominator = msgspec.msgpack.decode(raw)
            return Fraction(
                int.from_bytes(numerator, "little", signed=True),
                int.from_bytes(denominator, "little", signed=True),
            )
        case 4:
            return Digest(tdigest_double.deserialize(raw))
        case 5:
            return hll_sketch.deserialize(raw)
        case 6:
            return BoolKey(raw != b"\0")
        case 7:
            return CelType(raw.decode())
    raise StateError(
        f"stored state holds an extension of code {code}, unknown to version {VERSION}; use a newer FLO"
    )


_encode = msgspec.msgpack.Encoder(enc_hook=_hook).encode
_decode = msgspec.msgpack.Decoder(ext_hook=_ext_hook, strict=False).decode


def encode(windows: tuple[Window, ...], is_shared: bool, fingerprint: int, slots: Cell) -> bytes:
    """The slots as bytes. Constant work but for the copying of entries."""
    if is_shared:
        return _encode([VERSION, fingerprint, NEVER, None, *map(_panes_out, slots[2:])])
    newest, until = (slots[0], None) if slots[1] is None else slots[1]
    stored = [VERSION, fingerprint, newest, until]
    for window in windows:
        if window.over_ns is None:
            stored.append([_held_out(held) for held in slots[window.slot : window.end]])
        else:
            held = slots[window.slot]
            stored.append(_panes_out(held) if isinstance(held, Panes) else _entries_out(window, slots))
    return _encode(stored)


def decode(windows: tuple[Window, ...], is_shared: bool, fingerprint: int, data: bytes) -> Cell:
    """What `encode` was given, the running figures summed anew. StateError for bytes of another plan or version."""
    version, of_plan, newest, until, *stored = _decode(data)
    if version not in (1, VERSION):
        raise StateError(
            f"stored state is of version {version}, this FLO reads 1 and {VERSION}; use the FLO that wrote it"
        )
    if of_plan != fingerprint:
        raise StateError(
            "stored state belongs to other definitions; decode it with their plan, then migrate it"
        )
    if is_shared:
        return [NEVER, None, *(_panes_in(window, held) for window, held in zip(windows, stored, strict=True))]
    slots: Cell = [newest, None] if until is None else [SLOW, [newest, until]]
    for window, held in zip(windows, stored, strict=True):
        if window.over_ns is None:
            slots += held
            for figure in window.figures:
                if figure.role == "distinct" and figure.slot is not None:
                    slots[figure.slot] = _distinct_in(slots[figure.slot])
        elif isinstance(held, dict):
            slots += [_panes_in(window, held), *[None] * (window.end - window.slot - 1)]
        else:
            slots += [None] * (window.end - window.slot)
            entries = _entries_in(held) if version == VERSION else _entries_of_1(window, held)
            refill(window, slots, 0, entries, newest)
    return slots


def _entries_out(window: Window, slots: Cell) -> list[Any]:
    entries = slots[window.slot : window.start]
    if IS_BIG_ENDIAN:
        entries = [_swapped(values) for values in entries]
    return [values.tobytes() if type(values) is array else values for values in entries]


def _entries_in(held: list[Any]) -> Entries:
    """Times are an array always; what else is one holds doubles."""
    entries = [array("d" if at else "q", v) if type(v) is bytes else v for at, v in enumerate(held)]
    return [_swapped(values) for values in entries] if IS_BIG_ENDIAN else entries


def _swapped(values: Any) -> Any:
    if type(values) is array:
        values = values[:]
        values.byteswap()
    return values


def _entries_of_1(window: Window, held: list[Any]) -> Entries:
    stride = 1 + len(window.columns)
    return [array("q", held[::stride]), *(held[column.index :: stride] for column in window.columns)]


def _held_out(held: Any) -> Any:
    """A figure, in a form the encoder takes: what it does not by itself are integers beyond 64 bits. The same state gives
    the same bytes, so a set, whose order is the process's own, is put in order."""
    if type(held) is set:
        return sorted(held, key=repr)
    if type(held) is int and not -(2**63) <= held < 2**63:
        return msgspec.msgpack.Ext(INT_CODE, _bytes_of(held))
    return held


def _bytes_of(value: int) -> bytes:
    return value.to_bytes(value.bit_length() // 8 + 1, "little", signed=True)


def _panes_out(panes: Panes) -> dict[str, Any]:
    return {"newest": panes.newest, "fine": _ring_out(panes.fine), "coarse": _ring_out(panes.coarse)}


def _ring_out(ring: Ring) -> list[Any]:
    return [[index, *map(_held_out, pane)] for index, pane in ring.panes.items()]


def _panes_in(window: Window, stored: dict[str, Any]) -> Panes:
    panes = Panes(window)
    panes.newest = stored["newest"]
    for ring, held in ((panes.fine, stored["fine"]), (panes.coarse, stored["coarse"])):
        for index, *pane in held:
            ring.take(index, _pane_in(ring.figures, pane))
    return panes


def _pane_in(figures: tuple[Figure, ...], pane: Pane) -> Pane:
    for at, figure in enumerate(figures):
        if figure.role == "distinct":
            pane[at] = _distinct_in(pane[at])
        elif figure.role in ("last", "ewma"):
            pane[at] = tuple(pane[at])
    return pane


def _distinct_in(held: Any) -> Any:
    return set(held) if type(held) is list else held
