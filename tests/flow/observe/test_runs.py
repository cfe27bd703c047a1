"""Runs are the sum of their events, counted once, and bounded."""

from __future__ import annotations

import pytest
from tests.flow.observe.looking import Looking, dataset
from tests.flow.watchdogs.watched import S

from flo.core.lineage import RUN, JobName, LineageEvent
from flo.flow.observe import runs as module


def event(state: str, at_s: int, run: str = "r", inputs: str = "", outputs: str = "") -> LineageEvent:
    return LineageEvent(
        kind=RUN,
        at_ns=at_s * S,
        job=JobName("jobs", "etl"),
        state=state,
        run_id=run,
        inputs=tuple(map(dataset, inputs.split())),
        outputs=tuple(map(dataset, outputs.split())),
    )


def counts(looking: Looking) -> dict[str, int]:
    return {f"{edge.source} -> {edge.target}": edge.count for edge in looking.observer.graph.newest_first()}


def test_a_dataset_counts_once_a_run_however_many_events_name_it() -> None:
    looking = Looking({})
    for state in ("START", "RUNNING", "RUNNING", "COMPLETE", "COMPLETE"):
        looking.observer.observe_lineage(event(state, 1, inputs="tx", outputs="scores"))
    looking.observer.observe_lineage(event("COMPLETE", 9, run="other", inputs="tx"))
    assert counts(looking) == {
        "dataset:warehouse/tx -> job:jobs/etl": 2,
        "job:jobs/etl -> dataset:warehouse/scores": 1,
    }


def test_versions_and_times_are_gathered_from_all_events_of_a_run() -> None:
    looking = Looking({})
    take = looking.observer.observe_lineage
    take(event("START", 10, inputs="tx@1 cards"))
    take(event("RUNNING", 20, inputs="cards@2"))
    take(event("COMPLETE", 40, inputs="tx", outputs="features@3"))
    (computed,) = looking.observer.computations._computed.values()
    assert computed.inputs == (("dataset:warehouse/cards", "2"), ("dataset:warehouse/tx", "1"))
    (done,) = computed.by_job.values()
    assert done.took_ns == 30 * S


def test_runs_are_bounded_by_their_number_and_by_their_datasets(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "RUNS_MAX", 50)
    monkeypatch.setattr(module, "USES_MAX", 200)
    looking = Looking({})
    book = looking.observer.runs
    for number in range(300):
        inputs = " ".join(f"d{each}" for each in range(number % 40))
        looking.observer.observe_lineage(event("COMPLETE", number, run=f"r{number}", inputs=inputs))
        kept = sum(len(run.inputs) + len(run.outputs) for run in book._runs.values())
        assert kept == book._uses <= 200 + 40
        assert len(book._runs) <= 50
