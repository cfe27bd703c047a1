"""A dependency near its idle timeout, or late too often, is found; a fast one, a rare one and a short burst are not."""

from __future__ import annotations

import msgspec
from tests.flow.watchdogs.watched import START_NS, S, bundle

from flo.core.finding import Finding
from flo.flow.fetch import FetchStats
from flo.flow.watchdogs.board import Board
from flo.flow.watchdogs.dependency import DependencyWatchdog

FLO = """
dependencies:
  profiles: {kind: http, url: "http://127.0.0.1:1/{key}", idle_timeout: 2s}
"""
QUICK = FetchStats(
    fetches=0, requests=0, cached=0, coalesced=0, missing=0, late=0, retried=0, in_flight=0, queued=0,
    p50_s=0.01, p99_s=0.05, idle_timeout_s=2.0,
)  # fmt: skip


class Played:
    def __init__(self, flo_yaml: str = FLO) -> None:
        self.dog = DependencyWatchdog()
        definition = bundle({"l": "on: a\nneeds: {profile: profiles}"}, flo_yaml)
        self.dog.turn_to(definition, definition.loops)
        self.found: list[Finding] = []
        self.board = Board(self.found.append)
        self.now_ns = START_NS
        self.stats = QUICK

    def pass_s(self, seconds: int, *, fetches: int = 0, late: int = 0, **figures: float) -> None:
        """So many fetches each five seconds."""
        for _ in range(0, seconds, 5):
            self.now_ns += 5 * S
            before = self.stats
            self.stats = msgspec.structs.replace(
                before,
                fetches=before.fetches + fetches,
                requests=before.requests + fetches,
                late=before.late + late,
                **figures,
            )
            self.dog.look({"profiles": self.stats})
            self.dog.check(self.now_ns, self.board)

    def holds(self) -> bool:
        return self.board.holds("flo.dependency.slow", "profiles")


def test_a_p99_near_the_idle_timeout_is_found_before_it_is_reached_and_over_when_it_is_better() -> None:
    played = Played()
    played.pass_s(60, fetches=50)
    assert not played.holds()
    played.pass_s(5, fetches=50, p99_s=1.7)
    assert played.holds()
    assert "p99 of profiles is 1.7 s, its idle timeout 2 s" in played.found[0].detail
    played.pass_s(60, fetches=50, p99_s=1.5)
    assert played.holds(), "not yet better by enough"
    played.pass_s(5, fetches=50, p99_s=0.9)
    assert not played.holds()
    assert len(played.found) == 1


def test_a_dependency_that_misses_its_deadline_more_and_more_is_found() -> None:
    played = Played()
    played.pass_s(120, fetches=50, late=1)
    assert not played.holds()
    played.pass_s(60, fetches=50, late=20)
    assert played.holds()
    assert "missed their deadline" in played.found[0].detail
    played.pass_s(70, fetches=50)
    assert not played.holds()


def test_a_handful_of_slow_fetches_is_not_judged() -> None:
    played = Played()
    played.pass_s(400, fetches=1, late=1, p99_s=1.9)
    assert played.found == []


def test_a_change_of_bundle_that_counts_anew_confuses_nobody() -> None:
    played = Played()
    played.pass_s(60, fetches=50, late=1)
    played.stats = QUICK
    played.pass_s(120, fetches=50)
    assert played.found == []


def test_without_an_idle_timeout_only_the_deadline_counts() -> None:
    played = Played()
    played.stats = msgspec.structs.replace(QUICK, idle_timeout_s=None)
    played.pass_s(60, fetches=50, p99_s=30.0)
    assert played.found == []
