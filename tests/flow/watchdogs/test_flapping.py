"""What goes there and back is found; what only changes, repeats, alternates slowly or by chance is left alone."""

from __future__ import annotations

import os
from random import Random
from typing import Any

import pytest
from tests.flow.watchdogs.watched import HOUR, MINUTE, START_NS, S, bundle, digest

from flo.core.command import Command
from flo.core.finding import Finding
from flo.flow.watchdogs.board import Board
from flo.flow.watchdogs.flapping import FlappingWatchdog

SEED = int(os.environ.get("FLO_SEED", "20260105"))


class Played:
    def __init__(self) -> None:
        self.dog = FlappingWatchdog()
        definition = bundle({"scale": "on: load", "other": "on: load"})
        self.dog.turn_to(definition, definition.loops)
        self.found: list[Finding] = []
        self.board = Board(self.found.append)
        self.seq = 0

    def command(
        self, at_ns: int, verb: str, arguments: Any = None, *, loop: str = "scale", target: str | None = "t"
    ) -> None:
        self.seq += 1
        self.dog.commanded(
            Command(
                key=f"{loop}/k/{self.seq}/r/0", loop=loop, loop_key="k", seq=self.seq, rule="r", n=0, engine="e",
                verb=verb, arguments=arguments or {}, target=target, decision_id="0-1-0-0", root="r", hops=0,
                born_ns=at_ns, deadline_ns=at_ns + HOUR, issued_ns=at_ns, revision="x",
            )
        )  # fmt: skip
        self.dog.check(at_ns, self.board)

    def decide(self, at_ns: int, exit: int, key: str = "k", step: int = 1) -> None:
        self.seq += step
        for loop in digest(at_ns, loops={"scale": [(key, self.seq, exit)]}).loops:
            self.dog.decided(loop, at_ns)
        self.dog.check(at_ns, self.board)


@pytest.mark.parametrize(
    "pair", [("pause", "resume"), ("trigger", "cancel"), ("swap v1", "swap v2"), ("call up", "call down")]
)
def test_commands_that_undo_each_other_are_found_with_their_number(pair: tuple[str, str]) -> None:
    played = Played()
    for turn in range(12):
        verb, _, argument = pair[turn % 2].partition(" ")
        played.command(START_NS + turn * MINUTE, verb, {"to": argument})
    (finding,) = played.found
    assert (finding.subject, finding.loop) == ("t", "scale")
    assert "8 times in" in finding.detail
    played.dog.check(START_NS + 2 * HOUR, played.board)
    assert not played.board.holds("flo.loop.flapping", "t"), "over when it has stopped"


def test_two_loops_that_fight_over_one_target_are_found() -> None:
    played = Played()
    for turn in range(12):
        loop = ("scale", "other")[turn % 2]
        played.command(START_NS + turn * MINUTE, "swap", {"version": loop}, loop=loop, target="model:fraud")
    (finding,) = played.found
    assert finding.subject == "model:fraud"


def test_what_only_moves_on_repeats_or_is_of_different_targets_is_left_alone() -> None:
    played = Played()
    for turn in range(200):
        at_ns = START_NS + turn * 10 * S
        played.command(at_ns, "swap", {"version": turn}, target="forward")
        played.command(at_ns, "pause", target="again and again")
        played.command(at_ns, ("trigger", "rerun")[turn % 2], target="not opposite")
        played.command(at_ns, ("pause", "resume")[turn % 2], target=f"each its own {turn}")
        played.command(at_ns, ("page", "review")[turn % 2], target="people")
    assert played.found == []


def test_a_thermostat_that_switches_every_ten_minutes_is_left_alone() -> None:
    played = Played()
    for turn in range(1_000):
        played.command(START_NS + turn * 10 * MINUTE, ("pause", "resume")[turn % 2])
    assert played.found == []


def test_a_result_that_alternates_again_and_again_is_found() -> None:
    played = Played()
    for turn in range(60):
        played.decide(START_NS + turn * 10 * S, turn % 2)
    (finding,) = played.found
    assert (finding.subject, finding.figures["key"]) == ("scale", "k")


def test_results_by_chance_are_left_alone_for_a_million_decisions() -> None:
    print(f"seed {SEED}")
    random = Random(SEED)
    played = Played()
    for number in range(1_000_000 // 20):
        played.seq += 1
        at_ns = START_NS + number * S
        rows = [(f"k{key}", played.seq, int(random.random() < 0.5)) for key in range(20)]
        for loop in digest(at_ns, loops={"scale": rows}).loops:
            played.dog.decided(loop, at_ns)
        played.dog.check(at_ns, played.board)
    assert played.found == []


def test_decisions_that_were_not_seen_between_are_not_taken_for_turns() -> None:
    played = Played()
    for turn in range(200):
        played.decide(START_NS + turn * S, turn % 2, step=2)
    assert played.found == []
