"""An engine for tests: it records what it is sent and behaves as it is told. It ships with FLO, for users'
tests too.

As HONOURS_KEY it honours keys for real: a key that was done is not done again, whatever became of the answer.
As ASKABLE or NEITHER it does again whatever it is sent again. `effects` lists what was truly done, so a test
counts effects, not requests.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, ClassVar

from flo.core.bundle.settings import Setting
from flo.core.command import Command
from flo.core.loop.definition import VERBS
from flo.ports.clock import Clock
from flo.ports.engine import (
    Answer,
    EngineRejected,
    EngineUnavailable,
    FateUnknown,
    KeyClass,
    OutcomeSink,
    RunFailed,
    Status,
)

NS_PER_S = 1_000_000_000

KEY_CLASSES = {
    "honours": KeyClass.HONOURS_KEY,
    "askable": KeyClass.ASKABLE,
    "neither": KeyClass.NEITHER,
}

RUN_VERBS = frozenset({"cancel", "pause", "resume", "restart"})
"""Verbs about an earlier command's run; `with: {run: KEY}` names it."""


@dataclass(frozen=True, slots=True)
class Behaviour:
    """What the stub does with one send. Make one with the functions below."""

    answer: Answer | None = None  # None: no answer comes back
    error: Callable[[], Exception] | None = None
    done: bool = True  # whether it takes effect
    latency_ns: int = 0
    run_ns: int = 0  # accepted: how long the run then takes
    end: Answer = field(default_factory=lambda: Answer(status=Status.SUCCEEDED))


def answers(
    status: Status = Status.SUCCEEDED, *, result: Any = None, detail: str = "", latency_ns: int = 0
) -> Behaviour:
    return Behaviour(Answer(status=status, result=result, detail=detail), latency_ns=latency_ns)


def accepts(run_ns: int, end: Answer | None = None, *, latency_ns: int = 0) -> Behaviour:
    """Takes the command; its run ends `run_ns` later."""
    end = end or Answer(status=Status.SUCCEEDED)
    return Behaviour(Answer(status=Status.ACCEPTED), latency_ns=latency_ns, run_ns=run_ns, end=end)


def rejects(message: str = "bad arguments") -> Behaviour:
    return Behaviour(error=lambda: EngineRejected(message), done=False)


def unavailable(retry_after_s: float | None = None, *, reached: bool = True) -> Behaviour:
    return Behaviour(
        error=lambda: EngineUnavailable("the stub is unavailable", retry_after_s, reached=reached), done=False
    )


def run_fails(message: str = "the run failed") -> Behaviour:
    return Behaviour(error=lambda: RunFailed(message), done=False)


def loses_answer(*, done: bool = True) -> Behaviour:
    """The request goes out, the answer never comes back. `done`: whether it took effect."""
    return Behaviour(error=lambda: FateUnknown("the connection was cut after the request"), done=done)


def hangs() -> Behaviour:
    """Takes effect and never answers, not even within the timeout: what a broken adapter does."""
    return Behaviour(latency_ns=1 << 62)


@dataclass(slots=True)
class Run:
    """One key's run in the stub."""

    answer: Answer
    ends_ns: int
    paused: bool = False


