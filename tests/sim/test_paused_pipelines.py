"""A paused pipeline in a whole FLO: crashes while it is paused, drains and replays lose nothing and repeat nothing."""

from __future__ import annotations

import asyncio
import json
import random
from collections import Counter
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from tests.sim.promises import check_recovered, read_ledger, reopen
from tests.sim.world import MINUTE, S

from flo.core.errors import UnavailableError
from flo.core.record import DeadLetter, DeadLetterDropped, PipelinePaused
from flo.engines.stub import loses_answer, rejects
from flo.ports.service import DeadLetterOrder, NotFound
from flo.runtimes.simulated.disk import PowerCut, SimulatedDisk
from flo.runtimes.simulated.simulation import DATA, Simulation

FLO = """
engines:
  hook: {kind: webhook, url: "http://127.0.0.1:9/", allow_private: true, honours_key: true}
  mailer: {kind: webhook, url: "http://127.0.0.1:9/", allow_private: true}
  worker: {kind: python}
pipelines:
  cards: {loops: [pay], jobs: [hook.scoring, worker.report], on_call: hook}
"""
PAY = """
loop: pay
on: pay.made
contract: pay.made/1
key: data.card
ttl: 1d
state: {n: {count: 'true'}}
rules:
  - id: call
    when: data.amount == 7
    then: [{do: hook.call, with: {card: '${data.card}'}}]
  - id: mail
    when: data.amount == 8
    then: [{do: mailer.call, with: {card: '${data.card}'}}]
otherwise: ok
"""
BEFORE = {
    "type": "object",
    "properties": {"card": {"type": "string"}, "amount": {"type": "integer"}},
    "required": ["card", "amount"],
}
AFTER = {**BEFORE, "properties": {**BEFORE["properties"], "amount": {"type": ["integer", "string"]}}}


def files(contract: dict[str, Any] = BEFORE, flo: str = FLO) -> dict[str, bytes]:
    return {
        "flo.yaml": flo.encode(),
        "loops/pay.yaml": PAY.encode(),
        "contracts/pay.made/1.json": json.dumps(contract).encode(),
        "functions.py": b"def report(arguments):\n    return {}\n",
    }


WATCHER = """
loop: watcher
on: flo.breaker.opened
key: data.subject
otherwise: seen
"""
LENIENT = files(
    {
        "type": "object",
        "properties": {
            "card": {"type": "string"},
            "amount": {"type": "integer"},
            "total": {"type": "integer"},
        },
        "required": ["card"],
    }
)
LENIENT["loops/pay.yaml"] = PAY.replace("data.amount ==", "has(data.amount) && data.amount ==").encode()


def made(number: int, card: str = "a", amount: Any = 1, **more: Any) -> bytes:
    data = {"card": card, "amount": amount, **more}
    if amount is None:
        del data["amount"]
    event = {"specversion": "1.0", "id": f"p{number}", "source": "till", "type": "pay.made", "data": data}
    return json.dumps(event).encode()


def played(story: Callable[[Simulation], Awaitable[None]], given: dict[str, bytes] | None = None) -> None:
    async def scenario() -> None:
        simulation = Simulation(given or files())
        await simulation.start()
        await story(simulation)

    asyncio.run(scenario())


async def row(simulation: Simulation, name: str = "cards") -> dict[str, Any]:
    return next(row for row in await simulation.runtime.pipelines() if row["name"] == name)


async def until_running(simulation: Simulation, name: str = "cards") -> None:
    async with asyncio.timeout(20):
        while (await row(simulation, name))["status"] == "draining":
            await simulation.settle()
            await asyncio.sleep(0.001)


def decided_ids(simulation: Simulation, loop: str = "pay") -> list[str]:
    """The ids of the signals that a loop decided, in order."""
    ids: list[str] = []
    for _, group in read_ledger(simulation.disk, str(DATA)).blocks:
        raws = group.raws()
        for section in group.sections:
            if section.loop == loop:
                ids += [json.loads(raws[each[0]])["id"] for each in section.rows()]
    return ids


