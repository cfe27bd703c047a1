"""The engines and dependencies of the bundle in force, and the change from one bundle's to the next."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from pathlib import Path

from flo.core.loop.compiler import BUILT_IN
from flo.core.loop.definition import BundleDefinition, EngineDefinition, Place
from flo.engines.emit import EmitEngine, Ingest
from flo.engines.registry import Surroundings, build_engine, is_unchanged
from flo.flow.dispatch import Dispatcher, Pending
from flo.flow.dispatch_record import Record
from flo.flow.fetch import Fetcher
from flo.flow.open_work import OpenCommand
from flo.flow.reload import LoadedBundle
from flo.ports.clock import Clock
from flo.ports.engine import Engine, KeyClass
from flo.runtimes.embedded.crash_points import Reached, watched
from flo.runtimes.embedded.library import Library
from flo.stores.secret_file import read_secret_file

DRAIN_S = 10.0
BUILT_IN_ENGINE = EngineDefinition(BUILT_IN, BUILT_IN, Place("flo", 1, 1), concurrency=256, timeout_s=30.0)

MakeEngine = Callable[[EngineDefinition, Surroundings], Engine]
Engines = dict[str, tuple[Engine, EngineDefinition]]


class EngineRoom:
    """Holds one dispatcher for as long as FLO runs. An engine that a change of bundle leaves as it is goes on, with
    what it runs; one that is replaced finishes what it runs and is closed then."""

    def __init__(
        self, clock: Clock, library: Library, data: Path, ingest: Ingest, record: Record, reached: Reached
    ) -> None:
        self.make_engine: MakeEngine = build_engine
        self.dispatcher: Dispatcher | None = None
        self.fetcher: Fetcher | None = None
        self._clock = clock
        self._library = library
        self._data = data
        self._record = record
        self._reached = reached
        self._engines: Engines = {BUILT_IN: (watched(EmitEngine(ingest), reached), BUILT_IN_ENGINE)}
        self._functions: bytes | None = None

    def build(self, bundle: LoadedBundle) -> Engines:
        """The engines of a bundle, those that serve on among them, none started. `UsageError`: one cannot be made, as
        for want of a secret; nothing has changed then."""
        functions = bundle.definition.files.get("functions.py")
        surroundings = Surroundings(
            clock=self._clock,
            functions=self._library.functions_path(bundle),
            data=self._data,
            read_secret_file=read_secret_file,
        )
        engines: Engines = {BUILT_IN: self._engines[BUILT_IN]}
        for name, definition in bundle.definition.engines.items():
            before = self._engines.get(name)
            if before is not None and is_unchanged(
                before[1], definition, functions_changed=functions != self._functions
            ):
                engines[name] = (before[0], definition)
            else:
                engine = self.make_engine(definition, surroundings)
                engines[name] = (watched(engine, self._reached), definition)
        return engines

    async def turn_to(self, bundle: LoadedBundle, engines: Engines, owed: Iterable[Pending]) -> None:
        """Command these engines from here on. Where one does not start nothing has changed."""
        if self.dispatcher is None:
            dispatcher = Dispatcher(engines, self._clock, self._record)
            dispatcher.resume(owed)
            self.dispatcher = dispatcher
            await dispatcher.start()
        else:
            await self.dispatcher.change(engines)
        self._engines = engines
        self._functions = bundle.definition.files.get("functions.py")

    def key_class(self, engine: str) -> KeyClass | None:
        """What an engine promises of keys; None where there is none of this name."""
        found = self._engines.get(engine)
        return None if found is None else found[0].key_class

    async def fetch_from(self, definition: BundleDefinition) -> Fetcher:
        """The bundle's dependencies; those who still wait on the ones before are answered first."""
        before, self.fetcher = self.fetcher, Fetcher(definition.dependencies, self._clock)
        if before is not None:
            await before.close()
        return self.fetcher

    async def stop(self, *, drain: bool = True) -> None:
        """Send what can be sent within a while, then close everything. Without `drain`: cut it off now."""
        if self.dispatcher is not None:
            if drain:
                await self.dispatcher.drain(DRAIN_S)
                await self.dispatcher.stop()
            else:
                await self.dispatcher.stop(0.0)
        if self.fetcher is not None:
            await self.fetcher.close()


def owed(commands: Mapping[str, OpenCommand]) -> list[Pending]:
    """What the dispatcher still owes; what is parked waits for a person."""
    return [
        Pending(command=waiting.command, attempts=waiting.attempts, answered=waiting.state == "answered")
        for waiting in commands.values()
        if waiting.state != "parked"
    ]
