"""What a restart, a failure or a clock must not change: each of these was wrong once, or nearly."""

from __future__ import annotations

import asyncio
import errno
import json
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from tests.sim.promises import check_recovered, read_ledger, reopen
from tests.sim.world import MINUTE, Payment, S, bundle_files, finished

from flo.core.errors import StorageUnavailable
from flo.runtimes.clock import SteadyClock
from flo.runtimes.embedded import shard as shard_module
from flo.runtimes.embedded.local_shard import LocalShard
from flo.runtimes.simulated.clock import SIMULATION_START_NS, SimulatedClock
from flo.runtimes.simulated.disk import SimulatedDisk
from flo.runtimes.simulated.simulation import DATA, Simulation

HOUR_NS = 60 * MINUTE
BIG = Payment("p1", "card-1", 95, 0).raw()
BIG_KEY = "pay/card-1/1/big/0"


def played(story: Callable[[Simulation], Awaitable[None]], files: dict[str, bytes] | None = None) -> None:
    async def scenario() -> None:
        simulation = Simulation(files or bundle_files())
        await simulation.start()
        await story(simulation)

    asyncio.run(scenario())


def outcome_of(simulation: Simulation, key: str) -> str | None:
    end = read_ledger(simulation.disk, str(DATA)).outcomes.get(key)
    return None if end is None else end.outcome


async def check_recovery(simulation: Simulation) -> None:
    """With nothing running: what a start would make of the disk is the fold over the whole ledger."""
    written = read_ledger(simulation.disk, str(DATA))
    opened = reopen(simulation.disk, str(DATA), simulation.bundle)
    check_recovered(opened, written, simulation.bundle)
    opened.shard.ledger.close()


# -- time


def test_a_promise_is_silent_at_its_time_and_not_before() -> None:
    async def story(simulation: Simulation) -> None:
        await simulation.runtime.ingest([BIG])
        await simulation.advance(30 * MINUTE - S)
        assert outcome_of(simulation, BIG_KEY) is None
        await simulation.advance(2 * S)
        assert outcome_of(simulation, BIG_KEY) == "silent"

    played(story)


@pytest.mark.parametrize("crash", [False, True])
def test_a_promise_is_silent_in_time_although_flo_was_restarted_and_no_signal_comes(crash: bool) -> None:
    async def story(simulation: Simulation) -> None:
        await simulation.runtime.ingest([BIG])
        await simulation.settle()
        await simulation.advance(10 * MINUTE)
        await (simulation.crash(power_cut=True) if crash else simulation.stop())
        await simulation.start()
        await simulation.advance(20 * MINUTE - S)
        assert outcome_of(simulation, BIG_KEY) is None
        await simulation.advance(2 * S)
        assert outcome_of(simulation, BIG_KEY) == "silent"

    played(story)


