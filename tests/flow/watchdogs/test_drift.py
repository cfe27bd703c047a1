"""A drift is found before the cycle has doubled; noise, rhythm, slow days and stalls are no drift, whatever the month."""

from __future__ import annotations

import os
import statistics
from random import Random

import msgspec
import pytest
from tests.flow.watchdogs.cycles import CHARACTERS, Character, month
from tests.flow.watchdogs.watched import DAY, START_NS, S

from flo.flow.watchdogs.drift import Drift

SEED = int(os.environ.get("FLO_SEED", "20260105"))
MONTHS = 12
ORDINARY = ("steady", "hardly noisy", "exact", "daily rhythm", "daily and weekly rhythm")
GROWS = 0.05


def played(character: Character, seed: int, **drift: float) -> float | None:
    """How much drift there was when one was found; None: none was."""
    series: Drift | None = None
    for at_ns, duration_ns, much in month(character, Random(seed), **drift):
        series = series or Drift(7 * DAY, at_ns)
        series.add(at_ns, duration_ns)
        if series.is_up(GROWS):
            return much
    return None


@pytest.mark.parametrize("name", CHARACTERS)
def test_months_without_a_drift_raise_no_alarm(name: str) -> None:
    print(f"seed {SEED}")
    found = [played(CHARACTERS[name], SEED + number) for number in range(MONTHS)]
    assert found == [None] * MONTHS


@pytest.mark.parametrize("name", ORDINARY)
@pytest.mark.parametrize("drift_a_day", [0.01, 0.05, 0.1])
def test_a_creeping_cycle_is_found_before_it_has_doubled(name: str, drift_a_day: float) -> None:
    print(f"seed {SEED}")
    found = [
        played(CHARACTERS[name], SEED + number, drift_a_day=drift_a_day, days=15 + 1 / drift_a_day)
        for number in range(6)
    ]
    seen = [each for each in found if each is not None]
    assert len(seen) == len(found), found
    assert all(1.0 < each < 2.0 for each in seen), found
    print(f"{name}, {drift_a_day:.0%} a day: found at {statistics.median(seen):.2f} times the baseline")


@pytest.mark.parametrize("name", ["slow days", "wandering load", "everything"])
def test_where_days_differ_by_a_tenth_a_creeping_cycle_is_still_found(name: str) -> None:
    print(f"seed {SEED}")
    found = [played(CHARACTERS[name], SEED + number, drift_a_day=0.02, days=90) for number in range(6)]
    assert all(each is not None and each > 1.0 for each in found), found
    assert statistics.median(each for each in found if each is not None) < 2.0


def test_seven_seconds_on_half_a_minute_are_found_within_two_days() -> None:
    """A step as after a bad release: 30 s become 37 s."""
    random = Random(SEED)
    series = Drift(7 * DAY, START_NS)
    for minute in range(0, 30 * 24 * 60, 8):
        at_ns = START_NS + minute * 60 * S
        slow = minute > 10 * 24 * 60
        series.add(at_ns, round((37 if slow else 30) * random.lognormvariate(0, 0.1) * S))
        if series.is_up(GROWS):
            break
    assert 10 * 24 * 60 < minute < 12 * 24 * 60
    figures = series.figures()
    assert figures["baseline_s"] == pytest.approx(30, rel=0.05)
    assert figures["now_s"] == pytest.approx(37, rel=0.1)


def test_a_stall_of_an_hour_is_no_drift() -> None:
    series = Drift(7 * DAY, START_NS)
    random = Random(SEED)
    for minute in range(0, 20 * 24 * 60, 8):
        stalled = 14 * 24 * 60 <= minute < 14 * 24 * 60 + 60
        series.add(
            START_NS + minute * 60 * S, round((600 if stalled else 30) * random.lognormvariate(0, 0.2) * S)
        )
        assert not series.is_up(GROWS), minute


def test_a_loop_that_became_faster_is_measured_against_its_better_self() -> None:
    series = Drift(7 * DAY, START_NS)
    random = Random(SEED)
    found = None
    for minute in range(0, 40 * 24 * 60, 8):
        day = minute / 24 / 60
        base = 60 if day < 10 else 30 if day < 30 else 45  # 45 s are still less than the first baseline
        series.add(START_NS + minute * 60 * S, round(base * random.lognormvariate(0, 0.2) * S))
        if series.is_up(GROWS):
            found = day
            break
    assert found is not None
    assert 30 < found < 34


def test_a_series_is_as_small_as_it_says_and_survives_a_restart() -> None:
    series = Drift(7 * DAY, START_NS)
    plain = Random(SEED)
    days = list(month(CHARACTERS["daily rhythm"], plain, days=9))
    for at_ns, duration_ns, _ in days[: len(days) // 2]:
        series.add(at_ns, duration_ns)
    encoded = msgspec.msgpack.encode(series)
    assert len(encoded) < 4_000
    again = msgspec.msgpack.decode(encoded, type=Drift)
    for at_ns, duration_ns, _ in days[len(days) // 2 :]:
        series.add(at_ns, duration_ns)
        again.add(at_ns, duration_ns)
    assert msgspec.structs.astuple(again) == msgspec.structs.astuple(series)
    assert series.baseline is not None
