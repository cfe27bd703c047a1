"""The power goes off at any operation, several times in one life; what was acknowledged is there after it."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any

import pytest

from flo.core.errors import FloError
from flo.runtimes.simulated.disk import PowerCut, SimulatedDisk

LifeOn = Callable[[SimulatedDisk, int], Any]
pytestmark = pytest.mark.crash


def live_through_cuts(life: Any, seed: int, cuts: int) -> None:
    dice = random.Random(seed)
    for _ in range(cuts):
        life.disk.cut_power_at(life.disk.operations + dice.randrange(1, 160))
        try:
            for _ in range(400):
                life.step()
        except PowerCut:
            pass
        if dice.random() < 0.2:
            life.disk.kill_process()  # sometimes the process dies a little before the machine
            life.crashed()
            try:
                life.start()
            except PowerCut:
                pass
        life.disk.power_cut()
        life.crashed()
    life.start()
    life.append()
    life.commit()
    life.check()


def test_every_acknowledged_block_and_checkpoint_survives_power_cuts(
    crash_seed: int, life_on: LifeOn
) -> None:
    disk = SimulatedDisk(crash_seed, short_writes=0.1 * (crash_seed % 2))
    live_through_cuts(life_on(disk, crash_seed), crash_seed, cuts=4)


def test_the_check_finds_the_loss_when_syncs_do_nothing(life_on: LifeOn) -> None:
    found = 0
    for seed in range(20):
        disk = SimulatedDisk(seed, syncs_lie=True)
        try:
            live_through_cuts(life_on(disk, seed), seed, cuts=4)
        except (AssertionError, FloError):
            found += 1
    assert found >= 15


def test_a_life_is_the_same_every_time_for_its_seed(life_on: LifeOn) -> None:
    lives = []
    for _ in range(2):
        life = life_on(SimulatedDisk(7), 7)
        live_through_cuts(life, 7, cuts=3)
        lives.append((life.appended, life.acknowledged, life.disk.operations))
    assert lives[0] == lives[1]