def test_a_promise_falls_due_while_the_disk_refuses_and_is_silent_when_it_heals(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def story(simulation: Simulation) -> None:
        await simulation.runtime.ingest([BIG])
        await simulation.settle()
        simulation.disk.fail("write", errno.ENOSPC, forever=True)
        with pytest.raises(StorageUnavailable):
            await simulation.runtime.ingest([Payment("p2", "card-2", 1, 0).raw()])
        await simulation.advance(31 * MINUTE)
        simulation.disk.heal()
        async with asyncio.timeout(10):
            while not simulation.runtime.ready()[0]:
                await asyncio.sleep(0.01)
        await simulation.advance(2 * S)
        assert outcome_of(simulation, BIG_KEY) == "silent"

    played(story)


def test_a_clock_that_was_set_back_goes_on_from_the_ledger_and_one_set_forward_is_believed() -> None:
    async def story(simulation: Simulation) -> None:
        await simulation.runtime.ingest([BIG])
        await simulation.advance(5 * MINUTE)
        await simulation.runtime.ingest([Payment("p2", "card-2", 1, 0).raw()])
        await simulation.stop()  # with a checkpoint: no block is replayed at the next start
        last_ns = read_ledger(simulation.disk, str(DATA)).blocks[-1][1].decided_ns
        seen: list[int] = []

        def new_clock(ledger_ns: int) -> SimulatedClock:
            seen.append(ledger_ns)
            return SimulatedClock(max(ledger_ns, SIMULATION_START_NS - 3 * HOUR_NS))

        simulation.clock = new_clock(last_ns)  # the wall clock says three hours less; the ledger knows better
        simulation._clock_from = new_clock  # type: ignore[method-assign]
        await simulation.start()
        assert seen[-1] == last_ns
        receipts = await simulation.runtime.ingest([BIG])
        assert receipts[0].status == "duplicate"
        await simulation.runtime.ingest([Payment("p3", "card-1", 1, 0).raw()])
        times = [group.decided_ns for _, group in read_ledger(simulation.disk, str(DATA)).blocks]
        assert times == sorted(times)

    played(story)


def test_the_real_clock_starts_where_the_ledger_ended_if_that_is_later() -> None:
    ahead_ns = SteadyClock().now_ns() + 10 * HOUR_NS
    assert SteadyClock(ahead_ns).now_ns() >= ahead_ns
    assert SteadyClock(5).now_ns() > 1_700_000_000 * S


def test_a_context_dies_by_its_own_clock_also_after_a_restart() -> None:
    async def story(simulation: Simulation) -> None:
        died = json.loads(Payment("p1", "card-1", 5, 0).raw())
        died |= {"floroot": "r", "floborn": "2026-01-01T00:00:00Z"}
        await simulation.runtime.ingest([Payment("p0", "card-1", 5, 0).raw()])
        await simulation.advance(25 * HOUR_NS)
        await simulation.stop()
        await simulation.start()
        (receipt,) = await simulation.runtime.ingest([json.dumps(died).encode()])
        assert receipt.status == "accepted"
        group = read_ledger(simulation.disk, str(DATA)).blocks[-1][1]
        assert [type(event).__name__ for event in group.events()] == ["Killed"]

    played(story)


# -- repeats


def test_a_repeat_within_the_window_of_flo_yaml_is_one_also_after_a_restart_and_not_beyond_it() -> None:
    files = bundle_files()
    files["flo.yaml"] += b"dedupe: 3h\n"

    async def story(simulation: Simulation) -> None:
        await simulation.runtime.ingest([BIG])
        await simulation.advance(2 * HOUR_NS)
        await simulation.stop()
        await simulation.start()
        assert (await simulation.runtime.ingest([BIG]))[0].status == "duplicate"
        await simulation.advance(4 * HOUR_NS)
        await simulation.runtime.ingest([Payment("p2", "card-2", 1, 0).raw()])
        await simulation.advance(4 * HOUR_NS)
        await simulation.stop()
        await simulation.start()
        assert (await simulation.runtime.ingest([BIG]))[0].status == "accepted"

    played(story, files)


# -- what recovery must agree with

SHARED = {
    "flo.yaml": b"engines:\n  hook: {kind: stub}\n",
    "loops/all.yaml": b"""
loop: all
on: x
key: data.k
ttl: 1d
state:
  everyone: {count: true, over: 1h, shared: true}
rules:
  - id: some
    when: data.n > 10
    once_within: 1h
    then: [{do: hook.call, with: {ratio: '${10 / data.d}', everyone: '${state.everyone}'}}]
""",
}


def x(id: str, **data: Any) -> bytes:
    event = {"specversion": "1.0", "id": id, "source": "s", "type": "x", "data": data}
    return json.dumps(event | {"time": "2026-01-01T00:00:00Z"}).encode()


@pytest.mark.parametrize("match", ["first", "all"])
def test_a_rule_that_failed_to_act_has_not_acted_before_and_after_a_restart(match: str) -> None:
    files = dict(SHARED)
    files["loops/all.yaml"] += f"match: {match}\n".encode()

    async def story(simulation: Simulation) -> None:
        await simulation.runtime.ingest([x("1", k="a", n=11, d=0)])  # a division by zero in its arguments
        await simulation.stop()
        await check_recovery(simulation)
        await simulation.start()
        await simulation.runtime.ingest([x("2", k="a", n=11, d=1), x("3", k="a", n=11, d=1)])
        await simulation.settle()
        assert simulation.engines["hook"].effects == ["all/a/2/some/0"]
        await simulation.crash()
        await check_recovery(simulation)

    played(story, files)


def test_a_signal_without_a_key_does_not_cost_the_shared_state_in_a_checkpoint() -> None:
    async def story(simulation: Simulation) -> None:
        await simulation.runtime.ingest([x("1", k="a", n=1, d=1), x("2", k="b", n=1, d=1)])
        await simulation.runtime.checkpoint()
        await simulation.runtime.ingest([x("3", n=1, d=1), x("4", k="c", n=1, d=1)])
        await simulation.runtime.checkpoint()
        await simulation.crash()
        await check_recovery(simulation)

    played(story, SHARED)


# -- disks


def test_an_operation_is_refused_at_once_while_the_disk_refuses() -> None:
    async def story(simulation: Simulation) -> None:
        simulation.disk.fail("write", errno.ENOSPC, forever=True)
        with pytest.raises(StorageUnavailable):
            await simulation.runtime.ingest([BIG])
        async with asyncio.timeout(5):
            with pytest.raises(StorageUnavailable):
                await simulation.runtime.kill("pay", None, "test")
            with pytest.raises(StorageUnavailable):
                await simulation.runtime.put_bundle(bundle_files("http://127.0.0.1:7/"), "test")
        simulation.disk.heal()
        async with asyncio.timeout(10):
            while not simulation.runtime.ready()[0]:
                await asyncio.sleep(0.01)
        await simulation.runtime.ingest([Payment("p2", "card-2", 1, 0).raw()])
        (port,) = simulation.runtime._ports
        assert isinstance(port, LocalShard)
        assert port.book.revision == simulation.bundle.revision
        await simulation.stop()
        applied = [
            event
            for _, group in read_ledger(simulation.disk, str(DATA)).blocks
            for event in group.events()
            if type(event).__name__ == "Applied"
        ]
        assert len(applied) == 1  # a change that was refused has not happened, not even in memory
        await check_recovery(simulation)

    played(story)


def test_a_start_that_failed_leaves_nothing_that_the_next_one_trips_over(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(shard_module, "REFUSING_S", 0.02)

    async def scenario() -> None:
        simulation = Simulation(bundle_files(), disk=SimulatedDisk(1))
        simulation.disk.fail("write", errno.ENOSPC, forever=True)
        with pytest.raises(StorageUnavailable):
            await simulation.start()
        await simulation.crash()
        simulation.disk.heal()
        await simulation.start()
        assert (await simulation.runtime.ingest([BIG]))[0].status == "accepted"
        await simulation.stop()

    asyncio.run(scenario())


def test_an_effect_that_shows_closes_its_iteration_after_any_restart() -> None:
    async def story(simulation: Simulation) -> None:
        await simulation.runtime.ingest([BIG])
        await simulation.settle()
        await simulation.crash(power_cut=True)
        await simulation.start()
        await simulation.runtime.ingest([finished("f1", BIG_KEY)])
        assert outcome_of(simulation, BIG_KEY) == "succeeded"
        await simulation.stop()

    played(story)
