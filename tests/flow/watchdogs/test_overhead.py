"""A pipeline that waits more than it works is found, with its share; one that works, or does not say, is left alone."""

from __future__ import annotations

from typing import Any

import pytest
from tests.flow.watchdogs.watched import HOUR, MINUTE, START_NS, S, bundle

from flo.core.command import Command
from flo.core.finding import Finding
from flo.core.record import CommandOutcome
from flo.flow.watchdogs.board import Board
from flo.flow.watchdogs.overhead import OverheadWatchdog

FLO = "pipelines: {nightly: {loops: [a, b]}}"


class Played:
    def __init__(self) -> None:
        self.dog = OverheadWatchdog()
        definition = bundle(dict.fromkeys(("a", "b", "c"), "on: x"), FLO)
        self.dog.turn_to(definition, definition.loops)
        self.found: list[Finding] = []
        self.board = Board(self.found.append)
        self.seq = 0

    def command(self, at_ns: int, took_s: float, result: Any, loop: str = "a") -> None:
        self.seq += 1
        key = f"{loop}/k/{self.seq}/r/0"
        issued_ns = at_ns - round(took_s * S)
        self.dog.commanded(
            Command(
                key=key, loop=loop, loop_key="k", seq=self.seq, rule="r", n=0, engine="e", verb="trigger",
                arguments={}, decision_id="0-1-0-0", root="r", hops=0, born_ns=issued_ns, deadline_ns=at_ns + HOUR,
                issued_ns=issued_ns, revision="x",
            )
        )  # fmt: skip
        self.dog.observe(
            CommandOutcome(command_key=key, outcome="succeeded", at_ns=at_ns, attempts=1, result=result)
        )
        self.dog.check(at_ns, self.board)


def test_a_pipeline_that_waits_more_than_it_works_is_found_over_all_its_loops() -> None:
    played = Played()
    for number in range(30):
        played.command(START_NS + number * MINUTE, 60, {"run_s": 12}, "ab"[number % 2])
    (finding,) = played.found
    assert (finding.subject, finding.pipeline, finding.loop) == ("nightly", "nightly", None)
    assert finding.figures["overhead_share"] == pytest.approx(0.8)
    for number in range(200):
        played.command(START_NS + HOUR + number * MINUTE, 60, {"run_s": 50})
    assert not played.board.holds("flo.overhead.high", "nightly")


def test_a_loop_of_no_pipeline_is_judged_by_itself() -> None:
    played = Played()
    for number in range(30):
        played.command(START_NS + number * MINUTE, 60, {"run_s": 12}, "c")
    assert (played.found[0].subject, played.found[0].loop) == ("c", "c")


@pytest.mark.parametrize(
    "result", [{"run_s": 40}, None, {"run_s": "12"}, {"other": 1}, {"run_s": True}, {"run_s": -1}]
)
def test_work_and_answers_that_do_not_say_are_left_alone(result: Any) -> None:
    played = Played()
    for number in range(100):
        played.command(START_NS + number * MINUTE, 60, result)
    assert played.found == []


def test_a_few_commands_are_not_judged() -> None:
    played = Played()
    for number in range(19):
        played.command(START_NS + number * MINUTE, 60, {"run_s": 1})
    played.dog.check(START_NS + 3 * HOUR, played.board)
    assert played.found == []
