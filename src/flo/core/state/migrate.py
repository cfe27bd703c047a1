"""What a new bundle keeps of a key's state: every definition that stays the same, and the entries it measured."""

from __future__ import annotations

from typing import Any

from flo.core.state.accumulate import begin
from flo.core.state.entries import Cell, Entries, entries_of
from flo.core.state.late import blank, make_slow, refill
from flo.core.state.layout import MISSING, NEVER, Column, Figure, Window
from flo.core.state.panes import Panes, Ring

SUMMED = ("measured", "true", "sum", "square")
"""Roles that are read together, and so must have begun together."""


def migrate(old: tuple[Window, ...], new: tuple[Window, ...], is_shared: bool, slots: Cell) -> Cell:
    """The slots under the new windows; the old slots are not used again.

    A window keeps its entries where it keeps something measured; a column that is new to it counts from its first
    value on. Panes keep a column only if they hold all its figures: what was not summed cannot be.
    """
    by_length = {window.over_ns: window for window in old}
    newest = slots[0] if slots[1] is None else slots[1][0]
    kept: Cell = [newest, None] if not is_shared else [NEVER, None]
    gaps_until = NEVER
    to_panes = False
    for at, window in enumerate(new):
        source = by_length.get(window.over_ns)
        if is_shared:
            kept.append(
                Panes(window) if source is None else _panes(source, window, slots[2 + old.index(source)])
            )
        elif source is None:
            kept += blank(window)
        elif window.over_ns is None:
            kept += _since_ever(source, window, slots)
        elif isinstance(slots[source.slot], Panes):
            kept += [_panes(source, window, slots[source.slot]), *[None] * (window.end - window.slot - 1)]
            to_panes = True
        else:
            kept += blank(window)
            if _shares(source, window):
                entries = kept[window.slot : window.start] = _entries(source, window, slots)
                if any(MISSING in values for values in entries[1:]):
                    gaps_until = max(gaps_until, newest + 3 * window.over_ns)
        assert is_shared or len(kept) == window.end, f"window {at} of the plan has lost its slots"
    if gaps_until != NEVER or to_panes or slots[1] is not None:
        make_slow(kept, 0, gaps_until if slots[1] is None else max(gaps_until, slots[1][1]))
    for window in new:
        if window.over_ns is not None and not is_shared and not isinstance(kept[window.slot], Panes):
            refill(window, kept, 0, entries_of(window, kept, 0), newest)
    return kept


def _shares(source: Window, window: Window) -> bool:
    """Whether some definition stays, or some column can go on being measured."""
    names = {(d.kind, d.expression.text.strip()) for d in source.definitions}
    return bool({c.measure for c in source.columns} & {c.measure for c in window.columns}) or any(
        (d.kind, d.expression.text.strip()) in names for d in window.definitions
    )


def _twin(column: Column, source: Window) -> Column | None:
    """The column that measured the same, as the same type."""
    return next((c for c in source.columns if (c.measure, c.type) == (column.measure, column.type)), None)


def _entries(source: Window, window: Window, slots: Cell) -> Entries:
    entries = entries_of(source, slots, 0)
    twins = [_twin(column, source) for column in window.columns]
    gaps = [MISSING] * len(entries[0])
    return [entries[0], *(gaps.copy() if twin is None else entries[twin.index] for twin in twins)]


def _since_ever(source: Window, window: Window, slots: Cell) -> list[Any]:
    kept = blank(window)
    for figure in window.figures:
        twin = _figure_twin(figure, source)
        if twin is not None and twin.slot is not None and figure.slot is not None:
            width = {"last": 4, "ewma": 3}.get(figure.role, 1)
            at = figure.slot - window.slot
            kept[at : at + width] = slots[twin.slot : twin.slot + width]
    return kept


def _panes(source: Window, window: Window, panes: Panes) -> Panes:
    moved = Panes(window)
    moved.newest = panes.newest
    for old, new in ((panes.fine, moved.fine), (panes.coarse, moved.coarse)):
        twins = [_pane_twin(figure, source, window, old) for figure in new.figures]
        for index, pane in old.panes.items():
            new.take(
                index,
                [begin(f) if at is None else pane[at] for f, at in zip(new.figures, twins, strict=True)],
            )
    return moved


def _pane_twin(figure: Figure, source: Window, window: Window, ring: Ring) -> int | None:
    """Where the old panes hold this figure; None where they lack a sum it is read with."""
    if figure.role in SUMMED:
        siblings = [f for f in window.figures if f.column == figure.column and f.role in SUMMED]
        if any(_figure_twin(sibling, source) is None for sibling in siblings):
            return None
    twin = _figure_twin(figure, source)
    return None if twin is None else ring.figures.index(twin)


def _figure_twin(figure: Figure, source: Window) -> Figure | None:
    column = None if figure.column is None else _twin(figure.column, source)
    if figure.column is not None and column is None:
        return None
    for twin in source.figures:
        if (twin.role, twin.column) == (figure.role, column) and (
            twin.parameter == figure.parameter or figure.role == "quantile"
        ):
            return twin
    return None
