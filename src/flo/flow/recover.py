"""Recovery: state is a fold over the ledger, begun at the last checkpoint."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from flo.core.context import Context
from flo.core.contract import ContractViolation
from flo.core.loop.program import Cells, LoopProgram
from flo.core.record import Applied, GroupView
from flo.core.record.group import SectionView
from flo.core.signal import Envelope, parse_signal, time_from_text
from flo.flow.inputs import decode_data, effective_context
from flo.flow.mark_blocks import MARK_REFUSED, MARK_REPLAY
from flo.flow.marks import Marks
from flo.flow.reconcile import Reconciler
from flo.flow.router import Route


class Fold:
    """Brings cells, open commands and marks up to the ledger's end, block by block."""

    def __init__(self, routes: Mapping[str, Route], marks: Marks, reconciler: Reconciler) -> None:
        self.routes = routes
        self.marks = marks
        self.reconciler = reconciler
        self.ahead: Mapping[str, Mapping[str, int]] = {}
        self.touched: dict[str, set[str]] = {}

    def block(self, number: int, group: GroupView) -> list[Applied]:
        """Fold one block; the changes of bundle found in it are answered, in order, for the caller to make."""
        events = [_parsed(raw) for raw in group.raws()]
        self.mark(number, group, events)
        for section in group.sections:
            if section.count:
                self._section(number, group, section, events)
        applied = []
        for event in group.events():
            if isinstance(event, Applied):
                applied.append(event)
            else:
                self.reconciler.apply(event)
        return applied

    def mark(
        self, number: int, group: GroupView, events: Sequence[tuple[Envelope | _Identity, bytes]]
    ) -> None:
        """The recorded signals are the de-duplication marks."""
        self.marks.turn(group.decided_ns, number)
        for row, (event, raw) in enumerate(events):
            flags = group.marks.get(row, 0)
            if flags & MARK_REFUSED:
                self.marks.add_refused(event.source, event.id, raw)
            elif not flags & MARK_REPLAY:
                self.marks.add(event.source, event.id)

    def _section(
        self, number: int, group: GroupView, section: SectionView, events: list[tuple[Envelope, bytes]]
    ) -> None:
        route = self.routes.get(section.loop)
        if route is None:
            return  # a loop that the bundle in force no longer has
        ahead = self.ahead.get(section.loop, {})
        touched = self.touched.setdefault(section.loop, set())
        program, cells = route.program, route.cells
        for row in section.rows():
            extra = row[-1]
            if extra is not None and extra.get("applied") is False:
                continue
            key = row[1]
            event, _ = events[row[0]]
            if ahead.get(key, 0) < number:
                touched.add(key)
                fold_row(program, cells, route, group, event, row)
            elif cells.shared:  # the key's own state holds this row already; the loop's shared state does not
                scratch = program.new_cells()
                scratch.shared = cells.shared
                fold_row(program, scratch, route, group, event, row)


def fold_row(
    program: LoopProgram, cells: Cells, route: Route, group: GroupView, event: Envelope, row: tuple[Any, ...]
) -> None:
    """One decision's change of state, again: from what the row says its state was given, or from the signal."""
    now = group.decided_ns
    t = now if event.time is None else time_from_text(event.time)
    measured = _measured(row)
    if measured is not None:
        _remember_acts(program, program.refold(t, now, row[1], measured, cells), row, t)
        return
    try:
        data = decode_data(route, event)
    except ContractViolation:
        return  # decided under another version of the contract; its loop's state began anew with that change
    recorded = group.contexts.get(row[0])
    context = effective_context(None if recorded is None else Context(*recorded), event, now, route)
    need = None if row[-2] is None else row[-2][0]
    cell = program.fold(event, data, t, now, context, need, cells, row[0])
    if cell is not None:
        _remember_acts(program, cell, row, t)


def _measured(row: tuple[Any, ...]) -> Sequence[Any] | None:
    """The inputs of the state, where the row has them: its signal is masked then."""
    inputs = row[-2]
    return None if inputs is None or len(inputs) < 3 else inputs[2]


def _remember_acts(program: LoopProgram, cell: list[Any], row: tuple[Any, ...], t: int) -> None:
    """`once_within` rules remember when they last acted."""
    slot = 0
    exit, extra = row[3], row[-1] or {}
    if "error" in extra:
        return  # it failed as a whole: no rule acted
    fired = extra.get("fired", (exit,))
    for index, rule in enumerate(program.rules):
        if rule.once_within_ns is None:
            continue
        slot += 1
        if index in fired and f"suppressed:{rule.id}" not in extra and rule.mode == "live":
            cell[slot] = t


def _parsed(raw: bytes) -> tuple[Envelope, bytes]:
    return parse_signal(raw), raw


class _Identity(msgspec.Struct, gc=False):
    """All that a mark is made of: a quarter of the time that a whole envelope takes, of what was checked when it came."""

    source: str
    id: str


_identity = msgspec.json.Decoder(_Identity).decode


def marks_only(fold: Fold, number: int, group: GroupView) -> None:
    """A block before the checkpoint: only its marks are needed."""
    fold.mark(number, group, [(_identity(raw), raw) for raw in group.raws()])
