"""FLO's two clocks."""

from __future__ import annotations

import asyncio
import time

import pytest

from flo.runtimes.clock import SteadyClock
from flo.runtimes.simulated.clock import SimulatedClock


def test_a_steady_clock_starts_with_the_wall_clock() -> None:
    before = time.time_ns()
    now = SteadyClock().now_ns()
    assert before - 1_000_000 <= now <= time.time_ns() + 1_000_000


def test_a_wall_clock_set_back_before_the_start_does_not_take_time_back() -> None:
    ledger_ns = time.time_ns() + 3_600_000_000_000
    assert SteadyClock(ledger_ns).now_ns() >= ledger_ns


def test_a_step_of_the_wall_clock_changes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = SteadyClock()
    before = clock.now_ns()
    monkeypatch.setattr(time, "time_ns", lambda: before - 86_400_000_000_000)
    assert 0 <= clock.now_ns() - before < 60_000_000_000


async def test_a_sleep_never_ends_early() -> None:
    clock = SteadyClock()
    when_ns = clock.now_ns() + 3_000_000
    await clock.sleep_until_ns(when_ns)
    assert clock.now_ns() >= when_ns
    await clock.sleep_until_ns(0)


async def test_simulated_sleepers_wake_in_order_at_exactly_their_times() -> None:
    clock = SimulatedClock(start_ns=1_000)
    woken: list[tuple[str, int]] = []

    async def sleeper(name: str, *times_ns: int) -> None:
        for when_ns in times_ns:
            await clock.sleep_until_ns(when_ns)
            woken.append((name, clock.now_ns()))

    tasks = [
        asyncio.ensure_future(sleeper("a", 3_000, 5_000)),
        asyncio.ensure_future(sleeper("b", 2_000, 5_000)),
    ]
    await clock.advance(1_500)
    assert (woken, clock.now_ns()) == ([("b", 2_000)], 2_500)
    await clock.advance(10_000)
    assert woken == [("b", 2_000), ("a", 3_000), ("b", 5_000), ("a", 5_000)]
    assert clock.next_ns() is None
    await asyncio.gather(*tasks)
    with pytest.raises(ValueError, match="never goes back"):
        await clock.advance_to(0)


async def test_a_cancelled_sleeper_is_passed_over() -> None:
    clock = SimulatedClock(start_ns=0)
    task = asyncio.ensure_future(clock.sleep_until_ns(10))
    await clock.settle()
    task.cancel()
    await clock.settle()
    assert clock.next_ns() is None
    await clock.advance(20)
    assert clock.now_ns() == 20
