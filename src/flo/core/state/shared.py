"""State shared across keys: every window in panes, one partition a worker, the others' merged in when read."""

from __future__ import annotations

from typing import Any

from flo.core.state.entries import Cell
from flo.core.state.figures import stand_in
from flo.core.state.layout import Window
from flo.core.state.panes import Panes


def step(
    windows: tuple[Window, ...], cell: Cell, offset: int, others: Cell | None, t: int, *values: Any
) -> tuple[Any, ...]:
    """Update every window with a signal at `t`; whether it was late for one, then the figures of all partitions."""
    late = False
    told: list[Any] = []
    first = 0
    for at, window in enumerate(windows):
        own = values[first : first + len(window.columns)]
        first += len(window.columns)
        panes = cell[offset + 2 + at]
        too_late = panes.add(t, own)
        late |= too_late
        read = figures(at, cell, offset, others, panes.newest if too_late else t)
        stand_in(window, read, own)
        told += read
    return late, *told


def figures(at: int, cell: Cell, offset: int, others: Cell | None, t: int) -> list[Any]:
    """The raw figures of the window numbered `at`, this partition's and the others' together."""
    panes: Panes = cell[offset + 2 + at]
    return panes.figures(t, None if others is None else others[2 + at])