class StubEngine:
    """See the module. `script` queues behaviours for the next sends; `plan` decides for those the queue does
    not cover.

    What was done outlives `close`, as an engine outlives FLO: start it again to play a restart.
    """

    kind: ClassVar[str] = "stub"
    verbs: ClassVar[frozenset[str]] = frozenset(VERBS) - {"emit"}
    settings: ClassVar[Mapping[str, Setting]] = MappingProxyType(
        {
            "key_class": Setting(
                "choice", default="honours", choices=tuple(KEY_CLASSES), help="what it promises of keys"
            ),
            "latency": Setting("duration", default="0", help="how long each answer takes"),
            "answer": Setting(
                "choice",
                default="succeeded",
                choices=("succeeded", "failed", "cancelled"),
                help="how each run ends",
            ),
            "run": Setting(
                "duration", default="0", help="above 0: commands are accepted first and end this much later"
            ),
        }
    )

    def __init__(
        self,
        clock: Clock,
        *,
        key_class: KeyClass = KeyClass.HONOURS_KEY,
        plan: Callable[[Command, int], Behaviour] | None = None,
    ) -> None:
        self._clock = clock
        self._key_class = key_class
        self._script: deque[Behaviour] = deque()
        self.plan = plan or (lambda command, nth: answers())
        self.down = False  # True: every request is refused
        self.sends: list[Command] = []
        self.send_times_ns: list[int] = []
        self.asks: list[str] = []
        self.effects: list[str] = []
        self.runs: dict[str, Run] = {}
        self.outcome: OutcomeSink | None = None
        self.in_flight = 0
        self.in_flight_max = 0

    @property
    def key_class(self) -> KeyClass:
        return self._key_class

    def script(self, *behaviours: Behaviour) -> None:
        """The next sends behave like this, in this order."""
        self._script.extend(behaviours)

    async def start(self, outcome: OutcomeSink) -> None:
        self.outcome = outcome

    async def send(self, command: Command, *, timeout_s: float) -> Answer:
        self.sends.append(command)
        self.send_times_ns.append(self._clock.now_ns())
        if self.down:
            raise EngineUnavailable("connection refused", reached=False)
        behaviour = self._script.popleft() if self._script else self.plan(command, len(self.sends))
        self.in_flight += 1
        self.in_flight_max = max(self.in_flight_max, self.in_flight)
        try:
            return await self._behave(command, behaviour, timeout_s)
        finally:
            self.in_flight -= 1

    async def _behave(self, command: Command, behaviour: Behaviour, timeout_s: float) -> Answer:
        hangs = behaviour.latency_ns >= 1 << 62
        if hangs or behaviour.latency_ns <= round(timeout_s * NS_PER_S):
            wait_ns = behaviour.latency_ns
        else:
            wait_ns = round(timeout_s * NS_PER_S)
        known = self.runs.get(command.key)
        repeated = known is not None and self._key_class is KeyClass.HONOURS_KEY
        if behaviour.done and not repeated:
            self._do(command, behaviour)
        if wait_ns:
            await self._clock.sleep_until_ns(self._clock.now_ns() + wait_ns)
        if not hangs and wait_ns < behaviour.latency_ns:
            raise FateUnknown(f"no answer within {timeout_s} s")
        if behaviour.error is not None:
            raise behaviour.error()
        return self._state(command.key)

    def _do(self, command: Command, behaviour: Behaviour) -> None:
        if command.verb in RUN_VERBS and "run" in command.arguments:
            self._act_on_run(command.verb, str(command.arguments["run"]))
        answer = behaviour.answer or Answer(status=Status.SUCCEEDED)
        end = behaviour.end if answer.status is Status.ACCEPTED else answer
        self.effects.append(command.key)
        self.runs[command.key] = Run(end, self._clock.now_ns() + behaviour.run_ns)

    def _act_on_run(self, verb: str, key: str) -> None:
        run = self.runs.get(key)
        if run is None:
            raise EngineRejected(f'no run has the key "{key}"')
        now_ns = self._clock.now_ns()
        if verb == "cancel" and now_ns < run.ends_ns:
            run.answer, run.ends_ns = Answer(status=Status.CANCELLED), now_ns
        elif verb == "restart":
            run.answer, run.ends_ns = Answer(status=Status.SUCCEEDED), now_ns
        elif verb in ("pause", "resume"):
            run.paused = verb == "pause"

    def _state(self, key: str) -> Answer:
        run = self.runs.get(key)
        if run is None:
            return Answer(status=Status.UNKNOWN)
        if run.paused or self._clock.now_ns() < run.ends_ns:
            return Answer(status=Status.ACCEPTED, reference=f"stub:{key}")
        answer = run.answer
        return Answer(
            status=answer.status,
            detail=answer.detail,
            result=answer.result,
            reference=answer.reference or f"stub:{key}",
        )

    async def ask(self, command: Command, *, timeout_s: float) -> Answer:
        self.asks.append(command.key)
        if self.down:
            raise EngineUnavailable("connection refused", reached=False)
        if self._key_class is KeyClass.NEITHER:
            raise EngineRejected("this engine cannot be asked")
        return self._state(command.key)

    def tell(self, key: str, answer: Answer) -> None:
        """Report an end by itself, as an engine with callbacks does."""
        if self.outcome is not None:
            self.outcome(key, answer)

    async def close(self) -> None:
        self.outcome = None


def stub_from_settings(clock: Clock, settings: Mapping[str, Any]) -> StubEngine:
    """The stub as flo.yaml configures it (`kind: stub`)."""
    values = {
        name: settings.get(name, setting.default_value()) for name, setting in StubEngine.settings.items()
    }
    end = Answer(status=Status(values["answer"]))
    if values["run"]:
        behaviour = accepts(values["run"], end, latency_ns=values["latency"])
    else:
        behaviour = Behaviour(end, latency_ns=values["latency"])
    return StubEngine(clock, key_class=KEY_CLASSES[values["key_class"]], plan=lambda command, nth: behaviour)
