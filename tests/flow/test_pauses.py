"""Breaker, parking and draining: what a paused pipeline does with its signals, and that each is decided exactly once."""

from __future__ import annotations

import random
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.flow.looping import Rig, bundle, event

from flo.core.record import CommandIssued, DeadLetter, Killed, PipelinePaused, PipelineRunning, SignalsParked
from flo.flow.mark_blocks import MARK_REPLAY
from flo.flow.open_work import OpenWork
from flo.runtimes.embedded.orders import Pause, Resume

FLO = """
engines: {stub: {kind: stub}, mailer: {kind: python}}
pipelines:
  cards: {loops: [l0], jobs: [stub.scoring, mailer.letters], on_call: stub}
"""
LOOP = """
on: tx
contract: tx/1
key: data.card
ttl: 1h
state: {n: {count: 'true'}}
rules:
  - id: third
    when: state.n == 3
    then: [{do: stub.call, with: {card: '${data.card}'}}]
otherwise: ok
"""
OTHER = "on: tx\nkey: string(data.n)\notherwise: seen\n"


def rig(*loops: str, flo: str = FLO, **more: Any) -> Rig:
    return Rig(bundle(*(loops or (LOOP,)), flo=flo, **more))


def bad(**about: Any) -> bytes:
    return event({"crad": "x"}, **about)


def pause(r: Rig, pipeline: str = "cards") -> None:
    assert r.order(Pause(pipeline, "operator", "a test", 0, True))


def resume(r: Rig, pipeline: str = "cards") -> None:
    assert r.order(Resume(pipeline, "mended", "operator", True))


def issued(r: Rig) -> list[str]:
    return [each.command.key for each in r.events(CommandIssued)]


# -- the breaker


def test_the_fifth_dead_letter_of_a_loop_within_a_minute_pauses_its_pipeline_in_the_same_group() -> None:
    r = rig()
    for _ in range(4):
        r.send(bad())
    assert not r.events(PipelinePaused)
    r.send(bad(), event({"card": "x"}), event({"card": "y"}))
    (paused,) = r.events(PipelinePaused)
    assert (paused.pipeline, paused.by, paused.loop) == ("cards", "breaker", "l0")
    assert "5 dead letters of l0 within 60 s" in paused.reason
    group = r.groups()[-1]
    assert [type(each).__name__ for each in group.events()] == [
        "DeadLetter",
        "PipelinePaused",
        "CommandIssued",
        "CommandIssued",
        "SignalsParked",
    ]
    (parked,) = r.events(SignalsParked)
    assert parked.rows == [(1, 2)]
    assert issued(r) == ["l0/pipeline:cards/2/page/0", "l0/pipeline:cards/2/pause/0"]
    assert [each.command.verb for each in r.events(CommandIssued)] == ["page", "pause"]
    assert r.events(CommandIssued)[1].command.arguments == {"job": "scoring"}


def test_dead_letters_that_come_slowly_or_of_several_loops_pause_nothing() -> None:
    r = rig(LOOP, LOOP, flo=FLO.replace("[l0]", "[l0, l1]"))
    for number in range(8):
        r.now = number * 16.0
        r.send(bad())
    assert not r.events(PipelinePaused)


def test_a_breaker_has_the_limits_of_the_bundle_and_can_be_off() -> None:
    r = rig(flo=FLO.replace("on_call: stub", "breaker: {dead_letters: 2, within: 1h}"))
    r.send(bad())
    r.now = 3_500.0
    r.send(bad())
    assert len(r.events(PipelinePaused)) == 1
    r = rig(flo=FLO.replace("on_call: stub", "breaker: off"))
    r.send(*(bad() for _ in range(50)))
    assert not r.events(PipelinePaused)


@pytest.mark.parametrize("checkpointed", [False, True])
def test_the_breaker_counts_on_after_a_restart(checkpointed: bool) -> None:
    r = rig()
    r.send(*(bad() for _ in range(2)))
    checkpoint = r.checkpoint() if checkpointed else None
    r.send(*(bad() for _ in range(2)))
    r = r.restarted(checkpoint)
    r.send(bad())
    assert len(r.events(PipelinePaused)) == 1


# -- parking


def test_what_a_paused_pipeline_gets_is_acknowledged_marked_and_not_decided() -> None:
    r = rig()
    pause(r)
    (receipt,) = r.send(event({"card": "x"}, id="one"))
    assert (receipt.status, receipt.decisions) == ("accepted", ())
    assert r.send(event({"card": "x"}, id="one"))[0].status == "duplicate"
    assert r.send(bad())[0].status == "accepted"  # looked at when it is decided
    assert not r.records()
    assert r.reconciler.pauses.get("cards").waiting == {"l0": 2}


