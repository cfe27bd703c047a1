"""`flo.iteration.killed`: zombies. Something keeps sending contexts round that are past their TTL or their hops."""

from __future__ import annotations

from flo.core.finding import Finding
from flo.core.record import Killed
from flo.flow.watchdogs.tally import Tally, TallyWatchdog


class KilledWatchdog(TallyWatchdog):
    """From `Killed` events. What a person killed is no zombie."""

    type = "flo.iteration.killed"

    def observe(self, event: Killed) -> None:
        if event.why != "operator":
            self.count(event.loop, event.why, event.at_ns, event.key or "", event.detail)

    def finding(self, loop: str, tally: Tally) -> Finding:
        many = "contexts" if tally.total != 1 else "context"
        ways = " and ".join(f"{count} past their {why}" for why, count in sorted(tally.counts.items()))
        return Finding(
            type=self.type,
            subject=loop,
            loop=loop,
            detail=f"{tally.total} {many} died at {loop}, {ways}; the last one, of key {tally.key!r}, {tally.detail}",
            at_ns=tally.last_ns,
            figures={"killed": tally.total, **tally.counts, "last_key": tally.key},
        )
