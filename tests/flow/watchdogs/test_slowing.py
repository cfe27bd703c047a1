"""Cycle times of loops: from command to outcome and from root to return, each against its own baseline."""

from __future__ import annotations

import os
from random import Random

from tests.flow.watchdogs.watched import DAY, START_NS, S, bundle

from flo.core.command import Command
from flo.core.finding import Finding
from flo.core.record import IterationClosed
from flo.flow.digest import LoopDigest
from flo.flow.watchdogs.board import Board
from flo.flow.watchdogs.slowing import SlowingWatchdog

SEED = int(os.environ.get("FLO_SEED", "20260105"))


class Played:
    def __init__(self) -> None:
        self.dog = SlowingWatchdog()
        definition = bundle({"retrain": "on: a"})
        self.dog.turn_to(definition, definition.loops)
        self.found: list[Finding] = []
        self.board = Board(self.found.append)
        self.seq = 0
        self.random = Random(SEED)

    def iterate(self, at_ns: int, cycle_s: float, status: str = "closed") -> None:
        """An iteration that ends at a time, having taken so long."""
        self.seq += 1
        issued_ns = at_ns - round(cycle_s * self.random.lognormvariate(0, 0.2) * S)
        self.dog.commanded(
            Command(
                key=f"retrain/k/{self.seq}/r/0", loop="retrain", loop_key="k", seq=self.seq, rule="r", n=0,
                engine="e", verb="trigger", arguments={}, decision_id="0-1-0-0", root="r", hops=0, born_ns=issued_ns,
                deadline_ns=at_ns + DAY, issued_ns=issued_ns, revision="x",
            )
        )  # fmt: skip
        self.dog.ended(IterationClosed(loop="retrain", key="k", seq=self.seq, status=status, at_ns=at_ns))

    def hear(self, at_ns: int, hops: int, elapsed_s: float) -> None:
        elapsed_ns = round(elapsed_s * self.random.lognormvariate(0, 0.2) * S)
        self.dog.returned(LoopDigest("retrain", {0: 1}, [], [(hops, elapsed_ns)]), at_ns)


STEP_NS = 600 * S


def test_a_cycle_that_grows_week_by_week_is_found_with_its_seconds() -> None:
    played = Played()
    for step in range(round(40 * DAY / STEP_NS)):
        at_ns = START_NS + step * STEP_NS
        weeks = at_ns / DAY / 7 - START_NS / DAY / 7
        played.iterate(at_ns, 30 + 7 * max(0.0, weeks - 2))
        played.dog.check(at_ns, played.board)
    (finding,) = played.found
    assert (finding.subject, finding.figures["cycle"]) == ("retrain", "outcome")
    assert finding.figures["ratio"] < 1.5
    assert 25 < finding.figures["baseline_s"] < 35
    assert "growing since 2026-01-" in finding.detail


def test_failures_and_what_was_killed_say_nothing_of_a_cycle() -> None:
    played = Played()
    for step in range(round(30 * DAY / STEP_NS)):
        at_ns = START_NS + step * STEP_NS
        played.iterate(at_ns, 30)
        if step > 2_500:
            played.iterate(at_ns, 3_000, ("failed", "silent", "killed")[step % 3])
        played.dog.check(at_ns, played.board)
    assert played.found == []


def test_a_second_time_round_is_no_slower_first_time() -> None:
    played = Played()
    for step in range(round(30 * DAY / STEP_NS)):
        at_ns = START_NS + step * STEP_NS
        played.hear(at_ns, 2, 10)
        if step > 2_000:
            played.hear(at_ns, 4, 20)
        played.dog.check(at_ns, played.board)
    assert played.found == []


def test_a_return_that_takes_longer_is_found() -> None:
    played = Played()
    for step in range(round(30 * DAY / STEP_NS)):
        at_ns = START_NS + step * STEP_NS
        played.hear(at_ns, 2, 10 if step < 2_000 else 17)
        played.dog.check(at_ns, played.board)
    (finding,) = played.found
    assert finding.figures["cycle"] == "return after 2 hops"


def test_a_changed_loop_learns_anew_and_an_unchanged_one_does_not() -> None:
    played = Played()
    for step in range(round(20 * DAY / STEP_NS)):
        played.iterate(START_NS + step * STEP_NS, 30)
    same = bundle({"retrain": "on: a", "more": "on: a"})
    played.dog.turn_to(same, same.loops)
    assert played.dog._series
    other = bundle({"retrain": "on: [a, b]"})
    played.dog.turn_to(other, other.loops)
    for step in range(round(3 * DAY / STEP_NS)):
        at_ns = START_NS + 20 * DAY + step * STEP_NS
        played.iterate(at_ns, 90)
        played.dog.check(at_ns, played.board)
    assert played.found == []


def test_a_restart_keeps_the_baseline_and_what_was_found() -> None:
    played = Played()
    for step in range(round(20 * DAY / STEP_NS)):
        at_ns = START_NS + step * STEP_NS
        played.iterate(at_ns, 30 if step < 2_000 else 60)
        played.dog.check(at_ns, played.board)
    assert len(played.found) == 1
    snapshot = played.dog.snapshot()
    definition = bundle({"retrain": "on: a"})
    played.dog = SlowingWatchdog()
    played.dog.turn_to(definition, definition.loops)
    played.dog.restore(snapshot, at_ns)
    for step in range(round(4 * DAY / STEP_NS)):
        played.iterate(at_ns + step * STEP_NS, 30)
        played.dog.check(at_ns + step * STEP_NS, played.board)
    assert not played.board.holds("flo.cycle.slowing", "retrain"), "as fast as it was: over"
