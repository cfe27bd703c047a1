"""What the tests of loops share: a bundle in force on one shard, its ledger in memory, time as an input.

No mocks: the bundle is read and compiled as `flo run` does it, signals go through the real step, and every group
is encoded to the bytes of a block and read back. Only disks and threads are left out.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from textwrap import dedent
from typing import Any

from flo.core.record import Applied, Event, Group, GroupView, decode_group, encode_group
from flo.core.signal import encode_signal, parse_signal, text_from_time
from flo.engines.registry import engine_kinds
from flo.flow.explain import explain
from flo.flow.marks import Marks
from flo.flow.reconcile import Reconciler
from flo.flow.recorded import parked_batches
from flo.flow.recover import Fold
from flo.flow.reload import LoadedBundle, load_bundle
from flo.flow.router import Route
from flo.flow.step import Step, Submission
from flo.flow.views.decisions import find_decision, outcomes_of
from flo.ports.service import Receipt
from flo.runtimes.embedded.opening import Book
from flo.runtimes.embedded.orders import Drain, Order, carry_out
from flo.stores.bundle_functions import load_functions

S = 1_000_000_000
T0 = 1_767_225_600 * S
"""2026-01-01T00:00:00Z."""

ENGINES = "engines: {stub: {kind: stub}, other: {kind: stub}}\n"

SCHEMA = {
    "type": "object",
    "properties": {
        "card": {"type": "string"},
        "amount": {"type": "number"},
        "n": {"type": "integer"},
        "ok": {"type": "boolean"},
        "note": {"type": "string"},
    },
    "required": ["card"],
}


def bundle(*loops: str, flo: str = ENGINES, functions: str = "", **contracts: Any) -> LoadedBundle:
    """A bundle of loop files (a name is added where there is none), contract `tx/1` and what else is given."""
    files: dict[str, bytes] = {"flo.yaml": flo.encode()}
    for number, text in enumerate(loops):
        text = dedent(text)
        if not text.startswith("loop:"):
            text = f"loop: l{number}\n{text}"
        name = text.split("\n", 1)[0].removeprefix("loop:").strip()
        files[f"loops/{name}.yaml"] = text.encode()
    for name, schema in {"tx_1": SCHEMA, **contracts}.items():
        contract, _, version = name.rpartition("_")
        files[f"contracts/{contract}/{version}.json"] = json.dumps(schema).encode()
    if functions:
        files["functions.py"] = dedent(functions).encode()
    return load_bundle(files, engine_kinds(), load_functions)


def event(
    data: Any = None, *, type: str = "tx", id: str | None = None, at: float = 0.0, **extensions: Any
) -> bytes:
    """One signal, `at` seconds after T0. Without an id it is a new one each time."""
    global _ids
    _ids += 1
    return encode_signal(
        id=id or f"e{_ids}",
        source="test",
        type=type,
        time_ns=T0 + round(at * S),
        data=data,
        extensions=extensions or None,
    )


_ids = 0


@dataclass(frozen=True)
class Stored:
    number: int
    count: int
    written_ns: int
    summary: bytes
    payload: bytes


class MemoryView:
    """The ledger of a rig, as views read it."""

    shard = 0

    def __init__(self) -> None:
        self.blocks: list[Stored] = []

    def last_block(self) -> int:
        return len(self.blocks) - 1

    def read(self, block: int) -> Stored:
        if not 0 <= block < len(self.blocks):
            raise KeyError(block)
        return self.blocks[block]

    def headers(self, last: int, first: int = 0) -> Iterator[Stored]:
        yield from reversed(self.blocks[first : last + 1])


class Rig:
    """One shard without disk, threads or dispatcher. `now` is seconds after T0; `send` decides one group."""

    def __init__(self, first: LoadedBundle) -> None:
        self.view = MemoryView()
        self.now = 0.0
        self.bundles: dict[str, LoadedBundle] = {}
        self.book = Book()
        self.reconciler = Reconciler(self.book.action)
        router = self.book.turn_to(first)
        self.step = Step(router, Marks(86_400 * S), self.reconciler)
        self.step.turn_to(router, first.definition)
        self.bundles[first.revision] = first
        self._group(lambda group: group.events.append(_applied(first)))

    @property
    def now_ns(self) -> int:
        return T0 + round(self.now * S)

    def route(self, loop: str = "l0") -> Route:
        return self.book.routes[loop]

    # -- what happens -------------------------------------------------------------------------------------

    def send(
        self,
        *events: bytes,
        needs: Mapping[int, Mapping[str, Mapping[str, Any]]] | None = None,
    ) -> list[Receipt]:
        """Offer signals in one batch; the receipts name the decisions."""
        submission = Submission(events, lambda result: None, needs or {}, detailed=True)
        received: list[list[Receipt]] = []
        self._group(lambda group: received.extend(self.step.run([submission], group)))
        return received[0]

    def turn_to(self, after: LoadedBundle) -> None:
        """Put another bundle in force."""
        self.bundles[after.revision] = after
        self._group(lambda group: group.events.append(_applied(after)))
        self.step.turn_to(self.book.turn_to(after), after.definition)

    def learned(self, *events: Any) -> None:
        """What a dispatcher would report."""
        self._group(lambda group: self.reconciler.learned(events, group))

    def tick(self, to: float) -> None:
        """Let time pass."""
        self.now = to
        self._group(lambda group: None)

    def order(self, order: Order) -> Any:
        """What an operator or a drain has the shard do, and signals offered in the same group."""
        answers: list[Any] = []

        def fill(group: Group) -> None:
            answers.append(carry_out(order, self.step, group))
            self.step.run([], group)

        self._group(fill)
        return answers[0]

    def drain(self, pipeline: str, most: int = 1_000_000) -> int:
        """Decide what is parked until it runs, or the breaker opens; how many signals."""
        done = 0
        while (pause := self.reconciler.pauses.get(pipeline)) is not None and pause.is_draining and most:
            batch = next(parked_batches(self.view, pipeline, (pause.block, pause.row), min(most, 3)))
            done += self.order(Drain(batch))
            most -= len(batch.signals)
        return done

    def kill(self, loop: str, key: str | None = None) -> list[str]:
        killed: list[str] = []
        self._group(lambda group: killed.extend(self.reconciler.kill(loop, key, "a test", group)))
        return killed

    def _group(self, fill: Any) -> None:
        group = Group(block=len(self.view.blocks), shard=0, decided_ns=self.now_ns)
        self.reconciler.fire(group.decided_ns, group)
        fill(group)
        if not group.is_empty():
            payload, summary = encode_group(group)
            self.view.blocks.append(Stored(group.block, group.records(), group.decided_ns, summary, payload))

    # -- what is read -------------------------------------------------------------------------------------

    def groups(self) -> list[GroupView]:
        return [decode_group(block.payload) for block in self.view.blocks]

    def events(self, kind: type[Any] = object) -> list[Any]:
        """All events of a kind, in order."""
        found: list[Event] = [each for group in self.groups() for each in group.events()]
        return [each for each in found if isinstance(each, kind)]

    def program(self, revision: str, loop: str) -> Any:
        return self.bundles[revision].programs.get(loop)

    def record(self, decision_id: str) -> dict[str, Any]:
        return find_decision({0: self.view}, decision_id, self.program)

    def decided(self, *events: bytes, **more: Any) -> list[dict[str, Any]]:
        """Send, and read back the record of every decision."""
        return [self.record(each) for receipt in self.send(*events, **more) for each in receipt.decisions]

    def one(
        self, data: Any = None, *, needs: Mapping[str, Any] | None = None, **about: Any
    ) -> dict[str, Any]:
        """The one decision that one signal brings."""
        wanted = None if needs is None else {0: dict.fromkeys(self.book.routes, needs)}
        (record,) = self.decided(event(data, **about), needs=wanted)
        return record

    def records(self) -> list[dict[str, Any]]:
        """Every decision in the ledger."""
        found = []
        for block, group in enumerate(self.groups()):
            for number, section in enumerate(group.sections):
                for row in range(section.count):
                    found.append(self.record(f"0-{block}-{number}-{row}"))
        return found

    def explain(self, record: Mapping[str, Any]) -> dict[str, Any]:
        block = int(record["decision_id"].split("-")[1])
        outcomes = outcomes_of(self.view, block, {command["key"] for command in record["commands"]})
        return explain(
            self.program(record["revision"], record["loop"]),
            record,
            outcomes,
            lambda each: self._parent(each),
        )

    def _parent(self, decision_id: str) -> dict[str, Any] | None:
        try:
            return self.record(decision_id)
        except Exception:
            return None

    # -- restarts -----------------------------------------------------------------------------------------

    def states(self) -> dict[str, Any]:
        """All that the fold must bring back, in comparable form."""
        states: dict[str, Any] = {}
        for name, route in self.book.routes.items():
            program, cells = route.program, route.cells
            keys = sorted({*cells, *cells.cold})
            states[name] = {key: program.encode_cell(cells[key]) for key in keys}
            if cells.shared:
                states[name][""] = program.encode_shared(cells.shared)
        return states

    def checkpoint(self) -> Checkpoint:
        """What a checkpoint taken now would hold."""
        shared = {
            name: route.program.encode_shared(route.cells.shared)
            for name, route in self.book.routes.items()
            if route.cells.shared
        }
        states = self.states()
        for cells in states.values():
            cells.pop("", None)
        return Checkpoint(
            len(self.view.blocks) - 1, self.book.revision, states, shared, self.reconciler.snapshot()
        )

    def restarted(self, checkpoint: Checkpoint | None = None) -> Rig:
        """A rig that knows nothing but this one's ledger (and a checkpoint), brought up to its end."""
        rig = object.__new__(Rig)
        rig.view, rig.now, rig.bundles = self.view, self.now, self.bundles
        rig.book = Book()
        rig.reconciler = Reconciler(rig.book.action)
        marks = Marks(86_400 * S)
        fold = Fold({}, marks, rig.reconciler)
        first = 0
        router = None
        if checkpoint is not None:
            first = checkpoint.block + 1
            router = rig.book.turn_to(self.bundles[checkpoint.revision])
            rig.reconciler.turn_to(self.bundles[checkpoint.revision].definition)
            rig.reconciler.restore(checkpoint.reconciler)
            for name, route in rig.book.routes.items():
                route.cells.cold = dict(checkpoint.states.get(name, {}))
                if name in checkpoint.shared:
                    route.cells.shared = route.program.shared_plan.decode(checkpoint.shared[name])
        for number, stored in enumerate(self.view.blocks):
            group = decode_group(stored.payload)
            if number < first:
                fold.mark(number, group, [_parsed(raw) for raw in group.raws()])
                continue
            fold.routes = rig.book.routes
            for applied in fold.block(number, group):
                router = rig.book.turn_to(self.bundles[applied.revision])
                rig.reconciler.turn_to(self.bundles[applied.revision].definition)
        assert router is not None
        rig.step = Step(router, marks, rig.reconciler)
        rig.step.turn_to(router, self.bundles[rig.book.revision].definition)
        return rig


@dataclass(frozen=True)
class Checkpoint:
    block: int
    revision: str
    states: Mapping[str, Mapping[str, bytes]]
    shared: Mapping[str, bytes]
    reconciler: bytes


def _applied(after: LoadedBundle) -> Applied:
    return Applied(revision=after.revision, files={}, at_ns=T0)


def _parsed(raw: bytes) -> Any:
    return parse_signal(raw), raw


def at(seconds: float) -> str:
    """A time as records write it."""
    return text_from_time(T0 + round(seconds * S))


def keys_of(receipts: Sequence[Receipt]) -> list[str]:
    return [receipt.status for receipt in receipts]


CARD = "contract: tx/1\nkey: data.card\n"
ACTS = "rules: [{id: a, when: 'true', then: [{do: stub.call}]}]\n"


def rig(*loops: str, **more: Any) -> Rig:
    """A rig on a bundle of these loops."""
    return Rig(bundle(*loops, **more))
