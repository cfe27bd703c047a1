"""Whether a series of durations drifts up against its own baseline: a one-sided CUSUM on a seasonal, robust residual.

The method, after Page, "Continuous inspection schemes" (Biometrika 41, 1954), on logarithms, so that it speaks of shares:

1. Durations are gathered into spans of time (a 256th of the learning time); a span's value is the median of their
   logarithms, which a few slow ones do not move.
2. While learning, values are kept by hour of the day, for working days and weekends apart. Their medians are the
   baseline: a loop that is slow every noon is no slower for it. What is left over is measured by its median absolute
   deviation: sigma.
3. Left-overs of neighbouring spans are alike (a slow day is slow all day). How much that adds to the variance of a sum is
   estimated from means over long blocks (a 7th, 14th and 28th of the time), and taken as large as it may well be, since
   seven days know little about days: `spread`.
4. From then on S = max(0, S + z - slack). The slack is half a sigma plus three times what the baseline's own mean may be
   wrong by (more at weekends, of which a week has seen but two days). S above 20 * spread / (2 * slack) has a chance of
   about e^-20 each time S leaves 0 (a random walk with drift -slack and variance `spread`).

A series that became faster for good is learned anew, by the same sum turned round.
"""

from __future__ import annotations

import math
import statistics
import struct
from typing import Any

import msgspec

NS_PER_S = 1_000_000_000
HOUR_NS = 3_600 * NS_PER_S
SPANS = 256
SPANS_MIN = 20
SAMPLES_MAX = 64
"""Of one span; beyond, every second one is kept, so that what is kept stays spread over the span."""

HOURS = 24
CELLS = 2 * HOURS
DURATION_S_MIN = 0.001
"""Shorter ones count as this long: nobody minds a microsecond more."""

SIGMA_MIN = 0.01
Z_MAX = 6.0
"""One span says no more than this: a single stall is not a drift."""

EXCESS = 20.0
BLOCKS = ((7, 6.88), (14, 2.2), (28, 1.67))
"""Blocks, and by how much their variance may be underestimated: degrees of freedom over a low quantile of chi squared
with so many (1 % for the seven, 5 % for the others)."""

_VALUE = struct.Struct("<Bf")

LASTING = 7
"""A drift lasts a 7th of the learning time at least, a day of a week: one slow day is none. Twice the baseline is news
sooner."""

RECENT = 8
"""Spans whose median is what a finding says the series takes now."""


class Baseline(msgspec.Struct):
    """What was learned. `usual`: by cell, log seconds, None where nothing was seen; `limit` and slacks are in sigmas."""

    usual: list[float | None]
    sigma: float
    slacks: tuple[float, float]  # on working days, on weekends
    limit: float


