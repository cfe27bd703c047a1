"""The circuit breaker of one engine: stop asking an engine that is down.

closed ──5 failures in a row──▶ open ──pause over──▶ half-open ──success──▶ closed
                                 ▲                       │
                                 └──────failure, pause doubled
"""

from __future__ import annotations

import random

NS_PER_S = 1_000_000_000

FAILURES_MAX = 5
"""Failures in a row that open it: one or two are weather, and a command's own attempts (3 by default) alone
should not.
"""

PAUSE_S_FIRST = 1.0
PAUSE_S_MAX = 30.0
"""An engine that was down for an hour is tried again within half a minute of its return."""


class Circuit:
    """Counts an engine's failures to answer. While open nothing is sent; half-open, one probe is.

    Commands wait in the queue meanwhile and lose none of their attempts. Only what says "the engine is not
    there" counts as failure (refused, cut, timed out, 5xx); an engine that refuses a command is there.
    """

    def __init__(self, rng: random.Random) -> None:
        self._rng = rng
        self._failures = 0
        self._pauses = 0
        self._open_until_ns = 0
        self._probing = False

    @property
    def state(self) -> str:
        """closed | open | half-open"""
        if not self._pauses:
            return "closed"
        return "half-open" if self._probing else "open"

    def free_at_ns(self, now_ns: int) -> int | None:
        """The earliest time the next request may go out; None while a probe is out and its end decides."""
        if not self._pauses:
            return now_ns
        if self._probing:
            return None
        return max(now_ns, self._open_until_ns)

    def take(self) -> None:
        """A request goes out; where the circuit is open it is the probe."""
        if self._pauses:
            self._probing = True

    def succeeded(self) -> None:
        self._failures = 0
        self._pauses = 0
        self._probing = False

    def failed(self, now_ns: int) -> None:
        """A request got no answer. Those sent before it opened count for nothing while it is open."""
        if self._pauses and not self._probing:
            return
        self._failures += 1
        if self._failures >= FAILURES_MAX or self._probing:
            self._probing = False
            bound_s = min(PAUSE_S_MAX, PAUSE_S_FIRST * 2.0 ** min(self._pauses, 10))
            self._pauses += 1
            # Between half and the whole pause: several FLOs that lost one engine do not probe it in step.
            self._open_until_ns = now_ns + round(self._rng.uniform(0.5, 1.0) * bound_s * NS_PER_S)

    def released(self) -> None:
        """The request that went out ended without telling anything (it was cancelled)."""
        self._probing = False
