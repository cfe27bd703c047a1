"""`flo.dependency.slow`: a dependency nears the time after which it drops idle connections, or misses its deadline."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping

from flo.core.finding import Finding
from flo.core.loop.definition import BundleDefinition, LoopDefinition
from flo.flow.fetch import FetchStats
from flo.flow.watchdogs.board import Board
from flo.flow.watchdogs.watchdog import Watchdog

LOOKS = 13
"""Counts remembered: a minute of them."""

FETCHES_MIN = 20
REQUESTS_MIN = 100
"""Fewer are not judged: the p99 of a handful is its slowest one."""

RELIEF = 0.8
"""A finding is over below this share of what raised it, so that it does not come and go at the limit."""


class DependencyWatchdog(Watchdog):
    """`look` is given the fetcher's figures; what it thinks of them is said by the next `check`."""

    type = "flo.dependency.slow"

    def __init__(self) -> None:
        super().__init__()
        self._counts: dict[str, deque[tuple[int, int]]] = {}
        self._stats: Mapping[str, FetchStats] = {}

    def turn_to(self, definition: BundleDefinition, loops: Mapping[str, LoopDefinition]) -> None:
        super().turn_to(definition, loops)
        self._counts = {
            name: self._counts.get(name, deque(maxlen=LOOKS))
            for name in definition.dependencies
            if name not in self.excepted
        }

    def look(self, stats: Mapping[str, FetchStats]) -> None:
        """The figures of all dependencies, now: every five seconds."""
        self._stats = stats

    def check(self, now_ns: int, board: Board) -> None:
        stats, self._stats = self._stats, {}
        for name, figures in stats.items():
            counts = self._counts.get(name)
            if counts is None:
                continue
            if counts and figures.fetches < counts[-1][0]:
                counts.clear()  # a change of bundle began to count anew
            counts.append((figures.fetches, figures.late))
            detail = self._complaint(name, figures, counts, board.holds(self.type, name))
            if detail is None:
                board.clear(self.type, name)
            else:
                board.report(
                    Finding(type=self.type, subject=name, detail=detail[0], at_ns=now_ns, figures=detail[1])
                )
        for posted in list(board.posted()):
            if posted.finding.type == self.type and posted.finding.subject not in self._counts:
                board.clear(self.type, posted.finding.subject)

    def _complaint(
        self, name: str, figures: FetchStats, counts: deque[tuple[int, int]], holds: bool
    ) -> tuple[str, dict[str, float]] | None:
        ease = RELIEF if holds else 1.0
        fetches, late = figures.fetches - counts[0][0], figures.late - counts[0][1]
        share = late / fetches if fetches >= FETCHES_MIN else 0.0
        p99_s, idle_s = figures.p99_s or 0.0, figures.idle_timeout_s
        said = {"p99_s": round(p99_s, 4), "late_share": round(share, 4), "fetches": float(fetches)}
        if idle_s and figures.requests >= REQUESTS_MIN and p99_s >= self.limits["near"] * idle_s * ease:
            said["idle_timeout_s"] = idle_s
            return f"p99 of {name} is {p99_s:.3g} s, its idle timeout {idle_s:g} s", said
        if share >= self.limits["late"] * ease and share > 0:
            missed = f"{late} of the last {fetches} fetches from {name} missed their deadline ({share:.0%})"
            return f"{missed}: loops decide without", said
        return None
