"""What was taken and is not durable yet, and how much of that there may be."""

from __future__ import annotations

import asyncio

from flo.core.errors import Overloaded

QUEUED_SIGNALS_MAX = 20_000
"""Taken and not yet durable. At 50,000 signals a second these are 0.4 s of work: the most a caller may wait."""

QUEUED_BYTES_MAX = 128 << 20
"""The same in memory: a flood of signals of 1 MiB each is refused long before it fills a machine."""


OPEN_COMMANDS_MAX = 200_000
"""Commands whose end is not known, all engines together: about 300 MB. Beyond, taking signals would only add debts."""


class Backlog:
    """Used on one event loop. Where nothing waits, whatever comes is taken, however large."""

    def __init__(self) -> None:
        self.signals = 0
        self._bytes = 0
        self._idle = asyncio.Event()

    def check(self, count: int, size_bytes: int, open_commands: int) -> None:
        """`Overloaded` where so much more may not wait, or too many commands do."""
        if self.signals and self.signals + count > QUEUED_SIGNALS_MAX:
            raise Overloaded(
                f"{self.signals} signals wait to be recorded, {QUEUED_SIGNALS_MAX} may; nothing was taken",
                0.2,
            )
        if self.signals and self._bytes + size_bytes > QUEUED_BYTES_MAX:
            raise Overloaded(
                f"{self._bytes} bytes of signals wait to be recorded, {QUEUED_BYTES_MAX} may; nothing was taken",
                0.2,
            )
        if open_commands > OPEN_COMMANDS_MAX:
            raise Overloaded(
                f"{open_commands} commands wait for their engines, {OPEN_COMMANDS_MAX} may; nothing was taken. "
                "See which engine is behind with `flo loops`",
                1.0,
            )

    def add(self, count: int, size_bytes: int) -> None:
        self.signals += count
        self._bytes += size_bytes

    def answered(self, count: int, size_bytes: int) -> None:
        """So much is durable now, or was refused."""
        self.signals -= count
        self._bytes -= size_bytes
        if not self.signals:
            self._idle.set()

    async def empty(self) -> None:
        """Wait until nothing waits."""
        while self.signals:
            self._idle.clear()
            await self._idle.wait()
