"""The embedded runtime: shards, the engines they command, and the views over them, behind one service."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from flo.core.errors import SignalRejected
from flo.core.record import (
    Answered,
    Attempted,
    CommandIssued,
    CommandOutcome,
    CommandReissued,
    DeadLetter,
)
from flo.core.signal import text_from_time
from flo.engines.registry import build_engine
from flo.flow.digest import Digest
from flo.flow.dispatch import Pending
from flo.flow.open_work import OpenCommand, OpenIteration
from flo.flow.reload import LoadedBundle
from flo.flow.router import Route, Router
from flo.flow.views.decisions import recent_decision
from flo.flow.views.record import parse_decision_id
from flo.flow.watchdogs.board import Board
from flo.flow.watchdogs.watch import Watch
from flo.ports.clock import Clock
from flo.ports.disk import Disk, Lock
from flo.ports.service import DeadLetterOrder, Page, Receipt
from flo.ports.store import LedgerView
from flo.runtimes.clock import SteadyClock
from flo.runtimes.embedded.broadcast import Broadcast
from flo.runtimes.embedded.crash_points import crash_points
from flo.runtimes.embedded.dead_letter_office import DeadLetterOffice
from flo.runtimes.embedded.engine_room import EngineRoom, Engines, MakeEngine, owed
from flo.runtimes.embedded.gateway import Gateway
from flo.runtimes.embedded.health import Health, shared_age_s
from flo.runtimes.embedded.library import Library
from flo.runtimes.embedded.local_shard import LocalShard
from flo.runtimes.embedded.needs import NeedsFetcher
from flo.runtimes.embedded.observing import ObservedService, Observing
from flo.runtimes.embedded.opening import NewClock
from flo.runtimes.embedded.pipeline_control import PipelineControl
from flo.runtimes.embedded.reading import LedgerQueries, not_found
from flo.runtimes.embedded.revisions import Revisions
from flo.runtimes.embedded.shard_port import ShardPort
from flo.runtimes.embedded.watching import Watching
from flo.stores.disk import LocalDisk
from flo.stores.watchdog_file import WatchdogFile

log = logging.getLogger("flo.runtime")

COMMIT_S = 10.0


class EmbeddedRuntime(ObservedService, LedgerQueries):
    """A running FLO on one data directory. Make it with `start`; `stop` drains and leaves nothing half done.

    `lock`: of the directory, where no shard of this process holds one; released at the end.
    """

    def __init__(
        self,
        ports: Sequence[ShardPort],
        library: Library,
        data: Path,
        clock: Clock,
        lock: Lock | None = None,
        *,
        is_simulated: bool = False,
    ) -> None:
        self._ports = list(ports)
        self._lock = lock
        self._library = library
        self._data = data
        self._clock = clock
        self._gateway = Gateway(self._ports, clock)
        self._revisions = Revisions(self._ports, self._gateway, lambda: self._bundle)
        self._broadcast = Broadcast()
        file = None if is_simulated else WatchdogFile(data)
        self._bundle: LoadedBundle | None = None
        self._applied_ns = 0
        self._models: dict[str, int] = {}  # as all shards were told: when the versions in use were made
        self._stopping = False
        self._reached = crash_points()
        self._engines = EngineRoom(clock, library, data, self._gateway.offer, self._learned, self._reached)
        self.watching = Watching(
            Watch(),
            clock,
            self._gateway.offer,
            file,
            lambda: self._engines.fetcher,
            lambda: shared_age_s(self._ports),
            lambda: self._pipelines.paused_loops(),
        )
        self._pipelines = PipelineControl(self._ports, clock, self._gateway.needs_of, self.board)
        self._office = DeadLetterOffice(self._ports, self._gateway, self._engines)
        self._health = Health(
            self._ports, clock, self._pipelines, self.watching, self._engines, self._open_iterations
        )
        observer = self.watching.watch.observer
        self.observing = Observing(
            observer, self._gateway, clock, self._views_now, reads_back=not is_simulated
        )
        super().__init__(self._views_now, library, self._open_commands, self._open_iterations)

    @classmethod
    async def start(
        cls,
        bundle: LoadedBundle,
        library: Library,
        data: Path,
        disk: Disk | None = None,
        *,
        new_clock: NewClock = SteadyClock,
        make_engine: MakeEngine = build_engine,
    ) -> EmbeddedRuntime:
        """One shard, in this process: open or create the data directory, recover, put the bundle in force, start.

        The rest are the seams that a simulation takes hold of: disk, clock and engines.
        """
        if disk is None:
            data.mkdir(parents=True, exist_ok=True)
        held: list[EmbeddedRuntime] = []
        port = LocalShard(
            disk or LocalDisk(), str(data), 0, library, lambda digests: held[0].observe(digests), new_clock
        )
        runtime = cls([port], library, data, port.shard.clock, is_simulated=disk is not None)
        runtime._engines.make_engine = make_engine
        held.append(runtime)
        port.start()
        return await runtime.begin(bundle, [port.bundle])

    async def begin(self, bundle: LoadedBundle, in_force: Sequence[LoadedBundle | None]) -> EmbeddedRuntime:
        """Put `bundle` in force where it is not, and start the engines. On failure everything is closed again."""
        try:
            if all(each is not None and each.revision == bundle.revision for each in in_force):
                await self._turn_to(bundle, self._engines.build(bundle))
            else:
                await self._apply(bundle, "flo run")
        except BaseException:
            await self.stop()
            raise
        self.observing.start()
        return self

    @property
    def board(self) -> Board:
        """What watchdogs and breakers have found."""
        return self.watching.watch.board

    @property
    def service(self) -> EmbeddedRuntime:
        return self

    @property
    def loaded(self) -> LoadedBundle:
        """The bundle in force."""
        assert self._bundle is not None
        return self._bundle

    # -- bundles and engines ------------------------------------------------------------------------------

    async def _apply(self, bundle: LoadedBundle, by: str) -> None:
        """Put a bundle in force in every shard, with nothing routed meanwhile: no signal meets half of each.

        Engines first: a bundle whose engines cannot be had leaves everything as it is.
        """
        engines = self._engines.build(bundle)
        await asyncio.to_thread(self._library.keep, bundle)
        async with self._revisions.changing():
            await self._revisions.put(bundle, by)
            self._applied_ns = self._clock.now_ns()
            await self._turn_to(bundle, engines)

    async def _turn_to(self, bundle: LoadedBundle, engines: Engines) -> None:
        self._bundle = bundle
        self._health.turn_to(bundle)
        await self._engines.turn_to(bundle, engines, owed(self._open_commands()))
        fetcher = await self._engines.fetch_from(bundle.definition)
        router = Router(Route(program, program.new_cells()) for program in bundle.programs.values())
        needs = NeedsFetcher(router, fetcher, self._clock, self.observing.observer.fetched)
        self._gateway.turn_to(router, None if needs.is_empty else needs)
        self._pipelines.turn_to(bundle.definition.pipelines)
        self.watching.turn_to(bundle)
        self._spread_models()

    async def bundle(self) -> dict[str, Any]:
        definition = self.loaded.definition
        return {
            "revision": definition.revision,
            "files": {name: content.decode("utf-8", "replace") for name, content in definition.files.items()},
            "applied_at": text_from_time(self._applied_ns) if self._applied_ns else None,
            "loops": sorted(definition.loops),
        }

    async def put_bundle(self, files: Mapping[str, bytes], note: str) -> dict[str, Any]:
        bundle = await asyncio.to_thread(self._library.load, files)
        before = self.loaded.revision
        if bundle.revision != before:
            await self._apply(bundle, note)
        return {"revision": bundle.revision, "before": before, "changed": bundle.revision != before}

    # -- signals ------------------------------------------------------------------------------------------

    async def ingest(self, raws: Sequence[bytes]) -> list[Receipt]:
        return await self._gateway.offer(raws)

    async def decide(self, raw: bytes) -> list[dict[str, Any]]:
        (receipt,) = await self._gateway.offer([raw], detailed=True)
        if receipt.status == "rejected":
            raise SignalRejected(receipt.reason, receipt.detail)
        return [self._fresh_decision(decision) for decision in receipt.decisions]

    def _fresh_decision(self, decision: str) -> dict[str, Any]:
        shard, block, _, _ = parse_decision_id(decision)
        group = self._ports[shard].recent(block)
        if group is None:
            return self._decision(decision)
        return recent_decision(group, decision, self._library.program)

    async def kill(self, loop: str, key: str | None, note: str) -> dict[str, Any]:
        if loop not in self.loaded.programs:
            raise not_found("loop", loop, self.loaded.programs)
        killed = [each for port in self._ports for each in await port.kill(loop, key, note)]
        if self._engines.dispatcher is not None:
            gone = set(killed)
            self._engines.dispatcher.cancel(lambda command: command.key in gone, f"killed: {note}")
        return {"loop": loop, "key": key, "commands": killed}

    async def pause(self, pipeline: str, note: str) -> dict[str, Any]:
        return await self._pipelines.pause(pipeline, note)

    async def resume(self, pipeline: str, note: str) -> dict[str, Any]:
        return await self._pipelines.resume(pipeline, note)

    async def pipelines(self) -> list[dict[str, Any]]:
        return self._pipelines.rows()

    async def replay_dead_letters(self, asked: DeadLetterOrder) -> dict[str, Any]:
        return await self._office.replay(asked)

    async def drop_dead_letters(self, asked: DeadLetterOrder) -> dict[str, Any]:
        return await self._office.drop(asked)

    # -- commands -----------------------------------------------------------------------------------------

    def observe(self, digests: list[Digest]) -> None:
        """Groups became durable: dispatch what they command, count them, tell who listens."""
        dispatcher = self._engines.dispatcher
        for digest in digests:
            for event in digest.events:
                self._pipelines.observe(event, digest.shard)
                self._office.observe(event, digest.shard)
                if dispatcher is None:
                    continue
                if isinstance(event, CommandIssued | CommandReissued):
                    if self._port_of(event.command.key, digest.shard) is None:
                        continue
                    if isinstance(event, CommandReissued) and event.ask:
                        dispatcher.resume([Pending(command=event.command)])
                    else:
                        dispatcher.submit(event.command)
                elif isinstance(event, CommandOutcome):
                    dispatcher.forget(event.command_key)
        if self._bundle is not None:
            self._health.observe(digests)
            self._broadcast.publish(digests, self._health.results)
            self.watching.watch.observe(digests)
            if any(digest.events for digest in digests):
                self._spread_models()

    def tell_models(self, written: Mapping[str, int]) -> None:
        """Versions of models that are in use, and when they were made: `model:x` -> time. Loops with `fresh.logic` that
        read them go by it in every shard."""
        for port in self._ports:
            port.tell_models(written)

    def _spread_models(self) -> None:
        """What one shard learned of models by its swaps, the others cannot know."""
        models: dict[str, int] = {}
        for port in self._ports:
            for name, at_ns in port.reconciler.models.items():
                models[name] = max(at_ns, models.get(name, 0))
        if models and models != self._models:
            self._models = models
            self.tell_models(models)

    def resume_shard(self, number: int, revision: str) -> None:
        """A shard came back from a crash: its open commands are taken up, those already under way stay as they are."""
        port = self._ports[number]
        if not self._stopping:
            self._revisions.came_back(number, revision)
        port.tell_models(self._models)
        self._office.forget(number)
        self._pipelines.take_up(port)
        if self._engines.dispatcher is not None:
            self._engines.dispatcher.resume(owed(port.reconciler.commands))

    def _port_of(self, command_key: str, shard: int | None = None) -> ShardPort | None:
        """The shard that owes a command; None where its end is known."""
        for port in self._ports:
            if (shard is None or port.number == shard) and command_key in port.reconciler.commands:
                return port
        return None

    async def _learned(self, events: Sequence[Attempted | Answered | CommandOutcome | DeadLetter]) -> None:
        """What the dispatcher learned goes to the shard that owes the command: all of one call are of one command.

        Two shards whose breakers opened at once owe the same page: it is sent once, and settled in both.
        """
        key = next((event.command_key for event in events if event.command_key), "")
        for port in self._ports:
            if key in port.reconciler.commands:
                await port.learned(events)
                self._reached("learned")

    def _views_now(self) -> dict[int, LedgerView]:
        return {port.number: port.view for port in self._ports}

    def _open_commands(self) -> Mapping[str, OpenCommand]:
        if len(self._ports) == 1:
            return self._ports[0].reconciler.commands
        return {key: waiting for port in self._ports for key, waiting in port.reconciler.commands.items()}

    def _open_iterations(self) -> Iterator[OpenIteration]:
        for port in self._ports:
            yield from port.reconciler.iterations.values()

    # -- health -------------------------------------------------------------------------------------------

    async def loops(self) -> list[dict[str, Any]]:
        return await self._health.loops()

    async def loop(self, name: str) -> dict[str, Any]:
        return await self._health.loop(name)

    async def metrics(self) -> bytes:
        return await self._health.metrics()

    def stream(self) -> AsyncIterator[dict[str, Any]]:
        return self._broadcast.subscribe()

    async def watchdogs(self, query: Mapping[str, str], limit: int, cursor: str | None) -> Page:
        return self.watching.watch.page(query, limit, cursor)

    def ready(self) -> tuple[bool, str]:
        if self._stopping:
            return False, "stopping"
        problems = [f"shard {port.number}: {problem}" for port in self._ports if (problem := port.problem())]
        return not problems, "; ".join(problems) or "ready"

    # -- the end ------------------------------------------------------------------------------------------

    async def stop(self) -> None:
        """Take no more, commit what was taken, dispatch what can be within a while, checkpoint, close. Repeatable."""
        if self._stopping:
            return
        self._stopping = True
        began = time.monotonic()
        await asyncio.gather(self._pipelines.stop(), self.watching.rest(), self._revisions.stop())
        await self.observing.stop()
        await asyncio.gather(*(port.settle(COMMIT_S) for port in self._ports))
        # what cannot be recorded is not sent either
        await self._engines.stop(drain=not any(port.problem() for port in self._ports))
        await asyncio.gather(*(port.stop() for port in self._ports))
        self._broadcast.close()
        if self._lock is not None:
            self._lock.release()
        log.info("stopped in %.1f s", time.monotonic() - began)

    async def checkpoint(self) -> None:
        """A checkpoint now, in every shard of this process."""
        for port in self._ports:
            if isinstance(port, LocalShard):
                await port.checkpoint()

    async def abandon(self) -> None:
        """Leave everything as it lies, as the end of the process would: how a simulation crashes."""
        self._stopping = True
        await asyncio.gather(self._pipelines.stop(), self.watching.rest(), self._revisions.stop())
        await self._engines.stop(drain=False)
        for port in self._ports:
            if isinstance(port, LocalShard):
                await port.abandon()

    def is_quiet(self) -> bool:
        """Whether nothing is under way that needs no time."""
        return all(not isinstance(port, LocalShard) or port.shard.is_quiet() for port in self._ports)
