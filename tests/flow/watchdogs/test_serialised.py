"""Parallel branches that run one after another: what is found, and what is left alone."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from tests.flow.observe.looking import Looking

LOOPS = {
    "settle": "on: x\nfeeds: [a, b, c]",
    "a": "on: y",
    "b": "on: y",
    "c": "on: y",
}
SERIAL = (("settle", "a", 0, 20), ("settle", "b", 21, 40), ("settle", "c", 41, 60))
PARALLEL = (("settle", "a", 0, 20), ("settle", "b", 1, 21), ("settle", "c", 2, 22))


def serialised(looking: Looking) -> dict[str, object]:
    return {
        subject: finding
        for subject, finding in looking.look().items()
        if finding.type == "flo.edge.serialised"
    }


def repeat(looking: Looking, times: int, *calls: tuple[str, str, int, int]) -> None:
    for _ in range(times):
        looking.trace(*calls)


def test_branches_of_one_loop_that_run_in_turn_are_found_with_what_it_costs() -> None:
    looking = Looking(LOOPS)
    repeat(looking, 12, *SERIAL)
    (finding,) = looking.look().values()
    assert (finding.type, finding.subject, finding.loop) == (
        "flo.edge.serialised",
        "service:settle",
        "settle",
    )
    assert finding.figures["branches"] == ["service:a", "service:b", "service:c"]
    assert (finding.figures["traces"], finding.figures["overlap_share"]) == (12, 0.0)
    assert (finding.figures["lost_ms_per_trace"], finding.figures["whole_ms_per_trace"]) == (40.0, 60.0)
    assert finding.figures["declared_parallel"] is True


def test_the_one_branch_that_waits_is_told_from_those_that_do_not() -> None:
    looking = Looking(LOOPS)
    repeat(looking, 12, ("settle", "a", 0, 20), ("settle", "b", 0, 20), ("settle", "c", 21, 60))
    (finding,) = looking.look().values()
    assert finding.figures["lost_ms_per_trace"] == 21.0


def test_it_is_over_when_they_overlap_again() -> None:
    looking = Looking(LOOPS)
    repeat(looking, 12, *SERIAL)
    assert serialised(looking)
    repeat(looking, 8, *PARALLEL)
    assert not serialised(looking)


def test_branches_that_used_to_overlap_are_found_without_a_declaration() -> None:
    looking = Looking({})
    repeat(looking, 25, *PARALLEL)
    assert not serialised(looking)
    repeat(looking, 32, *SERIAL)
    (finding,) = looking.look().values()
    assert finding.figures["declared_parallel"] is False


LEFT_ALONE: dict[str, Callable[[Looking], None]] = {
    "branches that overlap": lambda looking: repeat(looking, 40, *PARALLEL),
    "branches that overlap in part": lambda looking: repeat(
        looking, 40, ("settle", "a", 0, 20), ("settle", "b", 15, 40)
    ),
    "calls in turn that nobody declared parallel": lambda looking: repeat(
        looking, 40, ("shop", "cart", 0, 20), ("shop", "stock", 21, 40)
    ),
    "a loop that calls services in turn": lambda looking: repeat(
        looking, 40, ("settle", "geo", 0, 20), ("settle", "tax", 21, 40)
    ),
    "too few traces": lambda looking: repeat(looking, 9, *SERIAL),
    "branches too short to tell": lambda looking: repeat(
        looking, 40, ("settle", "a", 0, 2), ("settle", "b", 3, 5)
    ),
    "a short branch beside a long one": lambda looking: repeat(
        looking, 40, ("settle", "a", 0, 6), ("settle", "b", 6, 2_000)
    ),
    "a few traces in turn among many that overlap": lambda looking: (
        [repeat(looking, 1, *(SERIAL if n % 5 == 0 else PARALLEL)) for n in range(40)] and None
    ),
    "branches in different traces": lambda looking: (
        [repeat(looking, 1, ("settle", "abc"[n % 3], 0, 20)) for n in range(60)] and None
    ),
}


@pytest.mark.parametrize("case", LEFT_ALONE)
def test_is_left_alone(case: str) -> None:
    looking = Looking(LOOPS)
    LEFT_ALONE[case](looking)
    assert not serialised(looking)


def test_a_branch_that_needs_what_another_made_has_to_wait() -> None:
    """By what lineage reports: a writes, something makes of it what b reads."""
    looking = Looking(LOOPS)
    looking.run("a", [], ["made"])
    looking.run("between", ["made"], ["remade"])
    looking.run("b", ["remade"], [])
    repeat(looking, 20, ("settle", "a", 0, 20), ("settle", "b", 21, 40))
    assert not serialised(looking)


def test_a_branch_that_declares_to_read_what_another_writes_has_to_wait() -> None:
    looking = Looking({**LOOPS, "a": "on: y\nwrites: [dataset:made]", "b": "on: y\nreads: [dataset:made]"})
    repeat(looking, 20, ("settle", "a", 0, 20), ("settle", "b", 21, 40))
    assert not serialised(looking)


def test_a_retry_within_a_branch_is_part_of_the_branch() -> None:
    looking = Looking(LOOPS)
    repeat(looking, 20, ("settle", "a", 0, 10), ("settle", "a", 10, 30), ("settle", "b", 0, 30))
    assert not serialised(looking)


def dag(looking: Looking, run: int, *, b_after_s: float, b_follows: str = "extract") -> None:
    """A DAG run: b and c read what extract made."""
    dag_run = f"dag-{run}"
    looking.run("extract", [], ["raw"], parent=dag_run, after=[], took_s=5)
    looking.run("b", ["raw"], ["b"], parent=dag_run, after=["extract"], took_s=60, start_s=5)
    looking.run("c", ["raw"], ["c"], parent=dag_run, after=[b_follows], took_s=60, start_s=5 + b_after_s)
    looking.run("dag", run_id=dag_run, took_s=200)
    looking.look(300_000_000_000)


def test_jobs_with_the_same_declared_parents_are_found_when_they_run_in_turn() -> None:
    looking = Looking({})
    for run in range(12):
        dag(looking, run, b_after_s=61)
    (finding,) = looking.look().values()
    assert (finding.type, finding.subject) == ("flo.edge.serialised", "job:jobs/dag")
    assert finding.figures["branches"] == ["job:jobs/b", "job:jobs/c"]
    assert finding.figures["lost_ms_per_trace"] == 61_000.0


def test_jobs_that_overlap_or_follow_one_another_are_left_alone() -> None:
    beside, after = Looking({}), Looking({})
    for run in range(20):
        dag(beside, run, b_after_s=1)
        dag(after, run, b_after_s=61, b_follows="b")
    assert not serialised(beside)
    assert not serialised(after)
