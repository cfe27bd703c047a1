"""What the runtime and its workers say to each other: length-prefixed msgpack frames over a socket pair.

Every request has a number and gets one answer with it; a worker also tells of durable groups unasked. Both sides are
the same program of the same version, started by one of them, so the frames carry no version.
"""

from __future__ import annotations

import asyncio
import struct
from collections.abc import Sequence
from typing import Any

import msgspec

from flo.core.errors import FloError, Overloaded, StorageUnavailable
from flo.core.record import Answered, Attempted, CommandOutcome, DeadLetter
from flo.flow.digest import Digest
from flo.ports.service import Receipt
from flo.runtimes.embedded.orders import Order

FRAME_BYTES_MAX = 1 << 30
_HEAD = struct.Struct("<I")


class Offer(msgspec.Struct, array_like=True, tag=0):
    """To a worker: decide these signals. `raws`: lines, or a list where some signal is not one line.

    `slot`: where the lines are in shared memory, as (slot, bytes); `raws` is empty then.
    """

    number: int
    raws: bytes | list[bytes]
    slot: tuple[int, int] | None
    needs: dict[int, dict[str, dict[str, Any]]]
    only: dict[int, list[str]]
    detailed: bool


class Learn(msgspec.Struct, array_like=True, tag=1):
    """To a worker: what engines said of its commands."""

    number: int
    events: list[Attempted | Answered | CommandOutcome | DeadLetter]


class Apply(msgspec.Struct, array_like=True, tag=2):
    """To a worker: put this revision in force."""

    number: int
    revision: str
    by: str


class Kill(msgspec.Struct, array_like=True, tag=3):
    """To a worker: end open iterations."""

    number: int
    loop: str
    key: str | None
    note: str


class Ask(msgspec.Struct, array_like=True, tag=4):
    """`what`: figures | settle | snapshot."""

    number: int
    what: str


class Shared(msgspec.Struct, array_like=True, tag=5):
    """The other workers' shared state, by loop: not answered."""

    states: dict[str, list[bytes]]


class Stop(msgspec.Struct, array_like=True, tag=6):
    """To a worker: commit what was taken, checkpoint, end."""

    number: int


class Steer(msgspec.Struct, array_like=True, tag=7):
    """To a worker: carry out an order."""

    number: int
    order: Order


class Models(msgspec.Struct, array_like=True, tag=8):
    """Versions of models in use, and when they were made: not answered."""

    written: dict[str, int]


Request = Offer | Learn | Apply | Kill | Ask | Shared | Stop | Steer | Models


class Receipts(msgspec.Struct, array_like=True, tag=0):
    """`same` stands for that many plain `accepted`: what nearly every batch gets."""

    number: int
    same: int
    receipts: list[Receipt]


class Result(msgspec.Struct, array_like=True, tag=1):
    """From a worker: the answer to a request of this number."""

    number: int
    value: Any


class Failure(msgspec.Struct, array_like=True, tag=2):
    """A request that failed: the kind of error, its words, and how long to wait."""

    number: int
    kind: str
    message: str
    retry_after_s: float


class Durable(msgspec.Struct, array_like=True, tag=3):
    """From a worker: groups that are durable now."""

    digests: list[Digest]


class Ready(msgspec.Struct, array_like=True, tag=4):
    """The first frame: the shard is recovered. `snapshot` is what is open in it."""

    revision: str
    snapshot: bytes


class State(msgspec.Struct, array_like=True, tag=5):
    """What the worker tells unasked, four times a second: why it cannot take signals (empty: it can), and its shared
    state where that has changed."""

    problem: str
    shared: dict[str, bytes]


Reply = Receipts | Result | Failure | Durable | Ready | State


def joined(raws: Sequence[bytes]) -> bytes | None:
    """Signals as lines; None where some signal is not one line."""
    lines = b"\n".join(raws)
    return lines if raws and lines.count(b"\n") == len(raws) - 1 else None


_encode = msgspec.msgpack.Encoder().encode
decode_request = msgspec.msgpack.Decoder(Request).decode
decode_reply = msgspec.msgpack.Decoder(Reply).decode


def write_frame(writer: asyncio.StreamWriter, message: Request | Reply) -> None:
    body = _encode(message)
    writer.write(_HEAD.pack(len(body)))
    writer.write(body)


async def read_frame(reader: asyncio.StreamReader) -> bytes:
    """The next frame's bytes; `IncompleteReadError` when the other side is gone."""
    (size,) = _HEAD.unpack(await reader.readexactly(_HEAD.size))
    if size > FRAME_BYTES_MAX:
        raise AssertionError(f"a frame of {size} bytes: the two sides do not speak the same language")
    return await reader.readexactly(size)


def failure_of(number: int, error: BaseException) -> Failure:
    retry_after_s = error.retry_after_s if isinstance(error, Overloaded | StorageUnavailable) else 0.0
    kind = type(error).__name__ if isinstance(error, Overloaded | StorageUnavailable) else "error"
    return Failure(number, kind, str(error) or type(error).__name__, retry_after_s)


def error_of(failure: Failure) -> FloError:
    if failure.kind == "Overloaded":
        return Overloaded(failure.message, failure.retry_after_s)
    if failure.kind == "StorageUnavailable":
        return StorageUnavailable(failure.message, failure.retry_after_s)
    return FloError(failure.message)
