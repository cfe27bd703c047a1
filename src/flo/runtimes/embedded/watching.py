"""Watchdogs in a running FLO: their tick, their findings offered as signals, their snapshot."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterable, Sequence

from flo.core.errors import Overloaded, StorageUnavailable
from flo.flow.fetch import Fetcher
from flo.flow.reload import LoadedBundle
from flo.flow.watchdogs.watch import Watch
from flo.ports.clock import Clock
from flo.ports.service import Receipt
from flo.stores.watchdog_file import WatchdogFile

log = logging.getLogger("flo.watchdogs")

TICK_S = 1.0
SNAPSHOT_NS = 60_000_000_000

Offer = Callable[[Sequence[bytes]], Awaitable[list[Receipt]]]


class Watching:
    """Owns the watch. Without a file (a simulation) nothing outlives it, and whoever drives it calls `tick`."""

    def __init__(
        self,
        watch: Watch,
        clock: Clock,
        offer: Offer,
        file: WatchdogFile | None,
        fetcher: Callable[[], Fetcher | None],
        shared_age_s: Callable[[], float],
        paused_loops: Callable[[], Iterable[str]],
    ) -> None:
        self.watch = watch
        self._clock = clock
        self._offer = offer
        self._file = file
        self._fetcher = fetcher
        self._shared_age_s = shared_age_s
        self._paused_loops = paused_loops
        self._task: asyncio.Task[None] | None = None
        self._saved_ns = clock.now_ns()

    def turn_to(self, bundle: LoadedBundle) -> None:
        """Watch another bundle; the first one starts the tick."""
        first = self._task is None
        self.watch.turn_to(bundle.definition)
        if first and self._file is not None:
            snapshot = self._file.read()
            if snapshot is not None:
                self.watch.restore(snapshot, self._clock.now_ns())
                self.watch.turn_to(bundle.definition)  # what it remembers of loops that are gone, goes
            self._task = asyncio.create_task(self._run())

    async def _run(self) -> None:
        while True:
            await asyncio.sleep(TICK_S)
            try:
                await self.tick()
            except Exception:  # a watchdog's defect must not end the others' watch, nor FLO
                log.exception("a watchdog failed")

    async def tick(self) -> None:
        """Look around, offer what was found, save it now and then."""
        now_ns = self._clock.now_ns()
        fetcher = self._fetcher()
        if self.watch.is_look_due(now_ns):
            stats = {} if fetcher is None else fetcher.stats()
            self.watch.look(stats, self._shared_age_s(), now_ns)
        self.watch.quiet.excused = frozenset(self._paused_loops())
        self.watch.check(now_ns)
        signals = self.watch.due(now_ns)
        if signals:
            try:
                await self._offer(signals)
            except (Overloaded, StorageUnavailable) as error:
                self.watch.put_back()
                log.warning("%d findings could not be recorded yet: %s", len(signals), error)
        if self._file is not None and now_ns - self._saved_ns >= SNAPSHOT_NS:
            self._saved_ns = now_ns
            snapshot = self.watch.snapshot()
            await asyncio.to_thread(self._file.write, snapshot)

    async def rest(self) -> None:
        """No more ticks: nothing may be offered to shards that close. What was observed goes into the ledger before."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
            await self._record_observed()
            if self._file is not None:
                await asyncio.to_thread(self._file.write, self.watch.snapshot())

    async def _record_observed(self) -> None:
        signals = self.watch.observer.due(self._clock.now_ns(), at_once=True)
        if signals:
            try:
                await self._offer(signals)
            except (Overloaded, StorageUnavailable) as error:
                log.warning("the edges observed in the last minute could not be recorded: %s", error)
