"""A window's entries as columns, and what emitted code calls on them: extremes, sorted values, tallies.

`times` and the `values` of each column have one item an entry, in order of time; `start` is the index of the first
entry within the window.
"""

from __future__ import annotations

from array import array
from bisect import bisect_left, bisect_right, insort
from collections import Counter, deque
from collections.abc import Callable, Sequence
from math import ceil
from operator import ge, le
from typing import Any

from flo.core.expression.values import NUMBERS, equals
from flo.core.state.layout import MISSING, Column, Window

Entries = list[Any]
"""The columns of a window's entries: its times, then the values of each measured column."""

Cell = list[Any]


def no_entries(window: Window) -> Entries:
    """The columns of a window without any entry."""
    return [array("q"), *(packed(column, []) for column in window.columns)]


def entries_of(window: Window, cell: Cell, offset: int) -> Entries:
    """The columns of a window that has not gone over to panes; to change them is to change the cell."""
    return cell[offset + window.slot : offset + window.start]


def packed(column: Column, values: Any) -> Any:
    """The values in the most compact container that holds them exactly, 8 bytes each: doubles, none of them MISSING."""
    if type(values) is array or not column.is_double or MISSING in values:
        return values
    return array("d", values)


def lowest(cell: Cell, column: int, start: int, slot: int) -> Any:
    """The smallest value within the window, once the one kept has left it; kept in its slot."""
    return _extreme(cell, column, start, slot, le)


def highest(cell: Cell, column: int, start: int, slot: int) -> Any:
    """The largest value within the window, once the one kept has left it; kept in its slot."""
    return _extreme(cell, column, start, slot, ge)


def _extreme(cell: Cell, column: int, start: int, slot: int, beats: Callable[[Any, Any], bool]) -> Any:
    """The monotonic queue of sliding extremes, filled late: entries are looked at when an extreme leaves, and once.

    The slot behind the extreme keeps [index of the next entry to look at, queue of indices]; None starts anew. An entry
    is queued once and dropped once, so the cost is constant per signal however the values come.
    """
    values, first = cell[column], cell[start]
    if cell[slot + 1] is None:
        cell[slot + 1] = [first, deque()]
    peaks = cell[slot + 1]
    queue: deque[int] = peaks[1]
    for index in range(max(peaks[0], first), len(values)):
        value = values[index]
        if value is MISSING:
            continue
        while queue and beats(value, values[queue[-1]]):
            queue.pop()
        queue.append(index)
    peaks[0] = len(values)
    while queue and queue[0] < first:
        queue.popleft()
    cell[slot] = values[queue[0]] if queue else None
    return cell[slot]


def decayed(times: Sequence[int], values: Sequence[float], start: int, t: int, half_life_ns: int) -> float:
    """The mean of the window's values, each weighing 2**(-age / half-life).

    Computed anew each time, over the entries whose weight is at least 2**-64 of a new one.
    """
    start = max(start, bisect_right(times, t - 64 * half_life_ns))
    return decayed_mean(times[start:], values[start:], t, half_life_ns)


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


def tally(values: Sequence[Any], start: int) -> dict[Any, int]:
    """How often each value of a column occurs in the window."""
    return dict(Counter(values[start:]))


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
