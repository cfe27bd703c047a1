"""The same dataset version computed again by others: what is found, and what is left alone."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from tests.flow.observe.looking import Looking
from tests.flow.watchdogs.watched import DAY, HOUR


def recomputed(looking: Looking) -> list[str]:
    return [subject for subject, finding in looking.look().items() if finding.type == "flo.data.recomputed"]


def test_three_jobs_that_make_the_same_of_the_same_are_named_with_what_it_cost() -> None:
    looking = Looking({})
    for job, took_s in (("score", 30), ("retrain", 40), ("report", 50)):
        looking.run(job, ["tx@v7", "cards@v2"], ["features@v9"], took_s=took_s)
    (finding,) = looking.look().values()
    assert (finding.type, finding.subject) == ("flo.data.recomputed", "dataset:warehouse/features")
    figures = finding.figures
    assert (figures["versions"], figures["recomputations"], figures["wasted_s"]) == (1, 2, 90.0)
    assert {job: line["seconds"] for job, line in figures["by"].items()} == {
        "job:jobs/score": 30.0,
        "job:jobs/retrain": 40.0,
        "job:jobs/report": 50.0,
    }
    assert figures["newest_inputs"] == {"dataset:warehouse/cards": "v2", "dataset:warehouse/tx": "v7"}
    assert "90.0 s" in finding.detail


def test_each_version_counts_and_it_stays_one_finding() -> None:
    looking = Looking({})
    for version in range(5):
        for job in ("a", "b"):
            looking.run(job, [f"tx@{version}"], [f"features@{version}"])
        assert len(looking.look(HOUR)) == 1
    (finding,) = looking.look().values()
    assert (finding.figures["versions"], finding.figures["wasted_s"]) == (5, 50.0)
    assert len(looking.raised) == 1


def test_it_is_over_after_a_day_without() -> None:
    looking = Looking({})
    for job in ("a", "b"):
        looking.run(job, ["tx@1"], ["features@1"])
    assert recomputed(looking)
    assert len(looking.look(DAY + HOUR)) == 0


def test_what_is_not_known_to_have_taken_long_is_counted_as_unknown() -> None:
    looking = Looking({})
    looking.run("a", ["tx@1"], ["features@1"])
    looking.run("b", ["tx@1"], ["features@1"], start_s=100, took_s=-1)  # of two clocks
    (finding,) = looking.look().values()
    assert (finding.figures["wasted_s"], finding.figures["unknown_durations"]) == (0.0, 1)


def once(job: str, reads: list[str], writes: list[str], **how: object) -> Callable[[Looking], object]:
    return lambda looking: looking.run(job, reads, writes, **how)  # type: ignore[arg-type]


LEFT_ALONE: dict[str, list[Callable[[Looking], object]]] = {
    "one job that runs again": [once("a", ["tx@1"], ["f@1"]), once("a", ["tx@1"], ["f@1"])],
    "a retry after a failure": [
        once("a", ["tx@1"], ["f@1"], state="FAIL"),
        once("a", ["tx@1"], ["f@1"]),
    ],
    "another job that failed": [
        once("a", ["tx@1"], ["f@1"]),
        once("b", ["tx@1"], ["f@1"], state="ABORT"),
    ],
    "changed inputs": [once("a", ["tx@1"], ["f@1"]), once("b", ["tx@2"], ["f@1"])],
    "an input more": [once("a", ["tx@1"], ["f@1"]), once("b", ["tx@1", "cards@1"], ["f@1"])],
    "another version written": [once("a", ["tx@1"], ["f@1"]), once("b", ["tx@1"], ["f@2"])],
    "another dataset": [once("a", ["tx@1"], ["f@1"]), once("b", ["tx@1"], ["g@1"])],
    "an input without a version": [
        once("a", ["tx@1", "cards"], ["f@1"]),
        once("b", ["tx@1", "cards"], ["f@1"]),
    ],
    "an output without a version": [once("a", ["tx@1"], ["f"]), once("b", ["tx@1"], ["f"])],
    "outputs made of nothing": [once("a", [], ["f@1"]), once("b", [], ["f@1"])],
    "the same read by many": [once("a", ["tx@1"], ["f@1"]), once("b", ["f@1"], []), once("c", ["f@1"], [])],
    "a task and the query it runs": [
        once("query", ["tx@1"], ["f@1"], run_id="q", parent="t"),
        once("task", ["tx@1"], ["f@1"], run_id="t"),
    ],
    "a query, its task and their DAG": [
        once("dag", ["tx@1"], ["f@1"], run_id="d"),
        once("query", ["tx@1"], ["f@1"], run_id="q", parent="t", root="d"),
        once("task", ["tx@1"], ["f@1"], run_id="t", parent="d"),
    ],
    "the same end told twice": [
        once("a", ["tx@1"], ["f@1"], run_id="r"),
        once("a", ["tx@1"], ["f@1"], run_id="r"),
    ],
}


@pytest.mark.parametrize("case", LEFT_ALONE)
def test_is_left_alone(case: str) -> None:
    looking = Looking({})
    for step in LEFT_ALONE[case]:
        step(looking)
    assert recomputed(looking) == []


def test_two_tasks_of_one_dag_that_make_the_same_are_two() -> None:
    looking = Looking({})
    looking.run("one", ["tx@1"], ["f@1"], parent="d", root="d")
    looking.run("other", ["tx@1"], ["f@1"], parent="d", root="d")
    assert recomputed(looking) == ["dataset:warehouse/f"]
