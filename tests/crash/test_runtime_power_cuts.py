"""The power goes off anywhere in the life of a whole FLO; what it acknowledged and what it commanded stands."""

from __future__ import annotations

import asyncio
import random

import pytest
from tests.crash.runtime_life import RuntimeLife

from flo.core.errors import FloError
from flo.runtimes.simulated.disk import SimulatedDisk

pytestmark = pytest.mark.crash

CUTS = 2
OPERATIONS_MAX = 60


async def live_through_cuts(life: RuntimeLife, seed: int) -> None:
    dice = random.Random(seed)
    for _ in range(CUTS):
        life.disk.cut_power_at(life.disk.operations + dice.randrange(1, OPERATIONS_MAX))
        if await life.start():
            await life.live(40)
        await life.simulation.crash(power_cut=dice.random() < 0.9)
        life.disk.cut_power_at(-1)
        if life.disk.exists("/simulated/shard-0/ledger"):
            await life.check()
    await life.end_well()


def test_a_power_cut_loses_nothing_that_was_acknowledged(crash_seed: int) -> None:
    disk = SimulatedDisk(crash_seed, short_writes=0.1 * (crash_seed % 2))
    life = RuntimeLife(disk, crash_seed, honours_key=bool(crash_seed % 3))
    asyncio.run(live_through_cuts(life, crash_seed))
    assert life.acknowledged


def test_the_checks_find_the_loss_when_syncs_do_nothing() -> None:
    found = 0
    for seed in range(12):
        life = RuntimeLife(SimulatedDisk(seed, syncs_lie=True), seed)
        try:
            asyncio.run(live_through_cuts(life, seed))
        except (AssertionError, FloError):
            found += 1
    assert found >= 9
