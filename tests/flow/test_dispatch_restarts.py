"""What a crash, a restart or a change of bundle leaves of commands: none is lost, none done twice."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from tests.flow.dispatching import MS, PLACE, Bench, MemoryLedger, S, make_command

from flo.core.errors import UsageError
from flo.core.loop.definition import EngineDefinition
from flo.core.record.event import CommandOutcome, DeadLetter
from flo.engines import stub
from flo.flow.dispatch import Dispatcher, Pending
from flo.flow.dispatch_record import DispatchEvent
from flo.ports.engine import KeyClass


@pytest.mark.parametrize("key_class", list(KeyClass))
@pytest.mark.parametrize("cut_at_ms", [0, 500, 1_500, 2_500, 3_500, 4_500])
async def test_a_crash_at_any_step_loses_no_command_and_does_none_twice(
    key_class: KeyClass, cut_at_ms: int
) -> None:
    """Ten commands, one at a time, some answers lost; the process ends at `cut_at_ms` and a new one takes
    over.
    """
    bench = Bench(key_class, concurrency=1)
    commands = [make_command(n, attempts_max=10) for n in range(10)]

    def plan(command: object, nth: int) -> stub.Behaviour:
        return stub.Behaviour(stub.answers().answer, latency_ns=700 * MS) if nth % 3 else stub.loses_answer()

    bench.engine.plan = plan
    await bench.run(*commands, for_ns=cut_at_ms * MS)
    await bench.dispatcher.stop(grace_s=0.0)  # cut: nothing in flight is waited for
    before = list(bench.engine.effects)
    bench.dispatcher = bench.make()
    bench.dispatcher.resume(bench.ledger.pending(commands))
    await bench.dispatcher.start()
    await bench.clock.advance(300 * S)
    outcomes, dead = bench.ledger.outcomes(), dict(bench.ledger.dead())
    assert set(outcomes) | set(dead) == {command.key for command in commands}
    assert len(bench.engine.effects) == len(set(bench.engine.effects)), "something was done twice"
    assert set(before) <= set(bench.engine.effects)
    if key_class is KeyClass.NEITHER:
        assert set(dead.values()) <= {"unknown-fate"}
    else:
        assert set(outcomes) == set(bench.engine.effects) == {command.key for command in commands}
        assert {outcome.outcome for outcome in outcomes.values()} == {"succeeded"}


@pytest.mark.parametrize("key_class", [KeyClass.HONOURS_KEY, KeyClass.ASKABLE])
async def test_what_a_crash_cut_off_is_sent_at_once_not_as_retries_are(key_class: KeyClass) -> None:
    """The budget is there for engines that fail. Commands that FLO's own end cut off would wait a second each."""
    bench = Bench(key_class, concurrency=8)
    commands = [make_command(n) for n in range(100)]
    bench.dispatcher.resume(Pending(command=command, attempts=1) for command in commands)
    await bench.dispatcher.start()
    await bench.clock.advance(S)
    assert set(bench.ledger.outcomes()) == {command.key for command in commands}
    assert {outcome.attempts for outcome in bench.ledger.outcomes().values()} == {2}
    assert bench.dispatcher.stats()["stub"].retried == 0


