"""The real clock: the wall clock once, the monotonic clock from then on."""

from __future__ import annotations

import asyncio
import time

NS_PER_S = 1_000_000_000

SLEEP_S_MAX = 3_600.0
"""Longest single wait: event loops keep timers as floats of seconds, and a year-long one has lost its
milliseconds.
"""


class SteadyClock:
    """FLO's time in a running process; see `flo.ports.clock.Clock` for the promise.

    The wall clock is read once, here; whoever sets it afterwards changes nothing until the next start.
    `ledger_ns` is the last time the ledger has seen: a start with the wall clock set back goes on from there,
    so that time never runs backwards in the ledger. While a machine is suspended the clock stands still, and
    timers wait the longer.
    """

    def __init__(self, ledger_ns: int = 0) -> None:
        self._offset_ns = max(time.time_ns(), ledger_ns) - time.monotonic_ns()

    def now_ns(self) -> int:
        return self._offset_ns + time.monotonic_ns()

    async def sleep_until_ns(self, when_ns: int) -> None:
        """Return at `when_ns` or just after it, never before; at once where it has passed."""
        while (left_ns := when_ns - self.now_ns()) > 0:  # noqa: ASYNC110 (nothing but time is waited for)
            await asyncio.sleep(min(left_ns / NS_PER_S, SLEEP_S_MAX))
