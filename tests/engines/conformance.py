"""What every engine adapter must pass. A new adapter is done when a class of its own passes, started for
real:

    class TestAirflow(EngineConformance):
        @pytest.fixture
        async def rig(self): ...        # yields a Rig

Most tests go through the dispatcher, because an adapter's promise (its `KeyClass`) is only worth what the
dispatcher makes of it: whatever happens to an answer, at most one effect a key, and every command ends in an
outcome or a dead letter. What an engine lacks its rig names with the reason; where that is a verb, the suite
shows that the adapter refuses it by name.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Sequence
from typing import Any

import pytest
from tests.engines.rigs import PARTS, RUN_VERBS, Flo, HurriedClock, Rig, until
from tests.flow.dispatching import MemoryLedger, make_command

from flo.core.command import Command
from flo.core.loop.definition import VERBS
from flo.ports.clock import Clock
from flo.ports.engine import Answer, Engine, EngineError, EngineRejected, KeyClass, Status
from flo.runtimes.clock import SteadyClock

S = 1_000_000_000
ENDED_WELL = (Status.SUCCEEDED, Status.ACCEPTED, Status.RUNNING)


class EngineConformance:
    """See the module. Subclasses give the fixture `rig`."""

    @pytest.fixture
    async def rig(self) -> Rig:
        raise AssertionError("a conformance class gives its own rig")

    @pytest.fixture
    async def flo(self, rig: Rig) -> Any:
        started: list[Flo] = []

        async def start(
            engine: Engine | None = None, ledger: MemoryLedger | None = None, clock: Clock | None = None
        ) -> Flo:
            flo = Flo(rig, engine or rig.engine(), ledger or MemoryLedger(), clock)
            started.append(flo)
            await flo.dispatcher.start()
            return flo

        yield start
        for flo in started:
            await flo.dispatcher.stop(grace_s=0.0)

    def command(self, rig: Rig, job: str, n: int = 1, **changes: Any) -> Command:
        now_ns = SteadyClock().now_ns()
        fields = {
            "key": f"{rig.loop}/card-{n}/1/rule/0",
            "loop": rig.loop,
            "verb": rig.verb,
            "arguments": rig.arguments(job),
            "issued_ns": now_ns,
            "deadline_ns": now_ns + 600 * S,
        }
        return make_command(n, engine="engine", **{**fields, **changes})

    def about(self, rig: Rig, verb: str, run: Command, n: int) -> Command:
        return self.command(rig, "succeeds", n, verb=verb, arguments=rig.about(verb, run))

    # What the rig says of the engine.

    def test_what_an_engine_lacks_is_named_with_its_reason(self, rig: Rig) -> None:
        missing = {**rig.lacks, **rig.untold}
        assert set(missing) <= set(PARTS)
        assert all(len(reason.split()) > 3 for reason in missing.values())
        assert not set(rig.lacks) & set(rig.untold)
        for part, verbs in RUN_VERBS.items():
            has = set(verbs) <= rig.engine().verbs
            assert has != (part in rig.lacks), f"{part}: the adapter's verbs and the rig's `lacks` disagree"

    # The outcomes.

    async def test_a_run_that_succeeds_is_reported_so_and_happened_once(self, rig: Rig, flo: Any) -> None:
        command = self.command(rig, "succeeds")
        one = await flo()
        one.do(command)
        assert await one.end_of(command) == "succeeded"
        assert rig.effects(command.key) == 1
        assert one.ledger.dead() == []

    async def test_a_run_that_fails_is_reported_so(self, rig: Rig, flo: Any) -> None:
        if self._lacks(rig, "failure"):
            return
        command = self.command(rig, "fails", attempts_max=1)
        one = await flo()
        one.do(command)
        assert await one.end_of(command) == "failed"
        assert "rejected" not in [reason for _, reason in one.ledger.dead()]

    async def test_cancel_ends_a_run_and_the_run_says_so(self, rig: Rig, flo: Any) -> None:
        one = await flo()
        if self._lacks(rig, "cancel"):
            return
        run = self.command(rig, "lasts", 1)
        cancel = self.about(rig, "cancel", run, 2)
        one.do(run)
        await until(lambda: rig.effects(run.key) == 1, "the run starts")
        one.do(cancel)
        assert await one.end_of(cancel) == "succeeded"
        await self._says_cancelled(one, run)

    async def test_a_run_cancelled_in_the_engine_itself_says_so(self, rig: Rig, flo: Any) -> None:
        one = await flo()
        if self._lacks(rig, "cancel in the engine"):
            return
        run = self.command(rig, "lasts", 1)
        one.do(run)
        await until(lambda: rig.effects(run.key) == 1, "the run starts")
        await rig.cancel_in_engine(run)
        await self._says_cancelled(one, run)

    async def _says_cancelled(self, one: Flo, run: Command) -> None:
        assert await one.end_of(run) == "failed"
        assert "cancelled" in one.ledger.outcomes()[run.key].detail

    # The key.

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
            again.do(command)
            assert await again.end_of(command) == "succeeded"
            await again.dispatcher.stop()
        assert rig.effects(command.key) == 1

    async def test_the_declared_class_is_what_the_engine_does(self, rig: Rig, flo: Any) -> None:
        """Past the dispatcher: the same key twice, one after the other and at once."""
        engine = (await flo()).engine
        one, two = self.command(rig, "succeeds", 1), self.command(rig, "succeeds", 2)
        for _ in range(2):
            assert (await engine.send(one, timeout_s=rig.timeout_s)).status in ENDED_WELL
        if engine.key_class is KeyClass.HONOURS_KEY:
            at_once = [engine.send(two, timeout_s=rig.timeout_s) for _ in range(4)]
            assert all(answer.status in ENDED_WELL for answer in await asyncio.gather(*at_once))
            await self._ask_until_it_ended(engine, rig, one)
            assert (rig.effects(one.key), rig.effects(two.key)) == (1, 1)
        elif engine.key_class is KeyClass.ASKABLE:
            assert (await engine.ask(one, timeout_s=rig.timeout_s)).status is Status.SUCCEEDED
        else:
            assert rig.effects(one.key) == 2, "an engine that honours keys should say so"

    async def _ask_until_it_ended(self, engine: Engine, rig: Rig, command: Command) -> None:
        async with asyncio.timeout(20):
            while True:
                try:
                    answer = await engine.ask(command, timeout_s=rig.timeout_s)
                except EngineRejected:
                    return
                if answer.status not in (Status.ACCEPTED, Status.RUNNING):
                    assert answer.status is Status.SUCCEEDED
                    return
                await asyncio.sleep(0.05)

    async def test_what_is_asked_by_key_is_answered_or_refused_as_the_class_says(
        self, rig: Rig, flo: Any
    ) -> None:
        one = await flo()
        done, unheard = self.command(rig, "succeeds", 1), self.command(rig, "succeeds", 2)
        one.do(done)
        await one.end_of(done)
        try:
            assert (await one.engine.ask(done, timeout_s=rig.timeout_s)).status is Status.SUCCEEDED
        except EngineRejected:
            assert one.engine.key_class is not KeyClass.ASKABLE
            return
        assert (await one.engine.ask(unheard, timeout_s=rig.timeout_s)).status is Status.UNKNOWN

    # What goes wrong on the way.

    async def test_a_lost_answer_never_makes_two_effects(self, rig: Rig, flo: Any) -> None:
        if self._lacks(rig, "lost answer"):
            return
        one = await flo()
        await rig.lose_next_answer()
        command = self.command(rig, "succeeds")
        one.do(command)
        end = await one.end_of(command)
        assert end == ("unknown-fate" if one.engine.key_class is KeyClass.NEITHER else "succeeded")
        assert rig.effects(command.key) == 1

    async def test_a_late_answer_never_makes_two_effects(self, rig: Rig, flo: Any) -> None:
        if self._lacks(rig, "late answer"):
            return
        once = await rig.slow_down()
        one = await flo()
        command = self.command(rig, "answers late", attempts_max=3 if once else 1)
        one.do(command)
        end = await one.end_of(command)
        if not once:
            assert end in ("succeeded", "failed", "unknown-fate")
            assert rig.effects(command.key) <= 1
            return
        assert end == ("unknown-fate" if one.engine.key_class is KeyClass.NEITHER else "succeeded")
        assert rig.effects(command.key) == 1

    async def test_an_engine_that_is_down_for_a_minute_gets_its_commands_when_it_is_back(
        self, rig: Rig, flo: Any
    ) -> None:
        if self._lacks(rig, "down"):
            return
        clock = HurriedClock()
        one = await flo(clock=clock)
        await rig.take_down()
        commands = [
            self.command(rig, "succeeds", n, deadline_ns=clock.now_ns() + 3_600 * S) for n in range(3)
        ]
        one.do(*commands)
        down_ns = clock.now_ns()
        await until(lambda: clock.now_ns() - down_ns > 60 * S, "a minute")
        assert one.dispatcher.stats()["engine"].sent >= 3
        assert one.ledger.outcomes() == {}
        assert one.ledger.dead() == []
        await rig.bring_up()
        for command in commands:
            assert await one.end_of(command) == "succeeded"
            assert rig.effects(command.key) == 1

    async def test_an_engine_that_is_restarted_goes_on_and_does_nothing_twice(
        self, rig: Rig, flo: Any
    ) -> None:
        if self._lacks(rig, "engine restart"):
            return
        one = await flo()
        before, after = self.command(rig, "succeeds", 1), self.command(rig, "succeeds", 2)
        one.do(before)
        assert await one.end_of(before) == "succeeded"
        await rig.restart_engine()
        one.do(after)
        assert await one.end_of(after) == "succeeded"
        assert rig.effects(after.key) == 1
        assert rig.effects(before.key) <= 1

    async def test_after_a_restart_of_flo_each_command_still_ends_and_none_happens_twice(
        self, rig: Rig, flo: Any
    ) -> None:
        ledger = MemoryLedger()
        commands = [self.command(rig, "succeeds", n) for n in range(5)]
        first = await flo(ledger=ledger)
        first.do(*commands)
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
            elif rig.ends_with_flo:
                assert end == "succeeded"
                assert 1 <= rig.effects(command.key) <= 2
            else:
                assert end == "succeeded"
                assert rig.effects(command.key) == 1
        await second.dispatcher.stop()

    # What the engine refuses.

    async def test_an_unknown_job_is_rejected_at_once(self, rig: Rig, flo: Any) -> None:
        if self._lacks(rig, "unknown job"):
            return
        one = await flo()
        command = self.command(rig, "is unknown")
        one.do(command)
        await one.end_of(command)
        assert one.ledger.dead() == [(command.key, "rejected")]
        assert one.dispatcher.stats()["engine"].sent == 1
        assert rig.effects(command.key) == 0

    async def test_bad_credentials_are_rejected_at_once(self, rig: Rig, flo: Any) -> None:
        if self._lacks(rig, "bad credentials"):
            return
        one = await flo(rig.with_bad_credentials())
        command = self.command(rig, "succeeds")
        one.do(command)
        await one.end_of(command)
        assert one.ledger.dead() == [(command.key, "rejected")]
        assert one.dispatcher.stats()["engine"].sent == 1
        assert rig.effects(command.key) == 0

    async def test_a_verb_the_engine_lacks_is_refused_by_name(self, rig: Rig, flo: Any) -> None:
        one = await flo()
        for n, verb in enumerate(sorted(set(VERBS) - one.engine.verbs - {"emit"})):
            command = self.command(rig, "succeeds", n, verb=verb)
            with pytest.raises(EngineRejected, match=verb):
                await one.engine.send(command, timeout_s=rig.timeout_s)

    # What is done to a run.

    def _lacks(self, rig: Rig, part: str) -> bool:
        """Whether the part cannot be tested here. That a lacking verb is refused by name is a test of its own."""
        return part in rig.lacks or part in rig.untold

    async def test_pause_holds_a_run_and_resume_lets_it_end(self, rig: Rig, flo: Any) -> None:
        if self._lacks(rig, "pause"):
            return
        one = await flo()
        run = self.command(rig, "succeeds slowly", 1)
        pause, resume = self.about(rig, "pause", run, 2), self.about(rig, "resume", run, 3)
        one.do(run)
        await until(lambda: rig.effects(run.key) == 1, "the run starts")
        one.do(pause)
        assert await one.end_of(pause) == "succeeded"
        state = await one.engine.ask(run, timeout_s=rig.timeout_s)
        assert state.status in (Status.ACCEPTED, Status.RUNNING)
        one.do(resume)
        assert await one.end_of(run) == "succeeded"

    async def test_restart_runs_a_failed_run_from_its_checkpoint(self, rig: Rig, flo: Any) -> None:
        if self._lacks(rig, "restart"):
            return
        one = await flo()
        run = self.command(rig, "fails once", 1, attempts_max=1)
        restart = self.about(rig, "restart", run, 2)
        one.do(run)
        assert await one.end_of(run) == "failed"
        one.do(restart)
        assert await one.end_of(restart) == "succeeded"
        assert (await one.engine.ask(run, timeout_s=rig.timeout_s)).status is Status.SUCCEEDED
        assert rig.effects(run.key) == 1

    # What an adapter may never do.

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
