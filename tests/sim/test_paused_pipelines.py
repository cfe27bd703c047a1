"""A paused pipeline in a whole FLO: crashes while it is paused, drains and replays lose nothing and repeat nothing."""

from __future__ import annotations

import asyncio
import random
from collections import Counter

import pytest
from tests.sim.pausing import (
    FLO,
    LENIENT,
    WATCHER,
    decided_ids,
    events,
    files,
    made,
    played,
    row,
    until_running,
)
from tests.sim.promises import check_recovered, read_ledger, reopen
from tests.sim.world import MINUTE

from flo.core.errors import UnavailableError
from flo.core.record import DeadLetter, DeadLetterDropped, PipelinePaused
from flo.ports.service import DeadLetterOrder, NotFound
from flo.runtimes.simulated.disk import PowerCut, SimulatedDisk
from flo.runtimes.simulated.simulation import DATA, Simulation

# -- the breaker and its page


def test_the_breaker_pages_pauses_the_jobs_and_tells_the_rules() -> None:
    async def story(simulation: Simulation) -> None:
        await simulation.runtime.ingest([made(number, amount=None) for number in range(5)])
        await simulation.runtime.ingest([made(number) for number in range(5, 9)])
        await simulation.settle()
        assert simulation.engines["hook"].effects == [
            "pay/pipeline:cards/2/page/0",
            "pay/pipeline:cards/2/pause/0",
        ]
        paused = await row(simulation)
        assert (paused["status"], paused["paused_by"], paused["parked"]) == ("paused", "breaker", 4)
        assert (paused["jobs"], paused["jobs_that_cannot_pause"]) == (["hook.scoring"], ["worker.report"])
        assert decided_ids(simulation, "watcher") == [
            f"flo.breaker.opened/cards/{events(simulation, PipelinePaused)[0].at_ns}"
        ]
        first = (await simulation.runtime.loops())[0]
        assert (first["name"], first["status"], first["parked"]) == ("pay", "paused", 4)
        assert "4 parked" in first["needs_attention"][0]
        text = (await simulation.runtime.metrics()).decode()
        assert 'flo_pipeline_paused{pipeline="cards"} 1.0' in text
        assert 'flo_parked_signals{pipeline="cards"} 4.0' in text
        assert 'flo_breaker_opened_total{loop="pay",pipeline="cards"} 1.0' in text
        await simulation.crash()
        await simulation.start()
        await simulation.settle()
        assert (await row(simulation))["parked"] == 4
        assert len(simulation.engines["hook"].effects) == 2
        assert simulation.runtime.board.holds("flo.breaker.opened", "cards")
        assert len(decided_ids(simulation, "watcher")) == 1
        await simulation.runtime.resume("cards", "mended")
        await until_running(simulation)
        await simulation.settle()
        assert simulation.engines["hook"].effects[2:] == ["pay/pipeline:cards/3/resume/0"]
        assert decided_ids(simulation) == ["p5", "p6", "p7", "p8"]
        assert not simulation.runtime.board.holds("flo.breaker.opened", "cards")
        assert 'flo_pipeline_paused{pipeline="cards"} 0.0' in (await simulation.runtime.metrics()).decode()
        await simulation.stop()

    played(story, {**files(), "loops/watcher.yaml": WATCHER.encode()})


def test_dead_letters_that_keep_coming_are_found_after_a_quarter_of_an_hour_and_rules_hear_of_it() -> None:
    watcher = WATCHER.replace("flo.breaker.opened", "flo.deadletters.filling").encode()
    given = {**files(flo=FLO.replace("on_call: hook", "breaker: off")), "loops/watcher.yaml": watcher}

    async def story(simulation: Simulation) -> None:
        for minute in range(20):
            await simulation.runtime.ingest([made(minute, amount=None)])
            await simulation.advance(MINUTE)
            if minute < 14:
                assert not decided_ids(simulation, "watcher")
        (heard,) = decided_ids(simulation, "watcher")
        assert heard.startswith("flo.deadletters.filling/pay/")
        assert simulation.runtime.board.holds("flo.deadletters.filling", "pay")
        await simulation.runtime.drop_dead_letters(DeadLetterOrder(note="seen"))
        await simulation.advance(7 * MINUTE)
        assert not simulation.runtime.board.holds("flo.deadletters.filling", "pay")
        await simulation.stop()

    played(story, given)


