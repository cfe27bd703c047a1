"""A key that takes half of a busy loop's traffic is found; few keys, little traffic, a zipf and a burst are not."""

from __future__ import annotations

import os
from collections.abc import Callable
from random import Random

from tests.flow.watchdogs.watched import START_NS, S, bundle

from flo.core.finding import Finding
from flo.flow.digest import LoopDigest
from flo.flow.watchdogs.board import Board
from flo.flow.watchdogs.storm import StormWatchdog

SEED = int(os.environ.get("FLO_SEED", "20260105"))


class Played:
    def __init__(self) -> None:
        self.dog = StormWatchdog()
        definition = bundle({"count": "on: a"})
        self.dog.turn_to(definition, definition.loops)
        self.found: list[Finding] = []
        self.board = Board(self.found.append)
        self.now_ns = START_NS
        self.random = Random(SEED)

    def pass_s(self, seconds: int, key: Callable[[Random], str], per_s: int = 1_000) -> None:
        for _ in range(seconds):
            self.now_ns += S
            for _ in range(0, per_s, 100):
                shown = [("0-1-0-0", key(self.random), 1, 0) for _ in range(min(20, per_s))]
                self.dog.decided(LoopDigest("count", {0: min(100, per_s)}, shown))
            self.dog.check(self.now_ns, self.board)


def evenly(random: Random) -> str:
    return f"k{random.randrange(1_000)}"


def hot(random: Random) -> str:
    return "hot" if random.random() < 0.6 else evenly(random)


def test_a_hot_key_is_found_with_its_share_and_over_when_it_cools() -> None:
    played = Played()
    played.pass_s(60, evenly)
    assert played.found == []
    played.pass_s(50, hot)
    (finding,) = played.found
    assert (finding.subject, finding.figures["key"]) == ("count", "hot")
    assert 0.55 < finding.figures["share"] < 0.65
    played.pass_s(30, evenly)
    assert not played.board.holds("flo.state.storm", "count")


def test_a_zipf_few_keys_little_traffic_and_a_burst_are_left_alone() -> None:
    for key, per_s in (
        (
            lambda random: (
                f"k{int(1.0 / max(1e-5, random.random()))}" if random.random() < 0.6 else evenly(random)
            ),
            1_000,
        ),
        (lambda random: "the only one", 1_000),
        (lambda random: f"k{random.randrange(3)}", 1_000),
        (hot, 20),
    ):
        played = Played()
        played.pass_s(300, key, per_s)
        assert played.found == []
    played = Played()
    for _ in range(10):
        played.pass_s(15, hot)
        played.pass_s(30, evenly)
    assert played.found == []
