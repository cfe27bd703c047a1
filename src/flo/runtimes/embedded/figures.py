"""Figures of a running FLO: counted where groups become durable, given out as Prometheus text and as health."""

from __future__ import annotations

import time
from collections import Counter, deque
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import prometheus_client as prometheus

from flo.core.loop.program import EXIT_ERROR
from flo.core.record import (
    CommandIssued,
    CommandOutcome,
    DeadLetter,
    DeadLetterDropped,
    GroupView,
    Killed,
    PipelinePaused,
    SignalsReplayed,
)
from flo.core.signal import text_from_time
from flo.flow.digest import Digest
from flo.flow.observe.observer import Observer
from flo.flow.watchdogs.watch import Watch, severity

RATE_WINDOW_S = 60

COMMIT_BUCKETS_S = (0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.25, 0.5, 1, 2.5)


@dataclass(slots=True)
class LoopFigures:
    """One loop since the start. `recent` holds (second, decisions) of the last minute."""

    decisions: int = 0
    errors: int = 0
    dead_letters: int = 0
    dead_letters_left: int = 0
    killed: int = 0
    commands: int = 0
    outcomes: dict[str, int] = field(default_factory=dict)
    exits: dict[int, int] = field(default_factory=dict)
    last_ns: int = 0
    recent: deque[list[int]] = field(default_factory=deque)

    def rate_per_s(self, now_s: int) -> float:
        while self.recent and self.recent[0][0] <= now_s - RATE_WINDOW_S:
            self.recent.popleft()
        return sum(count for _, count in self.recent) / RATE_WINDOW_S


