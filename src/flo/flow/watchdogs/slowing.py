"""`flo.cycle.slowing`: a loop's cycle time drifts up against its own baseline.

Two cycles are watched: from the command that opens an iteration to the end that closes it, and from the birth of a root
to its return to the loop, for each number of hops apart. How drift is told from noise: see `drift`.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping
from typing import Any

import msgspec

from flo.core.command import Command
from flo.core.finding import Finding
from flo.core.loop.definition import BundleDefinition, LoopDefinition
from flo.core.record import IterationClosed
from flo.core.signal import text_from_time
from flo.flow.digest import LoopDigest
from flo.flow.watchdogs.board import Board
from flo.flow.watchdogs.drift import Drift
from flo.flow.watchdogs.watchdog import Watchdog

OUTCOME = "outcome"

SERIES_MAX = 20_000
"""Of all loops together, about 4 kB each. Loops beyond it are not watched for this."""

RETURNS_MAX = 3
"""Returns of different numbers of hops that are watched of one loop: more than one cycle through it is rare."""

OPEN_MAX = 100_000
"""Iterations whose opening is remembered, the oldest left out first. FLO has 200,000 open commands at most."""

ENDS = frozenset(("closed", "stale", "tolerated"))
"""Ends that took as long as the work took. The others took as long as somebody's patience."""

CHECKED_MAX = 2_000
"""Series looked at in one check."""


class SlowingWatchdog(Watchdog):
    """Fed with every command and every end of an iteration, and with the returns that a digest shows."""

    type = "flo.cycle.slowing"

    def __init__(self) -> None:
        super().__init__()
        self._series: dict[tuple[str, str], Drift] = {}
        self._returns: dict[str, set[str]] = {}
        self._opened: OrderedDict[tuple[str, str, int], int] = OrderedDict()
        self._touched: set[tuple[str, str]] = set()
        self._slow: set[tuple[str, str]] = set()

    def turn_to(self, definition: BundleDefinition, loops: Mapping[str, LoopDefinition]) -> None:
        before, learn_ns = self.loops, self.limits.get("learn")
        super().turn_to(definition, loops)
        relearn = learn_ns is not None and self.limits.get("learn") != learn_ns
        for of in list(self._series):
            loop = of[0]
            if relearn or loop not in self.loops or (loop in before and before[loop] != self.loops[loop]):
                del self._series[of]  # what the loop does has changed: so may what it takes
                self._returns.pop(loop, None)
                self._touched.discard(of)
                self._slow.discard(of)

    def commanded(self, command: Command) -> None:
        """A command was issued: the first of an iteration opens it."""
        if command.loop not in self.loops or not self.is_on:
            return
        of = (command.loop, command.loop_key, command.seq)
        if of not in self._opened:
            while len(self._opened) >= OPEN_MAX:
                self._opened.popitem(last=False)
            self._opened[of] = command.issued_ns

    def ended(self, event: IterationClosed) -> None:
        """An iteration ended."""
        opened_ns = self._opened.pop((event.loop, event.key, event.seq), None)
        if opened_ns is not None and event.status in ENDS:
            self._add(event.loop, OUTCOME, event.at_ns, event.at_ns - opened_ns)

    def returned(self, loop: LoopDigest, at_ns: int) -> None:
        """Signals came back to a loop."""
        if not self.is_on or loop.loop not in self.loops:
            return
        known = self._returns.setdefault(loop.loop, set())
        for hops, elapsed_ns in loop.returns:
            cycle = f"return after {hops} hops"
            if cycle in known or len(known) < RETURNS_MAX:
                known.add(cycle)
                self._add(loop.loop, cycle, at_ns, elapsed_ns)

    def _add(self, loop: str, cycle: str, at_ns: int, duration_ns: int) -> None:
        of = (loop, cycle)
        series = self._series.get(of)
        if series is None:
            if len(self._series) >= SERIES_MAX:
                return
            series = self._series[of] = Drift(self.limits["learn"], at_ns)
        series.add(at_ns, duration_ns)
        self._touched.add(of)

    def check(self, now_ns: int, board: Board) -> None:
        for _ in range(min(CHECKED_MAX, len(self._touched))):
            of = self._touched.pop()
            series = self._series[of]
            if series.is_up(self.limits["grows"]):
                self._slow.add(of)
                board.report(self._finding(of, series, now_ns))
            elif of in self._slow and (series.up == 0.0 or series.baseline is None):
                self._slow.discard(of)
                if not any(loop == of[0] for loop, _ in self._slow):
                    board.clear(self.type, of[0])

    def _finding(self, of: tuple[str, str], series: Drift, now_ns: int) -> Finding:
        loop, cycle = of
        figures = series.figures()
        what = "from command to outcome" if cycle == OUTCOME else f"from its root to its {cycle}"
        since = text_from_time(series.onset_ns)
        more_s = figures["now_s"] - figures["baseline_s"]
        return Finding(
            type=self.type,
            subject=loop,
            loop=loop,
            detail=f"a cycle of {loop}, {what}, takes {figures['now_s']:g} s; its own baseline for this hour is "
            f"{figures['baseline_s']:g} s: {more_s:.3g} s more, growing since {since}",
            at_ns=now_ns,
            figures={**figures, "cycle": cycle, "since": since},
        )

    def snapshot(self) -> Any:
        return [
            [
                (*of, msgspec.to_builtins(series, builtin_types=(bytes, bytearray)))
                for of, series in self._series.items()
            ],
            list(self._slow),
        ]

    def restore(self, snapshot: Any, now_ns: int) -> None:
        series, slow = msgspec.convert(
            snapshot, tuple[list[tuple[str, str, Drift]], list[tuple[str, str]]], strict=False
        )
        self._series = {(loop, cycle): each for loop, cycle, each in series}
        self._slow = {of for of in slow if of in self._series}
        for loop, cycle in self._series:
            if cycle != OUTCOME:
                self._returns.setdefault(loop, set()).add(cycle)
