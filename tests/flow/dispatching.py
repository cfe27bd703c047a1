"""What the dispatch tests share: commands, a ledger in memory, a dispatcher on a simulated clock."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from flo.core.command import Command
from flo.core.errors import StorageUnavailable
from flo.core.loop.definition import EngineDefinition, Place
from flo.core.record.event import Answered, Attempted, CommandOutcome, DeadLetter
from flo.engines.stub import StubEngine
from flo.flow.dispatch import Dispatcher, Pending
from flo.flow.dispatch_record import DispatchEvent
from flo.ports.engine import KeyClass
from flo.runtimes.simulated.clock import SIMULATION_START_NS, SimulatedClock

S = 1_000_000_000
MS = 1_000_000
PLACE = Place("flo.yaml", 1, 1)


def make_command(n: int = 1, *, engine: str = "stub", **changes: Any) -> Command:
    fields: dict[str, Any] = {
        "key": f"loop/card-{n}/1/rule/0",
        "loop": "loop",
        "loop_key": f"card-{n}",
        "seq": 1,
        "rule": "rule",
        "n": 0,
        "engine": engine,
        "verb": "call",
        "arguments": {"n": n},
        "decision_id": f"0-{n}-0-0",
        "root": f"root-{n}",
        "hops": 1,
        "born_ns": SIMULATION_START_NS,
        "deadline_ns": SIMULATION_START_NS + 86_400 * S,
        "issued_ns": SIMULATION_START_NS,
        "revision": "r1",
    }
    return Command(**{**fields, **changes})


class MemoryLedger:
    """Keeps what is recorded, in order. `refuse(n)` lets the next n records fail as a full disk would."""

    def __init__(self) -> None:
        self.events: list[DispatchEvent] = []
        self._refusals = 0

    def refuse(self, times: int) -> None:
        self._refusals = times

    async def record(self, events: Sequence[DispatchEvent]) -> None:
        if self._refusals:
            self._refusals -= 1
            raise StorageUnavailable("no space left")
        self.events.extend(events)

    def outcomes(self) -> dict[str, CommandOutcome]:
        found: dict[str, CommandOutcome] = {}
        for event in self.events:
            if isinstance(event, CommandOutcome):
                assert event.command_key not in found, f"two outcomes of {event.command_key}"
                found[event.command_key] = event
        return found

    def dead(self) -> list[tuple[str | None, str]]:
        return [(event.command_key, event.reason) for event in self.events if isinstance(event, DeadLetter)]

    def attempts(self) -> list[Attempted]:
        return [event for event in self.events if isinstance(event, Attempted)]

    def answered(self) -> list[Answered]:
        return [event for event in self.events if isinstance(event, Answered)]

    def pending(self, commands: Sequence[Command]) -> list[Pending]:
        """What recovery would hand to `resume`: commands without an outcome and without a dead letter."""
        closed = {
            event.command_key for event in self.events if isinstance(event, CommandOutcome | DeadLetter)
        }
        return [
            Pending(
                command=command,
                attempts=max((a.attempt for a in self.attempts() if a.command_key == command.key), default=0),
                answered=any(a.command_key == command.key for a in self.answered()),
            )
            for command in commands
            if command.key not in closed
        ]


class Bench:
    """One stub engine, its dispatcher, its ledger and its time."""

    def __init__(self, key_class: KeyClass = KeyClass.HONOURS_KEY, seed: int = 1, **definition: Any) -> None:
        self.clock = SimulatedClock()
        self.engine = StubEngine(self.clock, key_class=key_class)
        self.definition = EngineDefinition(name="stub", kind="stub", place=PLACE, **definition)
        self.ledger = MemoryLedger()
        self.seed = seed
        self.dispatcher = self.make()

    def make(self) -> Dispatcher:
        return Dispatcher(
            {"stub": (self.engine, self.definition)}, self.clock, self.ledger.record, seed=self.seed
        )

    async def run(self, *commands: Command, for_ns: int = 60 * S) -> None:
        await self.dispatcher.start()
        for command in commands:
            self.dispatcher.submit(command)
        await self.clock.advance(for_ns)
