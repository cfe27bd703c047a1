"""A rate held: how long the next request must wait."""

from __future__ import annotations

NS_PER_S = 1_000_000_000

BURST_S = 0.1
"""A tenth of a second's requests may go out back to back. Less would waste a rate on timer jitter (a
millisecond at 500/s is half a request); more would let a quiet minute be spent in one blow, which is what a
rate is there to prevent."""


class Pace:
    """At most `rate_per_s` requests a second, in bursts of at most a tenth of a second's worth (at least
    one).

    In any period of T seconds at most `1 + rate * (T + 0.1)` requests pass. This is the generic cell rate
    algorithm (ITU-T I.371, the "virtual scheduling" form of the leaky bucket): one integer of state, no
    drift, no timer.
    """

    def __init__(self, rate_per_s: float | None) -> None:
        if rate_per_s is not None and rate_per_s <= 0:
            raise ValueError(
                f"a rate is above zero: {rate_per_s}/s lets nothing pass; to stop an engine, pause it"
            )
        self._interval_ns = 0 if rate_per_s is None else max(1, round(NS_PER_S / rate_per_s))
        self._slack_ns = round(BURST_S * NS_PER_S)
        self._due_ns = 0

    def free_at_ns(self, now_ns: int) -> int:
        """The earliest time the next request may go out; `now_ns` where it may at once."""
        return max(now_ns, self._due_ns - self._slack_ns) if self._interval_ns else now_ns

    def take(self, now_ns: int) -> None:
        """Count one request, sent now."""
        if self._interval_ns:
            self._due_ns = max(self._due_ns, now_ns) + self._interval_ns
