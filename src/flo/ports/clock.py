"""The seam to time."""

from __future__ import annotations

from typing import Protocol


class Clock(Protocol):
    """FLO's time, in nanoseconds since the epoch, UTC. It never goes back and never jumps.

    A step of the wall clock, in either direction, neither fires nor freezes a timer; after a restart with the wall
    clock set back, time goes on from the last time the ledger has seen.
    """

    def now_ns(self) -> int: ...

    async def sleep_until_ns(self, when_ns: int) -> None: ...