class Figures:
    """Updated on the event loop, once a group."""

    def __init__(self) -> None:
        self.loops: dict[str, LoopFigures] = {}
        self.registry = prometheus.CollectorRegistry()
        self.started_s = time.time()
        self._signals = self._counter("flo_signals", "Signals by what became of them", ["status"])
        self._decisions = self._counter("flo_decisions", "Decisions made", ["loop", "result"])
        self._dead = self._counter(
            "flo_dead_letters", "Signals and commands that could not be processed", ["loop", "reason"]
        )
        self._left = self._counter(
            "flo_dead_letters_left",
            "Dead letters that were replayed, dropped or overtaken, or expired",
            ["loop", "how"],
        )
        self._opened = self._counter(
            "flo_breaker_opened", "Pipelines paused by dead letters that came too fast", ["pipeline", "loop"]
        )
        self._replayed = self._counter("flo_replayed_signals", "Recorded signals decided again", ["from"])
        self._killed = self._counter("flo_killed", "Contexts that died", ["loop", "why"])
        self._commands = self._counter("flo_commands", "Commands issued", ["loop", "engine", "verb"])
        self._outcomes = self._counter("flo_command_outcomes", "What became of commands", ["loop", "outcome"])
        self._late = self._counter("flo_late_signals", "Signals too late for a window of their loop", [])
        self._commit = prometheus.Histogram(
            "flo_commit_seconds",
            "From deciding a group to its being durable",
            registry=self.registry,
            buckets=COMMIT_BUCKETS_S,
        )
        self._open = prometheus.Gauge(
            "flo_open_commands", "Commands whose end is not known", registry=self.registry
        )
        self._queued = prometheus.Gauge(
            "flo_queued_signals", "Signals taken and not yet durable", registry=self.registry
        )
        self._keys = prometheus.Gauge("flo_state_keys", "Keys with state", ["loop"], registry=self.registry)
        self._paused = self._gauge("flo_pipeline_paused", "1 while the pipeline is paused or drains")
        self._parked = self._gauge("flo_parked_signals", "Signals parked and not decided yet")
        self._shared_age = prometheus.Gauge(
            "flo_shared_state_staleness_seconds",
            "How old, at most, other workers' part of shared state is when it is read",
            registry=self.registry,
        )
        self._found = prometheus.Gauge(
            "flo_watchdog_findings", "What watchdogs find that holds now", ["type"], registry=self.registry
        )
        self._raised = self._counter("flo_watchdog_raised", "Findings raised", ["type"])
        self._unsent = self._counter(
            "flo_watchdog_unsent", "Findings that came too fast to become signals", []
        )
        self._edges = prometheus.Gauge("flo_observed_edges", "Edges observed", registry=self.registry)
        self._dropped = self._counter(
            "flo_observed_edges_dropped", "Edges that left: not seen for a month, or for want of room", []
        )
        self._spans = self._counter("flo_spans", "Spans by what became of them", ["status"])
        self._seen_counts: dict[str, int] = {}
        self._seen_raised: dict[str, int] = {}
        self._seen_unsent = 0

    def _gauge(self, name: str, about: str) -> prometheus.Gauge:
        return prometheus.Gauge(name, about, ["pipeline"], registry=self.registry)

    def _counter(self, name: str, about: str, labels: list[str]) -> prometheus.Counter:
        return prometheus.Counter(name, about, labels, registry=self.registry)

    def loop(self, name: str) -> LoopFigures:
        found = self.loops.get(name)
        if found is None:
            found = self.loops[name] = LoopFigures()
        return found

    def observe(self, digests: Iterable[Digest], results: Mapping[str, Any], now_ns: int) -> None:
        """Count groups that became durable. `results`: loop -> function from an exit to its result."""
        second = now_ns // 1_000_000_000
        for digest in digests:
            self._commit.observe((now_ns - digest.decided_ns) / 1e9)
            for loop in digest.loops:
                self._section(loop.loop, loop.exits, results, digest.decided_ns, second)
            for event in digest.events:
                self._event(event)

    def observe_stored(self, group: GroupView, results: Mapping[str, Any]) -> None:
        """Count a group read back from the ledger."""
        second = group.decided_ns // 1_000_000_000
        for section in group.sections:
            if section.count:
                self._section(
                    section.loop, Counter(section.column("exit")), results, group.decided_ns, second
                )
        for event in group.events():
            self._event(event)

    def _section(
        self, name: str, exits: Mapping[int, int], results: Mapping[str, Any], at_ns: int, second: int
    ) -> None:
        figures = self.loop(name)
        total = sum(exits.values())
        figures.decisions += total
        figures.last_ns = max(figures.last_ns, at_ns)  # stored groups are read newest first
        if figures.recent and figures.recent[-1][0] == second:
            figures.recent[-1][1] += total
        else:
            figures.recent.append([second, total])
            figures.rate_per_s(second)  # drops what is older than a minute
        for exit, count in exits.items():
            figures.exits[exit] = figures.exits.get(exit, 0) + count
            figures.errors += count * (exit == EXIT_ERROR)
            result = results[name](exit) if name in results else None
            self._decisions.labels(name, result or "none").inc(count)

    def _event(self, event: object) -> None:
        if isinstance(event, DeadLetter):
            self.loop(event.loop).dead_letters += 1
            self._dead.labels(event.loop, event.reason).inc()
        elif isinstance(event, DeadLetterDropped):
            self.loop(event.loop).dead_letters_left += 1
            self._left.labels(event.loop, event.how).inc()
        elif isinstance(event, PipelinePaused):
            if event.by == "breaker":
                self._opened.labels(event.pipeline, event.loop or "").inc()
        elif isinstance(event, SignalsReplayed):
            origin = "parked" if event.pipeline else "dead_letter"
            self._replayed.labels(origin).inc(sum(run[1] for run in event.rows))
        elif isinstance(event, Killed):
            self.loop(event.loop).killed += 1
            self._killed.labels(event.loop, event.why).inc()
        elif isinstance(event, CommandIssued):
            command = event.command
            self.loop(command.loop).commands += 1
            self._commands.labels(command.loop, command.engine, command.verb).inc()
        elif isinstance(event, CommandOutcome):
            loop = event.command_key.split("/", 1)[0]
            outcomes = self.loop(loop).outcomes
            outcomes[event.outcome] = outcomes.get(event.outcome, 0) + 1
            self._outcomes.labels(loop, event.outcome).inc()

    def text(
        self,
        counts: Mapping[str, int],
        open_commands: int,
        queued: int,
        keys: Mapping[str, int],
        watch: Watch,
        shared_age_s: float = 0.0,
        pipelines: Iterable[Mapping[str, Any]] = (),
    ) -> bytes:
        """Prometheus text. `counts` are the step's own totals; they become counters by their differences."""
        for name, value in counts.items():
            grown = value - self._seen_counts.get(name, 0)
            self._seen_counts[name] = value
            if grown <= 0:
                continue
            if name == "late":
                self._late.inc(grown)
            else:
                self._signals.labels(name).inc(grown)
        self._open.set(open_commands)
        self._queued.set(queued)
        for loop, count in keys.items():
            self._keys.labels(loop).set(count)
        for row in pipelines:
            self._paused.labels(row["name"]).set(row["status"] != "running")
            self._parked.labels(row["name"]).set(row["parked"])
        self._shared_age.set(shared_age_s)
        self._watchdogs(watch)
        return prometheus.generate_latest(self.registry)

    def _observed(self, observer: Observer) -> None:
        self._edges.set(len(observer.graph))
        traces = observer.traces
        counts = {"taken": traces.taken, "repeated": traces.repeated, "cut": traces.cut}
        for status, count in counts.items():
            self._spans.labels(status).inc(count - self._seen_counts.get(f"spans {status}", 0))
            self._seen_counts[f"spans {status}"] = count
        self._dropped.inc(observer.graph.dropped - self._seen_counts.get("edges dropped", 0))
        self._seen_counts["edges dropped"] = observer.graph.dropped

    def _watchdogs(self, watch: Watch) -> None:
        self._observed(watch.observer)
        held = watch.board.counts()
        for dog in watch.dogs:
            self._found.labels(dog.type).set(held.get(dog.type, 0))
            raised = watch.board.raised_total.get(dog.type, 0)
            self._raised.labels(dog.type).inc(raised - self._seen_raised.get(dog.type, 0))
            self._seen_raised[dog.type] = raised
        self._unsent.inc(watch.unsent - self._seen_unsent)
        self._seen_unsent = watch.unsent

    def health(
        self, name: str, now_ns: int, open_iterations: int, findings: Sequence[Mapping[str, str]] = ()
    ) -> dict[str, Any]:
        """A loop's health in a line. `needs_attention` says what a person should look at, and is empty when all is well."""
        figures = self.loop(name)
        attention = [finding["detail"] for finding in findings]
        dead = figures.dead_letters - figures.dead_letters_left
        if dead > 0:
            attention.append(f"{dead} dead letter{'s' * (dead != 1)}")
        for outcome in ("failed", "silent", "expired"):
            if figures.outcomes.get(outcome):
                attention.append(f"{figures.outcomes[outcome]} commands {outcome}")
        if figures.killed:
            attention.append(f"{figures.killed} contexts killed")
        return {
            "name": name,
            "status": "attention" if attention else "healthy" if figures.decisions else "idle",
            "needs_attention": attention,
            "findings": list(findings),
            "rate_per_s": round(figures.rate_per_s(now_ns // 1_000_000_000), 3),
            "decisions": figures.decisions,
            "errors": figures.errors,
            "dead_letters": figures.dead_letters,
            "dead_letters_left": figures.dead_letters_left,
            "killed": figures.killed,
            "commands": figures.commands,
            "outcomes": dict(figures.outcomes),
            "open_iterations": open_iterations,
            "last_decision": text_from_time(figures.last_ns) if figures.last_ns else None,
        }


def needing_a_person_first(
    lines: Iterable[dict[str, Any]], paused: Mapping[str, Mapping[str, Any]]
) -> list[dict[str, Any]]:
    """Health lines in the order a person should look at them: what stands still, then what watchdogs found, worst first,
    then what failed, then the rest, by name."""
    told = []
    for line in lines:
        row = paused.get(line["name"])
        if row is None:
            told.append(line)
            continue
        parked = row["parked_by_loop"].get(line["name"], 0)
        why = f"pipeline {row['name']} {row['status']} since {row['paused_since']} by {row['paused_by']}: {row['why']}"
        attention = [f"{why}; {parked} parked", *line["needs_attention"]]
        told.append({**line, "status": row["status"], "parked": parked, "needs_attention": attention})
    return sorted(told, key=_urgency)


_ORDER = {"paused": 0, "draining": 1, "broken": 2, "attention": 3}


def _urgency(line: Mapping[str, Any]) -> tuple[Any, ...]:
    findings = line.get("findings") or ()
    worst = min((severity(finding["type"]) for finding in findings), default=99)
    return _ORDER.get(line["status"], 4), worst, line["name"]
