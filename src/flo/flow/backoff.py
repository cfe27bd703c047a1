"""How long to wait before the next attempt."""

from __future__ import annotations

import random

NS_PER_S = 1_000_000_000
DOUBLINGS_MAX = 30


def full_jitter_ns(attempts: int, first_s: float, longest_s: float, rng: random.Random) -> int:
    """A pause drawn evenly from 0 to `first_s * 2^(attempts - 1)`, that bound being at most `longest_s`.

    "Full jitter" (Marc Brooker, "Exponential Backoff And Jitter", AWS 2015): of the schemes compared there it
    makes the fewest requests, because clients that failed together do not come back together.
    """
    bound_s = min(longest_s, first_s * 2.0 ** min(max(attempts, 1) - 1, DOUBLINGS_MAX))
    return round(rng.uniform(0.0, bound_s) * NS_PER_S)
