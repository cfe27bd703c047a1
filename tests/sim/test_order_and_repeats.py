"""Repeats, disorder, any batches and restarts in between: each decision is what counting from the beginning says."""

from __future__ import annotations

import asyncio
import random

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.sim.promises import check_commands, check_decisions, check_recovered, read_ledger, reopen
from tests.sim.world import Payment, bundle_files

from flo.runtimes.simulated.simulation import DATA, Simulation

SIGNALS = 60
REPEATED = 0.3


def payments(dice: random.Random) -> list[Payment]:
    """In order of their times, which now and then are equal or far apart."""
    at_s, made = 0.0, []
    for number in range(SIGNALS):
        at_s += dice.choice((0, 0.001, 1, 20, 20, 200, 700))
        made.append(
            Payment(f"p{number}", f"card-{dice.randrange(3)}", dice.randrange(1, 100), round(at_s, 3))
        )
    return made


def shuffled(made: list[Payment], lateness_s: float, dice: random.Random) -> list[Payment]:
    """Each comes up to `lateness_s` after its time."""
    arrivals = [(payment.at_s + dice.random() * lateness_s, payment) for payment in made]
    return [payment for _, payment in sorted(arrivals, key=lambda arrival: arrival[0])]


def repeated(made: list[Payment], dice: random.Random) -> list[Payment]:
    """Of so many a second one comes, somewhere behind the first."""
    stream = list(made)
    for payment in made:
        if dice.random() < REPEATED:
            stream.insert(dice.randrange(stream.index(payment) + 1, len(stream) + 1), payment)
    return stream


async def run(stream: list[Payment], dice: random.Random) -> None:
    simulation = Simulation(bundle_files())
    await simulation.start()
    taken: set[str] = set()
    rest = list(stream)
    while rest:
        size = dice.choice((1, 2, 7, 30))
        batch, rest = rest[:size], rest[size:]
        receipts = await simulation.runtime.ingest([payment.raw() for payment in batch])
        for payment, receipt in zip(batch, receipts, strict=True):
            assert receipt.status == ("duplicate" if payment.id in taken else "accepted")
            taken.add(payment.id)
        match dice.randrange(8):
            case 0:
                await simulation.stop()
                await simulation.start()
            case 1:
                await simulation.crash(power_cut=True)
                await simulation.start()
            case 2:
                await simulation.runtime.checkpoint()
            case 3:
                await simulation.settle()
    await simulation.settle()
    await simulation.stop()
    written = read_ledger(simulation.disk, str(DATA))
    assert {id for source, id in written.ids if source == "terminal"} == {payment.id for payment in stream}
    assert max(written.ids.values()) == 1
    check_decisions(written, simulation.bundle)
    opened = reopen(simulation.disk, str(DATA), simulation.bundle)
    check_recovered(opened, written, simulation.bundle)
    effects, still_open = simulation.engines["hook"].effects, opened.shard.reconciler.commands
    check_commands(written, "hook", effects, still_open, settled=True)
    opened.shard.ledger.close()


FEW = settings(max_examples=25, deadline=None, print_blob=True, suppress_health_check=[HealthCheck.too_slow])


@given(seed=st.integers(0, 2**32))
@FEW
def test_in_order(seed: int) -> None:
    dice = random.Random(seed)
    asyncio.run(run(payments(dice), dice))


@given(seed=st.integers(0, 2**32), lateness_s=st.sampled_from((0.5, 300.0, 900.0, 8000.0)))
@FEW
def test_shuffled_and_repeated(seed: int, lateness_s: float) -> None:
    dice = random.Random(seed)
    asyncio.run(run(repeated(shuffled(payments(dice), lateness_s, dice), dice), dice))
