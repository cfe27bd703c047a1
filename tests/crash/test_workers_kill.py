"""A real `flo run --workers 2` is killed with -9: a worker, the process before them, or both at every named place."""

from __future__ import annotations

import asyncio
import os
import random
import signal
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
from flo.runtimes.embedded.gateway import shard_of
from flo.runtimes.simulated.simulation import load
from flo.stores.disk import LocalDisk

pytestmark = [
    pytest.mark.crash,
    pytest.mark.skipif(not Path("/proc/self/cmdline").exists(), reason="finds worker processes in /proc"),
]

WORKERS = 2
KINDS = (*PLACES, "a worker", "the front")
LIVES = max(len(KINDS), int(os.environ.get("FLO_CRASH_RUNS", "0")) // 4)
"""In each life several processes die, so a quarter as many lives as kills."""

LIFE_S = 2.0
ENDED_S = 60.0


def worker_processes(data: Path) -> list[int]:
    """The ids of the worker processes on a data directory, whoever their parent is by now."""
    found = []
    for entry in Path("/proc").iterdir():
        try:
            words = (entry / "cmdline").read_bytes().split(b"\0") if entry.name.isdecimal() else []
        except OSError:
            continue  # it ended meanwhile
        if b"flo.runtimes.embedded.workers.worker" in words and str(data).encode() in words:
            found.append(int(entry.name))
    return sorted(found)


def until_workers_ended(data: Path) -> None:
    """A worker whose parent was killed commits what it had taken and ends by itself."""
    until_s = time.monotonic() + ENDED_S
    while left := worker_processes(data):
        assert time.monotonic() < until_s, f"workers {left} outlive the FLO that they worked for"
        time.sleep(0.02)


class Killer:
    """Kills a worker now and then, until told to stop."""

    def __init__(self, data: Path, seed: int) -> None:
        self.kills = 0
        self._data = data
        self._dice = random.Random(seed)
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def _run(self) -> None:
        while not self._stop.wait(self._dice.random()):
            workers = worker_processes(self._data)
            if workers:
                try:
                    os.kill(self._dice.choice(workers), signal.SIGKILL)
                except ProcessLookupError:
                    continue
                self.kills += 1

    def stop(self) -> int:
        self._stop.set()
        self._thread.join()
        return self.kills


class Lives:
    """One data directory, and the processes that lived on it."""

    def __init__(self, bundle: Path, data: Path, traffic: Traffic, receiver: Receiver) -> None:
        self.bundle = bundle
        self.data = data
        self.traffic = traffic
        self.receiver = receiver
        self.worker_deaths = 0
        self.front_deaths = 0

    def start(self, crash_at: str | None = None) -> RunningFlo:
        return RunningFlo(self.bundle, self.data, crash_at, workers=WORKERS)

    def one(self, kind: str) -> None:
        if kind == "a worker":
            self._killing_workers()
        elif kind == "the front":
            self._killing_the_front()
        else:
            self._dying_at(kind)
        until_workers_ended(self.data)

    def _dying_at(self, place: str) -> None:
        """Every process counts for itself how often it gets to the place; workers come back and die there again."""
        count = 1 if place == "checkpoint" else self.traffic.dice.randrange(1, 25)
        flo = self.start(f"{place}:{count}")
        self.traffic.run(flo, self.receiver, time.monotonic() + (0.3 if place == "checkpoint" else LIFE_S))
        self.front_deaths += not flo.alive
        if flo.alive and (place == "checkpoint" or self.traffic.dice.random() < 0.5):
            assert flo.stop() in (0, -9)
        else:
            flo.kill()
        self.worker_deaths += flo.said.count("died (exit code -9)") + flo.said.count("did not stop by itself")

    def _killing_workers(self) -> None:
        flo = self.start()
        killer = Killer(self.data, self.traffic.dice.randrange(1 << 30))
        self.traffic.run(flo, self.receiver, time.monotonic() + LIFE_S)
        killed = killer.stop()
        assert killed
        self.worker_deaths += killed
        assert flo.alive, f"killing a worker must not end FLO: {flo.end()}"
        if self.traffic.dice.random() < 0.5:
            flo.pay_what_is_owed()
        assert flo.stop() == 0

    def _killing_the_front(self) -> None:
        """Twice, the second time while the workers of the first still end."""
        for pause_s in (LIFE_S / 2, 0.3):
            flo = self.start()
            assert flo.port is not None, flo.said or flo.end()
            timer = threading.Timer(self.traffic.dice.random() * pause_s, flo.process.kill)
            timer.start()
            self.traffic.run(flo, self.receiver, time.monotonic() + 2 * LIFE_S)
            timer.join()
            flo.kill()
            self.front_deaths += 1

    def end_well(self) -> None:
        """All that was ever sent is taken, all that is owed is done."""
        flo = self.start()
        try:
            self.traffic.send_again(flo)
            assert not self.traffic.unsure, flo.refusal
            flo.pay_what_is_owed()
            assert flo.stop() == 0
        finally:
            flo.kill()
        assert not worker_processes(self.data)


def check(lives: Lives, files: dict[str, bytes], *, settled: bool) -> None:
    """The promises of one ledger, kept by all of them together."""
    bundle, traffic = load(files), lives.traffic
    ledgers = [read_ledger(LocalDisk(), str(lives.data), shard) for shard in range(WORKERS)]
    payments = {id for id in traffic.acknowledged if id[0] == "terminal"}
    taken = [{id for id in payments if id in written.ids} for written in ledgers]
    lost = payments - set().union(*taken)
    assert not lost, f"{len(lost)} acknowledged signals are lost, one is {min(lost)}"
    assert sum(map(len, taken)) == len(payments), "a signal of one key was taken by two shards"
    effects = list(lives.receiver.keys)
    for written, mine in zip(ledgers, taken, strict=True):
        # an effect may be waited for anywhere, so it is told to all
        check_signals(written, mine | (traffic.acknowledged - payments))
        check_decisions(written, bundle)
        of_shard = [key for key in effects if shard_of(key.split("/")[1], WORKERS) == written.shard]

        async def recovered(written: object = written, of_shard: list[str] = of_shard) -> None:
            opened = reopen(LocalDisk(), str(lives.data), bundle, written.shard)  # type: ignore[attr-defined]
            try:
                check_recovered(opened, written, bundle)  # type: ignore[arg-type]
                open_keys = list(opened.shard.reconciler.commands)
                check_commands(written, "hook", of_shard, open_keys, settled=settled)  # type: ignore[arg-type]
            finally:
                opened.shard.ledger.close()

        asyncio.run(recovered())


@pytest.mark.parametrize("directory", range(-(-LIVES // len(KINDS))))
def test_kill_9_of_any_process_loses_no_signal_and_no_command(directory: int, tmp_path: Path) -> None:
    receiver = Receiver()
    try:
        files = bundle_files(receiver.url, honours_key=directory % 2 == 0)
        bundle, data = tmp_path / "bundle", tmp_path / "data"
        write_bundle(bundle, files)
        traffic = Traffic(directory, pause_s=0.05)
        lives = Lives(bundle, data, traffic, receiver)
        for kind in traffic.dice.sample(KINDS, len(KINDS)):
            try:
                lives.one(kind)
                check(lives, files, settled=False)
            except BaseException as problem:
                problem.add_note(f"directory {directory}, dying: {kind}")
                raise
        lives.end_well()
        check(lives, files, settled=True)
        print(f"directory {directory}: {lives.worker_deaths} workers and {lives.front_deaths} fronts died")
        assert traffic.acknowledged
        assert lives.worker_deaths >= len(KINDS)
        assert lives.front_deaths >= 2
    finally:
        receiver.close()
