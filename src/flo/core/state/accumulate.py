"""What one pane holds for each figure: begun empty, added to, merged without changing either side, and told.

Merging is associative and independent of order (of `last`, up to equal times), so panes, and partitions of workers, may
be combined as one likes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from flo.core.state.exact import scaled
from flo.core.state.layout import MISSING, NEVER, Figure
from flo.core.state.sketches import (
    add_distinct,
    add_value,
    distinct_count,
    merge_distinct,
    merge_values,
    quantile,
)

SKETCHED = ("quantile", "distinct")

Pane = list[Any]
Adder = Callable[[Iterable[Pane], int, Any], None]


def begin(figure: Figure) -> Any:
    """A figure before anything was measured."""
    match figure.role:
        case "min" | "max" | "previous":
            return None
        case "last":
            return (NEVER, None, NEVER, None)
        case "ewma":
            return (NEVER, 0.0, 0.0)
        case "quantile":
            return []
        case "distinct":
            return set()
    return 0


def adder(figure: Figure, at: int) -> Adder:
    """What takes a value measured at `t` into item `at` of each of several panes."""
    match figure.role:
        case "entries" | "measured":
            return _each(at, lambda held, t, x: held + 1)
        case "true":
            return _each(at, lambda held, t, x: held + x)
        case "sum" if _is_scaled(figure):
            return _each_unit(at, scaled)
        case "sum":
            return _each(at, lambda held, t, x: held + x)
        case "square" if _is_scaled(figure):
            return _each_unit(at, lambda x: scaled(x) ** 2)
        case "square":
            return _each(at, lambda held, t, x: held + x * x)
        case "min":
            return _each(at, lambda held, t, x: x if held is None or x < held else held)
        case "max":
            return _each(at, lambda held, t, x: x if held is None or x > held else held)
        case "last":
            return _each(at, _add_last)
        case "ewma":
            return _each(at, lambda held, t, x: _decay_together(held, (t, x, 1.0), figure))
        case "quantile":
            return _each(at, lambda held, t, x: add_value(held, x))
        case "distinct":
            return _each(at, lambda held, t, x: add_distinct(held, x))
    return _each(at, lambda held, t, x: None)


def _each(at: int, add: Callable[[Any, int, Any], Any]) -> Adder:
    def take(panes: Iterable[Pane], t: int, x: Any) -> None:
        for pane in panes:
            pane[at] = add(pane[at], t, x)

    return take


def _each_unit(at: int, unit_of: Callable[[Any], Any]) -> Adder:
    def take(panes: Iterable[Pane], t: int, x: Any) -> None:
        unit = unit_of(x)
        for pane in panes:
            pane[at] += unit

    return take


def merge(figure: Figure, one: Any, other: Any) -> Any:
    """Both together; `other` is the one received later, where times are equal."""
    match figure.role:
        case "previous":
            return None
        case "min" | "max":
            if one is None or other is None:
                return other if one is None else one
            return min(one, other) if figure.role == "min" else max(one, other)
        case "last":
            return _newest_two(one, other)
        case "ewma":
            return _decay_together(one, other, figure)
        case "quantile":
            return merge_values(one, other)
        case "distinct":
            return merge_distinct(one, other)
    return one + other


def tell(figure: Figure, held: Any) -> Any:
    """The raw figure; MISSING where nothing was measured."""
    match figure.role:
        case "min" | "max":
            return MISSING if held is None else held
        case "last":
            return MISSING if held[0] == NEVER else held[1]
        case "previous":
            return MISSING if held[0] == NEVER else held[1] if held[2] == NEVER else held[3]
        case "ewma":
            return held[1] / held[2] if held[2] else MISSING
        case "quantile":
            return MISSING if held == [] else quantile(held, float(figure.parameter or 0))
        case "distinct":
            return distinct_count(held)
    return held


def _is_scaled(figure: Figure) -> bool:
    return figure.column is not None and figure.column.is_scaled


def _add_last(held: Any, t: int, x: Any) -> Any:
    if t >= held[0]:
        return (t, x, held[0], held[1])
    return (held[0], held[1], t, x) if t >= held[2] else held


def _newest_two(one: Any, other: Any) -> Any:
    seen = [(one[0], one[1]), (one[2], one[3]), (other[0], other[1]), (other[2], other[3])]
    # within a side the newest stands first; turned, equal times stand in order of arrival
    ordered = sorted([seen[1], seen[0], seen[3], seen[2]], key=lambda pair: pair[0])
    return (*ordered[-1], *ordered[-2])


def _decay_together(one: Any, other: Any, figure: Figure) -> Any:
    if other[0] > one[0]:
        one, other = other, one
    decay = 2.0 ** ((other[0] - one[0]) / (figure.parameter or 1))
    return (one[0], one[1] + other[1] * decay, one[2] + other[2] * decay)