class Drift(msgspec.Struct):
    """One series. `learn_ns` decides how long a baseline takes, and how long a span is."""

    learn_ns: int
    began_ns: int
    span_ns: int = 0  # when the span under way began
    samples: list[float] = []
    stride: int = 1
    skipped: int = 0
    learned: bytearray = msgspec.field(default_factory=bytearray)  # (cell, value) while learning: 1.3 kB
    baseline: Baseline | None = None
    up: float = 0.0
    down: float = 0.0
    onset_ns: int = 0
    recent: list[tuple[float, float]] = []  # (value, usual)

    def add(self, at_ns: int, duration_ns: int) -> None:
        """One duration, seen at `at_ns`; times come in order, or nearly."""
        if not self.span_ns:
            self.span_ns = self.onset_ns = at_ns
        elif (at_ns - self.span_ns) * SPANS >= self.learn_ns:
            self._close()
            self.span_ns = at_ns
        self.skipped += 1
        if self.skipped < self.stride:
            return
        self.skipped = 0
        self.samples.append(math.log(max(duration_ns / NS_PER_S, DURATION_S_MIN)))
        if len(self.samples) >= SAMPLES_MAX:
            self.samples = self.samples[::2]
            self.stride *= 2

    def _close(self) -> None:
        value = statistics.median(self.samples) if self.samples else None
        self.samples, self.stride, self.skipped = [], 1, 0
        if value is None:
            return
        cell = cell_of(self.span_ns)
        if self.baseline is not None:
            self._judge(self.baseline, cell, value)
            return
        self.learned += _VALUE.pack(cell, value)
        if self.span_ns - self.began_ns >= self.learn_ns and len(self.learned) >= SPANS_MIN * _VALUE.size:
            self.baseline = learn(list(_VALUE.iter_unpack(self.learned)))
            self.learned = bytearray()

    def _judge(self, baseline: Baseline, cell: int, value: float) -> None:
        usual = baseline.usual[cell]
        if usual is None:
            return
        z = max(-Z_MAX, min(Z_MAX, (value - usual) / baseline.sigma))
        slack = baseline.slacks[cell >= HOURS]
        self.up = min(2.0 * baseline.limit, max(0.0, self.up + z - slack))
        self.down = max(0.0, self.down - z - slack)
        if self.up == 0.0:
            self.onset_ns = self.span_ns
        self.recent = [*self.recent[1 - RECENT :], (value, usual)]
        if self.down > baseline.limit:  # faster for good
            self.restart(self.span_ns)

    def restart(self, now_ns: int) -> None:
        """Learn anew."""
        self.began_ns, self.baseline, self.learned, self.recent = now_ns, None, bytearray(), []
        self.up = self.down = 0.0

    def is_up(self, share_min: float) -> bool:
        """Whether it has drifted up, and by at least this share."""
        if self.baseline is None or self.up <= self.baseline.limit:
            return False
        grown = self.grown()
        lasts = (self.span_ns - self.onset_ns) * LASTING >= self.learn_ns
        return grown >= math.log1p(share_min) and (lasts or grown >= math.log(2.0))

    def grown(self) -> float:
        """By how much the recent spans are above their baseline, as a logarithm."""
        return statistics.median(value - usual for value, usual in self.recent) if self.recent else 0.0

    def figures(self) -> dict[str, Any]:
        """Baseline and present, in seconds."""
        now_s = math.exp(statistics.median(value for value, _ in self.recent))
        usual_s = math.exp(statistics.median(usual for _, usual in self.recent))
        return {
            "now_s": round(now_s, 3),
            "baseline_s": round(usual_s, 3),
            "ratio": round(math.exp(self.grown()), 3),
        }


def cell_of(at_ns: int) -> int:
    """The hour of the day, weekends apart."""
    day, hour = divmod(at_ns // HOUR_NS, 24)
    return hour + 24 * ((day + 3) % 7 >= 5)  # day 0, the first of January 1970, was a Thursday


def learn(values: list[tuple[int, float]]) -> Baseline:
    """A baseline from (cell, value) in order of time."""
    by_cell: dict[int, list[float]] = {}
    for cell, value in values:
        by_cell.setdefault(cell, []).append(value)
    usual = {cell: statistics.median(found) for cell, found in by_cell.items()}
    # A median of few values lies too near to each of them: n / (n - 1) makes up for it, and a lone value tells nothing.
    left = [
        (value - usual[cell]) * math.sqrt(count / (count - 1))
        for cell, value in values
        if (count := len(by_cell[cell])) > 1
    ] or [value - statistics.median(value for _, value in values) for _, value in values]
    sigma = max(SIGMA_MIN, 1.4826 * statistics.median(abs(each) for each in left))
    z = [max(-Z_MAX, min(Z_MAX, each / sigma)) for each in left]
    widened = max(1.0, statistics.pstdev(z))
    z = [each / widened for each in z]
    spread = 1.0
    for blocks, factor in BLOCKS:
        size = len(z) // blocks
        if size:
            means = [statistics.fmean(z[start : start + size]) for start in range(0, size * blocks, size)]
            spread = max(spread, factor * size * statistics.variance(means))
    weekend = sum(cell >= HOURS for cell, _ in values)
    counts = (max(1, len(values) - weekend), max(1, weekend))
    slacks = tuple(0.5 + 3.0 * math.sqrt(spread / count) for count in counts)
    limit = max(Z_MAX, EXCESS * spread / (2.0 * min(slacks)))
    return Baseline(
        [usual.get(cell) for cell in range(CELLS)], sigma * widened, (slacks[0], slacks[1]), limit
    )
