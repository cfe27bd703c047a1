"""What state must read, computed from every signal ever received, by definition and without any of FLO's code for it."""

from __future__ import annotations

import math
from collections.abc import Callable
from decimal import Decimal, localcontext
from fractions import Fraction
from typing import Any, NamedTuple


class Definition(NamedTuple):
    """A definition as the oracle knows it; `text` names the field of the signal that is measured."""

    kind: str
    text: str
    over: int | None = None
    q: float = 0.0
    half_life: int = 1


class Oracle:
    """One key's signals. With `panes`, windows are those of shared state: whole panes of `ceil(over / panes)`."""

    def __init__(self, definitions: dict[str, Definition], panes: int | None = None) -> None:
        self.definitions = definitions
        self.panes = panes
        self.received: list[tuple[int, dict[str, Any]]] = []
        self.taken: dict[int | None, list[tuple[int, dict[str, Any]]]] = {}

    def receive(self, t: int, values: dict[str, Any]) -> tuple[bool, dict[str, Any]]:
        newest = max((time for time, _ in self.received), default=None)
        self.received.append((t, values))
        late = False
        lengths = {d.over for d in self.definitions.values()}
        moments: dict[int | None, int] = {}
        for over in lengths:
            if over is not None and newest is not None and t <= newest - over:
                late = True
                moments[over] = newest
            else:
                self.taken.setdefault(over, []).append((t, values))
                moments[over] = t
        return late, {name: self.read(d, moments[d.over]) for name, d in self.definitions.items()}

    def read(self, definition: Definition, moment: int) -> Any:
        window = sorted(
            (
                s
                for s in self.taken.get(definition.over, [])
                if self._is_inside(s[0], definition.over, moment)
            ),
            key=lambda signal: signal[0],
        )
        if definition.kind == "count" and definition.text == "true":
            return len(window)
        return FIGURES[definition.kind](
            [time for time, _ in window],
            [values[definition.text] for _, values in window],
            definition,
            moment,
        )

    def _is_inside(self, time: int, over: int | None, moment: int) -> bool:
        if over is None:
            return True
        if self.panes is None:
            return moment - over < time <= moment
        width = math.ceil(over / self.panes)
        return moment // width - self.panes < time // width <= moment // width


def _sum(values: list[Any]) -> Any:
    return sum(values) if all(type(v) is int for v in values) else math.fsum(values)


def _std(values: list[Any]) -> float:
    exact = [Fraction(v) for v in values]
    mean = sum(exact) / len(exact)
    variance = sum((v - mean) ** 2 for v in exact) / len(exact)
    with localcontext() as context:
        context.prec = 700
        return float((Decimal(variance.numerator) / Decimal(variance.denominator)).sqrt())


def _ewma(times: list[int], values: list[Any], definition: Definition) -> tuple[float, float]:
    """The decayed mean, and that of the magnitudes: what rounding is measured by."""
    newest = max(times)
    weights = [0.5 ** ((newest - time) / definition.half_life) for time in times]
    mean = math.fsum(w * v for w, v in zip(weights, values, strict=True)) / math.fsum(weights)
    size = math.fsum(w * abs(v) for w, v in zip(weights, values, strict=True)) / math.fsum(weights)
    return mean, size


def _last(values: list[Any]) -> dict[str, Any]:
    value, previous = values[-1], values[-2] if len(values) > 1 else values[-1]
    fields = {"value": value, "previous": previous, "changed": value != previous}
    if type(value) in (int, float):
        fields["delta"] = value - previous
    return fields


def _quantile(values: list[Any], q: float) -> float:
    ordered = sorted(values)
    return float(next(v for at, v in enumerate(ordered, 1) if at >= q * len(ordered)))


FIGURES: dict[str, Callable[[list[int], list[Any], Definition, int], Any]] = {
    "count": lambda times, values, d, moment: sum(values),
    "share": lambda times, values, d, moment: sum(values) / len(values),
    "sum": lambda times, values, d, moment: _sum(values),
    "mean": lambda times, values, d, moment: _sum(values) / len(values),
    "std": lambda times, values, d, moment: _std(values),
    "min": lambda times, values, d, moment: min(values),
    "max": lambda times, values, d, moment: max(values),
    "last": lambda times, values, d, moment: _last(values),
    "ewma": lambda times, values, d, moment: _ewma(times, values, d),
    "quantile": lambda times, values, d, moment: _quantile(values, d.q),
    "distinct": lambda times, values, d, moment: len(set(values)),
}
