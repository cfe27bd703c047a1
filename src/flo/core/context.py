"""The context: what travels with a signal round the loops, and the rule by which it dies.

It rides on the CloudEvents extension attributes `floroot`, `floparent`, `floborn`, `flodeadline`, `flohops`, `floseq`.
A signal without `floroot` opens a new context, named by the signal's own identity, born when FLO took it in: so a
backlog of old events is not dead on arrival, while whatever those events cause is bounded from now on.
"""

from __future__ import annotations

import msgspec

from flo.core.command import Command
from flo.core.errors import SignalRejected
from flo.core.signal import Envelope, text_from_time, time_from_text

HOPS_MAX = 1_000_000
"""A `flohops` above this is nonsense, not a long way."""


class Context(msgspec.Struct, frozen=True, gc=False, array_like=True):
    """Root id, where it came from, when it was born, when it dies, and how far it has come."""

    root: str
    parent: str | None
    born_ns: int
    deadline_ns: int | None
    hops: int
    seq: int | None = None


def context_of(event: Envelope, now_ns: int) -> Context | None:
    """The context an event carries, or None where it opens a new one and has no parent either.

    Raises `SignalRejected` for attributes that are not what they should be.
    """
    if event.floroot is None and event.floparent is None:
        return None
    if event.floroot is None:
        return Context(root_id(event), event.floparent, now_ns, None, 0)
    return Context(
        root=event.floroot,
        parent=event.floparent,
        born_ns=_time("floborn", event.floborn, now_ns),
        deadline_ns=None if event.flodeadline is None else _time("flodeadline", event.flodeadline, now_ns),
        hops=_count("flohops", event.flohops),
        seq=None if event.floseq is None else _count("floseq", event.floseq),
    )


def root_id(event: Envelope) -> str:
    """The name of the context a signal opens: its identity, so that every loop and every shard names it alike."""
    return f"{event.source}#{event.id}"


def extensions(command: Command) -> dict[str, str | int]:
    """The attributes of a signal that a command causes. A new root keeps the parent link, and nothing else."""
    if command.root_new:
        return {"floparent": command.decision_id}
    return {
        "floroot": command.root,
        "floparent": command.decision_id,
        "floborn": text_from_time(command.born_ns),
        "flodeadline": text_from_time(command.deadline_ns),
        "flohops": command.hops + 1,
        "floseq": command.seq,
    }


def _time(name: str, value: str | int | None, default_ns: int) -> int:
    if value is None:
        return default_ns
    if not isinstance(value, str) or not value:
        raise SignalRejected("context", f"{name} is {value!r}, an RFC 3339 time is expected")
    try:
        return time_from_text(value)
    except SignalRejected:
        raise SignalRejected("context", f'{name} "{value[:40]}" is not an RFC 3339 time') from None


def _count(name: str, value: str | int | None) -> int:
    if value is None:
        return 0
    text = str(value)
    if not (text.isascii() and text.isdecimal() and len(text) <= 18) or (
        int(text) > HOPS_MAX and name == "flohops"
    ):
        raise SignalRejected("context", f'{name} is "{text[:40]}", a whole number from 0 is expected')
    return int(text)
