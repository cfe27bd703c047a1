"""The embedded runtime: a shard, its engines and its views behind one service."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from flo.core.errors import SignalRejected
from flo.core.loop.compiler import BUILT_IN
from flo.core.loop.definition import EngineDefinition, Place
from flo.core.record import Group, Note
from flo.core.signal import text_from_time
from flo.engines.emit import EmitEngine
from flo.engines.registry import Surroundings, build_engine
from flo.flow.dispatch import Dispatcher, Pending
from flo.flow.fetch import Fetcher
from flo.flow.reload import LoadedBundle
from flo.ports.disk import Disk
from flo.ports.engine import Engine
from flo.ports.service import Receipt
from flo.runtimes.embedded.broadcast import Broadcast
from flo.runtimes.embedded.figures import Figures
from flo.runtimes.embedded.library import Library
from flo.runtimes.embedded.needs import NeedsFetcher
from flo.runtimes.embedded.opening import OpenShard, applied_event, open_shard
from flo.runtimes.embedded.reading import LedgerQueries, not_found
from flo.runtimes.embedded.retention import Retention
from flo.stores.disk import LocalDisk
from flo.stores.ledger_view import WriterView

log = logging.getLogger("flo.runtime")

DRAIN_S = 10.0
COMMIT_S = 10.0
BUILT_IN_ENGINE = EngineDefinition(BUILT_IN, BUILT_IN, Place("flo", 1, 1), concurrency=256, timeout_s=30.0)


class EmbeddedRuntime(LedgerQueries):
    """A running FLO on one data directory. Make it with `start`; `stop` drains and leaves nothing half done."""

    def __init__(self, opened: OpenShard, library: Library, data: Path) -> None:
        self._opened = opened
        self._shard = opened.shard
        self._library = library
        self._data = data
        self._book = opened.book
        self._figures = Figures()
        self._broadcast = Broadcast()
        self._dispatcher: Dispatcher | None = None
        self._fetcher: Fetcher | None = None
        self._tasks: list[asyncio.Task[None]] = []
        self._applied_ns = 0
        view = WriterView(self._shard.ledger)
        reconciler = self._shard.reconciler
        super().__init__(
            lambda: {view.shard: view},
            library,
            lambda: reconciler.commands,
            lambda: reconciler.iterations.values(),
        )
        self._view = view

    @classmethod
    async def start(
        cls, bundle: LoadedBundle, library: Library, data: Path, disk: Disk | None = None
    ) -> EmbeddedRuntime:
        """Open or create the data directory, recover, put the bundle in force, start the engines."""
        data.mkdir(parents=True, exist_ok=True)
        opened = open_shard(disk or LocalDisk(), str(data), 0, library.find)
        runtime = cls(opened, library, data)
        runtime._shard.committer.start()
        runtime._shard.listeners.append(runtime._observe)
        try:
            if opened.bundle is None or opened.bundle.revision != bundle.revision:
                await runtime._apply(bundle, "flo run")
            else:
                await runtime._start_engines(opened.bundle)
        except BaseException:
            await runtime.stop()
            raise
        runtime._tasks.append(asyncio.create_task(opened.checkpointer.run()))
        runtime._tasks.append(
            asyncio.create_task(Retention(runtime._shard, opened.store, lambda: runtime.definition).run())
        )
        return runtime

    @property
    def service(self) -> EmbeddedRuntime:
        return self

    @property
    def loaded(self) -> LoadedBundle:
        assert self._book.bundle is not None
        return self._book.bundle

    @property
    def definition(self) -> Any:
        return self.loaded.definition

    # -- bundles and engines ------------------------------------------------------------------------------

    async def _apply(self, bundle: LoadedBundle, by: str) -> None:
        """Put a bundle in force between two groups: the group that says so is the last under the old one."""
        await asyncio.to_thread(self._library.archive.keep, bundle.revision, bundle.definition.files)
        shard = self._shard

        def turn(group: Group) -> None:
            group.events.append(applied_event(bundle, group.decided_ns, by))

        recorded = shard.perform(turn)
        shard.after_group(lambda: self._turn_to(bundle))
        await recorded
        self._opened.checkpointer.base_next = True
        await self._start_engines(bundle)

    def _turn_to(self, bundle: LoadedBundle) -> None:
        self._shard.step.router = self._book.turn_to(bundle)
        self._applied_ns = self._shard.clock.now_ns()

    async def _start_engines(self, bundle: LoadedBundle) -> None:
        """New engines first, then the old ones end: what they had not sent is taken up by the new."""
        before, fetcher_before = self._dispatcher, self._fetcher
        surroundings = Surroundings(
            clock=self._shard.clock, functions=self._library.functions_path(bundle), data=self._data
        )
        engines: dict[str, tuple[Engine, EngineDefinition]] = {
            BUILT_IN: (EmitEngine(self._shard.offer), BUILT_IN_ENGINE)
        }
        for name, definition in bundle.definition.engines.items():
            engines[name] = (build_engine(definition, surroundings), definition)
        dispatcher = Dispatcher(engines, self._shard.clock, self._shard.record)
        fetcher = Fetcher(bundle.definition.dependencies, self._shard.clock)
        needs = NeedsFetcher(self._shard.step.router, fetcher, self._shard.clock)
        self._shard.fetch_needs = None if needs.is_empty else needs
        self._fetcher = fetcher
        if before is not None:
            self._shard.dispatcher = None
            await before.stop()
        if fetcher_before is not None:
            await fetcher_before.close()
        self._dispatcher = self._shard.dispatcher = dispatcher
        dispatcher.resume(
            Pending(command=waiting.command, attempts=waiting.attempts, answered=waiting.state == "answered")
            for waiting in self._shard.reconciler.commands.values()
            if waiting.state != "parked"
        )
        await dispatcher.start()

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
        return await self._shard.offer(raws)

    async def decide(self, raw: bytes) -> list[dict[str, Any]]:
        (receipt,) = await self._shard.offer([raw], detailed=True)
        if receipt.status == "rejected":
            raise SignalRejected(receipt.reason, receipt.detail)
        return [await self.decision(decision) for decision in receipt.decisions]

    async def kill(self, loop: str, key: str | None, note: str) -> dict[str, Any]:
        if loop not in self.loaded.programs:
            raise not_found("loop", loop, self.loaded.programs)

        def kill(group: Group) -> list[str]:
            subject = loop if key is None else f"{loop}/{key}"
            group.events.append(Note(action="kill", subject=subject, text=note, at_ns=group.decided_ns))
            return self._shard.reconciler.kill(loop, key, note, group)

        killed = await self._shard.perform(kill)
        if self._dispatcher is not None:
            gone = set(killed)
            self._dispatcher.cancel(lambda command: command.key in gone, f"killed: {note}")
        return {"loop": loop, "key": key, "commands": killed}

    # -- health -------------------------------------------------------------------------------------------

    async def loops(self) -> list[dict[str, Any]]:
        counts: dict[str, int] = {}
        for iteration in self._shard.reconciler.iterations.values():
            counts[iteration.loop] = counts.get(iteration.loop, 0) + 1
        now = self._shard.clock.now_ns()
        lines = [self._loop_line(name, now, counts.get(name, 0)) for name in self.loaded.programs]
        return sorted(lines, key=lambda line: (line["status"] != "attention", line["name"]))

    def _loop_line(self, name: str, now: int, open_iterations: int) -> dict[str, Any]:
        route = self._book.routes[name]
        definition = route.program.definition
        return {
            **self._figures.health(name, now, open_iterations),
            "about": definition.about,
            "owner": definition.owner,
            "on": list(definition.on),
            "keys": len(route.cells) + len(route.cells.cold),
            "feeds": list(definition.feeds),
        }

    async def loop(self, name: str) -> dict[str, Any]:
        if name not in self.loaded.programs:
            raise not_found("loop", name, self.loaded.programs)
        program = self.loaded.programs[name]
        iterations = [each for each in self._shard.reconciler.iterations.values() if each.loop == name]
        line = self._loop_line(name, self._shard.clock.now_ns(), len(iterations))
        exits = self._figures.loop(name).exits
        return {
            **line,
            "revision": program.revision,
            "contract": None if program.contract is None else program.contract.id,
            "rules": [
                {
                    "id": rule.id,
                    "when": rule.when.text,
                    "result": rule.result,
                    "mode": rule.mode,
                    "decided": exits.get(index, 0),
                }
                for index, rule in enumerate(program.rules)
            ],
            "otherwise": {
                "result": program.definition.otherwise,
                "decided": exits.get(len(program.rules), 0),
            },
            "state": [
                {"name": state.name, "kind": state.kind, "of": state.expression.text}
                for state in program.definition.state
            ],
            "engines": {
                name: _stats(stats)
                for name, stats in (self._dispatcher.stats().items() if self._dispatcher is not None else ())
            },
        }

    def _observe(self, groups: list[Group]) -> None:
        results = {name: program.result for name, program in self.loaded.programs.items()}
        self._figures.observe(groups, results, self._shard.clock.now_ns())
        self._broadcast.publish(groups, results)

    def stream(self) -> AsyncIterator[dict[str, Any]]:
        return self._broadcast.subscribe()

    def metrics(self) -> bytes:
        keys = {name: len(route.cells) + len(route.cells.cold) for name, route in self._book.routes.items()}
        shard = self._shard
        return self._figures.text(shard.step.counts, len(shard.reconciler.commands), shard.backlog(), keys)

    def ready(self) -> tuple[bool, str]:
        shard = self._shard
        if shard.broken is not None:
            return False, f"cannot record any more: {shard.broken}"
        if shard.storage_error is not None:
            return False, str(shard.storage_error)
        return (False, "stopping") if shard.stopping else (True, "ready")

    # -- the end ------------------------------------------------------------------------------------------

    async def stop(self) -> None:
        """Take no more, commit what was taken, dispatch what can be within a while, checkpoint, close. Repeatable."""
        shard = self._shard
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self._tasks = []
        await shard.settle(COMMIT_S)
        if self._dispatcher is not None:
            await self._dispatcher.drain(DRAIN_S)
            await self._dispatcher.stop()
        shard.stopping = True
        await shard.settle(COMMIT_S)
        if self._fetcher is not None:
            await self._fetcher.close()
        if shard.broken is None and shard.storage_error is None:
            await self._opened.checkpointer.take()
        self._broadcast.close()
        if not await asyncio.to_thread(shard.close, COMMIT_S):
            log.error(
                "the disk kept refusing: what was not acknowledged is lost, what was acknowledged is safe"
            )


def _stats(stats: Any) -> dict[str, Any]:
    return {name: getattr(stats, name) for name in stats.__struct_fields__}
