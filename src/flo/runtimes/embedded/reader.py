"""A data directory, read: for `--data PATH`, while FLO is down or beside it."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NoReturn

from flo.core.errors import UsageError
from flo.core.record import Applied, decode_group
from flo.core.record.group import decode_summary
from flo.core.signal import text_from_time
from flo.core.span import Span
from flo.flow.observe.observer import Observer
from flo.flow.open_work import OpenCommand, OpenIteration
from flo.flow.pauses import Pause
from flo.flow.reconcile import Reconciler
from flo.flow.reload import LoadedBundle
from flo.flow.watchdogs.watch import Watch
from flo.ports.disk import Disk
from flo.ports.service import DeadLetterOrder, Page, Receipt
from flo.runtimes.embedded.checkpointer import decode_meta
from flo.runtimes.embedded.figures import Figures, needing_a_person_first
from flo.runtimes.embedded.library import Library
from flo.runtimes.embedded.observing import edges_of_ledger
from flo.runtimes.embedded.pipeline_control import pipeline_row
from flo.runtimes.embedded.reading import LedgerQueries, not_found
from flo.stores.checkpoints import CheckpointStore
from flo.stores.disk import LocalDisk
from flo.stores.ledger import LedgerReader
from flo.stores.ledger_view import ReaderView
from flo.stores.watchdog_file import WatchdogFile


class ReadOnlyService(LedgerQueries):
    """The reading half of the service on files. What would change something says how to ask a running FLO."""

    def __init__(self, data: Path, disk: Disk, views: dict[int, ReaderView]) -> None:
        self._data = data
        self._disk = disk
        self._ledgers = views
        self._library = Library(data)
        self._observer: Observer | None = None
        super().__init__(
            lambda: dict(views),
            self._library,
            self._open_commands,
            self._open_iterations,
        )

    @classmethod
    def open(cls, data: Path) -> ReadOnlyService:
        disk = LocalDisk()
        shards = sorted(
            int(path.name.removeprefix("shard-"))
            for path in data.glob("shard-*")
            if path.name.removeprefix("shard-").isdecimal()
        )
        if not shards:
            raise UsageError(
                f"{data} holds no FLO data: name the directory that `flo run` was given as --data"
            )
        return cls(
            data, disk, {shard: ReaderView(LedgerReader.open(disk, str(data), shard)) for shard in shards}
        )

    def _open(self, shard: int) -> Reconciler:
        """What is open in a shard, folded from the last checkpoint and the blocks behind it."""
        view = self._ledgers[shard]
        reconciler = Reconciler(lambda loop, rule, n: None)
        checkpoint = CheckpointStore(self._disk, str(self._data), shard).latest()
        first = 1
        if checkpoint is not None:
            reconciler.restore(decode_meta(checkpoint.meta).reconciler)
            first = checkpoint.block + 1
        last = view.last_block()
        numbers = [
            header.number for header in view.headers(last, first) if decode_summary(header.summary).events
        ]
        for number in reversed(numbers):
            for event in decode_group(view.read(number).payload).events():
                if not isinstance(event, Applied):
                    reconciler.apply(event)
        return reconciler

    def _open_commands(self) -> dict[str, OpenCommand]:
        return {key: each for shard in self._ledgers for key, each in self._open(shard).commands.items()}

    def _open_iterations(self) -> list[OpenIteration]:
        return [each for shard in self._ledgers for each in self._open(shard).iterations.values()]

    def _applied(self) -> Iterator[Applied]:
        """Changes of bundle, newest first."""
        for view in self._ledgers.values():
            for header in view.headers(view.last_block()):
                if "bundle" in decode_summary(header.summary).events:
                    events = decode_group(view.read(header.number).payload).events()
                    yield from (event for event in reversed(events) if isinstance(event, Applied))

    def _bundle(self) -> tuple[LoadedBundle, int]:
        applied = next(self._applied(), None)
        if applied is not None:
            return self._library.find(applied.revision, applied.files), applied.at_ns
        for shard in self._ledgers:
            checkpoint = CheckpointStore(self._disk, str(self._data), shard).latest()
            if checkpoint is not None:
                return self._library.find(decode_meta(checkpoint.meta).revision), 0
        raise UsageError(
            f"{self._data} holds no bundle yet: start it once with `flo run DIR --data {self._data}`"
        )

    async def bundle(self) -> dict[str, Any]:
        bundle, at_ns = self._bundle()
        definition = bundle.definition
        return {
            "revision": definition.revision,
            "files": {name: content.decode("utf-8", "replace") for name, content in definition.files.items()},
            "applied_at": text_from_time(at_ns) if at_ns else None,
            "loops": sorted(definition.loops),
        }

    async def loops(self) -> list[dict[str, Any]]:
        """Health over the whole ledger: everything counted that is kept."""
        bundle, _ = self._bundle()
        figures = Figures()
        results = {name: program.result for name, program in bundle.programs.items()}
        newest_ns = self._count(figures, results)
        open_iterations: dict[str, int] = {}
        for iteration in self._open_iterations():
            open_iterations[iteration.loop] = open_iterations.get(iteration.loop, 0) + 1
        findings = self._watch().findings()
        lines = []
        for name, program in bundle.programs.items():
            line = figures.health(name, newest_ns, open_iterations.get(name, 0), findings.get(name, ()))
            definition = program.definition
            about = {"about": definition.about, "owner": definition.owner, "on": list(definition.on)}
            lines.append({**line, **about, "keys": None, "feeds": list(definition.feeds)})
        rows = {row["name"]: row for row in await self.pipelines() if row["status"] != "running"}
        return needing_a_person_first(lines, {loop: row for row in rows.values() for loop in row["loops"]})

    async def pipelines(self) -> list[dict[str, Any]]:
        """Every pipeline, as the ledger leaves it; the paused ones first."""
        bundle, _ = self._bundle()
        definitions = bundle.definition.pipelines
        held: dict[str, list[Pause]] = {name: [] for name in definitions}
        for shard in self._ledgers:
            for pause in self._open(shard).pauses:
                held.setdefault(pause.pipeline, []).append(pause)
        rows = [pipeline_row(name, definitions.get(name), pauses) for name, pauses in held.items()]
        return sorted(rows, key=lambda row: (row["status"] == "running", -row["parked"], row["name"]))

    def _count(self, figures: Figures, results: Mapping[str, Any]) -> int:
        newest_ns = 0
        for view in self._ledgers.values():
            for header in view.headers(view.last_block()):
                newest_ns = max(newest_ns, header.written_ns)
                figures.observe_stored(decode_group(view.read(header.number).payload), results)
            for kept in view.letters.find((0, -1), (view.first_block(), -1)):
                figures.loop(kept.letter.loop).dead_letters += 1
            for left in view.letters.left():
                figures.loop(left.loop).dead_letters_left += 1
        return newest_ns

    async def loop(self, name: str) -> dict[str, Any]:
        bundle, _ = self._bundle()
        if name not in bundle.programs:
            raise not_found("loop", name, bundle.programs)
        program = bundle.programs[name]
        (line,) = [line for line in await self.loops() if line["name"] == name]
        rules = [
            {"id": rule.id, "when": rule.when.text, "result": rule.result, "mode": rule.mode}
            for rule in program.rules
        ]
        return {**line, "revision": program.revision, "rules": rules}

    def _watch(self) -> Watch:
        """What watchdogs knew when FLO last saved it: a minute ago at most, or when it ended."""
        watch = Watch()
        snapshot = WatchdogFile(self._data).read()
        if snapshot is not None:
            watch.restore(snapshot, 0)
        return watch

    async def watchdogs(self, query: Mapping[str, str], limit: int, cursor: str | None) -> Page:
        return self._watch().page(query, limit, cursor)

    async def edges(self, query: Mapping[str, str], limit: int, cursor: str | None) -> Page:
        """From the ledger: what lineage reported, and the summaries of what was traced and what loops did."""
        if self._observer is None:
            bundle, _ = self._bundle()
            watch = self._watch()
            watch.turn_to(bundle.definition)
            self._observer = watch.observer
            edges_of_ledger(self._observer, self._ledgers)
            self._observer.look_at_all()
        return self._observer.page(query, limit, cursor, time.time_ns())

    # -- what only a running FLO does ---------------------------------------------------------------------

    def _only_running(self, what: str) -> NoReturn:
        raise UsageError(f"{what} needs a running FLO: start it with `flo run`, and ask it with --to URL")

    async def lineage(self, raws: Sequence[bytes]) -> list[Receipt]:
        self._only_running("taking lineage")

    async def traces(self, spans: Sequence[Span]) -> None:
        self._only_running("taking spans")

    async def ingest(self, raws: Sequence[bytes]) -> list[Receipt]:
        self._only_running("taking signals")

    async def decide(self, raw: bytes) -> list[dict[str, Any]]:
        self._only_running("deciding")

    async def put_bundle(self, files: Mapping[str, bytes], note: str) -> dict[str, Any]:
        self._only_running("a change of bundle")

    async def kill(self, loop: str, key: str | None, note: str) -> dict[str, Any]:
        self._only_running("kill")

    async def pause(self, pipeline: str, note: str) -> dict[str, Any]:
        self._only_running("pause")

    async def resume(self, pipeline: str, note: str) -> dict[str, Any]:
        self._only_running("resume")

    async def replay_dead_letters(self, asked: DeadLetterOrder) -> dict[str, Any]:
        self._only_running("replaying dead letters")

    async def drop_dead_letters(self, asked: DeadLetterOrder) -> dict[str, Any]:
        self._only_running("dropping dead letters")

    def stream(self) -> AsyncIterator[dict[str, Any]]:
        self._only_running("the stream")

    async def metrics(self) -> bytes:
        self._only_running("metrics")

    def ready(self) -> tuple[bool, str]:
        return False, "this is a data directory, not a running FLO"