def test_loops_outside_the_pipeline_decide_the_same_signals_as_ever() -> None:
    r = rig(LOOP, OTHER)
    pause(r)
    r.send(event({"card": "x", "n": 1}), event({"n": 2}))
    assert [each["loop"] for each in r.records()] == ["l1", "l1"]
    resume(r)
    r.drain("cards")
    assert sorted(each["loop"] for each in r.records()) == ["l0", "l1", "l1"]
    (dead,) = r.events(DeadLetter)
    assert (dead.loop, dead.reason) == ("l0", "contract")


def test_a_signal_that_another_loop_refuses_is_taken_when_it_is_parked() -> None:
    r = rig(LOOP, LOOP)
    pause(r)
    assert r.send(bad(id="one"))[0].status == "accepted"
    assert [each.loop for each in r.events(DeadLetter)] == ["l1"]
    assert r.send(bad(id="one"))[0].status == "duplicate"


def test_masked_data_is_not_parked_but_left_with_its_sender() -> None:
    r = rig(LOOP + "mask: [data.note]\n")
    pause(r)
    one = event({"card": "x", "note": "secret"}, id="one")
    (receipt,) = r.send(one)
    assert (receipt.status, receipt.reason) == ("rejected", "paused")
    assert r.reconciler.pauses.get("cards").parked == 0
    resume(r)
    assert r.send(one)[0].status == "accepted"


def test_a_loop_that_comes_to_a_paused_pipeline_parks_and_one_that_left_it_still_does() -> None:
    r = rig(LOOP, OTHER)
    pause(r)
    r.turn_to(bundle(LOOP, OTHER, flo=FLO.replace("[l0]", "[l1]")))
    r.send(event({"card": "x", "n": 1}))
    assert r.reconciler.pauses.get("cards").waiting == {"l0": 1, "l1": 1}


# -- draining


def test_a_resumed_pipeline_decides_what_was_parked_in_order_and_then_runs() -> None:
    r = rig()
    r.send(event({"card": "x"}))
    pause(r)
    r.now = 100.0
    for number in range(7):
        r.send(event({"card": "x", "n": number}, at=number))
    r.now = 200.0
    resume(r)
    assert r.drain("cards") == 7
    assert [each["signal"]["data"].get("n") for each in r.records()] == [None, *range(7)]
    assert [each["seq"] for each in r.records()] == list(range(1, 9))
    assert [each["rule"] for each in r.records()].count("third") == 1
    assert r.events(PipelineRunning)[0].decided == 7
    record = r.records()[3]
    assert record["replayed"] == {"how": "parked", "taken": "2026-01-01T00:01:40Z", "block": 5, "row": 0}
    assert "parked at 2026-01-01T00:01:40Z, decided at 2026-01-01T00:03:20Z" in r.explain(record)["text"]
    assert r.explain(record)["redecided"] == "the same"
    r.send(event({"card": "x"}))
    assert r.records()[-1]["seq"] == 9
    keys = issued(r)
    assert "l0/pipeline:cards/2/pause/0" in keys
    assert "l0/pipeline:cards/3/resume/0" in keys


def test_what_comes_during_a_drain_is_parked_behind_it() -> None:
    r = rig()
    pause(r)
    r.send(*(event({"card": "x", "n": number}) for number in range(5)))
    resume(r)
    assert r.drain("cards", most=3) == 3
    r.send(event({"card": "x", "n": 5}))
    assert len(r.records()) == 3
    assert r.drain("cards") == 3
    assert [each["signal"]["data"]["n"] for each in r.records()] == list(range(6))


def test_a_pipeline_with_nothing_parked_runs_at_once() -> None:
    r = rig()
    pause(r)
    resume(r)
    assert r.reconciler.pauses.get("cards") is None
    r.send(event({"card": "x"}))
    assert len(r.records()) == 1


def test_the_breaker_opens_again_during_a_drain_and_the_rest_waits_on() -> None:
    r = rig()
    pause(r)
    r.send(event({"card": "x", "n": 0}), *(bad() for _ in range(8)), event({"card": "x", "n": 1}))
    resume(r)
    assert r.drain("cards") == 6
    assert r.reconciler.pauses.get("cards").waiting == {"l0": 4}
    assert [each.incident for each in r.events(PipelinePaused)] == [1, 2]
    resume(r)
    assert r.drain("cards") == 4  # three more dead letters: not five
    assert len(r.events(DeadLetter)) == 8
    assert [each["signal"]["data"]["n"] for each in r.records()] == [0, 1]


def test_a_context_that_died_while_it_was_parked_is_killed_and_a_root_is_born_when_it_is_decided() -> None:
    r = rig()
    pause(r)
    r.send(event({"card": "x"}), event({"card": "y"}, floroot="r", floborn="2026-01-01T00:00:00Z"))
    r.now = 7_200.0
    resume(r)
    r.drain("cards")
    assert [each["key"] for each in r.records()] == ["x"]
    (killed,) = r.events(Killed)
    assert (killed.key, killed.why) == ("y", "ttl")


