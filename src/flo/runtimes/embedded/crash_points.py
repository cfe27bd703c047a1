"""Named places where FLO can be told to die, so that anyone can try what a crash there does.

`FLO_CRASH_AT=durable:3` kills the process (SIGKILL: no handler, no flush) the third time it gets to `durable`. The
variable is read once, when a shard is opened; without it every place is a call that does nothing.

    taken        signals are in the queue, nothing is decided
    decided      a group is decided, nothing of it is written
    appended     it is encoded and waits in memory for the write
    durable      it is synced, nobody has been answered
    answered     its senders have their answers, nothing is dispatched
    sending      a command is about to leave for its engine (after its `Attempted` where that must be durable)
    sent         the engine has answered, the answer is not recorded
    learned      an outcome is durable
    checkpoint   a checkpoint is written and not yet published
"""

from __future__ import annotations

import functools
import os
import signal
import threading
from collections.abc import Callable, Mapping
from typing import Any, ClassVar

from flo.core.command import Command
from flo.core.errors import UsageError
from flo.ports.engine import Answer, Engine, KeyClass

VARIABLE = "FLO_CRASH_AT"

PLACES = (
    "taken",
    "decided",
    "appended",
    "durable",
    "answered",
    "sending",
    "sent",
    "learned",
    "checkpoint",
)

Reached = Callable[[str], None]


@functools.cache
def crash_points() -> Reached:
    """What this process calls at each place. `UsageError` names a place that does not exist."""
    return read_crash_points(os.environ)


def read_crash_points(environ: Mapping[str, str]) -> Reached:
    text = environ.get(VARIABLE)
    return pass_by if not text else _Crash(text).reached


def watched(engine: Engine, reached: Reached) -> Engine:
    """The engine, reaching its places where somebody watches them; the engine itself where nobody does."""
    return engine if reached is pass_by else _WatchedEngine(engine, reached)


def pass_by(place: str) -> None:
    """Nothing was asked for."""


class _WatchedEngine:
    """An engine that says when a command leaves and when its answer is back."""

    kind: ClassVar[str] = "watched"
    verbs: ClassVar[frozenset[str]] = frozenset()
    settings: ClassVar[Mapping[str, Any]] = {}

    def __init__(self, engine: Engine, reached: Reached) -> None:
        self.start, self.ask, self.close = engine.start, engine.ask, engine.close
        self._engine = engine
        self._reached = reached

    @property
    def key_class(self) -> KeyClass:
        return self._engine.key_class

    async def send(self, command: Command, *, timeout_s: float) -> Answer:
        self._reached("sending")
        answer = await self._engine.send(command, timeout_s=timeout_s)
        self._reached("sent")
        return answer


class _Crash:
    def __init__(self, text: str) -> None:
        self._place, _, count = text.partition(":")
        if self._place not in PLACES or not (count.isdecimal() and int(count)):
            raise UsageError(
                f"{VARIABLE}={text[:60]}: it is PLACE:N, N from 1, PLACE one of {', '.join(PLACES)}"
            )
        self._left = int(count)
        self._lock = threading.Lock()  # places are reached on the event loop and on the commit thread

    def reached(self, place: str) -> None:
        if place != self._place:
            return
        with self._lock:
            self._left -= 1
            if not self._left:
                os.kill(os.getpid(), signal.SIGKILL)
