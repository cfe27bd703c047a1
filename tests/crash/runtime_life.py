"""A FLO that takes payments on a disk that cannot be trusted, and the list of what it promised."""

from __future__ import annotations

import asyncio
import random

from tests.sim.promises import (
    check_commands,
    check_decisions,
    check_recovered,
    check_signals,
    read_ledger,
    reopen,
)
from tests.sim.world import MINUTE, Payment, bundle_files, finished

from flo.core.errors import UnavailableError
from flo.runtimes.simulated.disk import PowerCut, SimulatedDisk
from flo.runtimes.simulated.simulation import DATA, Simulation

CARDS = 4
GONE = (UnavailableError, PowerCut)


class RuntimeLife:
    """Sends, sends again, tells of effects, checkpoints and lets time pass, by its seed; remembers every 202."""

    def __init__(self, disk: SimulatedDisk, seed: int, *, honours_key: bool = True) -> None:
        self.simulation = Simulation(bundle_files(honours_key=honours_key), seed=seed, disk=disk)
        self.disk = disk
        self.dice = random.Random(seed)
        self.acknowledged: set[tuple[str, str]] = set()
        self.unsure: list[Payment] = []
        self.sent = 0
        self.at_s = 0.0
        self.refused = 0

    # -- living

    async def start(self) -> bool:
        """False where the power went meanwhile."""
        try:
            await self.simulation.start()
        except GONE:
            return False
        return True

    async def live(self, steps: int) -> None:
        """Until the steps are done or the power is gone."""
        actions = [self.send, self.send, self.send, self.send_again, self.tell, self.checkpoint, self.wait]
        for _ in range(steps):
            try:
                await self.dice.choice(actions)()
            except PowerCut:
                return
            except UnavailableError:
                self.refused += 1

    def payment(self) -> Payment:
        self.sent += 1
        self.at_s += self.dice.random() * 40
        late_s = self.dice.choice((0, 0, 0, 5, 400, 700, 4000))
        amount = self.dice.randrange(1, 100)
        return Payment(
            f"p{self.sent}", f"card-{self.dice.randrange(CARDS)}", amount, round(self.at_s - late_s, 3)
        )

    async def send(self) -> None:
        """Some requests at a time, each of some signals."""
        requests = [
            [self.payment() for _ in range(self.dice.choice((1, 1, 3, 8)))]
            for _ in range(self.dice.choice((1, 2, 4)))
        ]
        await self.offer(requests)

    async def send_again(self) -> None:
        """What a sender does that got no answer: the same once more."""
        again, self.unsure = self.unsure, []
        if again:
            await self.offer([again])

    async def offer(self, requests: list[list[Payment]]) -> None:
        answers = await asyncio.gather(*map(self.request, requests), return_exceptions=True)
        for answer in answers:
            if isinstance(answer, BaseException):
                raise answer

    async def request(self, payments: list[Payment]) -> None:
        try:
            receipts = await self.simulation.runtime.ingest([payment.raw() for payment in payments])
        except BaseException:
            self.unsure += payments
            raise
        assert all(receipt.status in ("accepted", "duplicate") for receipt in receipts)
        self.acknowledged.update(("terminal", payment.id) for payment in payments)

    async def tell(self) -> None:
        """The effect of a command shows."""
        hook = self.simulation.engines.get("hook")
        done = [key for key in (hook.effects if hook is not None else ()) if "/big/" in key]
        if done:
            self.sent += 1
            id = f"f{self.sent}"
            await self.simulation.runtime.ingest([finished(id, self.dice.choice(done))])
            self.acknowledged.add(("engine", id))

    async def checkpoint(self) -> None:
        await self.simulation.runtime.checkpoint()

    async def wait(self) -> None:
        ready, why = self.simulation.runtime.ready()
        if not ready:
            raise UnavailableError(why)
        await self.simulation.advance(self.dice.choice((1, 10, 40)) * MINUTE)

    # -- holding to promises

    async def check(self, *, settled: bool = False) -> None:
        """On the disk as it is, with nothing running."""
        bundle = self.simulation.bundle
        written = read_ledger(self.disk, str(DATA))
        check_signals(written, self.acknowledged)
        check_decisions(written, bundle)
        opened = reopen(self.disk, str(DATA), bundle)
        try:
            check_recovered(opened, written, bundle)
            for engine in ("hook", "worker"):
                stub = self.simulation.engines.get(engine)
                of_engine = stub.effects if stub is not None else []
                check_commands(written, engine, of_engine, opened.shard.reconciler.commands, settled=settled)
        finally:
            opened.shard.ledger.close()

    async def end_well(self) -> None:
        """The disk is well: everything that was ever owed is done."""
        assert await self.start()
        await self.send_again()
        await self.send()
        await self.simulation.advance(40 * MINUTE)
        await self.simulation.stop()
        await self.check(settled=True)
