"""Opening a shard: ledger, last checkpoint, and the fold over what came after."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from flo.core.loop.definition import BundleDefinition
from flo.core.loop.program import UNKNOWN_NS, Cells, CompiledAction
from flo.core.record import Applied, decode_group
from flo.flow.mark_blocks import RecordedMarks
from flo.flow.marks import Marks
from flo.flow.reconcile import Reconciler
from flo.flow.recover import Fold, marks_only
from flo.flow.reload import LoadedBundle
from flo.flow.router import Route, Router
from flo.flow.step import Step
from flo.ports.clock import Clock
from flo.ports.disk import Disk
from flo.runtimes.clock import SteadyClock
from flo.runtimes.embedded.checkpointer import SHARED_KEY, Checkpointer, decode_meta
from flo.runtimes.embedded.collector import no_collections
from flo.runtimes.embedded.crash_points import crash_points
from flo.runtimes.embedded.freezer import Freezer
from flo.runtimes.embedded.shard import Shard
from flo.stores.checkpoints import CheckpointStore
from flo.stores.ledger import Ledger
from flo.stores.ledger_view import WriterView
from flo.stores.marks import MarkStore

log = logging.getLogger("flo.open")

FindBundle = Callable[[str, Mapping[str, bytes] | None], LoadedBundle]
"""(revision, its files where the ledger holds them) -> the bundle, compiled."""

NewClock = Callable[[int], Clock]
"""FLO's clock, from the last time the ledger has seen."""

WINDOW_NS = 86_400_000_000_000
"""Of de-duplication, before a bundle says another."""


@dataclass(slots=True)
class OpenShard:
    """A shard brought up to its ledger's end, and the bundle it was last decided under (None: a new ledger)."""

    shard: Shard
    bundle: LoadedBundle | None
    store: CheckpointStore
    checkpointer: Checkpointer
    freezer: Freezer
    book: Book
    replayed_blocks: int
    took_s: float


class Book:
    """The loops in force: which bundle, its routes, and the reconciler's way to its actions."""

    def __init__(self) -> None:
        self.bundle: LoadedBundle | None = None
        self.routes: dict[str, Route] = {}
        self.applied_ns = 0
        self.models: Mapping[str, int] = {}

    @property
    def revision(self) -> str:
        return "" if self.bundle is None else self.bundle.revision

    @property
    def definition(self) -> BundleDefinition:
        assert self.bundle is not None
        return self.bundle.definition

    def action(self, loop: str, rule: str, n: int) -> CompiledAction | None:
        return None if self.bundle is None else self.bundle.action(loop, rule, n)

    def look_at_logic(self) -> None:
        """Tell loops that ask for fresh logic how old theirs is: as old as the oldest model they read, of those whose
        version is known, or as the revision."""
        for route in self.routes.values():
            definition = route.program.definition
            if definition.fresh_logic_ns is not None:
                known = [self.models[name] for name in definition.reads if name in self.models]
                route.cells.logic_ns = min(known, default=self.applied_ns or UNKNOWN_NS)

    def turn_to(self, bundle: LoadedBundle, applied_ns: int = 0) -> Router:
        """Put a bundle in force. State whose definition did not change goes on; other state begins anew."""
        routes: dict[str, Route] = {}
        for name, program in bundle.programs.items():
            before = self.routes.get(name)
            cells = program.new_cells() if before is None else program.adopt(before.program, before.cells)
            routes[name] = Route(program, cells)
        self.bundle = bundle
        self.routes = routes
        self.applied_ns = applied_ns
        self.look_at_logic()
        pipelines = bundle.definition.pipelines.values()
        return Router(routes.values(), {pipeline.name: pipeline.loops for pipeline in pipelines})


@no_collections()
def open_shard(
    disk: Disk,
    directory: str,
    number: int,
    find_bundle: FindBundle,
    new_clock: NewClock = SteadyClock,
) -> OpenShard:
    """Open for writing. Ready means: every acknowledged signal is in the state again. Call it on the event loop.

    On failure nothing is held: the shard can be opened again.
    """
    ledger = Ledger.open(disk, directory, number)
    try:
        return _opened(disk, directory, number, ledger, find_bundle, new_clock)
    except BaseException:
        ledger.close()
        raise


def _opened(
    disk: Disk, directory: str, number: int, ledger: Ledger, find_bundle: FindBundle, new_clock: NewClock
) -> OpenShard:
    began = time.perf_counter()
    store = CheckpointStore(disk, directory, number)
    checkpoint = store.latest()
    if checkpoint is not None:
        ledger.must_reach(checkpoint.block)
    book = Book()
    reconciler = Reconciler(book.action)
    marks = Marks(WINDOW_NS, RecordedMarks(WriterView(ledger)))
    freezer = Freezer(marks, ledger, MarkStore(disk, directory, number))
    step = Step(Router(()), marks, reconciler, number)
    fold = Fold(book.routes, marks, reconciler)
    newest = next(iter(ledger.scan(reverse=True, headers_only=True)), None)
    clock = new_clock(0 if newest is None else newest.written_ns)
    first = ledger.first_block
    if checkpoint is not None:
        meta = decode_meta(checkpoint.meta)
        put_in_force(step, book, find_bundle(meta.revision, None), meta.applied_ns)
        reconciler.restore(meta.reconciler)
        states, fold.ahead = checkpoint.load()
        for name, route in book.routes.items():
            _load(route, states.get(name, {}))
        first = checkpoint.block + 1
    tail = freezer.restore(clock.now_ns(), first - 1)
    if tail is not None:
        for block in ledger.scan(first=tail[0], last=tail[1]):
            marks_only(fold, block.number, decode_group(block.payload))
    replayed = 0
    for block in ledger.scan(first=first):
        fold.routes = book.routes
        for applied in fold.block(block.number, decode_group(block.payload)):
            put_in_force(step, book, find_bundle(applied.revision, applied.files), applied.at_ns)
        freezer.freeze_closed()
        replayed += 1
    freezer.complete(clock.now_ns())
    book.models = reconciler.models
    book.look_at_logic()
    reached = crash_points()
    shard = Shard(number, ledger, step, reconciler, clock, reached)
    for loop, keys in fold.touched.items():
        shard.dirty.add(loop, keys)
    checkpointer = Checkpointer(
        shard, store, lambda: book.routes, lambda: book.revision, lambda: book.applied_ns, reached
    )
    took = time.perf_counter() - began
    if replayed:
        log.info("shard %d: %d blocks replayed in %.2f s", number, replayed, took)
    return OpenShard(shard, book.bundle, store, checkpointer, freezer, book, replayed, took)


def put_in_force(step: Step, book: Book, bundle: LoadedBundle, applied_ns: int) -> None:
    """From the next signal on, decide by this bundle, which was applied then."""
    step.turn_to(book.turn_to(bundle, applied_ns), bundle.definition)
    step.marks.window_ns = bundle.definition.dedupe_ns


def _load(route: Route, states: dict[str, bytes]) -> None:
    shared = states.pop(SHARED_KEY, None)
    cells: Cells = route.cells
    cells.cold = states
    if shared is not None and cells.shared:
        cells.shared = route.program.shared_plan.decode(shared)


def applied_event(bundle: LoadedBundle, now_ns: int, by: str) -> Applied:
    return Applied(revision=bundle.revision, files=dict(bundle.definition.files), at_ns=now_ns, by=by)
