"""The general code of windows: signals that come late, keys whose windows went over to panes, reads without a signal.

Emitted code handles a signal that is the newest of its key; all else comes here. A late signal lands where its time
says and is answered with the window at its own time: from the running figures, less what is newer, plus what was still
inside then, so that it costs what it is late by and not what the window holds.

After a change of the bundle, entries may lack the value of a new column (MISSING): figures pass over them, and the key
stays here until they have left.
"""

from __future__ import annotations

from bisect import bisect_right, insort
from collections.abc import Sequence
from typing import Any

from flo.core.state.entries import (
    Cell,
    Entries,
    entries_of,
    forget,
    highest,
    lowest,
    no_entries,
    packed,
    remove,
)
from flo.core.state.figures import figures_at, part
from flo.core.state.layout import ENTRIES_MAX, MISSING, NEVER, SLOW, Figure, Window
from flo.core.state.panes import Panes


def step(windows: tuple[Window, ...], cell: Cell, offset: int, t: int, *values: Any) -> tuple[Any, ...]:
    """Update every window with a signal at `t` and its values, column by column.

    Gives whether it was too late for some window, then each window's raw figures at `t`; at the newest time for a
    window it was too late for.
    """
    newest = newest_of(cell, offset)
    late = False
    figures: list[Any] = []
    first = 0
    for window in windows:
        assert window.over_ns is not None
        own = values[first : first + len(window.columns)]
        first += len(window.columns)
        held = cell[offset + window.slot]
        too_late = t <= newest - window.over_ns
        if isinstance(held, Panes) and held.newest <= t - 2 * window.over_ns:
            cell[offset + window.slot : offset + window.end] = blank(window)
            _append(window, cell, offset, t, own)
        elif isinstance(held, Panes):
            if not held.add(t, own):
                _cool(window, cell, offset, held, t, own)
        elif t >= newest:
            _append(window, cell, offset, t, own)
        elif not too_late:
            _insert(window, cell, offset, t, own)
        late |= too_late
        figures += figures_at(window, cell, offset, newest if too_late else t, own)
    if cell[offset + 1] is not None:
        _settle(windows, cell, offset, max(t, newest))
    elif t > newest:
        cell[offset] = t
    return late, *figures


def newest_of(cell: Cell, offset: int) -> int:
    """The newest event time of a key, NEVER where it has seen none."""
    newest: int = cell[offset] if cell[offset + 1] is None else cell[offset + 1][0]
    return newest


def make_slow(cell: Cell, offset: int, until: int) -> None:
    """Send the key's signals to this module, at least until its newest event time is past `until`."""
    slow = cell[offset + 1] or [cell[offset], NEVER]
    cell[offset : offset + 2] = SLOW, [slow[0], max(slow[1], until)]


def overflow(windows: tuple[Window, ...], cell: Cell, offset: int, slot: int) -> None:
    """The window whose slots begin at `slot` holds more than ENTRIES_MAX entries: make panes of it."""
    window = next(window for window in windows if window.slot == slot)
    panes = Panes(window)
    for t, *own in zip(*entries_of(window, cell, offset), strict=True):
        panes.add(t, own)
    cell[offset + slot : offset + window.end] = [panes, *[None] * (window.end - slot - 1)]
    make_slow(cell, offset, NEVER)


def trim_window(windows: tuple[Window, ...], cell: Cell, offset: int, slot: int, t: int) -> int:
    """Drop what no late signal can need any more; the new start of the window."""
    window = next(window for window in windows if window.slot == slot)
    return _trim(window, cell, offset, t)


def _trim(window: Window, cell: Cell, offset: int, t: int) -> int:
    assert window.over_ns is not None
    entries = entries_of(window, cell, offset)
    dropped = bisect_right(entries[0], t - 2 * window.over_ns)
    for values in entries:
        del values[:dropped]
    start: int = cell[offset + window.start] - dropped
    cell[offset + window.start] = start
    for slot in _peaks(window, offset):
        cell[slot] = None
    return start


def blank(window: Window) -> list[Any]:
    """The slots of a window no signal has met."""
    entries = [] if window.over_ns is None else [*no_entries(window), 0]
    return entries + _blank_figures(window)


def _blank_figures(window: Window) -> list[Any]:
    is_ever = window.over_ns is None
    first = window.slot if is_ever else window.start + 1
    slots: list[Any] = []
    for figure in window.figures:
        if figure.slot is not None and figure.slot == first + len(slots):
            slots += _blank_figure(figure, is_ever)
    return slots


def _blank_figure(figure: Figure, is_ever: bool) -> list[Any]:
    match figure.role:
        case "min" | "max":
            extreme = float("inf") if figure.role == "min" else float("-inf")
            return [extreme] if is_ever else [extreme, None]
        case "last":
            return [NEVER, None, NEVER, None]
        case "ewma":
            return [NEVER, 0.0, 0.0]
        case "quantile":
            return [[]]
        case "distinct":
            return [set()] if is_ever else [None]
    return [0]


