"""A real `flo run` is killed with -9: at every named place between a signal and its command, and anywhere."""

from __future__ import annotations

import asyncio
import os
import random
import threading
import time
from pathlib import Path

import pytest
from tests.crash.running_flo import Receiver, RunningFlo
from tests.sim.promises import (
    check_commands,
    check_decisions,
    check_recovered,
    check_signals,
    read_ledger,
    reopen,
)
from tests.sim.world import Payment, bundle_files, finished

from flo.runtimes.embedded.crash_points import PLACES
from flo.runtimes.simulated.simulation import load
from flo.stores.disk import LocalDisk

pytestmark = pytest.mark.crash

KILLS = int(os.environ.get("FLO_CRASH_RUNS", "25"))
KILLS_A_DIRECTORY = 10
CARDS = 4
SENDERS = 2


class Traffic:
    """What was sent and what was promised, over all lives of one directory."""

    def __init__(self, seed: int) -> None:
        self.dice = random.Random(seed)
        self.acknowledged: set[tuple[str, str]] = set()
        self.unsure: list[bytes] = []
        self.count = 0
        self.lock = threading.Lock()
        self.died_by_itself = 0

    def next_batch(self, receiver: Receiver) -> list[tuple[tuple[str, str], bytes]]:
        with self.lock:
            batch = []
            for _ in range(self.dice.choice((1, 2, 10))):
                self.count += 1
                payment = Payment(
                    f"p{self.count}",
                    f"card-{self.dice.randrange(CARDS)}",
                    self.dice.randrange(1, 100),
                    round(self.count * 20 - self.dice.choice((0, 0, 300, 900)), 3),
                )
                batch.append((("terminal", payment.id), payment.raw()))
            done = [key for key in list(receiver.keys) if "/big/" in key]
            if done and self.dice.random() < 0.5:
                self.count += 1
                id = f"f{self.count}"
                batch.append((("engine", id), finished(id, self.dice.choice(done))))
            return batch

    def run(self, flo: RunningFlo, receiver: Receiver, until_s: float) -> None:
        """Send until FLO dies or the time is over; what got no answer is sent again in the next life."""
        threads = [threading.Thread(target=self._send, args=(flo, receiver, until_s)) for _ in range(SENDERS)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

    def _send(self, flo: RunningFlo, receiver: Receiver, until_s: float) -> None:
        while flo.alive and time.monotonic() < until_s:
            batch = self.next_batch(receiver)
            if flo.send([raw for _, raw in batch]):
                with self.lock:
                    self.acknowledged.update(id for id, _ in batch)
            else:
                with self.lock:
                    self.unsure += [raw for _, raw in batch]

    def send_again(self, flo: RunningFlo) -> None:
        again, self.unsure = self.unsure, []
        for raw in again:
            if not flo.send([raw]):
                self.unsure.append(raw)


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
        for name, content in files.items():
            path = bundle / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)
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
        traffic.send_again(flo)
        assert not traffic.unsure
        flo.pay_what_is_owed()
        assert flo.stop() == 0
        check(traffic, receiver, data, files, settled=True)
        assert traffic.acknowledged
        assert traffic.died_by_itself >= min(KILLS, KILLS_A_DIRECTORY) // 2 or directory
        assert receiver.keys
        if directory % 2 == 1:  # a receiver that honours nothing gets nothing twice
            assert set(receiver.keys.values()) == {1}
    finally:
        receiver.close()
