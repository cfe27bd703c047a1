"""One call at the earliest of the times that were asked for."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from flo.ports.clock import Clock


class Alarm:
    """Used on one event loop. It rings once; whoever wants more sets it again."""

    def __init__(self, clock: Clock, ring: Callable[[], None]) -> None:
        self._clock = clock
        self._ring = ring
        self._task: asyncio.Task[None] | None = None
        self._due_ns = 0

    def set(self, due_ns: int | None) -> None:
        """Ring then at the latest; None asks for nothing."""
        if due_ns is None or (self._task is not None and self._due_ns <= due_ns):
            return
        self.cancel()
        self._due_ns = due_ns
        self._task = asyncio.get_running_loop().create_task(self._ring_at(due_ns))

    def cancel(self) -> None:
        if self._task is not None:
            self._task.cancel()
            self._task = None

    async def _ring_at(self, due_ns: int) -> None:
        await self._clock.sleep_until_ns(due_ns)
        self._task = None
        self._ring()
