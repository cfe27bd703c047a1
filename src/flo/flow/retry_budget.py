"""The retry budget: retries add a bounded share to the base load, whatever fails."""

from __future__ import annotations

NS_PER_S = 1_000_000_000

TOKENS_MAX = 100.0
"""What quiet hours may save up: a hundred retries on top of the share, spread by back-off."""

QUIET_INTERVAL_NS = NS_PER_S
"""One retry a second is granted even where the share has not earned it: an engine that gets one command an
hour would otherwise never be retried, and none is hurt by one request a second."""


class RetryBudget:
    """Each first send earns `share` of a retry; each retry costs a whole one.

    The token scheme of Finagle's `RetryBudget` and gRPC's retry throttling (gRFC A6). A retry that finds the
    budget spent is delayed, never dropped. Quiet retries (see `QUIET_INTERVAL_NS`) are debts that later sends
    pay off first, down to minus ten, so that above ten sends a second the share holds as written.
    """

    def __init__(self, share: float) -> None:
        self.share = share
        self.tokens = 0.0
        self._granted_ns: int | None = None

    def earn(self) -> None:
        """A first send went out."""
        self.tokens = min(TOKENS_MAX, self.tokens + self.share)

    def free_at_ns(self, now_ns: int) -> int:
        """The earliest time the next retry may go out, if nothing more is earned until then."""
        if self.tokens >= 1.0 or self._granted_ns is None:
            return now_ns
        return max(now_ns, self._granted_ns + QUIET_INTERVAL_NS)

    def spend(self, now_ns: int) -> None:
        """A retry went out."""
        self.tokens = max(-10.0, self.tokens - 1.0)
        self._granted_ns = now_ns
