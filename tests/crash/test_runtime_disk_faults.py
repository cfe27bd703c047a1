"""Every operation of the disk fails under a whole FLO, once or until healed: it refuses openly, and loses nothing."""

from __future__ import annotations

import asyncio
import errno
import os
import random

import pytest
from tests.crash.runtime_life import RuntimeLife

from flo.core.errors import UnavailableError
from flo.runtimes.embedded import committer, shard
from flo.runtimes.simulated.disk import SimulatedDisk
from flo.runtimes.simulated.faults import CHANGING, Operation

pytestmark = pytest.mark.crash

SEED = 5
STEPS = 14
RUNS = int(os.environ.get("FLO_CRASH_RUNS", "60"))
ENDS = ("goes on", "process dies", "power goes")
HEALED_S = 5.0

Fault = tuple[Operation, int, int, bool]


@pytest.fixture(autouse=True)
def _short_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(committer, "RETRY_S", (0.001, 0.002))
    monkeypatch.setattr(shard, "REFUSING_S", 0.02)


async def untroubled(disk: SimulatedDisk) -> None:
    life = RuntimeLife(disk, SEED)
    assert await life.start()
    await life.live(STEPS)
    await life.simulation.stop()


def faults() -> list[Fault]:
    """Each place of each operation, with both errors, once and for ever; or a seeded sample."""
    disk = SimulatedDisk(SEED)
    asyncio.run(untroubled(disk))
    every = [
        (operation, nth, error, forever)
        for operation in sorted(CHANGING)
        for nth in range(1, disk.counts[operation] + 1)
        for error in (errno.EIO, errno.ENOSPC)
        for forever in (False, True)
    ]
    return every if RUNS >= 1000 else random.Random(SEED).sample(every, min(len(every), RUNS))


async def live_through(life: RuntimeLife, fault: Fault, end: str) -> None:
    operation, nth, error, forever = fault
    life.disk.fail(operation, error, nth=nth, forever=forever)
    started = await life.start()
    if started:
        await life.live(STEPS)
    else:
        life.refused += 1
    if started and end == "goes on":
        life.disk.heal()
        await healed(life)
        await life.live(4)
        await life.simulation.stop()
    else:
        await life.simulation.crash(power_cut=end == "power goes")
        life.disk.heal()
    if life.disk.exists("/simulated/shard-0/ledger"):
        await life.check()
    await life.end_well()


async def healed(life: RuntimeLife) -> None:
    """With the disk well again FLO takes signals again by itself, and what it was given is still there."""
    async with asyncio.timeout(HEALED_S):
        while not life.simulation.runtime.ready()[0]:
            await asyncio.sleep(0.001)
        while True:
            try:
                await life.send_again()
                break
            except UnavailableError:
                await asyncio.sleep(0.001)


def test_any_failing_operation_is_refused_openly_and_loses_nothing() -> None:
    refused = 0
    for index, fault in enumerate(faults()):
        end = ENDS[index % len(ENDS)]
        life = RuntimeLife(SimulatedDisk(SEED), SEED)
        try:
            asyncio.run(live_through(life, fault, end))
        except BaseException as problem:
            operation, nth, error, forever = fault
            problem.add_note(
                f"{operation} {nth}: {errno.errorcode[error]}, for ever: {forever}, then {end}; seed {SEED}"
            )
            raise
        refused += life.refused > 0
    assert refused
