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

from flo.core.state.accumulate import SKETCHED, Pane, adder, begin, merge, tell
from flo.core.state.entries import Entries
from flo.core.state.layout import MISSING, NEVER, Figure, Window

PANES = 360
SKETCH_PANES = 24
DRIFT = 1000  # sketches are asked again when a window has grown by a thousandth


class Ring:
    """Panes of one width for some figures of a window. `width_ns` None: one pane, since ever."""

    __slots__ = (
        "adders", "back", "count", "figures", "front", "hold_from", "memo", "newest", "panes", "total", "width_ns",
    )  # fmt: skip

    def __init__(self, figures: tuple[Figure, ...], over_ns: int | None, count: int) -> None:
        self.figures = figures
        columns = [None if figure.column is None else figure.column.index - 1 for figure in figures]
        self.adders = [
            (adder(f, at), column) for at, (f, column) in enumerate(zip(figures, columns, strict=True))
        ]
        self.width_ns = None if over_ns is None else -(-over_ns // count)
        self.count = 1 if over_ns is None or self.width_ns is None else -(-over_ns // self.width_ns)
        self.panes: dict[int, Pane] = {}
        self.newest = NEVER
        self.hold_from = NEVER
        self.front: dict[int, Pane] = {}  # pane -> sum of the panes from it to the one before `hold_from`
        self.back: Pane = self.begin()  # sum of the closed panes from `hold_from` on
        self.total: Pane | None = None  # the newest window, summed; None: to be summed anew
        self.memo: tuple[int, Pane] | None = None  # the last window that was not the newest

    def begin(self) -> Pane:
        return [begin(figure) for figure in self.figures]

    def index(self, t: int) -> int:
        return 0 if self.width_ns is None else t // self.width_ns

    def add(self, t: int, values: Sequence[Any]) -> None:
        index = 0 if self.width_ns is None else t // self.width_ns
        if index > self.newest:
            self._open(index)
        pane = self.panes.get(index)
        if pane is None:
            pane = self.panes[index] = self.begin()
        targets = [pane]
        if index == self.newest:
            if self.total is not None and self.total is not pane:
                targets.append(self.total)
        elif index >= self.hold_from and self.total is not None:
            targets += (self.back, self.total)
        elif index > self.newest - self.count:
            self.total = None
        for add, column in self.adders:
            x = None if column is None else values[column]
            if x is not MISSING:
                add(targets, t, x)
        self.memo = None

    def fold(self, index: int) -> Pane:
        """The window whose newest pane is `index`, summed. The caller must not change it."""
        if index == self.newest:
            if self.total is None:
                self._rebuild()
                self.total = self._sum()
            return self.total
        if self.memo is None or self.memo[0] != index:
            self.memo = (index, self._fold(range(index - self.count + 1, index + 1)))
        return self.memo[1]

    def take(self, index: int, pane: Pane) -> None:
        """Add a whole pane, as stored or as another partition has it."""
        held = self.panes.get(index)
        self.panes[index] = pane if held is None else self.merge(held, pane)
        self.newest = max(self.newest, index)
        self.total = self.memo = None

    def merge(self, one: Pane, other: Pane) -> Pane:
        """Both panes together, as a new one."""
        return [merge(figure, a, b) for figure, a, b in zip(self.figures, one, other, strict=True)]

    def _open(self, index: int) -> None:
        """Close the newest pane and begin the one at `index`; drop those no late signal can reach."""
        closed = self.panes.get(self.newest)
        if closed is not None and self.total is not None:
            self.back = self.merge(self.back, closed)
        self.newest = index
        self.panes[index] = self.begin()
        if self.width_ns is None:
            self.total = self.panes[index]
            return
        if self.total is not None:
            if self.hold_from <= index - self.count:
                self._rebuild()
            self.total = self._sum()
        if len(self.panes) > 3 * self.count:
            oldest = index - 2 * self.count
            self.panes = {at: pane for at, pane in self.panes.items() if at > oldest}

    def _rebuild(self) -> None:
        """Sum the closed panes of the newest window from each of them to the newest."""
        self.front = {}
        self.back = self.begin()
        self.hold_from = self.newest
        total: Pane | None = None
        for index in range(self.newest - 1, self.newest - self.count, -1):
            pane = self.panes.get(index)
            if pane is not None:
                total = pane if total is None else self.merge(pane, total)
                self.front[index] = total

    def _sum(self) -> Pane:
        """The newest window: what is left of the front, the back and the open pane."""
        first = self.newest - self.count + 1
        while first < self.hold_from and first not in self.front:
            first += 1
        closed = self.merge(self.front.get(first, self.begin()), self.back)
        return self.merge(closed, self.panes[self.newest])

    def _fold(self, indices: Sequence[int]) -> Pane:
        total = self.begin()
        for index in indices:
            pane = self.panes.get(index)
            if pane is not None:
                total = self.merge(total, pane)
        return total


class Panes:
    """One window's panes, fine ones for what adds up and coarse ones for sketches."""

    __slots__ = ("coarse", "entries", "fine", "newest", "places", "since", "told", "window")

    def __init__(self, window: Window) -> None:
        self.window = window
        fine = tuple(f for f in window.figures if f.role not in SKETCHED)
        coarse = tuple(f for f in window.figures if f.role in SKETCHED)
        self.fine = Ring(fine, window.over_ns, PANES)
        self.coarse = Ring(coarse, window.over_ns, SKETCH_PANES)
        self.places = [self._place(figure) for figure in window.figures]
        self.newest = NEVER
        self.entries: Entries | None = None  # recorded since `since`, while the window cools down; not stored
        self.since = NEVER
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
        coarse = self._sketched(t, others, fine) if self.coarse.figures else ()
        return [tell(figure, fine[at]) if is_fine else coarse[at] for figure, is_fine, at in self.places]

    def count(self) -> int:
        """How many signals the newest window holds."""
        entries: int = self.fine.fold(self.fine.newest)[0]
        return entries

    def size(self) -> int:
        """How many panes and recorded entries are held."""
        recorded = 0 if self.entries is None else len(self.entries[0])
        return len(self.fine.panes) + len(self.coarse.panes) + recorded

    def merge(self, other: Panes) -> None:
        """Take in another partition of the same state."""
        for ring, theirs in ((self.fine, other.fine), (self.coarse, other.coarse)):
            for index, pane in theirs.panes.items():
                ring.take(index, pane)
        self.newest = max(self.newest, other.newest)
        self.told = None

    def _place(self, figure: Figure) -> tuple[Figure, bool, int]:
        """Where a figure is told from: `previous` from what is held for `last`."""
        if figure.role in SKETCHED:
            return figure, False, self.coarse.figures.index(figure)
        held = figure
        if figure.role == "previous":
            held = next(f for f in self.fine.figures if f.role == "last" and f.column == figure.column)
        return figure, True, self.fine.figures.index(held)

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
