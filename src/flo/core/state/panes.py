"""A window cut into panes: bounded memory for hot keys and for state shared across keys.

A window is its newest PANES panes, the one of its time included: of the length `over` to a pane's resolution, 1/360 of
it, and of quantiles and distinct values, 1/24. What a pane holds is exact; only the window's old edge is rounded, to
at most one pane too short. Twice as many panes are kept, for signals that come late.

Reading is constant in cost: the sums of panes from each closed one to the last rebuild are kept ("two stacks", e.g.
Tangwongsan, Hirzel, Schneider, "General incremental sliding-window aggregation", 2015), with one sum of what closed
since. Nothing is ever subtracted, so extremes and sketches slide as counts do.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from flo.core.state.accumulate import SKETCHED, add, begin, merge, tell, tell_previous
from flo.core.state.layout import MISSING, NEVER, Figure, Window

PANES = 360
SKETCH_PANES = 24
DRIFT = 1000  # sketches are asked again when a window has grown by a thousandth

Pane = list[Any]


class Ring:
    """Panes of one width for some figures of a window. `width_ns` None: one pane, since ever."""

    __slots__ = ("back", "count", "figures", "front", "hold_from", "memo", "newest", "panes", "width_ns")

    def __init__(self, figures: tuple[Figure, ...], over_ns: int | None, count: int) -> None:
        self.figures = figures
        self.count = count
        self.width_ns = None if over_ns is None else -(-over_ns // count)
        self.panes: dict[int, Pane] = {}
        self.newest = NEVER
        self.hold_from = NEVER  # panes from here to the newest are summed in `back`
        self.front: dict[int, Pane] = {}  # pane -> sum of the panes from it to the one before `hold_from`
        self.back: Pane | None = None  # None: to be rebuilt
        self.memo: tuple[int, Pane] | None = None  # the last window that was not the newest

    def index(self, t: int) -> int:
        return 0 if self.width_ns is None else t // self.width_ns

    def add(self, t: int, values: Sequence[Any]) -> None:
        index = self.index(t)
        self.memo = None
        pane = self.panes.get(index)
        if pane is None:
            pane = self.panes[index] = [begin(figure) for figure in self.figures]
        self._add_to(pane, t, values)
        if index > self.newest:
            self.newest = index
            self._forget()
        if self.back is not None:
            if index >= self.hold_from:
                self._add_to(self.back, t, values)
            else:
                self.back = None

    def fold(self, index: int) -> Pane:
        """The window whose newest pane is `index`, summed. The caller must not change it."""
        if self.width_ns is None:
            return self.panes.get(index) or [begin(figure) for figure in self.figures]
        if index != self.newest:
            if self.memo is None or self.memo[0] != index:
                self.memo = (index, self._fold(range(index - self.count + 1, index + 1)))
            return self.memo[1]
        first = index - self.count + 1
        if self.back is None or self.hold_from < first:
            self._rebuild()
        assert self.back is not None
        while first < self.hold_from and first not in self.front:
            first += 1
        return self.back if first >= self.hold_from else self.merge(self.front[first], self.back)

    def take(self, index: int, pane: Pane) -> None:
        """Add a whole pane, as stored or as another partition has it."""
        held = self.panes.get(index)
        self.panes[index] = pane if held is None else self.merge(held, pane)
        self.newest = max(self.newest, index)
        self.back = self.memo = None

    def _rebuild(self) -> None:
        self.front = {}
        total: Pane | None = None
        for index in range(self.newest - 1, self.newest - self.count, -1):
            pane = self.panes.get(index)
            if pane is not None:
                total = pane if total is None else self.merge(pane, total)
                self.front[index] = total
        self.hold_from = self.newest
        self.back = self._fold((self.newest,))

    def _fold(self, indices: Sequence[int]) -> Pane:
        total = [begin(figure) for figure in self.figures]
        for index in indices:
            pane = self.panes.get(index)
            if pane is not None:
                total = self.merge(total, pane)
        return total

    def merge(self, one: Pane, other: Pane) -> Pane:
        """Both panes together, as a new one."""
        return [merge(figure, a, b) for figure, a, b in zip(self.figures, one, other, strict=True)]

    def _add_to(self, pane: Pane, t: int, values: Sequence[Any]) -> None:
        for at, figure in enumerate(self.figures):
            if figure.column is None:
                pane[at] += 1
            elif (x := values[figure.column.index - 1]) is not MISSING:
                pane[at] = add(figure, pane[at], t, x)

    def _forget(self) -> None:
        if self.width_ns is not None and len(self.panes) > 3 * self.count:
            oldest = self.newest - 2 * self.count
            self.panes = {index: pane for index, pane in self.panes.items() if index > oldest}


class Panes:
    """One window's panes, fine ones for what adds up and coarse ones for sketches."""

    __slots__ = ("coarse", "fine", "newest", "told", "window")

    def __init__(self, window: Window) -> None:
        self.window = window
        fine = tuple(f for f in window.figures if f.role not in SKETCHED)
        coarse = tuple(f for f in window.figures if f.role in SKETCHED)
        self.fine = Ring(fine, window.over_ns, PANES)
        self.coarse = Ring(coarse, window.over_ns, SKETCH_PANES)
        self.newest = NEVER
        self.told: tuple[int, int, list[Any]] | None = None  # (newest coarse pane, entries, sketched figures)

    def add(self, t: int, values: Sequence[Any]) -> bool:
        """Take a signal in. True where it is older than the window: nothing changes then."""
        if self.window.over_ns is not None and t <= self.newest - self.window.over_ns:
            return True
        self.fine.add(t, values)
        if self.coarse.figures:
            self.coarse.add(t, values)
        self.newest = max(self.newest, t)
        return False

    def figures(self, t: int, others: Panes | None = None) -> list[Any]:
        """The raw figures of the window at `t`, in the window's order; with another partition's, as if they were one.

        MISSING for what nothing was measured of.
        """
        fine = _together(self.fine, None if others is None else others.fine, t)
        told = dict(zip(self.fine.figures, fine, strict=True))
        if self.coarse.figures:
            sketched = self._sketched(t, others, fine)
            told |= dict(zip(self.coarse.figures, sketched, strict=True))
        return [self._tell(figure, told) for figure in self.window.figures]

    def merge(self, other: Panes) -> None:
        """Take in another partition of the same state."""
        for ring, theirs in ((self.fine, other.fine), (self.coarse, other.coarse)):
            for index, pane in theirs.panes.items():
                ring.take(index, pane)
        self.newest = max(self.newest, other.newest)
        self.told = None

    def _tell(self, figure: Figure, told: dict[Figure, Any]) -> Any:
        if figure.role == "previous":
            return tell_previous(
                next(h for f, h in told.items() if f.role == "last" and f.column == figure.column)
            )
        return told[figure] if figure.role in SKETCHED else tell(figure, told[figure])

    def _sketched(self, t: int, others: Panes | None, fine: Pane) -> list[Any]:
        index = self.coarse.index(t)
        count = max(
            (held for figure, held in zip(self.fine.figures, fine, strict=True) if figure.role == "entries")
        )
        if (
            self.told
            and self.told[0] == index
            and self.told[1] <= count <= self.told[1] + self.told[1] // DRIFT
        ):
            return self.told[2]
        held = _together(self.coarse, None if others is None else others.coarse, t)
        sketched = [tell(figure, h) for figure, h in zip(self.coarse.figures, held, strict=True)]
        self.told = (index, count, sketched)
        return sketched


def _together(ring: Ring, others: Ring | None, t: int) -> Pane:
    own = ring.fold(ring.index(t))
    return own if others is None else ring.merge(others.fold(ring.index(t)), own)
