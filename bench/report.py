"""What a benchmark hands back, and how it is printed."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from bench.machine import describe_machine


@dataclass(slots=True)
class Options:
    """What every benchmark is asked with. `rounds` and `signals` override its own sizes."""

    quick: bool = False
    seed: int = 20260105
    rounds: int | None = None
    signals: int | None = None
    profile: bool = False


@dataclass(slots=True)
class Target:
    """A figure with its bound, as the project states it."""

    about: str
    value: float
    bound: float
    at_least: bool

    @property
    def is_met(self) -> bool:
        return self.value >= self.bound if self.at_least else self.value <= self.bound

    def line(self) -> str:
        relation = "at least" if self.at_least else "at most"
        verdict = "met" if self.is_met else "MISSED"
        return f"{self.about}: {self.value:.2f} ({relation} {self.bound:g}: {verdict})"


@dataclass(slots=True)
class Report:
    """One benchmark's outcome: tables and remarks for people, figures for programs."""

    name: str
    about: str
    seed: int
    tables: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    targets: list[Target] = field(default_factory=list)
    figures: dict[str, Any] = field(default_factory=dict)
    skipped: str = ""

    def text(self) -> str:
        parts = [f"{self.name}: {self.about} (seed {self.seed})"]
        if self.skipped:
            return "\n".join([*parts, f"skipped: {self.skipped}"])
        parts += ["", *self.tables]
        if self.targets:
            parts += ["", *(target.line() for target in self.targets)]
        if self.notes:
            parts += ["", *self.notes]
        return "\n".join(parts)

    def as_dict(self) -> dict[str, Any]:
        return {
            "bench": self.name,
            "seed": self.seed,
            "skipped": self.skipped or None,
            "figures": self.figures,
            "targets": [
                {"about": target.about, "value": target.value, "bound": target.bound, "met": target.is_met}
                for target in self.targets
            ],
            "notes": self.notes,
        }


def machine_text() -> str:
    facts = describe_machine()
    width = max(map(len, facts))
    return "\n".join(f"{name:<{width}}  {value}" for name, value in facts.items())


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """The first column to the left, figures to the right."""
    widths = [max(len(row[column]) for row in [head, *rows]) for column in range(len(head))]

    def line(row: Sequence[str]) -> str:
        first = f"{row[0]:<{widths[0]}}"
        return "  ".join(
            [first, *(f"{cell:>{width}}" for cell, width in zip(row[1:], widths[1:], strict=True))]
        )

    return "\n".join([line(head), "-" * len(line(head)), *map(line, rows)])


def median_ratio(values: Sequence[float], base: Sequence[float]) -> float:
    """The median over rounds of each round's own ratio: neighbours in time share the machine's mood."""
    return statistics.median(value / one for value, one in zip(values, base, strict=True))


def quantile(ordered: Sequence[float], q: float) -> float:
    """The value that a share `q` of a sorted sequence does not exceed (nearest rank)."""
    return ordered[min(len(ordered) - 1, max(0, int(q * len(ordered) + 0.999999) - 1))]
