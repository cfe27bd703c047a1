"""`flo.logic.skewed`: yesterday's logic on today's data.

What is too old a loop says itself, by `fresh.logic`: its revision, or the oldest of the models it reads whose version is
known, against the time of the data. Decisions that are, say so in their records, and their commands end `stale`.
"""

from __future__ import annotations

from flo.core.finding import Finding
from flo.flow.digest import LoopDigest
from flo.flow.watchdogs.tally import Tally, TallyWatchdog

DAY_S = 86_400.0
HOUR_S = 3_600.0


class SkewedWatchdog(TallyWatchdog):
    """From the decisions that a digest shows: over when none was skewed for a while."""

    type = "flo.logic.skewed"

    def decided(self, loop: LoopDigest, at_ns: int) -> None:
        self.count(loop.loop, "groups", at_ns, str(loop.skewed_ns), "")

    def finding(self, loop: str, tally: Tally) -> Finding:
        skew_s = int(tally.key) / 1e9
        limit_s = (self.loops[loop].fresh_logic_ns or 0) / 1e9
        return Finding(
            type=self.type,
            subject=loop,
            loop=loop,
            detail=f"{loop} decides by logic {_span(skew_s)} older than its data, {_span(limit_s)} is fresh: "
            "its outcomes are stale, not success",
            at_ns=tally.last_ns,
            figures={"skew_s": round(skew_s, 1), "fresh_s": limit_s},
        )


def _span(seconds: float) -> str:
    if seconds >= 2 * DAY_S:
        return f"{seconds / DAY_S:.1f} d"
    return f"{seconds / HOUR_S:.1f} h" if seconds >= HOUR_S else f"{seconds:.1f} s"
