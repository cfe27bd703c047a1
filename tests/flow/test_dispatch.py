"""Dispatch on a simulated clock with the stub engine: who is sent when, how often, and what is recorded of
it.
"""

from __future__ import annotations

import pytest
from tests.flow.dispatching import Bench, S, make_command

from flo.core.record.event import Attempted
from flo.engines import stub
from flo.ports.engine import Answer, KeyClass, Status


async def test_a_command_is_sent_once_and_its_success_recorded() -> None:
    bench = Bench()
    bench.engine.script(stub.answers(result={"id": 7}))
    await bench.run(make_command())
    assert bench.engine.effects == [make_command().key]
    outcome = bench.ledger.outcomes()[make_command().key]
    assert (outcome.outcome, outcome.attempts, outcome.result) == ("succeeded", 1, {"id": 7})
    assert bench.ledger.dead() == []


async def test_submitting_a_key_twice_sends_it_once() -> None:
    bench = Bench()
    await bench.run(make_command(), make_command())
    assert len(bench.engine.sends) == 1


async def test_a_rejected_command_is_never_sent_again() -> None:
    bench = Bench()
    bench.engine.script(stub.rejects("no such job"))
    await bench.run(make_command())
    assert len(bench.engine.sends) == 1
    assert bench.ledger.outcomes()[make_command().key].outcome == "failed"
    assert bench.ledger.dead() == [(make_command().key, "rejected")]


async def test_an_unavailable_engine_is_tried_as_often_as_the_command_says() -> None:
    bench = Bench()
    bench.engine.plan = lambda command, nth: stub.unavailable()
    await bench.run(make_command(attempts_max=3))
    assert len(bench.engine.sends) == 3
    assert bench.ledger.outcomes()[make_command().key].attempts == 3
    assert bench.ledger.dead() == [(make_command().key, "exhausted")]


async def test_a_failed_run_is_run_again_and_may_succeed() -> None:
    bench = Bench()
    bench.engine.script(stub.run_fails())
    await bench.run(make_command())
    assert bench.ledger.outcomes()[make_command().key].outcome == "succeeded"
    assert bench.ledger.outcomes()[make_command().key].attempts == 2


async def test_a_failure_that_blocks_nothing_is_tolerated_and_leaves_no_dead_letter() -> None:
    bench = Bench()
    bench.engine.script(stub.rejects(), stub.answers(Status.FAILED))
    await bench.run(make_command(1, blocking=False), make_command(2, blocking=False))
    assert {outcome.outcome for outcome in bench.ledger.outcomes().values()} == {"tolerated"}
    assert bench.ledger.dead() == []


async def test_an_engine_that_is_down_for_a_minute_costs_no_command() -> None:
    bench = Bench()
    bench.engine.down = True
    await bench.run(*(make_command(n) for n in range(20)), for_ns=60 * S)
    assert bench.ledger.outcomes() == {}
    assert bench.dispatcher.stats()["stub"].circuit != "closed"
    assert len(bench.engine.sends) < 40, "the circuit does not stop the sends"
    bench.engine.down = False
    await bench.clock.advance(120 * S)
    assert {outcome.outcome for outcome in bench.ledger.outcomes().values()} == {"succeeded"}
    assert len(bench.engine.effects) == 20


async def test_past_its_deadline_a_command_is_never_sent() -> None:
    bench = Bench()
    bench.engine.down = True
    deadline_ns = bench.clock.now_ns() + 30 * S
    await bench.run(make_command(deadline_ns=deadline_ns), for_ns=31 * S)
    bench.engine.down = False
    await bench.clock.advance(120 * S)
    assert bench.engine.effects == []
    outcome = bench.ledger.outcomes()[make_command().key]
    assert outcome.outcome == "expired"
    assert outcome.at_ns == deadline_ns, "it is recorded when it happens, not when the engine comes back"
    assert bench.ledger.dead() == [(make_command().key, "expired")]
    await bench.run(make_command(2, deadline_ns=bench.clock.now_ns()))
    assert bench.engine.effects == []


@pytest.mark.parametrize("done", [True, False])
async def test_a_lost_answer_of_an_engine_that_honours_keys_is_resent_and_done_once(done: bool) -> None:
    bench = Bench(KeyClass.HONOURS_KEY)
    bench.engine.script(stub.loses_answer(done=done))
    await bench.run(make_command())
    assert len(bench.engine.sends) == 2
    assert bench.engine.effects == [make_command().key]
    assert bench.ledger.outcomes()[make_command().key].outcome == "succeeded"


@pytest.mark.parametrize("done", [True, False])
async def test_a_lost_answer_of_an_engine_that_can_be_asked_is_asked_about_first(done: bool) -> None:
    bench = Bench(KeyClass.ASKABLE)
    bench.engine.script(stub.loses_answer(done=done))
    await bench.run(make_command())
    assert bench.engine.asks == [make_command().key]
    assert len(bench.engine.sends) == (1 if done else 2)
    assert bench.engine.effects == [make_command().key]
    assert bench.ledger.outcomes()[make_command().key].outcome == "succeeded"


