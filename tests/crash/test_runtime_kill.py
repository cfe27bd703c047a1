"""A real `flo run` is killed with -9: at every named place between a signal and its command, and anywhere."""

from __future__ import annotations

import asyncio
import os
import threading
import time
from pathlib import Path

import pytest
from tests.crash.running_flo import Receiver, RunningFlo, write_bundle
from tests.crash.traffic import Traffic
from tests.sim.promises import (
    check_commands,
    check_decisions,
    check_recovered,
    check_signals,
    read_ledger,
    reopen,
)
from tests.sim.world import bundle_files

from flo.runtimes.embedded.crash_points import PLACES
from flo.runtimes.simulated.simulation import load
from flo.stores.disk import LocalDisk

pytestmark = pytest.mark.crash

KILLS = int(os.environ.get("FLO_CRASH_RUNS", "25"))
KILLS_A_DIRECTORY = 10


def one_life(traffic: Traffic, receiver: Receiver, bundle: Path, data: Path, place: str | None) -> None:
    dice = traffic.dice
    if place is None:
        flo = RunningFlo(bundle, data)
        timer = threading.Timer(dice.random() * 0.3, flo.process.kill)
        timer.start()
        traffic.run(flo, receiver, time.monotonic() + 5)
        timer.join()
    else:
        flo = RunningFlo(bundle, data, f"{place}:{1 if place == 'checkpoint' else dice.randrange(1, 25)}")
        traffic.run(flo, receiver, time.monotonic() + (0.1 if place == "checkpoint" else 1.5))
        if place == "checkpoint":
            assert flo.stop() == -9
            return
        traffic.died_by_itself += not flo.alive
    flo.kill()


def check(
    traffic: Traffic, receiver: Receiver, data: Path, files: dict[str, bytes], *, settled: bool
) -> None:
    written = read_ledger(LocalDisk(), str(data))
    bundle = load(files)
    check_signals(written, traffic.acknowledged)
    check_decisions(written, bundle)

    async def recovered() -> None:
        opened = reopen(LocalDisk(), str(data), bundle)
        try:
            check_recovered(opened, written, bundle)
            open_keys = list(opened.shard.reconciler.commands)
            check_commands(written, "hook", list(receiver.keys), open_keys, settled=settled)
        finally:
            opened.shard.ledger.close()

    asyncio.run(recovered())


@pytest.mark.parametrize("directory", range(max(1, -(-KILLS // KILLS_A_DIRECTORY))))
def test_kill_9_loses_no_signal_and_no_command(directory: int, tmp_path: Path) -> None:
    receiver = Receiver()
    try:
        files = bundle_files(receiver.url, honours_key=directory % 2 == 0)
        bundle, data = tmp_path / "bundle", tmp_path / "data"
        write_bundle(bundle, files)
        traffic = Traffic(directory)
        first = directory * KILLS_A_DIRECTORY
        for kill in range(first, min(KILLS, first + KILLS_A_DIRECTORY)):
            place = (*PLACES, None, None)[kill % (len(PLACES) + 2)]
            try:
                one_life(traffic, receiver, bundle, data, place)
                check(traffic, receiver, data, files, settled=False)
            except BaseException as problem:
                problem.add_note(f"directory {directory}, kill {kill}, at {place or 'any moment'}")
                raise
        flo = RunningFlo(bundle, data)
        try:
            traffic.send_again(flo)
            assert not traffic.unsure, flo.refusal
            flo.pay_what_is_owed()
            assert flo.stop() == 0
        finally:
            flo.kill()
        check(traffic, receiver, data, files, settled=True)
        assert traffic.acknowledged
        assert traffic.died_by_itself >= min(KILLS, KILLS_A_DIRECTORY) // 2 or directory
        assert receiver.keys
        if directory % 2 == 1:  # a receiver that honours nothing gets nothing twice
            assert set(receiver.keys.values()) == {1}
    finally:
        receiver.close()
