"""The built-in engine `flo`: `emit` puts a new signal into FLO. This is what closes loops.

Class: honours the key. The signal's id is the command's key, so an emit repeated after a crash is a duplicate.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any, ClassVar

from flo.core.command import Command
from flo.core.context import extensions
from flo.core.errors import SignalRejected, UnavailableError
from flo.core.signal import encode_signal, time_from_text
from flo.ports.engine import Answer, EngineRejected, EngineUnavailable, KeyClass, OutcomeSink, Status
from flo.ports.service import Receipt

Ingest = Callable[[Sequence[bytes]], Awaitable[list[Receipt]]]

ARGUMENTS = ("type", "data", "source", "id", "time", "subject")


class EmitEngine:
    """Emits into the FLO it belongs to; waits until the signal is durable."""

    kind: ClassVar[str] = "flo"
    verbs: ClassVar[frozenset[str]] = frozenset({"emit", "review"})
    settings: ClassVar[Mapping[str, Any]] = {}
    key_class = KeyClass.HONOURS_KEY

    def __init__(self, ingest: Ingest) -> None:
        self._ingest = ingest

    async def start(self, outcome: OutcomeSink) -> None:
        """Nothing to start."""

    async def send(self, command: Command, *, timeout_s: float) -> Answer:
        if command.verb not in self.verbs:
            raise EngineRejected(
                f"FLO itself knows no `{command.verb}`; it knows {', '.join(sorted(self.verbs))}"
            )
        raw = signal_of(command)
        try:
            (receipt,) = await self._ingest([raw])
        except UnavailableError as error:
            raise EngineUnavailable(str(error), error.retry_after_s, reached=False) from None
        if receipt.status == "rejected":
            raise EngineRejected(f"the emitted signal was refused: {receipt.reason}: {receipt.detail}")
        return Answer(status=Status.SUCCEEDED, detail=receipt.status)

    async def ask(self, command: Command, *, timeout_s: float) -> Answer:
        raise EngineRejected("an emit is done when it is sent: there is nothing to ask")

    async def close(self) -> None:
        """Nothing to free."""


def signal_of(command: Command) -> bytes:
    """The signal a command emits; `EngineRejected` names what is missing or too much in its arguments."""
    arguments = command.arguments
    unknown = [name for name in arguments if name not in ARGUMENTS]
    if unknown:
        raise EngineRejected(
            f"emit does not know {', '.join(sorted(unknown))}: it takes {', '.join(ARGUMENTS)}"
        )
    type = arguments.get("type")
    if not isinstance(type, str) or not type:
        raise EngineRejected("emit needs `type`, the type of the new signal")
    try:
        time = arguments.get("time")
        time_ns = command.issued_ns if time is None else time_from_text(str(time))
        return encode_signal(
            id=str(arguments.get("id") or command.key),
            source=str(arguments.get("source") or f"flo/{command.loop}"),
            type=type,
            time_ns=time_ns,
            data=arguments.get("data"),
            extensions=extensions(command),
        )
    except (SignalRejected, TypeError, ValueError) as error:
        raise EngineRejected(f"emit: {error}") from None
