"""A shard's life on a disk that fails, and what it was promised: shared by the crash tests of the stores."""

from __future__ import annotations

import gc
import os
import random
from collections.abc import Callable, Iterator

import pytest

from flo.core.errors import StorageUnavailable
from flo.runtimes.simulated.disk import SimulatedDisk
from flo.stores.checkpoints import CheckpointStore
from flo.stores.ledger import Ledger, LedgerReader

DATA = "/data"
PERIOD_NS = 3600 * 10**9
START_NS = 1_700_000_000 * 10**9


class Life:
    """Appends, commits, rotates, checkpoints, drops and restarts, by its seed; remembers every promise.

    `acknowledged` are the blocks whose commit returned, `appended` all that may stand under a number.
    """

    def __init__(self, disk: SimulatedDisk, seed: int) -> None:
        self.disk = disk
        self.random = random.Random(seed)
        self.now_ns = START_NS
        self.appended: dict[int, bytes] = {}
        self.acknowledged = 0
        self.may_be_dropped = 0  # the last block a call to drop_periods could have removed
        self.states: dict[str, bytes] = {}
        self.changed: dict[str, tuple[int, bytes | None]] = {}
        self.checkpoints: dict[bytes, dict[str, bytes]] = {}  # by meta: what each holds, finished or not
        self.finished = -1
        self.serial = 0
        self.refused = 0
        self.ledger: Ledger | None = None

    # -- living

    def start(self) -> None:
        """Open what is there, after checking it as a reader sees it; then hold the writer to its promises."""
        if self.disk.exists(f"{DATA}/shard-0/ledger"):
            self.check_reader()
        self.ledger = Ledger.open(
            self.disk,
            DATA,
            period_ns=PERIOD_NS,
            segment_bytes_max=12_000,
            allocate_bytes=self.random.choice((0, 4096, 8192)),
            new_salt=lambda: self.random.getrandbits(32),
            now_ns=lambda: self.now_ns,
        )
        self.store = CheckpointStore(self.disk, DATA)
        self.check()
        for number in [number for number in self.appended if number > self.ledger.durable_block]:
            del self.appended[number]
        self.acknowledged = self.ledger.durable_block  # what came back must stay

    def stop(self) -> None:
        assert self.ledger is not None
        self.ledger.close()
        self.ledger = None

    def step(self) -> None:
        if self.ledger is None:
            self.start()
            return
        actions: list[tuple[int, Callable[[], None]]] = [
            (40, self.append),
            (40, self.commit),
            (5, self.next_period),
            (4, self.drop),
            (5, self.checkpoint),
            (1, self.compact),
            (2, self.stop),
        ]
        weights, calls = zip(*actions, strict=True)
        self.random.choices(calls, weights)[0]()

    def append(self) -> None:
        assert self.ledger is not None
        for _ in range(self.random.choice((1, 1, 1, 3, 6))):
            payload = self.random.randbytes(self.random.choice((0, 10, 400, 1500, 5000)))
            self.now_ns += self.random.randrange(10**9)
            number = self.ledger.append(
                payload,
                count=len(payload),
                time_min_ns=self.now_ns - 10,
                time_max_ns=self.now_ns,
                written_ns=self.now_ns,
                summary=payload[:7],
            )
            self.appended[number] = payload

    def commit(self) -> None:
        assert self.ledger is not None
        last = self.ledger.commit()
        assert last == self.ledger.next_block - 1
        self.acknowledged = last

    def next_period(self) -> None:
        self.now_ns += PERIOD_NS

    def drop(self) -> None:
        assert self.ledger is not None
        keep_from = self.store.keep_from_block()
        ends = [period.last_block for period in self.ledger.periods()[:-1] if period.last_block < keep_from]
        self.may_be_dropped = max([self.may_be_dropped, *ends])
        self.ledger.drop_periods(self.now_ns - PERIOD_NS, keep_from_block=keep_from)

    def checkpoint(self) -> None:
        assert self.ledger is not None
        block = self.ledger.durable_block
        for _ in range(self.random.randrange(5)):
            key = f"key-{self.random.randrange(30)}"
            state = self.random.randbytes(self.random.randrange(300)) if self.random.random() < 0.8 else None
            self.changed[key] = block, state
            if state is None:
                self.states.pop(key, None)
            else:
                self.states[key] = state
        self.serial += 1
        meta = b"%d" % self.serial
        self.checkpoints[meta] = dict(self.states)
        writer = self.store.begin(block, base=self.random.random() < 0.1)
        if writer.is_base:
            writer.put_many(("loop", key, block, state) for key, state in self.states.items())
        else:
            writer.put_many(("loop", key, at, state) for key, (at, state) in self.changed.items())
        writer.finish(meta)
        self.finished = self.serial
        self.changed.clear()

    def compact(self) -> None:
        self.store.compact()

    def crashed(self) -> None:
        """The process is gone; so is what it held in memory."""
        self.ledger = None

    def settle(self) -> None:
        """The disk is well again: everything that was refused must go through now."""
        self.disk.heal()
        if self.ledger is None:
            self.start()
        self.commit()
        self.check()

    # -- holding to promises

    def check(self) -> None:
        ledger = self.ledger
        assert ledger is not None
        assert ledger.durable_block >= self.acknowledged, "an acknowledged block is gone"
        assert ledger.first_block <= self.may_be_dropped + 1, "blocks were dropped that nobody asked to drop"
        numbers = list(range(ledger.first_block, ledger.durable_block + 1))
        blocks = list(ledger.scan())
        assert [block.number for block in blocks] == numbers
        for block in blocks:
            assert block.payload == self.appended[block.number], "a block is not what was appended"
            assert (block.count, block.summary) == (len(block.payload), block.payload[:7])
        assert [block.number for block in ledger.scan(reverse=True, headers_only=True)] == numbers[::-1]
        if numbers:
            number = self.random.choice(numbers)
            assert ledger.read(number).payload == self.appended[number]
        self.check_checkpoints(ledger)

    def check_checkpoints(self, ledger: Ledger) -> None:
        latest = self.store.latest()
        if latest is None:
            assert self.finished == -1, "a finished checkpoint is gone"
            return
        assert int(latest.meta) >= self.finished, "a finished checkpoint is gone"
        assert latest.load().states.get("loop", {}) == self.checkpoints[latest.meta]
        assert latest.block <= ledger.durable_block
        assert ledger.first_block <= latest.block + 1, "what a checkpoint is to be replayed from was dropped"
        self.states = dict(self.checkpoints[latest.meta])
        self.changed.clear()

    def check_reader(self) -> None:
        """A reader beside, before any recovery: at least what was acknowledged, at most what was appended."""
        reader = LedgerReader.open(self.disk, DATA)
        assert reader.last_block >= self.acknowledged, "a reader does not see an acknowledged block"
        for block in reader.scan():
            assert block.payload == self.appended[block.number], "a reader sees what was never appended"

    def try_step(self) -> None:
        """A step on a disk that may refuse: openly, and with nothing lost."""
        try:
            self.step()
        except StorageUnavailable:
            self.refused += 1


@pytest.fixture
def life_on() -> Callable[[SimulatedDisk, int], Life]:
    return Life


@pytest.fixture(scope="session")
def crash_runs() -> int:
    """How many crashes to try: `FLO_CRASH_RUNS`, or a sample."""
    return int(os.environ.get("FLO_CRASH_RUNS", "100"))


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "crash_seed" in metafunc.fixturenames:
        metafunc.parametrize("crash_seed", range(int(os.environ.get("FLO_CRASH_RUNS", "100"))))


@pytest.fixture(autouse=True)
def nothing_left_behind() -> Iterator[None]:
    """Collect after every test: lives leave whole runtimes behind in circles, each with a simulated disk of 16 MiB in
    one object, and the collector by itself counts objects. A thousand of them are more than a machine's memory."""
    yield
    gc.collect()
