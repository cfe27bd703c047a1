"""The health of the loops in force: a line for each, the page of one, and the figures for Prometheus."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from flo.core.loop.program import LoopProgram
from flo.flow.digest import Digest
from flo.flow.fetch import FetchStats
from flo.flow.lane import LaneStats
from flo.flow.open_work import OpenIteration
from flo.flow.reload import LoadedBundle
from flo.ports.clock import Clock
from flo.runtimes.embedded.engine_room import EngineRoom
from flo.runtimes.embedded.figures import Figures, needing_a_person_first
from flo.runtimes.embedded.loop_page import loop_page
from flo.runtimes.embedded.outward_metrics import OutwardMetrics
from flo.runtimes.embedded.pipeline_control import PipelineControl
from flo.runtimes.embedded.reading import not_found
from flo.runtimes.embedded.shard_port import ShardPort
from flo.runtimes.embedded.watching import Watching

OpenIterations = Callable[[], Iterable[OpenIteration]]


class Health:
    """Counts what becomes durable, and puts it beside what watchdogs, pipelines, engines and shards say."""

    def __init__(
        self,
        ports: Sequence[ShardPort],
        clock: Clock,
        pipelines: PipelineControl,
        watching: Watching,
        engines: EngineRoom,
        open_iterations: OpenIterations,
    ) -> None:
        self._ports = ports
        self._clock = clock
        self._pipelines = pipelines
        self._watching = watching
        self._engines = engines
        self._open_iterations = open_iterations
        self._figures = Figures()
        self._figures.registry.register(OutwardMetrics(self._dependencies, self._lanes))
        self._programs: Mapping[str, LoopProgram] = {}
        self.results: dict[str, Callable[[int], str | None]] = {}  # by loop: what an exit means

    def turn_to(self, bundle: LoadedBundle) -> None:
        """Another bundle is in force."""
        self._programs = bundle.programs
        self.results = {name: program.result for name, program in bundle.programs.items()}

    def observe(self, digests: Iterable[Digest]) -> None:
        """Groups became durable."""
        self._figures.observe(digests, self.results, self._clock.now_ns())

    async def loops(self) -> list[dict[str, Any]]:
        """A line for each loop; what needs a person comes first."""
        counts: dict[str, int] = {}
        for iteration in self._open_iterations():
            counts[iteration.loop] = counts.get(iteration.loop, 0) + 1
        keys = await self._keys()
        found = self._watching.watch.findings()
        lines = [
            self._line(name, counts.get(name, 0), keys.get(name, 0), found.get(name, ()))
            for name in self._programs
        ]
        return needing_a_person_first(lines, self._pipelines.paused_loops())

    async def loop(self, name: str) -> dict[str, Any]:
        """The page of one loop."""
        if name not in self._programs:
            raise not_found("loop", name, self._programs)
        open_iterations = sum(iteration.loop == name for iteration in self._open_iterations())
        keys = (await self._keys()).get(name, 0)
        return {
            **self._line(name, open_iterations, keys, self._watching.watch.findings().get(name, ())),
            **loop_page(
                self._programs[name],
                self._figures.loop(name).exits,
                self._lanes(),
                self._dependencies(),
                shared_age_s(self._ports),
            ),
        }

    def _line(
        self, name: str, open_iterations: int, keys: int, findings: Sequence[Mapping[str, str]]
    ) -> dict[str, Any]:
        definition = self._programs[name].definition
        return {
            **self._figures.health(name, self._clock.now_ns(), open_iterations, findings),
            "about": definition.about,
            "owner": definition.owner,
            "on": list(definition.on),
            "keys": keys,
            "feeds": list(definition.feeds),
        }

    async def _keys(self) -> dict[str, int]:
        keys: dict[str, int] = {}
        for port in self._ports:
            for name, count in (await port.figures()).keys.items():
                keys[name] = keys.get(name, 0) + count
        return keys

    def _dependencies(self) -> Mapping[str, FetchStats]:
        fetcher = self._engines.fetcher
        return {} if fetcher is None else fetcher.stats()

    def _lanes(self) -> Mapping[str, LaneStats]:
        dispatcher = self._engines.dispatcher
        return {} if dispatcher is None else dispatcher.stats()

    async def metrics(self) -> bytes:
        """Prometheus text."""
        counts: dict[str, int] = {}
        queued = 0
        for port in self._ports:
            figures = await port.figures()
            queued += figures.queued
            for name, count in figures.counts.items():
                counts[name] = counts.get(name, 0) + count
        return self._figures.text(
            counts,
            sum(len(port.reconciler.commands) for port in self._ports),
            queued,
            await self._keys(),
            self._watching.watch,
            shared_age_s(self._ports),
            self._pipelines.rows(),
        )


def shared_age_s(ports: Iterable[ShardPort]) -> float:
    """How old other workers' part of shared state may be where it is read."""
    return max(port.shared_age_s() for port in ports)
