"""Dead letters of a whole FLO are replayed under the bundle in force, or dropped, once each."""

from __future__ import annotations

from typing import Any

import pytest
from tests.sim.pausing import (
    LENIENT,
    PAY,
    decided_ids,
    events,
    files,
    made,
    played,
)
from tests.sim.world import MINUTE, S

from flo.core.record import DeadLetter, DeadLetterDropped
from flo.engines.stub import loses_answer, rejects
from flo.ports.service import DeadLetterOrder
from flo.runtimes.simulated.simulation import Simulation


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