def events(simulation: Simulation, kind: type[Any]) -> list[Any]:
    written = read_ledger(simulation.disk, str(DATA))
    return [event for _, group in written.blocks for event in group.events() if isinstance(event, kind)]


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
        assert Counter(decided_ids(simulation)) == Counter(f"p{n}" for n in range(200)), f"seed {seed}"
        left = [each.dead_letter_id for each in events(simulation, DeadLetterDropped)]
        assert len(left) == len(set(left)) == len(events(simulation, DeadLetter))
        await simulation.stop()

    asyncio.run(scenario())


# -- dead letters


async def replay(simulation: Simulation, **order: Any) -> dict[str, Any]:
    return await simulation.runtime.replay_dead_letters(DeadLetterOrder(**order))


def test_dead_letters_are_replayed_under_the_bundle_in_force_once_each() -> None:
    async def story(simulation: Simulation) -> None:
        await simulation.runtime.ingest([made(n, amount=None, total=n) for n in range(2)])
        assert (await replay(simulation, dry_run=True))["would_replay"] == 2
        first = await replay(simulation, note="still the same contract")
        assert (first["matched"], first["failed"], first["next"]) == (2, 2, None)
        again = (await simulation.runtime.dead_letters({}, 10, None)).items
        assert [each["replay_of"] for each in again] == ["0-2-1", "0-2-0"]
        await simulation.runtime.put_bundle(LENIENT, "amount may be missing")
        answers = [await replay(simulation, limit=1, note="mended")]
        answers.append(await replay(simulation, limit=1, note="mended", cursor=answers[0]["next"]))
        assert [each["replayed"] for each in answers] == [1, 1]
        assert decided_ids(simulation) == ["p0", "p1"]
        assert (await replay(simulation))["matched"] == 0
        assert (await simulation.runtime.dead_letters({}, 10, None)).items == []
        assert (await simulation.runtime.ingest([made(0, amount=None, total=0)]))[0].status == "duplicate"
        await simulation.crash()
        await simulation.start(LENIENT)
        assert (await replay(simulation))["matched"] == 0
        assert (await simulation.runtime.ingest([made(1, amount=None, total=1)]))[0].status == "duplicate"
        await simulation.stop()

    played(story)


def test_a_dead_letter_whose_signal_came_again_corrected_is_overtaken() -> None:
    async def story(simulation: Simulation) -> None:
        await simulation.runtime.ingest([made(1, amount="7"), made(2, amount="7")])
        await simulation.runtime.ingest([made(1, amount=7)])
        answer = await replay(simulation)
        assert (answer["overtaken"], answer["failed"]) == (1, 1)
        assert decided_ids(simulation) == ["p1"]
        await simulation.stop()

    played(story)


def test_a_signal_that_two_loops_refused_is_replayed_for_each_whatever_the_order() -> None:
    second = PAY.replace("loop: pay", "loop: twin").encode()
    given, mended = {**files(), "loops/twin.yaml": second}, {**LENIENT}
    mended["loops/twin.yaml"] = mended["loops/pay.yaml"].replace(b"loop: pay", b"loop: twin")

    async def story(simulation: Simulation) -> None:
        await simulation.runtime.ingest([made(1, amount=None)])
        await simulation.runtime.put_bundle(mended, "")
        assert (await replay(simulation, query={"loop": "twin"}))["replayed"] == 1
        assert (await replay(simulation))["replayed"] == 1
        assert (decided_ids(simulation), decided_ids(simulation, "twin")) == (["p1"], ["p1"])
        await simulation.stop()

    played(story, given)