async def test_what_fails_after_a_crash_is_retried_within_the_budget() -> None:
    bench = Bench(concurrency=8)
    bench.engine.plan = lambda command, nth: stub.unavailable() if nth <= 4 else stub.answers()
    commands = [make_command(n) for n in range(4)]
    bench.dispatcher.resume(Pending(command=command, attempts=1) for command in commands)
    await bench.dispatcher.start()
    await bench.clock.advance(S // 2)
    assert (bench.dispatcher.stats()["stub"].sent, bench.dispatcher.stats()["stub"].retried) == (5, 1)
    await bench.clock.advance(60 * S)
    assert bench.dispatcher.stats()["stub"].retried == 4
    assert len(bench.ledger.outcomes()) == 4


async def test_after_a_restart_an_accepted_command_is_asked_about_not_resent() -> None:
    bench = Bench(KeyClass.HONOURS_KEY)
    bench.engine.script(stub.accepts(100 * S))
    await bench.run(make_command(), for_ns=S)
    await bench.dispatcher.stop(grace_s=0.0)
    bench.dispatcher = bench.make()
    bench.dispatcher.resume(bench.ledger.pending([make_command()]))
    await bench.run(for_ns=200 * S)
    assert len(bench.engine.sends) == 1
    assert bench.ledger.outcomes()[make_command().key].outcome == "succeeded"


async def test_a_command_whose_engine_left_the_bundle_fails_by_name() -> None:
    bench = Bench()
    await bench.run(make_command(engine="gone"))
    assert "`gone` is not in flo.yaml" in bench.ledger.outcomes()[make_command().key].detail
    assert bench.ledger.dead() == [(make_command().key, "rejected")]
    with pytest.raises(UsageError, match="the engines are: stub"):
        bench.dispatcher.room("gone")


async def test_outcome_and_dead_letter_commit_together() -> None:
    bench = Bench()
    groups: list[int] = []
    ledger = MemoryLedger()

    async def record(events: Sequence[DispatchEvent]) -> None:
        groups.append(len([event for event in events if isinstance(event, CommandOutcome | DeadLetter)]))
        await ledger.record(events)

    bench.engine.script(stub.rejects())
    dispatcher = Dispatcher({"stub": (bench.engine, bench.definition)}, bench.clock, record)
    await dispatcher.start()
    dispatcher.submit(make_command())
    await bench.clock.advance(S)
    assert 2 in groups


async def test_a_change_of_bundle_keeps_the_lanes_of_engines_that_stay() -> None:
    bench = Bench(concurrency=1)
    bench.engine.plan = lambda command, nth: stub.answers(latency_ns=S)
    await bench.run(*(make_command(n) for n in range(4)), for_ns=0)
    faster = EngineDefinition(name="stub", kind="stub", place=PLACE, concurrency=3)
    await bench.dispatcher.change({"stub": (bench.engine, faster)})
    await bench.clock.advance(1_100 * MS)
    assert bench.engine.in_flight_max == 3
    assert len(bench.ledger.outcomes()) == 3
    assert len(bench.engine.sends) == 4


@pytest.mark.parametrize("key_class", list(KeyClass))
async def test_a_replaced_engine_lets_flights_land_and_what_waits_goes_to_its_successor(
    key_class: KeyClass,
) -> None:
    bench = Bench(key_class, concurrency=1)
    bench.engine.plan = lambda command, nth: stub.answers(latency_ns=10 * S)
    await bench.run(make_command(1), make_command(2), for_ns=S)
    successor = stub.StubEngine(bench.clock, key_class=key_class)
    await bench.dispatcher.change({"stub": (successor, bench.definition)})
    await bench.clock.advance(S)
    assert (bench.engine.effects, successor.effects) == ([make_command(1).key], [make_command(2).key])
    assert bench.engine.outcome is not None, "it is closed while a command is on its way"
    await bench.clock.advance(10 * S)
    assert bench.engine.outcome is None
    assert {outcome.outcome for outcome in bench.ledger.outcomes().values()} == {"succeeded"}
    assert len(bench.ledger.outcomes()) == 2


async def test_a_flight_that_fails_on_a_replaced_engine_is_tried_on_its_successor() -> None:
    bench = Bench(KeyClass.ASKABLE)
    slow_failure = stub.Behaviour(error=stub.loses_answer().error, done=False, latency_ns=5 * S)
    bench.engine.script(slow_failure)
    await bench.run(make_command(), for_ns=S)
    successor = stub.StubEngine(bench.clock, key_class=KeyClass.ASKABLE)
    await bench.dispatcher.change({"stub": (successor, bench.definition)})
    await bench.clock.advance(60 * S)
    assert successor.asks == [make_command().key]
    assert successor.effects == [make_command().key]
    assert bench.ledger.outcomes()[make_command().key].outcome == "succeeded"


async def test_an_accepted_command_is_asked_about_at_the_successor() -> None:
    bench = Bench(KeyClass.ASKABLE)
    bench.engine.script(stub.accepts(30 * S))
    await bench.run(make_command(), for_ns=S)
    successor = stub.StubEngine(bench.clock, key_class=KeyClass.ASKABLE)
    successor.runs = bench.engine.runs  # another adapter for the same engine
    await bench.dispatcher.change({"stub": (successor, bench.definition)})
    await bench.clock.advance(120 * S)
    assert bench.ledger.outcomes()[make_command().key].outcome == "succeeded"
    assert successor.sends == []


async def test_commands_of_an_engine_that_left_fail_by_name_while_its_flights_land() -> None:
    bench = Bench(concurrency=1)
    bench.engine.plan = lambda command, nth: stub.answers(latency_ns=S)
    await bench.run(make_command(1), make_command(2), for_ns=0)
    await bench.dispatcher.change({})
    await bench.clock.advance(2 * S)
    outcomes = bench.ledger.outcomes()
    assert [outcomes[make_command(n).key].outcome for n in (1, 2)] == ["succeeded", "failed"]
    assert await bench.dispatcher.drain(0.0)
    await bench.dispatcher.stop()


async def test_two_runs_of_one_seed_are_the_same() -> None:
    async def run(seed: int) -> list[int]:
        bench = Bench(seed=seed, concurrency=4)
        bench.engine.plan = lambda command, nth: (
            stub.unavailable() if nth % 4 else stub.answers(latency_ns=MS)
        )
        await bench.run(*(make_command(n) for n in range(50)), for_ns=120 * S)
        return bench.engine.send_times_ns

    assert await run(7) == await run(7)
    assert await run(7) != await run(8)
