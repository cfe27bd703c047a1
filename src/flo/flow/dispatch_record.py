"""What dispatch learns of commands, on its way into the ledger."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace

from flo.core.command import Command
from flo.core.errors import StorageUnavailable
from flo.core.record.event import Answered, Attempted, CommandOutcome, DeadLetter
from flo.core.record.recordable import recordable_text, unrecordable
from flo.flow.delivery import Delivery, Step
from flo.ports.clock import Clock

DispatchEvent = Attempted | Answered | CommandOutcome | DeadLetter

Record = Callable[[Sequence[DispatchEvent]], Awaitable[None]]
"""Commits these events together, in the order of the calls; the awaitable is done once they are durable.

Raises `StorageUnavailable` where they could not be written; they are then given again until dispatch is
stopped."""

RETRY_NS = 1_000_000_000


class Recorder:
    """Makes the events of deliveries and hands them to `record`, until the disk has them."""

    def __init__(self, record: Record, clock: Clock, idle: Callable[[], None]) -> None:
        """`idle` is called whenever nothing is left to be recorded."""
        self._record = record
        self._clock = clock
        self._idle = idle
        self._recordings: dict[asyncio.Task[None], str | None] = {}  # and the command each is of

    def pending(self) -> list[asyncio.Task[None]]:
        return list(self._recordings)

    def commands(self) -> set[str | None]:
        """The keys of commands of which something is known here that the ledger does not hold yet."""
        return set(self._recordings.values())

    async def now(self, event: DispatchEvent) -> None:
        """Durable on return; `StorageUnavailable` where the disk refuses."""
        await self._record((event,))

    def later(self, *events: DispatchEvent) -> None:
        """Record without waiting, all of one command. What a stop cuts off is found again after the restart."""
        recording = asyncio.ensure_future(self._until_done(events))
        self._recordings[recording] = events[0].command_key
        recording.add_done_callback(self._done)

    async def _until_done(self, events: Sequence[DispatchEvent]) -> None:
        while True:
            try:
                await self._record(events)
                return
            except StorageUnavailable:
                await self._clock.sleep_until_ns(self._clock.now_ns() + RETRY_NS)

    def _done(self, recording: asyncio.Task[None]) -> None:
        self._recordings.pop(recording, None)
        if not recording.cancelled() and (error := recording.exception()) is not None:
            recording.get_loop().call_exception_handler(
                {"message": "what became of a command could not be recorded", "exception": error}
            )
        if not self._recordings:
            self._idle()

    def attempted(self, delivery: Delivery) -> Attempted:
        return Attempted(command_key=delivery.command.key, attempt=delivery.sends, at_ns=self._clock.now_ns())

    def answered(self, delivery: Delivery, step: Step) -> Answered:
        step = _as_recorded(step)
        return Answered(
            command_key=delivery.command.key,
            at_ns=self._clock.now_ns(),
            attempts=delivery.sends,
            reference=step.reference,
            result=step.result,
        )

    def outcome(self, delivery: Delivery, step: Step) -> CommandOutcome:
        step = _as_recorded(step)
        return CommandOutcome(
            command_key=delivery.command.key,
            outcome=step.outcome,
            at_ns=self._clock.now_ns(),
            attempts=delivery.sends,
            detail=step.detail,
            result=step.result,
            reference=step.reference,
        )

    def dead_letter(self, command: Command, step: Step) -> DeadLetter:
        return DeadLetter(
            loop=command.loop,
            reason=step.dead,
            detail=recordable_text(step.detail),
            at_ns=self._clock.now_ns(),
            command_key=command.key,
            decision_id=command.decision_id,
            key=command.loop_key,
            command=command,
        )


def _as_recorded(step: Step) -> Step:
    """The step with nothing in it that no record could hold: an engine may answer anything."""
    detail, result = recordable_text(step.detail), step.result
    why = None if result is None else unrecordable(result)
    if why is not None:
        result, said = None, f"its answer could not be recorded: {why}"
        detail = f"{detail}; {said}" if detail else said
    reference = None if step.reference is None else recordable_text(step.reference)
    return replace(step, detail=detail, result=result, reference=reference)
