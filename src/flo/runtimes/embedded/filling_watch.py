"""Watches whether dead letters come faster than they leave, by FLO's clock, for as long as any come."""

from __future__ import annotations

import asyncio

from flo.core.record import DeadLetter, DeadLetterDropped, Event
from flo.flow.watchdogs.board import Board
from flo.flow.watchdogs.filling import FILLING, DeadLetterRates
from flo.ports.clock import Clock

LOOK_EVERY_NS = 60_000_000_000


class FillingWatch:
    """Used on the event loop. Where no dead letter came for some minutes nothing runs."""

    def __init__(self, board: Board, clock: Clock) -> None:
        self._board = board
        self._clock = clock
        self._rates = DeadLetterRates()
        self._looking: asyncio.Task[None] | None = None

    def observe(self, event: Event) -> None:
        if isinstance(event, DeadLetter):
            self._rates.came(event.loop, event.at_ns)
            if self._looking is None or self._looking.done():
                self._looking = asyncio.ensure_future(self._look())
        elif isinstance(event, DeadLetterDropped) and event.how != "expired":  # nobody saw to those
            self._rates.left(event.loop, event.at_ns)

    async def _look(self) -> None:
        while self._rates.is_watching:
            await self._clock.sleep_until_ns(self._clock.now_ns() + LOOK_EVERY_NS)
            found, over = self._rates.look(self._clock.now_ns())
            for finding in found:
                self._board.report(finding)
            for loop in over:
                self._board.clear(FILLING, loop)

    async def stop(self) -> None:
        """Nothing is looked at any more."""
        if self._looking is not None:
            self._looking.cancel()
            await asyncio.gather(self._looking, return_exceptions=True)
