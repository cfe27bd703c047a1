"""What every engine adapter must pass. A new adapter is done when a class of its own passes, started for
real:

    class TestAirflow(EngineConformance):
        @pytest.fixture
        async def rig(self): ...        # yields a Rig

The tests go through the dispatcher, because an adapter's promise (its `KeyClass`) is only worth what the
dispatcher makes of it: whatever happens to an answer, at most one effect a key, and every command ends in an
outcome or a dead letter. Where an engine lacks a verb, the test shows that it says so by name: nothing is
skipped.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Protocol

import pytest
from tests.flow.dispatching import PLACE, MemoryLedger, make_command

from flo.core.command import Command
from flo.core.loop.definition import VERBS, EngineDefinition
from flo.core.record.event import CommandOutcome, DeadLetter
from flo.flow.dispatch import Dispatcher
from flo.ports.engine import Answer, Engine, EngineError, EngineRejected, KeyClass, Status
from flo.runtimes.clock import SteadyClock

WAIT_S = 20.0


class Rig(Protocol):
    """A running engine, and what a test may do to it. Commands made here carry the key of their number."""

    verb: str  # what starts a run: trigger, call ...
    timeout_s: float
    tells_failure: bool  # False: a run that fails cannot be told from one that was refused

    def engine(self) -> Engine:
        """A new adapter for the same engine, as after a restart of FLO."""
        ...

    def arguments(self, job: str) -> dict[str, Any]:
        """The arguments of a run that: `succeeds`, `fails`, `lasts` (until it is cancelled), `answers late`,
        `is unknown`.
        """
        ...

    def effects(self, key: str) -> int:
        """How many runs the engine has started for this key."""
        ...

    async def lose_next_answer(self) -> bool:
        """Cut the connection after the next request has taken effect. False: there is no connection to cut."""
        ...

    async def take_down(self) -> bool:
        """Make the engine unreachable. False: it lives and dies with FLO."""
        ...

    async def bring_up(self) -> None: ...

    def with_bad_credentials(self) -> Engine | None:
        """An adapter the engine must refuse; None: it knows no credentials."""
        ...


class Flo:
    """A dispatcher on the real clock, with a ledger in memory."""

    def __init__(self, rig: Rig, engine: Engine, ledger: MemoryLedger) -> None:
        self.engine = engine
        self.ledger = ledger
        definition = EngineDefinition(
            name="engine",
            kind=engine.kind,
            place=PLACE,
            timeout_s=rig.timeout_s,
            backoff_s=0.02,
            backoff_s_max=0.1,
        )
        self.dispatcher = Dispatcher({"engine": (engine, definition)}, SteadyClock(), ledger.record, seed=7)

    async def end_of(self, command: Command) -> str:
        """The command's outcome, or the reason of its dead letter where it was parked."""
        found: list[str] = []

        def ended() -> bool:
            outcomes = [e.outcome for e in self.ledger.events if _is_of(e, command, CommandOutcome)]
            dead = [e.reason for e in self.ledger.events if _is_of(e, command, DeadLetter)]
            found[:] = outcomes or dead
            return bool(found)

        await until(ended, f"the end of {command.key}")
        return found[0]


def _is_of(event: Any, command: Command, kind: type) -> bool:
    return isinstance(event, kind) and event.command_key == command.key


async def until(condition: Callable[[], bool], what: str) -> None:
    async with asyncio.timeout(WAIT_S):
        while not condition():
            await asyncio.sleep(0.01)


