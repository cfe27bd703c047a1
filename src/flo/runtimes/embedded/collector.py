"""Python's cyclic collector, set for a process that decides.

State is millions of small lists that live long and hold no cycles, and the collector walks all of them again whenever
they have grown by a quarter: with the defaults that took a sixth of the time of deciding a file of new keys, in pauses
that every request in flight waits for.
"""

from __future__ import annotations

import contextlib
import gc
from collections.abc import Iterator

THRESHOLDS = (50_000, 20, 20)
"""Young objects are looked at after 50,000 allocations instead of 700: garbage in cycles, which only failures and ended
connections leave, waits a little longer, some megabytes of it at most."""


@contextlib.contextmanager
def rare_collections() -> Iterator[None]:
    """While this lasts: what lives now is never walked again, and what comes is walked seldom. For a whole process."""
    before = gc.get_threshold()
    gc.collect()
    gc.freeze()
    gc.set_threshold(*THRESHOLDS)
    try:
        yield
    finally:
        gc.set_threshold(*before)
        gc.unfreeze()


@contextlib.contextmanager
def no_collections() -> Iterator[None]:
    """While this lasts nothing is walked: for what makes a million lists and no cycles, a third of its time."""
    was_on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_on:
            gc.enable()
