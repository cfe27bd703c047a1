"""What a run showed: how many decisions, how fast, how much fraud was caught, and what retraining changed."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import Any

from scenarios import SCENARIOS

PHASES = ("before the shift", "shifted, old network", "shifted, new network")
FLAGGED = frozenset({"review", "decline"})


@dataclass
class PhaseFigures:
    """Decisions of one phase. `frauds` and `caught` count by scenario."""

    honest: int = 0
    honest_flagged: int = 0
    frauds: Counter[str] = field(default_factory=Counter)
    caught: Counter[str] = field(default_factory=Counter)

    def add(self, result: str, scenario: str | None) -> None:
        flagged = result in FLAGGED
        if scenario is None:
            self.honest += 1
            self.honest_flagged += flagged
        else:
            self.frauds[scenario] += 1
            self.caught[scenario] += flagged

    @property
    def recall(self) -> float | None:
        """Share of frauds that were not approved; None where there were none."""
        frauds = self.frauds.total()
        return self.caught.total() / frauds if frauds else None


@dataclass
class Report:
    offered: int = 0
    took_s: float = 0.0
    event_hours: float = 0.0
    results: Counter[str] = field(default_factory=Counter)
    phases: dict[str, PhaseFigures] = field(default_factory=lambda: {name: PhaseFigures() for name in PHASES})
    latencies_ms: list[float] = field(default_factory=list)
    lags_ms: list[float] = field(default_factory=list)  # how late the driver itself was
    refused: Counter[str] = field(default_factory=Counter)  # what FLO said no to, by HTTP status
    failed: int = 0  # never answered
    busy: int = 0  # answered 429, sent again
    networks: list[dict[str, Any]] = field(
        default_factory=list
    )  # as trained, with `swapped_at_s` where they were
    commands: Counter[str] = field(default_factory=Counter)
    dead_letters: Counter[str] = field(default_factory=Counter)
    notes: list[str] = field(default_factory=list)

    def as_json(self) -> dict[str, Any]:
        return {
            "offered": self.offered,
            "decided": self.results.total(),
            "took_s": round(self.took_s, 2),
            "event_hours": round(self.event_hours, 1),
            "results": dict(self.results),
            "latency_ms": {name: round(v, 2) for name, v in _quantiles(self.latencies_ms).items()},
            "driver_lag_ms": {name: round(v, 2) for name, v in _quantiles(self.lags_ms).items()},
            "refused": dict(self.refused),
            "failed": self.failed,
            "busy": self.busy,
            "phases": {
                name: {
                    "honest": phase.honest,
                    "honest_flagged": phase.honest_flagged,
                    "frauds": dict(phase.frauds),
                    "caught": dict(phase.caught),
                    "recall": None if phase.recall is None else round(phase.recall, 4),
                }
                for name, phase in self.phases.items()
            },
            "networks": self.networks,
            "commands": dict(self.commands),
            "dead_letters": dict(self.dead_letters),
            "notes": self.notes,
        }

    def text(self) -> str:
        """The report for people."""
        decided = self.results.total()
        rate = decided / self.took_s if self.took_s else 0.0
        latency, lag = _quantiles(self.latencies_ms), _quantiles(self.lags_ms)
        lines = [
            "",
            f"{decided:,} transactions decided in {self.took_s:.1f} s ({rate:,.0f}/s, "
            f"{rate * 60:,.0f} a minute); {self.event_hours:.1f} hours of event time",
            f"  results       {_counts(self.results)}",
            f"  latency       p50 {latency['p50']:.1f} ms   p99 {latency['p99']:.1f} ms"
            f"   max {latency['max']:.0f} ms"
            f"   (the driver itself was late by p99 {lag['p99']:.1f} ms)",
            f"  not decided   refused {self.refused.total()}, failed {self.failed};"
            f" sent again when busy {self.busy}",
            f"  dead letters  {_counts(self.dead_letters)}",
            f"  commands      {_counts(self.commands)}",
            "",
            f"  {'fraud caught':<22}{'all':>14}"
            + "".join(f"{name:>14}" for name in SCENARIOS)
            + f"{'honest flagged':>17}",
        ]
        lines += [f"  {name:<22}{_phase(phase)}" for name, phase in self.phases.items()]
        lines += ["", "  networks"]
        lines += [f"    {_network(note)}" for note in self.networks]
        lines += [f"  note: {note}" for note in self.notes]
        return "\n".join(lines) + "\n"


def _quantiles(values: list[float]) -> dict[str, float]:
    """Nearest rank; zeros for nothing."""
    if not values:
        return {"p50": 0.0, "p99": 0.0, "max": 0.0}
    ordered = sorted(values)
    last = len(ordered) - 1
    return {
        "p50": ordered[last // 2],
        "p99": ordered[min(last, int(len(ordered) * 0.99))],
        "max": ordered[-1],
    }


def _counts(counter: Counter[str]) -> str:
    return "   ".join(f"{name} {count:,}" for name, count in counter.most_common()) or "none"


def _phase(phase: PhaseFigures) -> str:
    cells = [(phase.caught.total(), phase.frauds.total())]
    cells += [(phase.caught[name], phase.frauds[name]) for name in SCENARIOS]
    shares = "".join(f"{f'{a / n:4.0%} {a}/{n}' if n else '-':>14}" for a, n in cells)
    flagged = f"{phase.honest_flagged / phase.honest:.1%}" if phase.honest else "-"
    return f"{shares}{flagged:>17}"


def _network(note: dict[str, Any]) -> str:
    version = note["version"]
    if "champion" not in note:
        return f"{version:<16} trained on {note['rows']:,} rows ({note['frauds']} frauds) before the start"
    swapped = note.get("swapped_at_s")
    fate = f"in use from {swapped:.1f} s" if swapped is not None else "kept aside"
    return (
        f"{version:<16} trained in {note['took_s']:.1f} s on {note['rows']:,} rows ({note['frauds']} frauds);"
        f" of the fraud in {note['held_out']:,} held out it caught {note['recall']:.0%}, "
        f"{note['champion']} {note['champion_recall']:.0%}: {fate}"
    )
