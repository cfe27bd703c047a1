"""Findings become signals: offered like any other, until they are taken."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

from flo.core.errors import UnavailableError
from flo.core.finding import Finding, signal_of
from flo.ports.clock import Clock


class Raiser:
    """Call it with what was found, on the event loop. As many wait at most as findings hold on the board."""

    def __init__(self, offer: Callable[[Sequence[bytes]], Awaitable[Any]], clock: Clock) -> None:
        self._offer = offer
        self._clock = clock
        self._waiting: set[asyncio.Task[None]] = set()

    def __call__(self, finding: Finding) -> None:
        task = asyncio.ensure_future(self._until_taken(signal_of(finding)))
        self._waiting.add(task)
        task.add_done_callback(self._waiting.discard)

    async def _until_taken(self, raw: bytes) -> None:
        while True:
            try:
                await self._offer([raw])
                return
            except UnavailableError as error:
                await self._clock.sleep_until_ns(self._clock.now_ns() + int(error.retry_after_s * 1e9))

    async def stop(self) -> None:
        """What was not taken is raised again at the next start, where it still holds."""
        for task in list(self._waiting):
            task.cancel()
        await asyncio.gather(*self._waiting, return_exceptions=True)