def test_a_pipeline_that_is_none_is_named_with_the_nearest() -> None:
    async def story(simulation: Simulation) -> None:
        with pytest.raises(NotFound, match="did you mean cards"):
            await simulation.runtime.pause("card", "")
        assert not (await simulation.runtime.resume("cards", "not paused"))["changed"]
        await simulation.stop()

    played(story)


# -- crashes


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("power_cut", [False, True])
def test_whenever_flo_crashes_every_parked_signal_is_decided_once_and_in_order(
    seed: int, power_cut: bool
) -> None:
    async def story(simulation: Simulation) -> None:
        dice = random.Random(seed)
        sent = 0
        await simulation.runtime.pause("cards", "a test")
        for _ in range(6):
            many = dice.randrange(1, 900)
            await simulation.runtime.ingest([made(sent + n, dice.choice("abc")) for n in range(many)])
            sent += many
            if dice.random() < 0.3:
                await simulation.runtime.checkpoint()
            if dice.random() < 0.3:
                await simulation.crash(power_cut=power_cut)
                await simulation.start()
        assert (await row(simulation))["parked"] == sent
        await simulation.runtime.resume("cards", "mended")
        crashes = 0
        while (await row(simulation))["status"] != "running":
            for _ in range(dice.randrange(60)):
                await asyncio.sleep(0)
            await asyncio.sleep(dice.random() * 0.01)
            if crashes < 8:
                crashes += 1
                if dice.random() < 0.3:
                    await simulation.runtime.ingest([made(sent)])
                    sent += 1
                await simulation.crash(power_cut=power_cut)
                await simulation.start()
        await simulation.settle()  # the last of them is decided; the ledger has it a commit later
        ids = decided_ids(simulation)
        assert Counter(ids) == Counter(f"p{n}" for n in range(sent)), f"seed {seed}"
        assert ids == sorted(ids, key=lambda id: int(id[1:]))
        await simulation.stop()
        opened = reopen(simulation.disk, str(DATA), simulation.bundle)
        check_recovered(opened, read_ledger(simulation.disk, str(DATA)), simulation.bundle)
        opened.shard.ledger.close()

    played(story)


@pytest.mark.parametrize("seed", range(4))
def test_a_power_cut_at_any_write_of_a_drain_or_a_replay_loses_nothing_and_repeats_nothing(seed: int) -> None:
    async def scenario() -> None:
        dice = random.Random(seed)
        simulation = Simulation(files(), seed=seed, disk=SimulatedDisk(seed))
        await simulation.start()
        await simulation.runtime.ingest([made(n, amount=None) for n in range(40)])
        await simulation.runtime.ingest([made(n) for n in range(40, 200)])
        await simulation.settle()
        await simulation.crash()
        await simulation.start(LENIENT)
        for life in range(30):
            if life < 12:
                simulation.disk.cut_power_at(simulation.disk.operations + dice.randrange(1, 40))
            try:
                if (await row(simulation))["status"] == "paused":
                    await simulation.runtime.resume("cards", "the contract takes it now")
                cursor = None
                while True:
                    answer = await simulation.runtime.replay_dead_letters(
                        DeadLetterOrder(limit=7, note="the contract takes it now", cursor=cursor)
                    )
                    cursor = answer["next"]
                    if cursor is None:
                        break
                await until_running(simulation)
                if answer["matched"] == 0 and (await row(simulation))["status"] == "running":
                    break
            except (PowerCut, UnavailableError):
                await simulation.crash(power_cut=True)
                await simulation.start()
        simulation.disk.cut_power_at(1 << 60)  # never: the rest only reads
        await simulation.settle()
        assert Counter(decided_ids(simulation)) == Counter(f"p{n}" for n in range(200)), f"seed {seed}"
        left = [each.dead_letter_id for each in events(simulation, DeadLetterDropped)]
        assert len(left) == len(set(left)) == len(events(simulation, DeadLetter))
        await simulation.stop()

    asyncio.run(scenario())