def test_parked_signals_of_a_loop_that_is_gone_are_dead_letters() -> None:
    r = rig(LOOP, OTHER, flo=FLO.replace("[l0]", "[l0, l1]"))
    pause(r)
    r.send(event({"card": "x", "n": 1}))
    r.turn_to(bundle(LOOP, flo=FLO))
    resume(r)
    r.drain("cards")
    (dead,) = r.events(DeadLetter)
    assert (dead.loop, dead.reason) == ("l1", "rejected")
    assert len(r.records()) == 1


def test_a_drain_that_is_not_where_it_says_changes_nothing() -> None:
    r = rig()
    pause(r)
    r.send(*(event({"card": "x"}) for _ in range(4)))
    resume(r)
    before = len(r.view.blocks)
    from_before = r.reconciler.pauses.get("cards")
    place = (from_before.block, from_before.row)
    assert r.drain("cards", most=3) == 3
    assert (from_before.block, from_before.row) != place
    r.drain("cards")
    assert len(r.records()) == 4
    assert len(r.view.blocks) > before


# -- restarts


@pytest.mark.parametrize("checkpointed", [False, True])
def test_a_paused_pipeline_is_paused_after_a_restart_and_a_drain_goes_on_where_it_was(
    checkpointed: bool,
) -> None:
    r = rig()
    pause(r)
    r.send(*(event({"card": "x", "n": number}) for number in range(7)))
    checkpoint = r.checkpoint() if checkpointed else None
    r = r.restarted(checkpoint)
    assert r.reconciler.pauses.get("cards").waiting == {"l0": 7}
    r.send(event({"card": "x", "n": 7}))
    assert not r.records()
    resume(r)
    r.drain("cards", most=4)
    r = r.restarted(checkpoint)
    r.drain("cards")
    assert [each["signal"]["data"]["n"] for each in r.records()] == list(range(8))
    assert r.restarted(checkpoint).states() == r.states()
    assert r.restarted(checkpoint).reconciler.pauses.get("cards") is None


def test_a_replayed_signal_leaves_no_second_mark() -> None:
    r = rig()
    pause(r)
    r.send(event({"card": "x"}, id="one"))
    resume(r)
    r.drain("cards")
    assert r.groups()[-1].marks == {0: MARK_REPLAY}
    assert r.send(event({"card": "x"}, id="one"))[0].status == "duplicate"
    assert r.restarted().send(event({"card": "x"}, id="one"))[0].status == "duplicate"


ACTIONS = st.lists(
    st.sampled_from(["send", "send", "bad", "pause", "resume", "drain", "restart"]), max_size=60
)


@settings(max_examples=60, deadline=None)
@given(ACTIONS, st.integers(0, 1 << 30))
def test_whatever_happens_every_signal_is_decided_once_and_each_card_in_order(
    actions: list[str], seed: int
) -> None:
    dice = random.Random(seed)
    r = rig(LOOP, OTHER, flo=FLO)
    sent = {"good": 0, "bad": 0}
    for action in [*actions, "resume", "drain", "resume", "drain", *["resume", "drain"] * 20]:
        if action == "send":
            many = dice.randrange(1, 5)
            r.send(*(event({"card": dice.choice("abc"), "n": sent["good"] + n}) for n in range(many)))
            sent["good"] += many
        elif action == "bad":
            r.send(event({"card": 1, "n": -1}))
            sent["bad"] += 1
        elif action == "pause":
            r.order(Pause("cards", "operator", "", 0, True))
        elif action == "resume":
            r.order(Resume("cards", "", "operator", True))
        elif action == "drain":
            r.drain("cards", most=dice.randrange(1, 20))
        else:
            r = r.restarted(r.checkpoint() if dice.random() < 0.5 else None)
    while r.reconciler.pauses.get("cards") is not None:
        r.order(Resume("cards", "", "operator", True))
        r.drain("cards")
    decided = [each for each in r.records() if each["loop"] == "l0"]
    assert sorted(each["signal"]["data"]["n"] for each in decided) == list(range(sent["good"]))
    assert len([each for each in r.events(DeadLetter) if each.loop == "l0"]) == sent["bad"]
    for card in "abc":
        of_card = [each for each in decided if each["key"] == card]
        assert [each["seq"] for each in of_card] == list(range(1, len(of_card) + 1))
        numbers = [each["signal"]["data"]["n"] for each in of_card]
        assert numbers == sorted(numbers)
    assert r.restarted().states() == r.states()


def test_a_checkpoint_of_before_there_were_pauses_is_read() -> None:
    r = rig()
    r.send(*(event({"card": "x"}) for _ in range(3)))
    held = msgspec.msgpack.decode(r.reconciler.snapshot())
    again = OpenWork()
    again.restore(msgspec.msgpack.encode(held[:3]))
    assert set(again.commands) == set(r.reconciler.commands) != set()
    assert not list(again.pauses)
