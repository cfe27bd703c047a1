"""Each engine's queue: concurrency, rate, retries within a budget, circuits, and its end."""

from __future__ import annotations

import asyncio
import itertools

import pytest
from tests.flow.dispatching import MS, Bench, S, make_command

from flo.engines import stub
from flo.flow.dispatch import Dispatcher
from flo.ports.engine import KeyClass


async def test_no_more_than_the_concurrency_is_on_its_way_at_once() -> None:
    bench = Bench(concurrency=3)
    bench.engine.plan = lambda command, nth: stub.answers(latency_ns=S)
    await bench.run(*(make_command(n) for n in range(9)), for_ns=3 * S)
    assert bench.engine.in_flight_max == 3
    assert len(bench.ledger.outcomes()) == 9


async def test_a_cancel_does_not_queue_behind_the_calls_it_is_to_end() -> None:
    bench = Bench(concurrency=1)
    bench.engine.plan = lambda command, nth: stub.answers(latency_ns=20 * S if command.verb == "call" else 0)
    await bench.run(*(make_command(n) for n in range(3)), for_ns=S)
    bench.dispatcher.submit(make_command(9, verb="cancel"))
    await bench.clock.advance(0)
    assert bench.ledger.outcomes()[make_command(9).key].outcome == "succeeded"
    assert bench.engine.in_flight == 1


async def test_the_rate_is_held_with_a_burst_of_a_tenth_of_a_second() -> None:
    bench = Bench(rate_per_s=50.0, concurrency=100)
    await bench.run(*(make_command(n) for n in range(500)), for_ns=20 * S)
    times = bench.engine.send_times_ns
    assert len(times) == 500
    for first in range(500):
        inside = sum(1 for at in times[first : first + 70] if at < times[first] + S)
        assert inside <= 1 + 50 * 1.1
    assert times[-1] - times[0] == pytest.approx(10 * S, rel=0.05)


@pytest.mark.parametrize("seed", range(3))
async def test_retries_add_at_most_a_tenth_to_the_base_load(seed: int) -> None:
    print("seed", seed)
    bench = Bench(seed=seed, rate_per_s=None, concurrency=1_000)
    # Every third request fails, never five in a row: the circuit stays closed and the budget alone must hold.
    bench.engine.plan = lambda command, nth: stub.unavailable() if nth % 3 == 0 else stub.answers()
    await bench.dispatcher.start()
    for n in range(3_000):
        bench.dispatcher.submit(make_command(n))
        await bench.clock.advance(10 * MS)
    stats = bench.dispatcher.stats()["stub"]
    assert stats.retried <= 0.1 * (stats.sent - stats.retried) + 1
    assert stats.retried > 200
    await bench.clock.advance(3_600 * S)
    assert len(bench.ledger.outcomes()) == 3_000, "the budget delays retries, it drops none"


@pytest.mark.parametrize("seed", range(5))
async def test_back_off_is_drawn_from_nothing_to_its_doubling_bound(seed: int) -> None:
    print("seed", seed)
    bench = Bench(seed=seed, backoff_s=2.0, backoff_s_max=5.0)
    bench.engine.plan = lambda command, nth: stub.unavailable()
    await bench.run(make_command(attempts_max=4))
    times = bench.engine.send_times_ns
    pauses = [later - earlier for earlier, later in itertools.pairwise(times)]
    # A retry may also wait for the retry budget: one a second where nothing was earned.
    assert all(pause <= max(bound, 1) * S for pause, bound in zip(pauses, (2.0, 4.0, 5.0), strict=True))
    assert len(set(pauses)) == 3


async def test_retry_after_holds_back_the_whole_lane() -> None:
    bench = Bench()
    bench.engine.script(stub.unavailable(retry_after_s=7.0))
    await bench.run(make_command(1), for_ns=S)
    bench.dispatcher.submit(make_command(2))
    await bench.clock.advance(60 * S)
    times = bench.engine.send_times_ns
    assert min(times[1:]) - times[0] == 7 * S


async def test_a_slow_engine_hurts_only_its_own_queue() -> None:
    bench = Bench()
    slow, quick = stub.StubEngine(bench.clock), stub.StubEngine(bench.clock)
    slow.plan = lambda command, nth: stub.answers(latency_ns=29 * S)
    definition = bench.definition
    dispatcher = Dispatcher(
        {"slow": (slow, definition), "quick": (quick, definition)}, bench.clock, bench.ledger.record
    )
    await dispatcher.start()
    for n in range(100):
        dispatcher.submit(make_command(n, engine="slow"))
        dispatcher.submit(make_command(n + 100, engine="quick"))
    await bench.clock.advance(MS)
    assert len(quick.effects) == 100
    assert (dispatcher.backlog("slow"), dispatcher.backlog("quick")) == (100, 0)
    assert dispatcher.room("slow") == dispatcher.room("quick") - 100


async def test_an_adapter_that_never_comes_back_is_cut_and_its_place_is_free_again() -> None:
    bench = Bench(KeyClass.NEITHER, concurrency=1, timeout_s=2.0)
    bench.engine.script(stub.hangs())
    await bench.run(make_command(1), make_command(2), for_ns=10 * S)
    assert bench.ledger.dead() == [(make_command(1).key, "unknown-fate")]
    assert bench.ledger.outcomes()[make_command(2).key].outcome == "succeeded"


async def test_an_adapter_with_a_bug_takes_nothing_else_down() -> None:
    bench = Bench(KeyClass.NEITHER)
    bench.engine.script(stub.Behaviour(error=lambda: KeyError("oops"), done=True))
    await bench.run(make_command(1), make_command(2))
    assert bench.ledger.dead() == [(make_command(1).key, "unknown-fate")]
    assert bench.ledger.outcomes()[make_command(2).key].outcome == "succeeded"


async def test_the_circuit_lets_one_probe_through_at_growing_intervals() -> None:
    bench = Bench(concurrency=50)
    bench.engine.down = True
    await bench.run(*(make_command(n) for n in range(50)), for_ns=300 * S)
    times = bench.engine.send_times_ns
    probes = [at for at in times if at > times[0] + 10 * S]
    gaps = [later - earlier for earlier, later in itertools.pairwise(probes)]
    assert len(probes) < 25
    assert max(gaps) <= 31 * S
    assert bench.dispatcher.stats()["stub"].in_flight <= 1


async def test_drain_waits_for_all_that_is_owed_and_says_when_it_could_not() -> None:
    bench = Bench()
    bench.engine.plan = lambda command, nth: stub.answers(latency_ns=5 * S)
    await bench.run(make_command(), for_ns=0)
    early = asyncio.ensure_future(bench.dispatcher.drain(1.0))
    late = asyncio.ensure_future(bench.dispatcher.drain(60.0))
    await bench.clock.advance(4 * S)
    assert (early.result(), late.done()) == (False, False)
    await bench.clock.advance(2 * S)
    assert late.result() is True
    assert await bench.dispatcher.drain(0.0) is True


async def test_stop_lets_flights_land_and_cuts_those_that_do_not() -> None:
    bench = Bench(concurrency=2)
    bench.engine.script(stub.answers(latency_ns=2 * S), stub.answers(latency_ns=20 * S))
    await bench.run(make_command(1), make_command(2), make_command(3), for_ns=0)
    stopping = asyncio.ensure_future(bench.dispatcher.stop(grace_s=5.0))
    await bench.clock.advance(6 * S)
    assert stopping.done()
    assert set(bench.ledger.outcomes()) == {make_command(1).key}
    assert len(bench.engine.sends) == 2, "nothing new is sent while stopping"
