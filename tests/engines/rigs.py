"""What an engine's own tests give the conformance suite: a rig, and a FLO in front of it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from types import MappingProxyType
from typing import Any, ClassVar, Protocol

from tests.engines.tcp_proxy import TcpProxy
from tests.flow.dispatching import PLACE, MemoryLedger

from flo.core.command import Command
from flo.core.loop.definition import EngineDefinition
from flo.core.record.event import CommandOutcome, DeadLetter
from flo.flow.dispatch import Dispatcher
from flo.ports.clock import Clock
from flo.ports.engine import Engine
from flo.runtimes.clock import SteadyClock

WAIT_S = 30.0

PARTS = (
    "failure",
    "late answer",
    "lost answer",
    "down",
    "engine restart",
    "unknown job",
    "bad credentials",
    "cancel",
    "cancel in the engine",
    "pause",
    "restart",
)
"""Parts of the suite that not every engine has. All others every adapter passes."""

RUN_VERBS = {"cancel": ("cancel",), "pause": ("pause", "resume"), "restart": ("restart",)}
"""Parts that are verbs about an earlier command's run."""


class Rig(Protocol):
    """A running engine, and what a test may do to it. Commands made here carry the key of their number.

    `lacks`: parts the engine does not have, each with the reason. `untold`: parts the adapter has and this rig's server
    has not, with the reason: nothing is proved of them here. Whatever stands in neither is tested.

    `ends_with_flo`: runs that the end of FLO cuts off are begun anew, so what they did until then may be done twice.
    """

    loop: str  # the first part of every key: one of its own for each test where tests share an engine
    verb: str  # what starts a run: trigger, call, page ...
    timeout_s: float
    ends_with_flo: bool
    lacks: Mapping[str, str]
    untold: Mapping[str, str]

    def engine(self) -> Engine:
        """A new adapter for the same engine, as after a restart of FLO."""
        ...

    def arguments(self, job: str) -> dict[str, Any]:
        """The arguments of a run that: `succeeds`, `fails`, `lasts` (until it is cancelled), `succeeds slowly` (after a
        pause could reach it), `fails once`, `answers late`, `is unknown`.
        """
        ...

    def about(self, verb: str, run: Command) -> dict[str, Any]:
        """The arguments of a command that does `verb` to the run of an earlier command."""
        ...

    def effects(self, key: str) -> int:
        """How often the engine itself says it did what this key was to do."""
        ...

    async def lose_next_answer(self) -> None:
        """Cut the connection after the next request has taken effect."""
        ...

    async def slow_down(self) -> bool:
        """Hold the next answer back for longer than the timeout. False: the job `answers late` does so by itself, every
        time it is sent.
        """
        ...

    async def take_down(self) -> None:
        """Make the engine unreachable."""
        ...

    async def bring_up(self) -> None: ...

    async def restart_engine(self) -> None:
        """End the engine and start it again on what it has on disk."""
        ...

    async def cancel_in_engine(self, run: Command) -> None:
        """Cancel a run as a person would, in the engine's own way."""
        ...

    def with_bad_credentials(self) -> Engine:
        """An adapter the engine must refuse."""
        ...


class PlainRig:
    """What most rigs have in common."""

    loop: str = "loop"
    timeout_s: float = 1.0
    ends_with_flo: bool = False
    lacks: Mapping[str, str] = MappingProxyType({})
    untold: Mapping[str, str] = MappingProxyType({})

    def about(self, verb: str, run: Command) -> dict[str, Any]:
        return {"run": run.key}

    async def slow_down(self) -> bool:
        return False

    async def lose_next_answer(self) -> None:
        raise NotImplementedError

    async def take_down(self) -> None:
        raise NotImplementedError

    async def bring_up(self) -> None:
        raise NotImplementedError

    async def restart_engine(self) -> None:
        raise NotImplementedError

    async def cancel_in_engine(self, run: Command) -> None:
        raise NotImplementedError

    def with_bad_credentials(self) -> Engine:
        raise NotImplementedError


class ProxiedRig(PlainRig):
    """An engine behind a `TcpProxy`: FLO knows the proxy's port alone, and effects are counted behind it.

    `effect`: what stands in the request that has the effect, where an adapter makes several.
    """

    timeout_s: float = 2.0
    effect: bytes = b""

    def __init__(self, target: int) -> None:
        self.proxy = TcpProxy(target)

    async def lose_next_answer(self) -> None:
        self.proxy.cut_next_answer(self.effect)

    async def slow_down(self) -> bool:
        self.proxy.hold_next_answer(3 * self.timeout_s, self.effect)
        return True

    async def take_down(self) -> None:
        await self.proxy.refuse()

    async def bring_up(self) -> None:
        await self.proxy.listen()


class HurriedClock:
    """A steady clock on which a minute lasts a second: what FLO waits for comes sooner, the engine is as fast as it is."""

    FACTOR: ClassVar[int] = 60

    def __init__(self) -> None:
        self._clock = SteadyClock()
        self._start_ns = self._clock.now_ns()

    def now_ns(self) -> int:
        return self._start_ns + (self._clock.now_ns() - self._start_ns) * self.FACTOR

    async def sleep_until_ns(self, when_ns: int) -> None:
        await self._clock.sleep_until_ns(self._start_ns + -(-(when_ns - self._start_ns) // self.FACTOR))


class Flo:
    """A dispatcher with a ledger in memory; on the real clock unless told otherwise."""

    def __init__(
        self, rig: Rig | PlainRig, engine: Engine, ledger: MemoryLedger, clock: Clock | None = None
    ) -> None:
        self.engine = engine
        self.ledger = ledger
        self.clock = clock or SteadyClock()
        definition = EngineDefinition(
            name="engine",
            kind=engine.kind,
            place=PLACE,
            # On a hurried clock the dispatcher would cut off an engine that is merely as fast as ever.
            timeout_s=rig.timeout_s if clock is None else 60 * rig.timeout_s,
            backoff_s=0.02 if clock is None else 1.0,
            backoff_s_max=0.1 if clock is None else 10.0,
        )
        self.dispatcher = Dispatcher({"engine": (engine, definition)}, self.clock, ledger.record, seed=7)

    def do(self, *commands: Command) -> None:
        for command in commands:
            self.dispatcher.submit(command)

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
    try:
        async with asyncio.timeout(WAIT_S):
            while not condition():
                await asyncio.sleep(0.01)
    except TimeoutError:
        raise AssertionError(f"{what} did not come within {WAIT_S:g} s") from None


@asynccontextmanager
async def started(engine: Engine) -> AsyncIterator[Engine]:
    """An engine without a dispatcher."""
    await engine.start(lambda key, answer: None)
    try:
        yield engine
    finally:
        await engine.close()


_NOT_A_RUN = "a page is over when it is taken: nothing runs that could be held or go on"

PAGES_LACK: Mapping[str, str] = MappingProxyType(
    {
        "failure": "a page is taken or refused: nothing runs that could fail",
        "unknown job": "a page names no job that could be unknown",
        "pause": _NOT_A_RUN,
        "restart": _NOT_A_RUN,
        "cancel in the engine": _NOT_A_RUN,
    }
)
"""What engines that page people do not have."""

PAGES_ARE_ENDED_ELSEWHERE: Mapping[str, str] = MappingProxyType(
    {"cancel": "the page's own command has ended; that cancel ends the incident is a test of its own"}
)
