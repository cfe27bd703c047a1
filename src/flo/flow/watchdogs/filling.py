"""Dead letters that come faster than they leave, for so long that nobody can be looking: `flo.deadletters.filling`."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field

from flo.core.finding import Finding

FILLING = "flo.deadletters.filling"

FILLING_NS = 900_000_000_000
"""A quarter of an hour: an on-call person who looks has begun to replay or to drop them by then."""

WINDOW_NS = 300_000_000_000
"""Within it more must have come than left, or it is over. So a burst that ended is not filling, however large; and one
dead letter every four minutes is."""

LEAD = 1.1
"""More by a tenth: what leaves does so a little later than it came, and that alone is no growth."""

BUCKET_NS = 60_000_000_000


@dataclass(slots=True)
class _Flow:
    """One loop's dead letters since more came than left. `buckets`: (minute, how many came, how many left)."""

    since_ns: int
    last_ns: int = 0
    buckets: deque[list[int]] = field(default_factory=deque)

    def count(self, at_ns: int, came: int, left: int) -> None:
        minute = at_ns // BUCKET_NS
        if not self.buckets or self.buckets[-1][0] < minute:
            self.buckets.append([minute, 0, 0])
        self.buckets[-1][1] += came
        self.buckets[-1][2] += left

    def recent(self, now_ns: int) -> tuple[int, int]:
        """(came, left) within the window."""
        while self.buckets and self.buckets[0][0] * BUCKET_NS <= now_ns - WINDOW_NS:
            self.buckets.popleft()
        return sum(each[1] for each in self.buckets), sum(each[2] for each in self.buckets)


class DeadLetterRates:
    """Memory: six counts for each loop that had dead letters within the last minutes; others are forgotten."""

    def __init__(self) -> None:
        self._flows: dict[str, _Flow] = {}

    @property
    def is_watching(self) -> bool:
        return bool(self._flows)

    def came(self, loop: str, at_ns: int) -> None:
        flow = self._flows.get(loop)
        if flow is None:
            flow = self._flows[loop] = _Flow(at_ns)
        flow.last_ns = max(flow.last_ns, at_ns)
        flow.count(at_ns, 1, 0)

    def left(self, loop: str, at_ns: int) -> None:
        flow = self._flows.get(loop)
        if flow is not None:
            flow.count(at_ns, 0, 1)

    def look(self, now_ns: int) -> tuple[list[Finding], list[str]]:
        """What is filling now, and the loops where that is over."""
        found: list[Finding] = []
        over: list[str] = []
        for loop, flow in list(self._flows.items()):
            came, left = flow.recent(now_ns)
            if came <= left * LEAD:
                over.append(loop)
                del self._flows[loop]
            elif flow.last_ns - flow.since_ns >= FILLING_NS:
                found.append(_finding(loop, flow, came, left, now_ns))
        return found, over


def _finding(loop: str, flow: _Flow, came: int, left: int, now_ns: int) -> Finding:
    minutes, window_min = (now_ns - flow.since_ns) / 60e9, WINDOW_NS / 60e9
    return Finding(
        type=FILLING,
        subject=loop,
        detail=f"more dead letters of {loop} come than leave, for {minutes:.0f} minutes now: {came} came and {left} left "
        f"within the last {window_min:.0f} minutes",
        at_ns=now_ns,
        loop=loop,
        figures={
            "filling_s": round((now_ns - flow.since_ns) / 1e9),
            "came_per_min": came / window_min,
            "left_per_min": left / window_min,
        },
    )
