"""What is filling and what is not: told from when dead letters came and left, on a clock of the test's own."""

from __future__ import annotations

from collections.abc import Iterable

import pytest

from flo.flow.watchdogs.filling import DeadLetterRates

MINUTE = 60_000_000_000


def found_at(came: Iterable[float], left: Iterable[float] = (), until: float = 120.0) -> list[float]:
    """The minutes at which a look says that it is filling; it is looked every minute."""
    rates = DeadLetterRates()
    happened = sorted([(at, 1) for at in came] + [(at, 0) for at in left])
    minutes = []
    for minute in range(1, round(until) + 1):
        while happened and happened[0][0] <= minute:
            at, is_in = happened.pop(0)
            (rates.came if is_in else rates.left)("l", round(at * MINUTE))
        if rates.look(minute * MINUTE)[0]:
            minutes.append(float(minute))
    return minutes


def every(step: float, start: float, end: float) -> list[float]:
    return [start + step * n for n in range(int((end - start) / step))]


def test_what_comes_for_a_quarter_of_an_hour_and_does_not_leave_is_filling() -> None:
    assert found_at(every(0.1, 0, 60))[0] in (15.0, 16.0)
    assert found_at(every(0.1, 0, 60))[-1] == pytest.approx(64, abs=2)


def test_a_slow_drip_is_filling_too() -> None:
    assert found_at(every(4, 0, 60))[0] == 16.0


def test_a_burst_that_ended_is_not_filling_however_large() -> None:
    assert not found_at(every(0.001, 0, 5))
    assert not found_at(every(0.01, 0, 14))


def test_bursts_now_and_then_are_not() -> None:
    assert not found_at([at for start in range(0, 120, 10) for at in every(0.01, start, start + 2)])


def test_what_leaves_as_fast_as_it_comes_is_not_filling() -> None:
    assert not found_at(every(0.1, 0, 60), every(0.1, 0.05, 60))
    assert found_at(every(0.1, 0, 60), every(0.2, 0.05, 60))


def test_it_is_over_when_people_drain_it_and_begins_anew_after_that() -> None:
    minutes = found_at(every(0.1, 0, 40), every(0.02, 20, 40))
    assert minutes
    assert max(minutes) < 24
    again = found_at(every(0.1, 0, 70), every(0.02, 20, 30))
    assert [each for each in again if 31 < each < 44] == []
    assert [each for each in again if each > 50]


def test_loops_that_are_quiet_again_are_forgotten() -> None:
    rates = DeadLetterRates()
    for number in range(1_000):
        rates.came(f"l{number}", MINUTE)
    assert rates.is_watching
    found, over = rates.look(10 * MINUTE)
    assert (found, len(over), rates.is_watching) == ([], 1_000, False)
