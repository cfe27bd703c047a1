"""Every operation of the disk fails, once or until healed; nothing acknowledged is lost."""

from __future__ import annotations

import errno
import random
from collections.abc import Callable
from typing import Any

import pytest

from flo.core.errors import StorageUnavailable
from flo.runtimes.simulated.disk import SimulatedDisk
from flo.runtimes.simulated.faults import CHANGING, Operation
from flo.stores.ledger import Ledger

LifeOn = Callable[[SimulatedDisk, int], Any]
pytestmark = pytest.mark.crash

SEED = 11
STEPS = 120
FAILING = [*sorted(CHANGING), "open", "read"]


def live(life: Any, steps: int) -> None:
    for _ in range(steps):
        life.try_step()


def faults(runs: int) -> list[tuple[Operation, int, int, bool]]:
    """Each index of each operation, with both errors, once and for ever; or a seeded sample."""
    from_life: list[tuple[Operation, int, int, bool]] = []
    disk = SimulatedDisk(SEED)
    life = LIFE[0](disk, SEED)
    live(life, STEPS)
    for operation in FAILING:
        for nth in range(1, disk.counts[operation] + 1):
            for error in (errno.EIO, errno.ENOSPC):
                from_life += [(operation, nth, error, forever) for forever in (False, True)]
    dice = random.Random(SEED)
    return from_life if runs >= 1000 else dice.sample(from_life, min(len(from_life), runs))


LIFE: list[Callable[[SimulatedDisk, int], Any]] = []


def test_any_failing_operation_loses_nothing_and_heals(life_on: LifeOn, crash_runs: int) -> None:
    LIFE[:] = [life_on]
    refused = 0
    for operation, nth, error, forever in faults(crash_runs):
        for end in ("goes on", "process dies", "power goes"):
            where = (
                f"seed {SEED}: {operation} {nth}, {errno.errorcode[error]}, for ever {forever}, then {end}"
            )
            disk = SimulatedDisk(SEED)
            life = life_on(disk, SEED)
            disk.fail(operation, error, nth=nth, forever=forever)
            try:
                live(life, STEPS)
                refused += life.refused > 0
                if end != "goes on":
                    disk.kill_process() if end == "process dies" else disk.power_cut()
                    life.crashed()
                life.settle()
                disk.power_cut()
                life.crashed()
                life.settle()
            except BaseException as problem:
                problem.add_note(where)
                raise
    assert refused


def test_several_failures_in_one_life_lose_nothing(crash_seed: int, life_on: LifeOn) -> None:
    disk = SimulatedDisk(crash_seed, short_writes=0.2)
    life = life_on(disk, crash_seed)
    dice = random.Random(crash_seed)
    for _ in range(6):
        operation = dice.choice(FAILING)
        disk.fail(operation, dice.choice((errno.EIO, errno.ENOSPC)), nth=dice.randrange(1, 30))
        live(life, 40)
        if dice.random() < 0.3:
            disk.kill_process()
            life.crashed()
        if dice.random() < 0.3:
            disk.power_cut()
            life.crashed()
    life.settle()
    disk.power_cut()
    life.crashed()
    life.settle()


def append(ledger: Ledger, payload: bytes) -> int:
    return ledger.append(payload, count=1, time_min_ns=0, time_max_ns=0, written_ns=10**18)


def fill(ledger: Ledger) -> None:
    for _ in range(100):
        append(ledger, bytes(5000))
        ledger.commit()


def test_a_full_disk_refuses_openly_keeps_what_is_pending_and_heals() -> None:
    disk = SimulatedDisk(1, capacity_bytes=64_000)
    ledger = Ledger.open(disk, "/data", allocate_bytes=4096)
    with pytest.raises(StorageUnavailable, match=r"ENOSPC.*free some space"):
        fill(ledger)
    written = ledger.durable_block
    assert written > 5
    assert ledger.pending_blocks == 1
    append(ledger, b"more")
    disk.capacity_bytes = 128_000
    assert ledger.commit() == written + 2
    assert ledger.read(written + 2).payload == b"more"
    assert len(disk.listdir("/data/shard-0/ledger")) == 1  # a full disk is no reason to distrust a file


def test_after_a_failed_sync_the_file_is_not_written_again() -> None:
    disk = SimulatedDisk(1)
    ledger = Ledger.open(disk, "/data")
    append(ledger, b"one")
    ledger.commit()
    for error in (errno.EIO, errno.ENOSPC):
        files = len(disk.listdir("/data/shard-0/ledger"))
        disk.fail("sync", error)
        number = append(ledger, b"two")
        try:
            ledger.commit()
        except StorageUnavailable:
            assert error == errno.ENOSPC
            ledger.commit()
        assert len(disk.listdir("/data/shard-0/ledger")) == files + 1
        assert ledger.read(number).payload == b"two"
    disk.power_cut()
    assert [block.payload for block in Ledger.open(disk, "/data").scan()] == [b"one", b"two", b"two"]


def test_blocks_seen_after_a_failed_sync_and_a_restart_survive_a_power_cut() -> None:
    """They stood in the page cache only, marked clean: recovery has to write them again."""
    for seed in range(40):
        disk = SimulatedDisk(seed)
        ledger = Ledger.open(disk, "/data", allocate_bytes=0)
        append(ledger, bytes(3000))
        ledger.commit()
        append(ledger, b"x" * 3000)
        disk.fail("sync", errno.EIO, forever=True)
        disk.fail("create", errno.EIO, forever=True)
        disk.fail("truncate", errno.EIO, forever=True)
        with pytest.raises(StorageUnavailable):
            ledger.commit()
        disk.heal()
        disk.kill_process()
        assert Ledger.open(disk, "/data").durable_block == 2
        disk.power_cut()
        assert [len(block.payload) for block in Ledger.open(disk, "/data").scan()] == [3000, 3000]


def test_what_waits_for_the_disk_is_bounded() -> None:
    disk = SimulatedDisk(1)
    ledger = Ledger.open(disk, "/data", pending_bytes_max=10_000)
    disk.fail("write", errno.EIO, forever=True)
    for _ in range(9):
        append(ledger, bytes(1000))
    with pytest.raises(StorageUnavailable, match="commit before appending more"):
        append(ledger, bytes(1000))
    with pytest.raises(StorageUnavailable):
        ledger.commit()
    disk.heal()
    assert ledger.commit() == ledger.next_block - 1 == 9
