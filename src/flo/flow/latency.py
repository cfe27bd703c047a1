"""Recent latencies, and their quantiles."""

from __future__ import annotations

from collections import deque

SAMPLES_MAX = 1_024
"""The p99 of 1,024 samples rests on the ten slowest: enough to see a dependency near its limit, soon enough
to act.
"""


class RecentLatencies:
    """The last 1,024 durations. Adding costs an append; a quantile sorts, so ask when somebody looks."""

    def __init__(self) -> None:
        self._samples_ns: deque[int] = deque(maxlen=SAMPLES_MAX)

    def add(self, duration_ns: int) -> None:
        self._samples_ns.append(duration_ns)

    def quantiles_s(self, *qs: float) -> tuple[float | None, ...]:
        """The nearest-rank quantiles in seconds; None where nothing was measured yet."""
        ordered = sorted(self._samples_ns)
        if not ordered:
            return tuple(None for _ in qs)
        last = len(ordered) - 1
        return tuple(ordered[min(last, int(q * len(ordered)))] / 1e9 for q in qs)
