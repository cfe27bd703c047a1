"""Pipelines over all shards: pausing and resuming them, and the drains that decide what was parked.

Each shard pauses by itself (in the group that holds the fifth dead letter); the others are told at once. A drain runs for
each shard beside what comes in, a batch at a time; after a crash it goes on from the place the ledger has.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Coroutine, Mapping, Sequence
from typing import Any

from flo.core.errors import FloError, UnavailableError
from flo.core.finding import Finding
from flo.core.loop.definition import PipelineDefinition
from flo.core.record import Event, PipelinePaused, PipelineResumed, PipelineRunning
from flo.core.signal import text_from_time
from flo.flow.pauses import Pause as Paused
from flo.flow.recorded import parked_batches
from flo.flow.redecide import Parked, Recorded
from flo.flow.watchdogs.board import Board
from flo.ports.clock import Clock
from flo.runtimes.embedded.batches import Needs
from flo.runtimes.embedded.filling_watch import FillingWatch
from flo.runtimes.embedded.orders import Drain, Pause, Resume
from flo.runtimes.embedded.reading import not_found
from flo.runtimes.embedded.shard_port import ShardPort

log = logging.getLogger("flo.pipelines")

BREAKER_OPENED = "flo.breaker.opened"
RETRY_NS = 1_000_000_000
STANDS_STILL_NS = 60_000_000_000
"""Between two tries of a drain that failed in a way that time alone seldom mends; what is parked stays parked."""

FetchNeeds = Callable[[Sequence[bytes]], Awaitable[Needs]]


class PipelineControl:
    """Used on the runtime's event loop."""

    def __init__(
        self, ports: Sequence[ShardPort], clock: Clock, fetch_needs: FetchNeeds, board: Board
    ) -> None:
        self._ports = ports
        self._clock = clock
        self._fetch_needs = fetch_needs
        self._board = board
        self._filling = FillingWatch(board, clock)
        self._definitions: Mapping[str, PipelineDefinition] = {}
        self._drains: dict[tuple[int, str], asyncio.Task[None]] = {}
        self._spreading: set[asyncio.Task[None]] = set()

    def turn_to(self, definitions: Mapping[str, PipelineDefinition]) -> None:
        """The pipelines of the bundle in force. The first time: go on with what was under way when FLO last ended."""
        first, self._definitions = not self._definitions, definitions
        if first or any(port.reconciler.pauses for port in self._ports):
            for port in self._ports:
                self.take_up(port)

    def take_up(self, port: ShardPort) -> None:
        """A shard is here, for the first time or again: it pauses what the others have paused, and its drains go on."""
        for held in [held for other in self._ports for held in other.reconciler.pauses]:
            if held.by == "breaker":
                self._report(held.pipeline, held.loop, held.reason, held.at_ns, held.incident)
            here = port.reconciler.pauses.get(held.pipeline)
            if here is None and not held.is_draining:
                self._start(self._spread(port, held.pipeline, held.by, held.reason, held.incident))
            elif here is not None and here.is_draining:
                self._drain(port, held.pipeline)

    # -- people -------------------------------------------------------------------------------------------

    async def pause(self, name: str, note: str) -> dict[str, Any]:
        """Pause in every shard; the first of them tells the engines."""
        self._check(name)
        incident = 1 + max(port.reconciler.pauses.incident(name) for port in self._ports)
        changed = [
            await port.steer(Pause(name, "operator", note, incident, tell=port is self._ports[0]))
            for port in self._ports
        ]
        return {**self.row(name), "changed": any(changed)}

    async def resume(self, name: str, note: str) -> dict[str, Any]:
        """Begin to decide what every shard has parked."""
        self._check(name)
        changed = [
            await port.steer(Resume(name, note, "operator", tell=port is self._ports[0]))
            for port in self._ports
        ]
        return {**self.row(name), "changed": any(changed)}

    def _check(self, name: str) -> None:
        names = self._names()
        if name not in names:
            raise not_found("pipeline", name, names)

    def _names(self) -> set[str]:
        """Of the bundle's pipelines, and of those that a bundle before this one had and left paused."""
        return {
            *self._definitions,
            *(held.pipeline for port in self._ports for held in port.reconciler.pauses),
        }

    # -- views --------------------------------------------------------------------------------------------

    def rows(self) -> list[dict[str, Any]]:
        """Every pipeline, the paused ones first, those with most parked before the others."""
        rows = [self.row(name) for name in self._names()]
        return sorted(rows, key=lambda row: (row["status"] == "running", -row["parked"], row["name"]))

    def row(self, name: str) -> dict[str, Any]:
        held = [pause for port in self._ports if (pause := port.reconciler.pauses.get(name)) is not None]
        return pipeline_row(name, self._definitions.get(name), held)

    def paused_loops(self) -> dict[str, dict[str, Any]]:
        """Loop -> the row of the pipeline it is paused with."""
        loops = {name: each.loops for name, each in self._definitions.items()}
        found = {
            loop: pipeline
            for port in self._ports
            if len(port.reconciler.pauses)
            for loop, pipeline in port.reconciler.pauses.loops(loops).items()
        }
        return {loop: self.row(pipeline) for loop, pipeline in found.items()}

    # -- what becomes durable -----------------------------------------------------------------------------

    def observe(self, event: Event, shard: int) -> None:
        """A pause of one shard goes to the others at once; a resumed pipeline is drained."""
        self._filling.observe(event)
        if isinstance(event, PipelinePaused) and event.by == "breaker":
            self._report(event.pipeline, event.loop, event.reason, event.at_ns, event.incident)
            for port in self._ports:
                here = port.reconciler.pauses.get(event.pipeline)
                if port.number != shard and (here is None or here.is_draining):
                    self._start(self._spread(port, event.pipeline, event.by, event.reason, event.incident))
        elif isinstance(event, PipelineResumed):
            self._board.clear(BREAKER_OPENED, event.pipeline)
            self._drain(self._ports[shard], event.pipeline)
        elif isinstance(event, PipelineRunning):
            log.info("pipeline %s runs again: %d parked signals were decided", event.pipeline, event.decided)

    def _report(self, pipeline: str, loop: str | None, reason: str, at_ns: int, incident: int) -> None:
        if not self._board.holds(BREAKER_OPENED, pipeline):
            self._board.report(
                Finding(
                    type=BREAKER_OPENED,
                    subject=pipeline,
                    detail=reason,
                    at_ns=at_ns,
                    loop=loop,
                    pipeline=pipeline,
                    figures={"incident": incident},
                )
            )

    async def _spread(self, port: ShardPort, pipeline: str, by: str, reason: str, incident: int) -> None:
        try:
            await port.steer(Pause(pipeline, by, reason, incident, tell=False))
        except UnavailableError as error:  # it is told when it is back: see `take_up`
            log.warning("shard %d could not pause pipeline %s: %s", port.number, pipeline, error)

    def _start(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.ensure_future(work)
        self._spreading.add(task)
        task.add_done_callback(self._spreading.discard)

    # -- drains -------------------------------------------------------------------------------------------

    def _drain(self, port: ShardPort, pipeline: str) -> None:
        under_way = self._drains.get((port.number, pipeline))
        if under_way is None or under_way.done():
            self._drains[port.number, pipeline] = asyncio.ensure_future(self._drain_all(port, pipeline))

    async def _drain_all(self, port: ShardPort, pipeline: str) -> None:
        while True:
            try:
                while (held := port.reconciler.pauses.get(pipeline)) is not None and held.is_draining:
                    await self._drain_durable(port, held)
                return
            except UnavailableError as error:
                log.warning("shard %d: the drain of %s waits: %s", port.number, pipeline, error)
                await self._clock.sleep_until_ns(self._clock.now_ns() + RETRY_NS)
            except FloError:
                log.exception("shard %d: the drain of %s stands still", port.number, pipeline)
                await self._clock.sleep_until_ns(self._clock.now_ns() + STANDS_STILL_NS)

    async def _drain_durable(self, port: ShardPort, held: Paused) -> None:
        """Decide what of the parked signals can be read now, the next batch being read meanwhile."""
        place = (held.block, held.row)
        batches = parked_batches(port.view, held.pipeline, place)
        reading = asyncio.ensure_future(asyncio.to_thread(next, batches, None))
        read = 0
        try:
            while (batch := await reading) is not None:
                reading = asyncio.ensure_future(asyncio.to_thread(next, batches, None))
                read += 1
                await self._with_needs(batch.signals)
                if await port.steer(Drain(batch)) < len(batch.signals):
                    return
        finally:
            reading.cancel()
            await asyncio.gather(reading, return_exceptions=True)
        if not read:  # what is parked is not durable yet: wait until all that was decided by now is
            await port.steer(Drain(Parked(held.pipeline, place, [], place)))

    async def _with_needs(self, signals: Sequence[Recorded]) -> None:
        """What their loops read from dependencies is fetched now, when they are decided."""
        needs = await self._fetch_needs([signal.raw for signal in signals])
        for row, by_loop in needs.items():
            signals[row].needs = {loop: dict(need) for loop, need in by_loop.items()}

    async def stop(self) -> None:
        """Drains end with the batch under way; they go on at the next start."""
        await self._filling.stop()
        tasks = [*self._drains.values(), *self._spreading]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


def pipeline_row(name: str, definition: PipelineDefinition | None, held: Sequence[Paused]) -> dict[str, Any]:
    """A pipeline as the API shows it. `held`: its pauses, one for each shard that is paused."""
    first = min(held, key=lambda pause: pause.at_ns, default=None)
    waiting: dict[str, int] = {}
    for pause in held:
        for loop, count in pause.waiting.items():
            waiting[loop] = waiting.get(loop, 0) + count
    draining = bool(held) and all(pause.is_draining for pause in held)
    loops = definition.loops if definition is not None else first.loops if first is not None else ()
    jobs = () if definition is None else definition.jobs
    pausable = frozenset() if definition is None else definition.pausable
    return {
        "name": name,
        "status": "running" if first is None else "draining" if draining else "paused",
        "loops": list(loops),
        "jobs": [job for job in jobs if job in pausable],
        "jobs_that_cannot_pause": [job for job in jobs if job not in pausable],
        "on_call": None if definition is None else definition.on_call,
        "paused_since": None if first is None else text_from_time(first.at_ns),
        "paused_by": None if first is None else first.by,
        "why": None if first is None else first.reason,
        "note": next((pause.note for pause in held if pause.note is not None), None),
        "parked": sum(waiting.values()),
        "parked_by_loop": waiting,
        "decided_since_resumed": sum(pause.decided for pause in held if pause.is_draining),
    }
