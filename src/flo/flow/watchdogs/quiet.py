"""`flo.loop.quiet`: a loop that fell silent against its own rhythm.

What is remembered of a loop is how long its silence had lasted, at most, in each hour of the last 14 days. A silence is
news where it is longer than the silences of the same hours (of working days; on a weekend, of all days, since two
weekends tell little) leave room for:

    threshold = mean + 25 * max(0.78 * standard deviation, 0.3 * mean)

Longest silences of equal spans follow a Gumbel law where single ones have an exponential tail, and 0.78 standard
deviations (the square root of 6, over pi) estimate its scale (Gumbel, Statistics of Extremes, 1958): 25 scales beyond
the mean are not reached by chance. So a loop that is slow, sleeps at night or rests on Sundays is left alone, and one
that is missing at its usual hour is found within the hour.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from itertools import islice
from typing import Any

import msgspec
import numpy
from numpy.typing import NDArray

from flo.core.finding import Finding
from flo.core.loop.definition import BundleDefinition, LoopDefinition
from flo.flow.watchdogs.board import Board
from flo.flow.watchdogs.watchdog import Watchdog

NS_PER_S = 1_000_000_000
HOUR_NS = 3_600 * NS_PER_S
DAY_NS = 24 * HOUR_NS
DAYS = 14
"""Remembered: two of each weekend day, ten working days. 1.3 kB a loop."""

SCALES = 25.0
GUMBEL = math.sqrt(6.0) / math.pi
SCALE_SHARE_MIN = 0.3
"""Few values may lie close together by chance: the scale is taken to be this share of their mean at least."""

WAKES_MIN = 20
"""A loop that was heard less often has shown no rhythm yet."""

LOOPS_PER_CHECK = 1_000
"""Looked at in one check: ten thousand loops take ten of them, which is well below the shortest silence."""


class Rhythm:
    """One loop's silences. `longest_s`: by day and hour; NaN where it was not watched."""

    __slots__ = ("day", "last_ns", "longest_s", "since_ns", "wakes")

    def __init__(self, now_ns: int) -> None:
        self.since_ns = now_ns
        self.last_ns = now_ns
        self.wakes = 0
        self.longest_s: NDArray[numpy.float32] = numpy.full((DAYS, 24), numpy.nan, numpy.float32)
        self.day = now_ns // DAY_NS

    def watched(self, now_ns: int) -> float:
        """The silence so far, in seconds, noted for this hour."""
        day, hour = divmod(now_ns // HOUR_NS, 24)
        if day != self.day:
            for gone in range(max(self.day + 1, day - DAYS + 1), day + 1):
                self.longest_s[gone % DAYS] = numpy.nan
            self.day = day
        silence_s = max(0, now_ns - self.last_ns) / NS_PER_S
        row = self.longest_s[day % DAYS]
        if not silence_s <= row[hour]:  # also where it is NaN
            row[hour] = silence_s
        return silence_s

    def threshold_s(self, now_ns: int) -> float | None:
        """How long a silence may last at this hour; None where nothing like it was watched before."""
        day, hour = divmod(now_ns // HOUR_NS, 24)
        weekend = _is_weekend(day)
        known: list[float] = []
        for back in range(DAYS):
            if back and (weekend or not _is_weekend(day - back)):
                row = self.longest_s[(day - back) % DAYS]
                known += [float(row[each % 24]) for each in (hour - 1, hour, hour + 1)]
        known = [each for each in known if not math.isnan(each)]
        if not known:
            return None
        mean = sum(known) / len(known)
        deviation = math.sqrt(sum((each - mean) ** 2 for each in known) / max(1, len(known) - 1))
        return mean + SCALES * max(GUMBEL * deviation, SCALE_SHARE_MIN * mean)


def _is_weekend(day: int) -> bool:
    return (day + 3) % 7 >= 5  # day 0, the first of January 1970, was a Thursday


class QuietWatchdog(Watchdog):
    """`heard` is called once a loop and group; what is learned is learned in `check`, a thousand loops at a time."""

    type = "flo.loop.quiet"

    def __init__(self) -> None:
        super().__init__()
        self.excused: frozenset[str] = frozenset()
        """Loops whose silence has a reason, such as a paused pipeline: whoever knows of it sets this before `check`."""
        self._heard: dict[str, int] = {}
        self._rhythms: dict[str, Rhythm] = {}
        self._quiet: dict[str, int] = {}  # loop -> its last decision
        self._place = 0

    def turn_to(self, definition: BundleDefinition, loops: Mapping[str, LoopDefinition]) -> None:
        before = self.loops
        super().turn_to(definition, loops)
        for name in list(self._rhythms):
            if name not in self.loops or (name in before and before[name] != self.loops[name]):
                del self._rhythms[name]  # it listens to something else now: another rhythm
                self._quiet.pop(name, None)

    def heard(self, loop: str, at_ns: int) -> None:
        """The loop decided something."""
        self._heard[loop] = at_ns

    def check(self, now_ns: int, board: Board) -> None:
        heard, self._heard = self._heard, {}
        for loop, at_ns in heard.items():
            if loop in self.loops:
                self._woke(loop, at_ns, now_ns, board)
        names = list(islice(self._rhythms, self._place, self._place + LOOPS_PER_CHECK))
        self._place = self._place + len(names) if self._place + len(names) < len(self._rhythms) else 0
        for loop in names:
            self._look(loop, self._rhythms[loop], now_ns, board)

    def _woke(self, loop: str, at_ns: int, now_ns: int, board: Board) -> None:
        rhythm = self._rhythms.get(loop)
        if rhythm is None:
            rhythm = self._rhythms[loop] = Rhythm(min(at_ns, now_ns))
        rhythm.last_ns = max(rhythm.last_ns, at_ns)
        rhythm.wakes += 1
        if loop in self._quiet:
            del self._quiet[loop]
            board.clear(self.type, loop)

    def _look(self, loop: str, rhythm: Rhythm, now_ns: int, board: Board) -> None:
        if loop in self.excused:
            rhythm.last_ns = now_ns
            if self._quiet.pop(loop, None) is not None:
                board.clear(self.type, loop)
            return
        silence_s = rhythm.watched(now_ns)
        if loop in self._quiet or silence_s * NS_PER_S < self.limits["silence"]:
            return
        if now_ns - rhythm.since_ns < self.limits["learn"] or rhythm.wakes < WAKES_MIN:
            return
        usual_s = rhythm.threshold_s(now_ns)
        if usual_s is None and self.limits["learn"] < DAY_NS:
            usual_s = 0.0  # it is wanted to be judged before it has seen a day
        if usual_s is None or silence_s <= usual_s:
            return
        self._quiet[loop] = rhythm.last_ns
        board.report(
            Finding(
                type=self.type,
                subject=loop,
                loop=loop,
                detail=f"{loop} has decided nothing for {_told(silence_s)}; at this hour of such a day "
                f"{_told(max(usual_s, self.limits['silence'] / NS_PER_S))} would be nothing unusual",
                at_ns=now_ns,
                figures={"silence_s": round(silence_s, 1), "usual_s_max": round(usual_s, 1)},
            )
        )

    def snapshot(self) -> Any:
        rows = [
            (name, each.since_ns, each.wakes, each.day, each.longest_s.tobytes())
            for name, each in self._rhythms.items()
        ]
        return [rows, self._quiet]

    def restore(self, snapshot: Any, now_ns: int) -> None:
        """Silence counts from here on: FLO was not there to hear anything."""
        rows, quiet = msgspec.convert(
            snapshot, tuple[list[tuple[str, int, int, int, bytes]], dict[str, int]], strict=False
        )
        rhythms = {}
        for name, since_ns, wakes, day, silences in rows:
            rhythm = Rhythm(now_ns)
            rhythm.since_ns, rhythm.wakes, rhythm.day = since_ns, wakes, day
            rhythm.longest_s = numpy.frombuffer(silences, numpy.float32).reshape(DAYS, 24).copy()
            rhythms[name] = rhythm
        self._rhythms, self._quiet = rhythms, quiet


def _told(seconds: float) -> str:
    """Tenths where they matter: 3.3 s is more than 3 s."""
    return f"{seconds:.1f} s" if seconds < 60 else f"{seconds:.0f} s"
