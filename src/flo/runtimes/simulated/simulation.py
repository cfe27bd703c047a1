"""A whole FLO in memory: the embedded runtime on a simulated disk and clock, with stub engines that outlive its crashes.

    simulation = Simulation(files, seed=7)
    await simulation.start()
    await simulation.runtime.ingest(signals)
    await simulation.advance(60 * NS_PER_S)
    await simulation.crash(power_cut=True)
    await simulation.start()
    simulation.engines["hook"].effects

Everything but the world around it is the code that runs in production: shard, commit thread, ledger, checkpoints,
dispatcher. Engines of any kind are played by `StubEngine`s; a `honours_key: true` webhook, and python, honour their
keys, other webhooks do not. Times and bytes follow the seed; how groups are cut follows the machine, since the commit
thread is a real one.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from pathlib import Path

from flo.core.bundle.settings import EngineKind
from flo.core.loop.definition import EngineDefinition
from flo.engines.registry import Surroundings, engine_kinds
from flo.engines.stub import KEY_CLASSES, StubEngine
from flo.flow.reload import LoadedBundle, load_bundle
from flo.ports.clock import Clock
from flo.ports.disk import Disk, File, Lock
from flo.ports.engine import Engine, KeyClass
from flo.runtimes.embedded.library import Library
from flo.runtimes.embedded.runtime import EmbeddedRuntime
from flo.runtimes.simulated.clock import SIMULATION_START_NS, SimulatedClock
from flo.runtimes.simulated.disk import PowerCut, SimulatedDisk
from flo.stores.bundle_archive import BundleArchive
from flo.stores.bundle_functions import load_functions

DATA = Path("/simulated")
STOP_NS_MAX = 30_000_000_000
STUCK_S = 0.02
"""A commit takes less: who has not ended by then waits for time to pass."""


class MemoryArchive(BundleArchive):
    """Bundles that were in force, as safe as the simulation itself."""

    def __init__(self) -> None:
        super().__init__(DATA)
        self._files: dict[str, dict[str, bytes]] = {}

    def has(self, revision: str) -> bool:
        return revision in self._files

    def files(self, revision: str) -> dict[str, bytes]:
        return dict(self._files[revision])

    def keep(self, revision: str, files: Mapping[str, bytes]) -> None:
        self._files[revision] = dict(files)


class ProcessDisk:
    """The disk as one process has it: once that process is gone, its threads cannot reach it any more."""

    def __init__(self, disk: SimulatedDisk) -> None:
        self._disk = disk
        self.gone = False

    def _here(self) -> SimulatedDisk:
        if self.gone:
            raise PowerCut
        return self._disk

    def create(self, path: str) -> File:
        return _ProcessFile(self, self._here().create(path))

    def open(self, path: str, *, writable: bool = False) -> File:
        return _ProcessFile(self, self._here().open(path, writable=writable))

    def listdir(self, path: str) -> list[str]:
        return self._here().listdir(path)

    def exists(self, path: str) -> bool:
        return self._here().exists(path)

    def size(self, path: str) -> int:
        return self._here().size(path)

    def rename(self, source: str, target: str) -> None:
        self._here().rename(source, target)

    def remove(self, path: str) -> None:
        self._here().remove(path)

    def makedirs(self, path: str) -> None:
        self._here().makedirs(path)

    def sync_directory(self, path: str) -> None:
        self._here().sync_directory(path)

    def lock(self, path: str) -> Lock:
        return self._here().lock(path)

    def free_bytes(self, path: str) -> int:
        return self._here().free_bytes(path)

    def check(self) -> None:
        self._here()


class _ProcessFile:
    def __init__(self, disk: ProcessDisk, file: File) -> None:
        self._disk = disk
        self._file = file

    def write(self, offset: int, data: bytes | bytearray | memoryview) -> int:
        self._disk.check()
        return self._file.write(offset, data)

    def read(self, offset: int, size_bytes: int) -> bytes:
        self._disk.check()
        return self._file.read(offset, size_bytes)

    def allocate(self, offset: int, size_bytes: int) -> None:
        self._disk.check()
        self._file.allocate(offset, size_bytes)

    def sync(self) -> None:
        self._disk.check()
        self._file.sync()

    def truncate(self, size_bytes: int) -> None:
        self._disk.check()
        self._file.truncate(size_bytes)

    def size(self) -> int:
        self._disk.check()
        return self._file.size()

    def close(self) -> None:
        self._file.close()


class Simulation:
    """One FLO and its world. `disk` and `clock` may be given, to fail and to be turned."""

    def __init__(
        self,
        files: Mapping[str, bytes],
        *,
        seed: int = 0,
        disk: SimulatedDisk | None = None,
        clock: SimulatedClock | None = None,
    ) -> None:
        self.disk = SimulatedDisk(seed) if disk is None else disk
        self.clock = SimulatedClock(SIMULATION_START_NS) if clock is None else clock
        self.engines: dict[str, StubEngine] = {}
        self.bundle = load(files)
        self._archive = MemoryArchive()
        self._process: ProcessDisk | None = None
        self._runtime: EmbeddedRuntime | None = None

    @property
    def runtime(self) -> EmbeddedRuntime:
        assert self._runtime is not None, "the simulation is not started"
        return self._runtime

    async def start(self, files: Mapping[str, bytes] | None = None) -> EmbeddedRuntime:
        """Start FLO on what is on the disk, under the same bundle or another. Raises what a real start raises."""
        if files is not None:
            self.bundle = load(files)
        library = Library(DATA, self.bundle)
        library.archive = self._archive
        self._process = ProcessDisk(self.disk)
        process: Disk = self._process
        self._runtime = await EmbeddedRuntime.start(
            self.bundle, library, DATA, process, new_clock=self._clock_from, make_engine=self._engine
        )
        return self._runtime

    def _clock_from(self, ledger_ns: int) -> Clock:
        return self.clock

    def _engine(self, definition: EngineDefinition, surroundings: Surroundings) -> Engine:
        """The same stub for the same name, life after life: an engine does not end with FLO."""
        engine = self.engines.get(definition.name)
        if engine is None:
            engine = StubEngine(self.clock, key_class=key_class_of(definition))
            self.engines[definition.name] = engine
        return engine

    async def settle(self) -> None:
        """Let everything run that needs no time: commits, dispatch, what comes of it; then watchdogs look around.

        Raises `PowerCut` where the power went.
        """
        await self._until_quiet()
        await self.runtime.watching.tick()
        await self._until_quiet()

    async def _until_quiet(self) -> None:
        quiet = 0
        while quiet < 3:
            if self.disk.is_off:
                raise PowerCut
            await self.clock.settle()
            busy = not self.runtime.is_quiet()
            quiet = 0 if busy else quiet + 1
            if busy:
                await asyncio.sleep(0.000_2)  # the commit thread is a real one

    async def advance(self, duration_ns: int) -> None:
        """Time passes: whoever waits for it is woken in order."""
        end_ns = self.clock.now_ns() + duration_ns
        await self.settle()
        while (next_ns := self.clock.next_ns()) is not None and next_ns <= end_ns:
            await self.clock.advance_to(max(next_ns, self.clock.now_ns()))
            await self.settle()
        await self.clock.advance_to(end_ns)
        await self.settle()

    async def stop(self) -> None:
        """End it well; where that waits for something, time passes, half a minute at most."""
        runtime, self._runtime = self.runtime, None
        stopping = asyncio.ensure_future(runtime.stop())
        end_ns = self.clock.now_ns() + STOP_NS_MAX
        while not (await asyncio.wait((stopping,), timeout=STUCK_S))[0]:
            next_ns = self.clock.next_ns()
            if next_ns is not None and next_ns <= end_ns and runtime.is_quiet():
                await self.clock.advance_to(max(next_ns, self.clock.now_ns()))
        await stopping

    async def crash(self, *, power_cut: bool = False) -> None:
        """The process is gone at once; with `power_cut` so is what the disk had not synced."""
        runtime, self._runtime = self._runtime, None
        assert self._process is not None
        self._process.gone = True
        if runtime is not None:
            await runtime.abandon()
        if power_cut or self.disk.is_off:
            self.disk.power_cut()
        else:
            self.disk.kill_process()


def load(files: Mapping[str, bytes]) -> LoadedBundle:
    """A bundle of files in memory; `BundleError` with every problem."""
    kinds: dict[str, EngineKind] = engine_kinds()
    return load_bundle(files, kinds, lambda source: load_functions(source, None))


def key_class_of(definition: EngineDefinition) -> KeyClass:
    """What the engine that is played promises of keys."""
    if definition.kind == "stub":
        return KEY_CLASSES[definition.settings.get("key_class", "honours")]
    if definition.kind == "webhook":
        return KeyClass.HONOURS_KEY if definition.settings.get("honours_key") else KeyClass.NEITHER
    return KeyClass.ASKABLE