class EngineConformance:
    """See the module. Subclasses give the fixture `rig`."""

    @pytest.fixture
    async def rig(self) -> Rig:
        raise AssertionError("a conformance class gives its own rig")

    @pytest.fixture
    async def flo(self, rig: Rig) -> Any:
        started: list[Flo] = []

        async def start(engine: Engine | None = None, ledger: MemoryLedger | None = None) -> Flo:
            flo = Flo(rig, engine or rig.engine(), ledger or MemoryLedger())
            started.append(flo)
            await flo.dispatcher.start()
            return flo

        yield start
        for flo in started:
            await flo.dispatcher.stop(grace_s=0.0)

    def command(self, rig: Rig, job: str, n: int = 1, **changes: Any) -> Command:
        now_ns = SteadyClock().now_ns()
        fields = {"verb": rig.verb, "arguments": rig.arguments(job), "deadline_ns": now_ns + 600 * 10**9}
        return make_command(n, engine="engine", **{**fields, **changes})

    async def test_a_run_that_succeeds_is_reported_so_and_happened_once(self, rig: Rig, flo: Any) -> None:
        command = self.command(rig, "succeeds")
        one = await flo()
        one.dispatcher.submit(command)
        assert await one.end_of(command) == "succeeded"
        assert rig.effects(command.key) == 1

    async def test_a_run_that_fails_is_reported_so(self, rig: Rig, flo: Any) -> None:
        command = self.command(rig, "fails", attempts_max=1)
        one = await flo()
        one.dispatcher.submit(command)
        assert await one.end_of(command) == "failed"
        if rig.tells_failure:
            assert "rejected" not in [reason for _, reason in one.ledger.dead()]

    async def test_the_same_key_again_starts_nothing_new(self, rig: Rig, flo: Any) -> None:
        command = self.command(rig, "succeeds")
        for _ in range(2):
            again = await flo()
            if again.engine.key_class is KeyClass.NEITHER and rig.effects(command.key):
                return  # the engine does not know keys: a test below shows that the dispatcher never repeats one
            if again.engine.key_class is KeyClass.ASKABLE:
                answer = await again.engine.ask(command, timeout_s=rig.timeout_s)
                assert answer.status in (Status.UNKNOWN, Status.SUCCEEDED)
                if answer.status is Status.SUCCEEDED:
                    continue
            again.dispatcher.submit(command)
            assert await again.end_of(command) == "succeeded"
            await again.dispatcher.stop()
        assert rig.effects(command.key) == 1

    async def test_what_is_asked_by_key_is_answered_or_refused_as_the_class_says(
        self, rig: Rig, flo: Any
    ) -> None:
        one = await flo()
        done, unheard = self.command(rig, "succeeds", 1), self.command(rig, "succeeds", 2)
        one.dispatcher.submit(done)
        await one.end_of(done)
        if one.engine.key_class is not KeyClass.ASKABLE:
            try:
                answer = await one.engine.ask(done, timeout_s=rig.timeout_s)
            except EngineRejected:
                return
            assert answer.status is Status.SUCCEEDED
            return
        assert (await one.engine.ask(done, timeout_s=rig.timeout_s)).status is Status.SUCCEEDED
        assert (await one.engine.ask(unheard, timeout_s=rig.timeout_s)).status is Status.UNKNOWN

    async def test_a_lost_answer_never_makes_two_effects(self, rig: Rig, flo: Any) -> None:
        one = await flo()
        if not await rig.lose_next_answer():
            return
        command = self.command(rig, "succeeds")
        one.dispatcher.submit(command)
        end = await one.end_of(command)
        assert end == ("unknown-fate" if one.engine.key_class is KeyClass.NEITHER else "succeeded")
        assert rig.effects(command.key) == 1

    async def test_a_late_answer_never_makes_two_effects(self, rig: Rig, flo: Any) -> None:
        one = await flo()
        command = self.command(rig, "answers late", attempts_max=1)
        one.dispatcher.submit(command)
        assert await one.end_of(command) in ("succeeded", "failed", "unknown-fate")
        assert rig.effects(command.key) <= 1

    async def test_an_engine_that_is_down_gets_the_command_when_it_is_back(self, rig: Rig, flo: Any) -> None:
        one = await flo()
        if not await rig.take_down():
            return
        commands = [self.command(rig, "succeeds", n) for n in range(3)]
        for command in commands:
            one.dispatcher.submit(command)
        await until(lambda: one.dispatcher.stats()["engine"].sent >= 3, "the first sends")
        assert one.ledger.outcomes() == {}
        await rig.bring_up()
        for command in commands:
            assert await one.end_of(command) == "succeeded"
            assert rig.effects(command.key) == 1

    async def test_after_a_restart_of_flo_each_command_still_ends_and_none_happens_twice(
        self, rig: Rig, flo: Any
    ) -> None:
        ledger = MemoryLedger()
        commands = [self.command(rig, "succeeds", n) for n in range(5)]
        first = await flo(ledger=ledger)
        for command in commands:
            first.dispatcher.submit(command)
        await first.end_of(commands[0])
        await first.dispatcher.stop(grace_s=0.0)
        second = Flo(rig, rig.engine(), ledger)
        second.dispatcher.resume(ledger.pending(commands))
        await second.dispatcher.start()
        for command in commands:
            end = await second.end_of(command)
            if second.engine.key_class is KeyClass.NEITHER:
                assert end in ("succeeded", "unknown-fate")
                assert rig.effects(command.key) <= 1
            else:
                assert end == "succeeded"
        await second.dispatcher.stop()

    async def test_an_unknown_job_is_rejected_at_once(self, rig: Rig, flo: Any) -> None:
        one = await flo()
        command = self.command(rig, "is unknown")
        one.dispatcher.submit(command)
        await one.end_of(command)
        assert one.ledger.dead() == [(command.key, "rejected")]
        assert one.dispatcher.stats()["engine"].sent == 1

    async def test_bad_credentials_are_rejected_at_once(self, rig: Rig, flo: Any) -> None:
        engine = rig.with_bad_credentials()
        if engine is None:
            return
        one = await flo(engine)
        command = self.command(rig, "succeeds")
        one.dispatcher.submit(command)
        await one.end_of(command)
        assert one.ledger.dead() == [(command.key, "rejected")]
        assert rig.effects(command.key) == 0

    async def test_a_verb_the_engine_lacks_is_refused_by_name(self, rig: Rig, flo: Any) -> None:
        one = await flo()
        for n, verb in enumerate(sorted(set(VERBS) - one.engine.verbs - {"emit"})):
            command = self.command(rig, "succeeds", n, verb=verb)
            with pytest.raises(EngineRejected, match=verb):
                await one.engine.send(command, timeout_s=rig.timeout_s)

    async def test_cancel_ends_a_run_and_the_run_says_so(self, rig: Rig, flo: Any) -> None:
        one = await flo()
        run, cancel = self.command(rig, "lasts", 1), self.cancel_of(rig, self.command(rig, "lasts", 1))
        if cancel is None:
            return
        one.dispatcher.submit(run)
        await until(lambda: rig.effects(run.key) == 1, "the run starts")
        one.dispatcher.submit(cancel)
        assert await one.end_of(cancel) == "succeeded"
        assert await one.end_of(run) == "failed"
        assert "cancelled" in one.ledger.outcomes()[run.key].detail

    def cancel_of(self, rig: Rig, run: Command) -> Command | None:
        """The command that cancels `run`; None where the engine has no runs to cancel."""
        return None

    async def test_pause_holds_a_run_and_resume_lets_it_end(self, rig: Rig, flo: Any) -> None:
        one = await flo()
        run = self.command(rig, "succeeds slowly", 1)
        pause, resume = (self.acting_on(rig, verb, run) for verb in ("pause", "resume"))
        if pause is None or resume is None:
            return
        one.dispatcher.submit(run)
        await until(lambda: rig.effects(run.key) == 1, "the run starts")
        one.dispatcher.submit(pause)
        assert await one.end_of(pause) == "succeeded"
        assert (await one.engine.ask(run, timeout_s=rig.timeout_s)).status in (
            Status.ACCEPTED,
            Status.RUNNING,
        )
        one.dispatcher.submit(resume)
        assert await one.end_of(run) == "succeeded"

    async def test_restart_runs_a_failed_run_from_its_checkpoint(self, rig: Rig, flo: Any) -> None:
        one = await flo()
        run = self.command(rig, "fails", 1, attempts_max=1)
        restart = self.acting_on(rig, "restart", run)
        if restart is None:
            return
        one.dispatcher.submit(run)
        assert await one.end_of(run) == "failed"
        one.dispatcher.submit(restart)
        assert await one.end_of(restart) == "succeeded"
        assert (await one.engine.ask(run, timeout_s=rig.timeout_s)).status is Status.SUCCEEDED

    def acting_on(self, rig: Rig, verb: str, run: Command) -> Command | None:
        """A command that does `verb` to an earlier run; None where the engine cannot."""
        return None

    async def test_only_engine_errors_come_out_of_an_adapter(self, rig: Rig, flo: Any) -> None:
        one = await flo()
        odd: Sequence[dict[str, Any]] = ({}, {"\ud800": 1}, {"function": 7}, {"run": None}, {"x": [[[{}]]]})
        for n, arguments in enumerate(odd):
            command = self.command(
                rig, "succeeds", n, arguments=arguments, loop_key="ü\n\0", key=f"l/ü\n\0/{n}/r/0"
            )
            await _answer_or_engine_error(one.engine.send(command, timeout_s=rig.timeout_s))
            await _answer_or_engine_error(one.engine.ask(command, timeout_s=rig.timeout_s))

    async def test_a_closed_engine_frees_everything_and_may_be_closed_again(self, rig: Rig) -> None:
        engine = rig.engine()
        await engine.start(lambda key, answer: None)
        await _answer_or_engine_error(engine.send(self.command(rig, "succeeds"), timeout_s=rig.timeout_s))
        await engine.close()
        await engine.close()


async def _answer_or_engine_error(answering: Awaitable[Answer]) -> None:
    try:
        assert isinstance(await answering, Answer)
    except EngineError:
        pass
