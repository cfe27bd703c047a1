"""A loop that fell silent is found against its own rhythm; slow, new, resting and stopped ones are left alone."""

from __future__ import annotations

import os
from collections.abc import Callable
from random import Random

import pytest
from tests.flow.watchdogs.watched import DAY, HOUR, MINUTE, START_NS, S, bundle

from flo.core.finding import Finding
from flo.flow.watchdogs.board import Board
from flo.flow.watchdogs.quiet import LOOPS_PER_CHECK, WAKES_MIN, QuietWatchdog

SEED = int(os.environ.get("FLO_SEED", "20260105"))

Next = Callable[[int, Random], int]
"""When the next signal comes after one at a time."""


def weekday(at_ns: int) -> int:
    return (at_ns // DAY + 3) % 7


def rate(per_hour: float) -> Next:
    return lambda at_ns, random: at_ns + round(random.expovariate(per_hour) * HOUR)


def by_hour(per_hour: Callable[[int, float], float], top: float) -> Next:
    """A Poisson stream whose rate follows (weekday, hour), by thinning."""

    def following(at_ns: int, random: Random) -> int:
        while True:
            at_ns += round(random.expovariate(top) * HOUR)
            if random.random() * top < per_hour(weekday(at_ns), at_ns % DAY / HOUR):
                return at_ns

    return following


def bursts(at_ns: int, random: Random) -> int:
    """Hundreds at once, then nothing for hours."""
    return at_ns + (S if random.random() < 0.995 else round(random.expovariate(0.5) * HOUR))


def daily_at_two(at_ns: int, random: Random) -> int:
    return (at_ns // DAY + 1) * DAY + 2 * HOUR + round(random.uniform(0, 20) * MINUTE)


RHYTHMS: dict[str, Next] = {
    "a hundred an hour": rate(100),
    "three an hour": rate(3),
    "one every two days": rate(1 / 48),
    "bursts": bursts,
    "once a day at two": daily_at_two,
    "days, not nights": by_hour(lambda day, hour: 60.0 if 7 <= hour < 21 else 0.0, 60),
    "office hours": by_hour(lambda day, hour: 40.0 if day < 5 and 8 <= hour < 18 else 0.0, 40),
    "a wave": by_hour(lambda day, hour: 30 * (1.05 - abs(hour - 12) / 12), 32),
    "not on weekends": by_hour(lambda day, hour: 20.0 if day < 5 else 0.0, 20),
}


class Played:
    """A watchdog and a clock; `until` lets signals come, looking around every `step_ns`."""

    def __init__(self, following: Next, seed: int) -> None:
        self.random = Random(seed)
        self.following = following
        self.dog = QuietWatchdog()
        definition = bundle({"l": "on: a"})
        self.dog.turn_to(definition, definition.loops)
        self.found: list[Finding] = []
        self.board = Board(self.found.append)
        self.now_ns = START_NS + self.random.randrange(7 * 24) * HOUR
        self.next_ns = following(self.now_ns, self.random)

    def until(self, end_ns: int, *, silent: bool = False, step_ns: int = MINUTE) -> None:
        while self.now_ns < end_ns:
            self.now_ns += step_ns
            heard = 0
            while self.next_ns <= self.now_ns:
                heard = self.next_ns
                self.next_ns = self.following(self.next_ns, self.random)
            if heard and not silent:
                self.dog.heard("l", heard)
            self.dog.check(self.now_ns, self.board)

    def holds(self) -> bool:
        return self.board.holds("flo.loop.quiet", "l")


@pytest.mark.parametrize("name", RHYTHMS)
def test_no_loop_that_keeps_its_rhythm_is_called_quiet_in_a_month(name: str) -> None:
    print(f"seed {SEED}")
    for number in range(3):
        played = Played(RHYTHMS[name], SEED + number)
        played.until(played.now_ns + 30 * DAY)
        assert played.found == [], f"seed {SEED + number}"


@pytest.mark.parametrize(
    ("name", "within_ns"),
    [
        ("a hundred an hour", HOUR),
        ("three an hour", 24 * HOUR),
        ("once a day at two", 30 * HOUR),
        ("days, not nights", 3 * HOUR),
        ("office hours", 4 * HOUR),
    ],
)
def test_a_loop_that_stops_at_its_busy_time_is_found(name: str, within_ns: int) -> None:
    print(f"seed {SEED}")
    played = Played(RHYTHMS[name], SEED)
    tuesday_noon = (START_NS // DAY + 5 + 28) * DAY + 12 * HOUR
    assert weekday(tuesday_noon) == 1
    played.until(tuesday_noon)
    played.until(tuesday_noon + within_ns, silent=True)
    assert played.holds(), "found while it is silent"
    (finding,) = played.found
    assert "has decided nothing for" in finding.detail
    played.until(played.now_ns + 2 * DAY)
    assert not played.holds(), "over once it decides again"
    assert len(played.found) == 1


def test_a_loop_that_does_not_wake_in_the_morning_is_found_before_noon() -> None:
    played = Played(RHYTHMS["days, not nights"], SEED)
    midnight = (START_NS // DAY + 20) * DAY
    played.until(midnight)
    played.until(midnight + 11 * HOUR, silent=True)
    assert played.holds()


def test_a_new_loop_is_not_judged() -> None:
    played = Played(RHYTHMS["a hundred an hour"], SEED)
    played.until(played.now_ns + 5 * DAY)
    played.until(played.now_ns + DAY, silent=True)
    assert played.found == []


def test_the_time_when_flo_was_down_is_nobodys_silence() -> None:
    played = Played(RHYTHMS["a hundred an hour"], SEED)
    played.until(played.now_ns + 16 * DAY)
    snapshot = played.dog.snapshot()
    played.now_ns += 3 * DAY
    played.next_ns = played.following(played.now_ns, played.random)
    played.dog = QuietWatchdog()
    definition = bundle({"l": "on: a"})
    played.dog.turn_to(definition, definition.loops)
    played.dog.restore(snapshot, played.now_ns)
    played.until(played.now_ns + 2 * DAY)
    assert played.found == []
    played.until(played.now_ns + 3 * HOUR, silent=True)
    assert played.holds(), "what it knew before is not lost"


def test_a_loop_whose_pipeline_is_paused_is_excused() -> None:
    played = Played(RHYTHMS["a hundred an hour"], SEED)
    played.until(played.now_ns + 16 * DAY)
    played.dog.excused = frozenset(["l"])
    played.until(played.now_ns + DAY, silent=True)
    played.dog.excused = frozenset()
    played.until(played.now_ns + DAY)
    assert played.found == []


def test_a_loop_that_listens_to_something_else_now_is_new() -> None:
    played = Played(RHYTHMS["a hundred an hour"], SEED)
    played.until(played.now_ns + 16 * DAY)
    other = bundle({"l": "on: b"})
    played.dog.turn_to(other, other.loops)
    played.until(played.now_ns + DAY, silent=True)
    assert played.found == []


def test_ten_thousand_loops_are_looked_at_in_turns_and_each_of_them_is() -> None:
    count = 2 * LOOPS_PER_CHECK + 7
    definition = bundle(
        {f"l{number}": "on: a" for number in range(count)}, "watchdogs: {flo.loop.quiet: {learn: 1s}}"
    )
    dog = QuietWatchdog()
    dog.turn_to(definition, definition.loops)
    board = Board(lambda finding: None)
    for number in range(count):
        dog.heard(f"l{number}", START_NS)
    for second in range(3):
        dog.check(START_NS + S * second, board)
    for rhythm in dog._rhythms.values():
        rhythm.wakes = WAKES_MIN
    for second in range(61, 64):
        dog.check(START_NS + S * second, board)
    assert board.counts() == {"flo.loop.quiet": count}
