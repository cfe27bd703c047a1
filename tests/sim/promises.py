"""What must hold of a data directory whatever happened to the FLO that wrote it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from tests.sim.world import PayOracle, as_json

from flo.core.record import (
    CommandIssued,
    CommandOutcome,
    DeadLetter,
    GroupView,
    IterationClosed,
    decode_group,
)
from flo.core.signal import time_from_text
from flo.flow.mark_blocks import MARK_REFUSED, MARK_REPLAY
from flo.flow.recover import Fold
from flo.flow.reload import LoadedBundle
from flo.flow.views.record import decision_record, parse_decision_id, record_bytes, redecide
from flo.ports.disk import Disk
from flo.runtimes.embedded.opening import Book, OpenShard, open_shard
from flo.stores.ledger import LedgerReader

Blocks = list[tuple[int, GroupView]]


@dataclass
class Written:
    """A ledger, taken apart."""

    shard: int = 0
    blocks: Blocks = field(default_factory=list)
    ids: Counter[tuple[str, str]] = field(default_factory=Counter)
    issued: dict[str, CommandIssued] = field(default_factory=dict)
    outcomes: dict[str, CommandOutcome] = field(default_factory=dict)
    parked: set[str] = field(default_factory=set)
    dead: list[DeadLetter] = field(default_factory=list)
    closed: list[IterationClosed] = field(default_factory=list)


def read_ledger(disk: Disk, directory: str, shard: int = 0) -> Written:
    written = Written(shard)
    for block in LedgerReader.open(disk, directory, shard).scan():
        group = decode_group(block.payload)
        written.blocks.append((block.number, group))
        _take_apart(written, group)
    return written


def _take_apart(written: Written, group: GroupView) -> None:
    for row, raw in enumerate(group.raws()):
        if not group.marks.get(row, 0) & (MARK_REFUSED | MARK_REPLAY):
            event = as_json(raw)
            written.ids[event["source"], event["id"]] += 1
    for event in group.events():
        if isinstance(event, CommandIssued):
            assert event.command.key not in written.issued, f"{event.command.key} was issued twice"
            written.issued[event.command.key] = event
        elif isinstance(event, CommandOutcome):
            assert event.command_key not in written.outcomes, f"{event.command_key} ended twice"
            assert event.command_key in written.issued, f"{event.command_key} ended and was never issued"
            written.outcomes[event.command_key] = event
        elif isinstance(event, IterationClosed):
            written.closed.append(event)
        elif isinstance(event, DeadLetter):
            written.dead.append(event)
            if event.reason == "unknown-fate" and event.command_key:
                written.parked.add(event.command_key)


def check_signals(written: Written, acknowledged: Iterable[tuple[str, str]]) -> None:
    """No acknowledged signal lost, none taken twice."""
    lost = [id for id in acknowledged if id not in written.ids]
    assert not lost, f"{len(lost)} acknowledged signals are lost, the first is {lost[0]}"
    twice = [id for id, count in written.ids.items() if count > 1]
    assert not twice, f"{twice[0]} was taken twice"


def check_decisions(written: Written, bundle: LoadedBundle) -> None:
    """Every decision is what the oracle says; deciding its record again gives the same bytes; its commands are recorded."""
    oracle = PayOracle()
    due: set[str] = set()
    for number, group in written.blocks:
        raws = group.raws()
        issued = [event for event in group.events() if isinstance(event, CommandIssued)]
        decided: set[tuple[str, int]] = set()
        for section_number, section in enumerate(group.sections):
            program = bundle.programs[section.loop]
            for row_number, row in enumerate(section.rows()):
                place = (written.shard, number, section_number, row_number)
                record = decision_record(program, group, section, place, row, raws[row[0]], issued)
                assert record_bytes(redecide(program, record)) == record_bytes(record)
                decided.add((section.loop, row[0]))
                if section.loop == "pay":
                    due.update(_check_pay(oracle, record))
        for row, raw in enumerate(raws):
            event = as_json(raw)
            if event["type"] == "pay.made" and not group.marks.get(row, 0):
                assert ("pay", row) in decided, "a recorded signal has no decision"
    recorded = {key for key in written.issued if key.startswith("pay/") and "/silent/" not in key}
    assert recorded == due, f"commands missing {due - recorded}, or of nothing {recorded - due}"
    groups = dict(written.blocks)
    for each in written.issued.values():
        shard, block, section_number, row_number = parse_decision_id(each.command.decision_id)
        assert shard == written.shard
        assert row_number < groups[block].sections[section_number].count, "a command without its decision"


def _check_pay(oracle: PayOracle, record: dict[str, Any]) -> list[str]:
    data = record["signal"]["data"]
    said = oracle.decide(data["card"], data["amount"], time_from_text(record["signal"]["time"]))
    assert (record["key"], record["seq"]) == (said.key, said.seq)
    read = {name: value for name, value in record["state"].items() if name in said.state}
    assert read == {name: said.state[name] for name in read}, record["decision_id"]
    assert record["rule"] == said.rule, record
    assert [command["key"] for command in record["commands"]] == said.commands
    often = next(rule for rule in record["rules"] if rule["id"] == "often")
    assert (often["suppressed"] == "once_within") == said.suppressed
    return said.commands


def check_recovered(opened: OpenShard, written: Written, bundle: LoadedBundle) -> None:
    """The state that recovery made is the fold over the whole ledger, begun at nothing."""
    if opened.bundle is None:
        assert not written.ids, "signals were taken before any bundle was in force"
        return
    naive = Book()
    naive.turn_to(bundle)
    fold = Fold(naive.routes, type(opened.shard.step.marks)(86_400 * 10**9), _reconciler_like(opened, naive))
    for number, group in written.blocks:
        fold.block(number, group)
    assert cells_of(opened.book) == cells_of(naive)
    recovered, again = opened.shard.reconciler, fold.reconciler
    assert set(recovered.commands) == set(again.commands)
    assert {key: (each.state, each.attempts) for key, each in recovered.commands.items()} == {
        key: (each.state, each.attempts) for key, each in again.commands.items()
    }
    assert set(recovered.iterations) == set(again.iterations)
    assert {type: set(waits) for type, waits in recovered.expected.items()} == {
        type: set(waits) for type, waits in again.expected.items()
    }


def _reconciler_like(opened: OpenShard, book: Book) -> Any:
    return type(opened.shard.reconciler)(book.action)


def cells_of(book: Book) -> dict[str, dict[str, Any]]:
    """Every loop's state in plain values, that of keys and the shared one."""
    found: dict[str, dict[str, Any]] = {}
    for name, route in book.routes.items():
        program, cells = route.program, route.cells
        for key in [*cells.cold]:
            _ = cells[key]  # decodes it
        states: dict[str, Any] = {key: program.encode_cell(cell) for key, cell in cells.items()}
        if cells.shared:
            states[""] = program.encode_shared(cells.shared)
        found[name] = states
    return found


def check_commands(
    written: Written, engine: str, effects: Iterable[str], open_keys: Iterable[str], *, settled: bool
) -> None:
    """No effect of a command that is not recorded; once all is settled, none missing either."""
    effects = list(effects)
    unknown = set(effects) - set(written.issued)
    assert not unknown, f"keys that no recorded decision has: {sorted(unknown)[:3]}"
    still_open = set(open_keys)
    for key, each in written.issued.items():
        ended = key in written.outcomes or key in written.parked
        assert ended or key in still_open, f"{key} is neither open nor ended"
        if settled and not ended:
            assert each.command.expect_signal is not None, f"{key} should have ended"
        if settled and each.command.engine == engine and key not in written.parked:
            outcome = written.outcomes.get(key)
            if outcome is None or outcome.outcome in ("succeeded", "stale", "silent"):
                assert key in effects, f"{key} never reached its engine"


def reopen(disk: Disk, directory: str, bundle: LoadedBundle, shard: int = 0) -> OpenShard:
    """The shard as a start would recover it; nothing is started. Call it on an event loop, and close its ledger."""
    return open_shard(disk, directory, shard, lambda revision, files: bundle)
