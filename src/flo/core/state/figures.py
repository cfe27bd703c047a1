"""The raw figures of a window of entries at any moment of event time."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from typing import Any

from flo.core.state.entries import Cell, decayed_mean, entries_of, rank
from flo.core.state.exact import PLAIN_MIN, SCALE, scaled, whole
from flo.core.state.layout import MISSING, NEVER, Figure, Window
from flo.core.state.panes import Panes
from flo.core.state.sketches import distinct_count, quantile


def figures_at(window: Window, cell: Cell, offset: int, t: int, own: Sequence[Any] = ()) -> list[Any]:
    """The figures of the window `(t - over, t]` over all that was received, in the window's order.

    What nothing in the window was measured of (its column is new) reads as the signal's own value alone; without a
    signal (`own` empty) as MISSING, and counts and sums as 0.
    """
    held = cell[offset + window.slot]
    told = held.figures(t) if isinstance(held, Panes) else _of_entries(window, cell, offset, t)
    if own:
        stand_in(window, told, own)
    return told


def _of_entries(window: Window, cell: Cell, offset: int, t: int) -> list[Any]:
    assert window.over_ns is not None
    entries = entries_of(window, cell, offset)
    times = entries[0]
    first, end = bisect_right(times, t - window.over_ns), bisect_right(times, t)
    has_gaps = cell[offset + 1] is not None
    told = []
    for figure in window.figures:
        if figure.column is None:
            told.append(end - first)
        elif figure.role in ("true", "sum", "square"):
            told.append(_running(window, figure, cell, offset, first, end))
        elif figure.role == "measured":
            gaps = entries[figure.column.index][first:end].count(MISSING) if has_gaps else 0
            told.append(end - first - gaps)
        else:
            told.append(_of_values(figure, times[first:end], entries[figure.column.index][first:end], t))
    return told


def _running(window: Window, figure: Figure, cell: Cell, offset: int, first: int, end: int) -> Any:
    """The running figure, which covers the newest window, moved to the entries from `first` to `end`."""
    assert figure.column is not None
    assert figure.slot is not None
    values, start = cell[offset + window.slot + figure.column.index], cell[offset + window.start]
    if len(values) - end + abs(start - first) > end - first:
        return part(figure, values[first:end])
    older = part(figure, values[min(start, first) : max(start, first)])
    newer = part(figure, values[end:])
    return cell[offset + figure.slot] + (older if first < start else -older) - newer


def _of_values(figure: Figure, times: Sequence[int], values: Sequence[Any], t: int) -> Any:
    """A figure computed from all the entries of a window; MISSING where they hold none."""
    if MISSING in values:
        pairs = [(time, v) for time, v in zip(times, values, strict=True) if v is not MISSING]
        times, values = [time for time, _ in pairs], [v for _, v in pairs]
    if figure.role == "distinct":
        return len(set(values))
    if not values:
        return MISSING
    match figure.role:
        case "min":
            return min(values)
        case "max":
            return max(values)
        case "last":
            return values[-1]
        case "previous":
            return values[-2] if len(values) > 1 else values[-1]
        case "quantile":
            return sorted(values)[rank(float(figure.parameter or 0), len(values))]
    return decayed_mean(times, values, t, int(figure.parameter or 1))


def stand_in(window: Window, told: list[Any], own: Sequence[Any]) -> None:
    """Put the signal's own value where a column measured nothing."""
    empty = {f.column for f, v in zip(window.figures, told, strict=True) if f.role == "measured" and v == 0}
    for at, figure in enumerate(window.figures):
        if figure.column is None:
            continue
        x = own[figure.column.index - 1]
        if figure.role == "measured":
            told[at] = told[at] or 1
        elif figure.role in ("true", "sum", "square"):
            told[at] = part(figure, (x,)) if figure.column in empty else told[at]
        elif told[at] is MISSING:
            told[at] = x


def ever_figures(window: Window, cell: Cell, offset: int) -> list[Any]:
    """The figures of what counts since ever."""
    told: list[Any] = []
    for figure in window.figures:
        if figure.role == "previous":
            last = next(f for f in window.figures if f.role == "last" and f.column == figure.column)
            told.append(_ever(figure, cell, offset + (last.slot or 0)))
        else:
            told.append(_ever(figure, cell, offset + (figure.slot or 0)))
    return told


def _ever(figure: Figure, cell: Cell, at: int) -> Any:
    held = cell[at]
    match figure.role:
        case "min" | "max":
            return MISSING if held in (float("inf"), float("-inf")) else held
        case "last":
            return MISSING if held == NEVER else cell[at + 1]
        case "previous":
            return MISSING if held == NEVER else cell[at + 3]
        case "ewma":
            return cell[at + 1] / cell[at + 2] if held != NEVER else MISSING
        case "quantile":
            return MISSING if held == [] else quantile(held, float(figure.parameter or 0))
        case "distinct":
            return distinct_count(held)
    return held


def part(figure: Figure, values: Sequence[Any]) -> Any:
    """What these values contribute to a running figure; MISSING contributes nothing."""
    assert figure.column is not None
    units: list[Any]
    if figure.column.is_scaled and figure.role != "true":
        units = [whole(v * SCALE) if v > PLAIN_MIN else scaled(v) for v in values if v is not MISSING]
    else:
        units = [v for v in values if v is not MISSING]
    return sum(unit * unit for unit in units) if figure.role == "square" else sum(units)