def test_what_the_state_holds_already_is_not_counted_again_and_a_paused_loop_is_not_decided() -> None:
    given = files()
    given["loops/pay.yaml"] = PAY.replace("data.amount == 7", "10 / data.amount == 7").encode()

    async def story(simulation: Simulation) -> None:
        await simulation.runtime.ingest([made(1, amount=0), made(2, amount=None)])
        await simulation.runtime.pause("cards", "a test")
        answer = await replay(simulation)
        assert answer["kept"] == 2
        whys = [each["why"] for each in answer["not_replayed"]]
        assert any("count it twice" in why for why in whys)
        assert any("is paused: resume it first" in why for why in whys)
        await simulation.stop()

    played(story, given)


def test_dead_letters_are_dropped_with_a_reason_by_id_or_filter() -> None:
    async def story(simulation: Simulation) -> None:
        await simulation.runtime.ingest([made(n, amount=None) for n in range(4)])
        ids = [each["dead_letter_id"] for each in (await simulation.runtime.dead_letters({}, 10, None)).items]
        order = DeadLetterOrder(ids=(ids[0],), note="a test event")
        assert (await simulation.runtime.drop_dead_letters(order))["dropped"] == 1
        assert (await simulation.runtime.drop_dead_letters(order))["matched"] == 0
        order = DeadLetterOrder(query={"reason": "contract"}, note="the others too")
        assert (await simulation.runtime.drop_dead_letters(order))["dropped"] == 3
        notes = [each.note for each in events(simulation, DeadLetterDropped)]
        assert notes == ["a test event", *["the others too"] * 3]
        assert (await simulation.runtime.loops())[0]["needs_attention"] == []
        await simulation.stop()

    played(story)


def test_a_rejected_command_is_sent_again_under_its_own_key() -> None:
    async def story(simulation: Simulation) -> None:
        simulation.engines["hook"].script(rejects("no such job"))
        await simulation.runtime.ingest([made(1, amount=7)])
        await simulation.settle()
        (letter,) = events(simulation, DeadLetter)
        assert letter.reason == "rejected"
        assert (await replay(simulation, note="the job is there now"))["replayed"] == 1
        await simulation.settle()
        assert simulation.engines["hook"].effects == ["pay/a/1/call/0"]
        command = (await simulation.runtime.commands({}, 10, None)).items[0]
        assert command["status"] == "succeeded"
        assert (await replay(simulation))["matched"] == 0
        await simulation.stop()

    played(story)


@pytest.mark.parametrize("crash", [False, True])
def test_a_command_of_unknown_fate_is_sent_again_only_on_a_persons_word(crash: bool) -> None:
    async def story(simulation: Simulation) -> None:
        simulation.engines["mailer"].script(loses_answer(done=False))
        await simulation.runtime.ingest([made(1, amount=8)])
        await simulation.advance(MINUTE)
        (letter,) = events(simulation, DeadLetter)
        assert letter.reason == "unknown-fate"
        answer = await replay(simulation)
        assert (answer["kept"], "may do it twice" in answer["not_replayed"][0]["why"]) == (1, True)
        if crash:
            await simulation.crash()
            await simulation.start()
        before = list(simulation.engines["mailer"].effects)
        assert (await replay(simulation, resend=True, note="looked: no mail went out"))["replayed"] == 1
        await simulation.advance(10 * S)
        assert simulation.engines["mailer"].effects == [*before, "pay/a/1/mail/0"]
        assert not simulation.runtime._open_commands()
        await simulation.stop()

    played(story)


def test_a_dropped_command_of_unknown_fate_is_waited_for_no_more() -> None:
    async def story(simulation: Simulation) -> None:
        simulation.engines["mailer"].script(loses_answer(done=False))
        await simulation.runtime.ingest([made(1, amount=8)])
        await simulation.advance(MINUTE)
        assert simulation.runtime._open_commands()
        await simulation.runtime.drop_dead_letters(DeadLetterOrder(note="the mail is there"))
        assert not simulation.runtime._open_commands()
        await simulation.stop()

    played(story)