def refill(window: Window, cell: Cell, offset: int, entries: Entries, newest: int) -> None:
    """Set a window's slots from the entries alone: start and running figures; what is kept lazily starts anew."""
    assert window.over_ns is not None
    times, *columns = entries
    columns = [packed(*both) for both in zip(window.columns, columns, strict=True)]
    start = bisect_right(times, newest - window.over_ns)
    slots = [times, *columns, start, *_blank_figures(window)]
    cell[offset + window.slot : offset + window.end] = slots
    for figure in window.figures:
        if figure.slot is None or figure.column is None:
            continue
        values = columns[figure.column.index - 1][start:]
        if type(values) is list:
            values = [value for value in values if value is not MISSING]
        if figure.role in ("true", "sum", "square"):
            cell[offset + figure.slot] = part(figure, values)
        elif figure.role in ("min", "max") and values:
            cell[offset + figure.slot] = min(values) if figure.role == "min" else max(values)
        elif figure.role == "quantile":
            cell[offset + figure.slot] = sorted(values)


def _cool(window: Window, cell: Cell, offset: int, panes: Panes, t: int, own: Sequence[Any]) -> None:
    """Go back to entries once a window that grew too full has been well below its bound for two lengths of it.

    Entries are recorded beside the panes meanwhile, so that what replaces them lacks nothing that can be asked for.
    """
    assert window.over_ns is not None
    entries = panes.entries
    if entries is None:
        if panes.count() <= ENTRIES_MAX // 4:
            panes.entries, panes.since = no_entries(window), panes.newest
        return
    if t > panes.since:
        _put(entries, bisect_right(entries[0], t), t, own)
    if len(entries[0]) > ENTRIES_MAX:
        panes.entries = None
    elif panes.newest > panes.since + 2 * window.over_ns:
        refill(window, cell, offset, entries, panes.newest)


def _append(window: Window, cell: Cell, offset: int, t: int, own: Sequence[Any]) -> None:
    """What emitted code does for a signal in order, for keys it does not serve."""
    assert window.over_ns is not None
    entries = entries_of(window, cell, offset)
    times, *columns = entries
    _put(entries, len(times), t, own)
    _enter(window, cell, offset, own, is_newest=True)
    start = cell[offset + window.start]
    end = bisect_right(times, t - window.over_ns)
    cell[offset + window.start] = end
    for index in range(start, end):
        _leave(window, cell, offset, [values[index] for values in columns])
    if end > start:
        for figure in window.figures:
            if figure.role in ("min", "max") and figure.slot is not None and figure.column is not None:
                gone = entries[figure.column.index][start:end]
                if cell[offset + figure.slot] in gone:
                    extreme = lowest if figure.role == "min" else highest
                    at = (window.slot + figure.column.index, window.start, figure.slot)
                    extreme(cell, *(offset + slot for slot in at))
    if times[0] <= t - 3 * window.over_ns:
        _trim(window, cell, offset, t)
    _bound(window, cell, offset)


def _insert(window: Window, cell: Cell, offset: int, t: int, own: Sequence[Any]) -> None:
    """A late signal's entry, behind those of its own time."""
    entries = entries_of(window, cell, offset)
    _put(entries, bisect_right(entries[0], t), t, own)
    _enter(window, cell, offset, own, is_newest=False)
    for slot in _peaks(window, offset):
        cell[slot] = None
    _bound(window, cell, offset)


def _put(entries: Entries, at: int, t: int, own: Sequence[Any]) -> None:
    for values, value in zip(entries, (t, *own), strict=True):
        values.insert(at, value)


def _bound(window: Window, cell: Cell, offset: int) -> None:
    if len(cell[offset + window.slot]) - cell[offset + window.start] > ENTRIES_MAX:
        overflow((window,), cell, offset, window.slot)


def _peaks(window: Window, offset: int) -> list[int]:
    return [offset + f.slot + 1 for f in window.figures if f.role in ("min", "max") and f.slot is not None]


def _enter(window: Window, cell: Cell, offset: int, own: Sequence[Any], *, is_newest: bool) -> None:
    seen: set[int] = set()
    for figure in window.figures:
        if figure.slot is None or figure.column is None or figure.slot in seen:
            continue
        seen.add(figure.slot)
        at, x = offset + figure.slot, own[figure.column.index - 1]
        match figure.role:
            case "true" | "sum" | "square":
                cell[at] += part(figure, (x,))
            case "min":
                cell[at] = x if cell[at] is None or x < cell[at] else cell[at]
            case "max":
                cell[at] = x if cell[at] is None or x > cell[at] else cell[at]
            case "quantile":
                insort(cell[at], x)
            case "distinct" if cell[at] is not None:
                cell[at][x] = cell[at].get(x, 0) + 1


def _leave(window: Window, cell: Cell, offset: int, old: Sequence[Any]) -> None:
    seen: set[int] = set()
    for figure in window.figures:
        if figure.slot is None or figure.column is None or figure.slot in seen:
            continue
        seen.add(figure.slot)
        at, x = offset + figure.slot, old[figure.column.index - 1]
        if x is MISSING:
            continue
        match figure.role:
            case "true" | "sum" | "square":
                cell[at] -= part(figure, (x,))
            case "quantile":
                remove(cell[at], x)
            case "distinct" if cell[at] is not None:
                forget(cell[at], x)


def _settle(windows: tuple[Window, ...], cell: Cell, offset: int, newest: int) -> None:
    """Note the newest time; give the key back to the emitted code once no window of it needs this module."""
    slow = cell[offset + 1]
    slow[0] = newest
    if newest <= slow[1]:
        return
    if any(isinstance(cell[offset + window.slot], Panes) for window in windows):
        return
    for window in windows:
        assert window.over_ns is not None
        _trim(window, cell, offset, newest)
        refill(window, cell, offset, entries_of(window, cell, offset), newest)
    cell[offset : offset + 2] = newest, None