@pytest.mark.parametrize("blocking", [True, False])
async def test_a_lost_answer_of_an_engine_of_neither_class_is_parked_and_never_resent(blocking: bool) -> None:
    bench = Bench(KeyClass.NEITHER)
    bench.engine.script(stub.loses_answer())
    await bench.run(make_command(blocking=blocking))
    assert len(bench.engine.sends) == 1
    assert bench.ledger.outcomes() == {}
    assert bench.ledger.dead() == [(make_command().key, "unknown-fate")]


async def test_neither_class_is_sent_again_only_where_it_was_certainly_not_done() -> None:
    bench = Bench(KeyClass.NEITHER)
    bench.engine.script(stub.unavailable(), stub.loses_answer())
    await bench.run(make_command())
    assert len(bench.engine.sends) == 2
    assert bench.ledger.dead() == [(make_command().key, "unknown-fate")]


async def test_the_attempt_is_durable_before_a_send_to_neither_class() -> None:
    bench = Bench(KeyClass.NEITHER)
    seen: list[int] = []
    bench.engine.plan = lambda command, nth: seen.append(len(bench.ledger.attempts())) or stub.answers()
    bench.ledger.refuse(3)
    await bench.run(make_command())
    assert seen == [1]
    assert bench.ledger.attempts() == [
        Attempted(command_key=make_command().key, attempt=4, at_ns=bench.engine.send_times_ns[0])
    ]


async def test_an_outcome_the_disk_refused_is_recorded_when_the_disk_heals() -> None:
    bench = Bench()
    bench.engine.plan = lambda command, nth: bench.ledger.refuse(4) or stub.answers()
    await bench.run(make_command())
    assert bench.ledger.outcomes()[make_command().key].outcome == "succeeded"
    assert len(bench.engine.sends) == 1


async def test_an_exhausted_command_whose_fate_is_unknown_is_parked_not_called_failed() -> None:
    bench = Bench(KeyClass.HONOURS_KEY)
    bench.engine.plan = lambda command, nth: stub.loses_answer()
    await bench.run(make_command())
    assert len(bench.engine.sends) == 3
    assert bench.ledger.outcomes() == {}
    assert bench.ledger.dead() == [(make_command().key, "unknown-fate")]


async def test_an_accepted_command_is_asked_about_ever_more_rarely_until_it_ends() -> None:
    bench = Bench(KeyClass.ASKABLE)
    bench.engine.script(stub.accepts(600 * S))
    await bench.run(make_command(), for_ns=700 * S)
    assert len(bench.engine.sends) == 1
    assert len(bench.engine.asks) < 25
    assert bench.ledger.answered()[0].reference == f"stub:{make_command().key}"
    assert len(bench.ledger.answered()) == 1
    assert bench.ledger.outcomes()[make_command().key].outcome == "succeeded"


async def test_an_end_the_engine_reports_by_itself_settles_the_command_once() -> None:
    bench = Bench(KeyClass.NEITHER)
    bench.engine.script(stub.accepts(3_600 * S))
    await bench.run(make_command())
    assert bench.dispatcher.stats()["stub"].awaiting == 1
    bench.engine.tell(make_command().key, Answer(status=Status.FAILED, detail="step 3"))
    bench.engine.tell(make_command().key, Answer(status=Status.SUCCEEDED))
    bench.engine.tell("never/heard/1/of/0", Answer(status=Status.SUCCEEDED))
    await bench.clock.settle()
    assert bench.ledger.outcomes()[make_command().key].detail == "step 3"


async def test_success_of_a_command_that_expects_an_effect_is_an_answer_not_yet_an_outcome() -> None:
    bench = Bench()
    await bench.run(make_command(expect_signal="run.finished", expect_within_ns=S))
    assert bench.ledger.outcomes() == {}
    assert [event.command_key for event in bench.ledger.answered()] == [make_command().key]


async def test_a_command_whose_end_was_learned_elsewhere_is_forgotten() -> None:
    bench = Bench(KeyClass.ASKABLE)
    bench.engine.script(stub.accepts(3_600 * S))
    await bench.run(make_command(), for_ns=S)
    assert bench.dispatcher.forget(make_command().key)
    asked = len(bench.engine.asks)
    await bench.clock.advance(600 * S)
    assert len(bench.engine.asks) == asked
    assert not bench.dispatcher.forget(make_command().key)


async def test_killed_commands_are_dropped_and_those_on_their_way_are_not_sent_again() -> None:
    bench = Bench(concurrency=1)
    bench.engine.script(
        stub.Behaviour(stub.unavailable().answer, stub.unavailable().error, done=False, latency_ns=S)
    )
    await bench.run(make_command(1), make_command(2), make_command(3), for_ns=0)
    assert bench.dispatcher.cancel(lambda command: command.key != make_command(3).key, "killed by ops") == 1
    await bench.clock.advance(60 * S)
    outcomes = bench.ledger.outcomes()
    assert [(outcomes[make_command(n).key].outcome) for n in (1, 2, 3)] == ["expired", "expired", "succeeded"]
    assert outcomes[make_command(1).key].detail == "killed by ops"
    assert bench.ledger.dead() == []
