"""What emitted code calls on a window's flat list of entries: extremes, sorted values, tallies, trimming.

`entries` is `[time, value, ..., time, value, ...]`, `stride` items an entry, in order of time; `start` is the index of
the first entry within the window.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right, insort
from collections import Counter, deque
from collections.abc import Callable, Iterable, Sequence
from math import ceil
from operator import ge, le
from typing import Any

from flo.core.expression.values import NUMBERS, equals
from flo.core.state.layout import MISSING

Entries = list[Any]
Cell = list[Any]


def after(entries: Entries, stride: int, t: int) -> int:
    """The index of the first entry later than `t`."""
    times = range(0, len(entries), stride)
    return stride * bisect_right(times, t, key=entries.__getitem__)


def lowest(cell: Cell, window: int, slot: int, stride: int, column: int) -> Any:
    """The smallest value within the window, once the one kept has left it; kept in its slot."""
    return _extreme(cell, window, slot, stride, column, le)


def highest(cell: Cell, window: int, slot: int, stride: int, column: int) -> Any:
    """The largest value within the window, once the one kept has left it; kept in its slot."""
    return _extreme(cell, window, slot, stride, column, ge)


def _extreme(
    cell: Cell, window: int, slot: int, stride: int, column: int, beats: Callable[[Any, Any], bool]
) -> Any:
    """The monotonic queue of sliding extremes, filled late: entries are looked at when an extreme leaves, and once.

    The slot behind the extreme keeps [index of the next entry to look at, queue of indices]; None starts anew. An entry
    is queued once and dropped once, so the cost is constant per signal however the values come.
    """
    entries, start = cell[window], cell[window + 1]
    if cell[slot + 1] is None:
        cell[slot + 1] = [start, deque()]
    peaks = cell[slot + 1]
    queue: deque[int] = peaks[1]
    for index in range(max(peaks[0], start), len(entries), stride):
        value = entries[index + column]
        if value is MISSING:
            continue
        while queue and beats(value, entries[queue[-1] + column]):
            queue.pop()
        queue.append(index)
    peaks[0] = len(entries)
    while queue and queue[0] < start:
        queue.popleft()
    cell[slot] = entries[queue[0] + column] if queue else None
    return cell[slot]


def trim(cell: Cell, window: int, stride: int, until: int, peaks: Iterable[int]) -> int:
    """Drop the entries at or before `until`, all of them behind the window; the window's new start."""
    entries = cell[window]
    dropped = after(entries, stride, until)
    del entries[:dropped]
    cell[window + 1] -= dropped
    for slot in peaks:
        cell[slot] = None
    start: int = cell[window + 1]
    return start


def decayed(entries: Entries, start: int, stride: int, column: int, t: int, half_life_ns: int) -> float:
    """The mean of the window's values, each weighing 2**(-age / half-life).

    Computed anew each time, over the entries whose weight is at least 2**-64 of a new one.
    """
    start = max(start, after(entries, stride, t - 64 * half_life_ns))
    return decayed_mean(entries[start::stride], entries[start + column :: stride], t, half_life_ns)


def decayed_mean(times: Sequence[int], values: Sequence[float], t: int, half_life_ns: int) -> float:
    """Σ w x / Σ w with w = 2**(-(t - time) / half_life_ns)."""
    weights = [2.0 ** ((time - t) / half_life_ns) for time in times]
    total: float = sum(w * x for w, x in zip(weights, values, strict=True)) / sum(weights)
    return total


def insert(values: list[Any], value: Any) -> None:
    insort(values, value)


def remove(values: list[Any], value: Any) -> None:
    del values[bisect_left(values, value)]


def rank(q: float, count: int) -> int:
    """The index of the q-quantile among `count` sorted values: the smallest that at least q of them do not exceed."""
    return max(0, min(count, ceil(q * count)) - 1)


def tally(entries: Entries, first: int, stride: int) -> dict[Any, int]:
    """How often each value of a column occurs in the window; `first` is the index of its first value."""
    return dict(Counter(entries[first::stride]))


def forget(counts: dict[Any, int], value: Any) -> None:
    """Take one occurrence of a value out of a tally."""
    if counts[value] > 1:
        counts[value] -= 1
    else:
        del counts[value]


def differ(value: object, previous: object) -> bool:
    """CEL's `!=`, for values whose type is not plain."""
    return not equals(value, previous)


def delta(value: Any, previous: Any) -> Any:
    """The difference of two values of unknown type; 0 where they are not two numbers."""
    if type(value) in NUMBERS and type(previous) in NUMBERS:
        return value - previous
    return 0
