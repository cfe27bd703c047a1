"""A clock that stands still until it is told to go on."""

from __future__ import annotations

import asyncio
import heapq

SIMULATION_START_NS = 1_767_225_600_000_000_000
"""2026-01-01T00:00:00Z: a fixed start makes a run's times, and so its bytes, the same every time."""

SETTLE_TURNS = 40
"""Turns of the event loop given to whoever wakes, before time goes on. A wake-up crosses about ten tasks and
futures between a queue, an engine and the ledger; those that need no time are through long before the
fortieth turn."""


class SimulatedClock:
    """Time as an input: `advance` moves it, waking each sleeper at exactly its time, in order of time, then
    of call.

    Between two sleepers the event loop turns `SETTLE_TURNS` times, so that what the first one started is done
    (or asleep in its turn) before the second wakes. The same program on the same seed thus runs the same way
    every time, as long as it waits for nothing but this clock.
    """

    def __init__(self, start_ns: int = SIMULATION_START_NS) -> None:
        self._now_ns = start_ns
        self._sleepers: list[tuple[int, int, asyncio.Future[None]]] = []
        self._count = 0

    def now_ns(self) -> int:
        return self._now_ns

    async def sleep_until_ns(self, when_ns: int) -> None:
        if when_ns <= self._now_ns:
            await asyncio.sleep(0)
            return
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._count += 1
        heapq.heappush(self._sleepers, (when_ns, self._count, future))
        await future

    def next_ns(self) -> int | None:
        """When the next sleeper wakes; None where nobody sleeps."""
        while self._sleepers and self._sleepers[0][2].done():
            heapq.heappop(self._sleepers)
        return self._sleepers[0][0] if self._sleepers else None

    async def settle(self) -> None:
        """Let everything that needs no time run."""
        for _ in range(SETTLE_TURNS):
            await asyncio.sleep(0)

    async def advance(self, duration_ns: int) -> None:
        """Move on by `duration_ns`, waking whoever sleeps until then on the way."""
        await self.advance_to(self._now_ns + duration_ns)

    async def advance_to(self, when_ns: int) -> None:
        if when_ns < self._now_ns:
            raise ValueError(f"time never goes back: it is {self._now_ns}, {when_ns} was asked for")
        await self.settle()
        while (next_ns := self.next_ns()) is not None and next_ns <= when_ns:
            self._now_ns = max(self._now_ns, next_ns)
            heapq.heappop(self._sleepers)[2].set_result(None)
            await self.settle()
        self._now_ns = when_ns
