"""The power goes off anywhere while periods are dropped and dead letters outlive them: none is lost, none doubled."""

from __future__ import annotations

import asyncio
import contextlib
import json

import pytest
from tests.runtimes.test_kept_dead_letters import HOUR, given, lenient, listed, one_an_hour, replay, retain
from tests.sim.pausing import made

from flo.core.errors import UnavailableError
from flo.ports.service import DeadLetterOrder
from flo.runtimes.simulated.disk import PowerCut, SimulatedDisk
from flo.runtimes.simulated.simulation import Simulation

pytestmark = pytest.mark.crash

OPERATIONS_MAX = 90
"""More than one look at what may go takes, checkpoints included: the last runs are cut after it."""


async def lived(disk: SimulatedDisk, seed: int) -> tuple[Simulation, list[str]]:
    """Seven hours of dead letters, of which one was dropped and one replayed; and those that are still here."""
    simulation = Simulation(given(), seed=seed, disk=disk)
    await simulation.start()
    ids = await one_an_hour(simulation, 4)
    await simulation.runtime.drop_dead_letters(DeadLetterOrder(ids=(ids[1],), note="seen"))
    await simulation.runtime.put_bundle(lenient(), "amount may be missing")
    assert (await replay(simulation, ids=(ids[2],)))["replayed"] == 1
    await retain(simulation)  # some are kept already
    for number in range(3):
        await simulation.runtime.ingest([made(50 + number, amount="much")])
        await simulation.advance(HOUR)
    expected = await listed(simulation)
    assert len(expected) == 5
    return simulation, expected


async def look_until_cut(simulation: Simulation, operations: int) -> bool:
    """Whether the power went while looking at what may go."""
    simulation.disk.cut_power_at(simulation.disk.operations + operations)
    looking = asyncio.ensure_future(retain(simulation))
    while not looking.done():
        with contextlib.suppress(PowerCut):
            await simulation.settle()
        if simulation.disk.is_off:
            looking.cancel()
        await asyncio.sleep(0.001)
    with contextlib.suppress(PowerCut, UnavailableError, asyncio.CancelledError):
        await looking
    return simulation.disk.is_off


async def cut_and_check(disk: SimulatedDisk, seed: int) -> bool:
    simulation, expected = await lived(disk, seed)
    was_cut = await look_until_cut(simulation, 1 + seed % OPERATIONS_MAX)
    await simulation.crash(power_cut=True)
    disk.cut_power_at(-1)
    await simulation.start(lenient())
    assert await listed(simulation) == expected
    await retain(simulation)
    assert await listed(simulation) == expected
    shown = [json.loads((await simulation.runtime.dead_letter(each))["bytes"])["id"] for each in expected]
    assert shown == ["p52", "p51", "p50", "p3", "p0"]
    answer = await replay(simulation, note="mended", query={"until": "2126-01-01T00:00:00Z"})
    assert (answer["matched"], answer["replayed"], answer["failed"]) == (5, 2, 3)
    decided = [each["signal"]["id"] for each in (await simulation.runtime.decisions({}, 100, None)).items]
    assert sorted(decided) in (["p0", "p3"], ["p0", "p2", "p3"], ["p0", "p1", "p3"])
    await simulation.stop()
    return was_cut


def test_a_power_cut_while_periods_are_dropped_loses_no_dead_letter_and_doubles_none(crash_seed: int) -> None:
    disk = SimulatedDisk(crash_seed, short_writes=0.1 * (crash_seed % 2))
    asyncio.run(cut_and_check(disk, crash_seed))


def test_the_power_does_go_off_in_these_lives() -> None:
    assert any(asyncio.run(cut_and_check(SimulatedDisk(seed), seed)) for seed in range(10, 40, 10))
