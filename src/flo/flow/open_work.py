"""What is open: commands whose end is not known, their iterations, the effects they wait for, and paused pipelines.

A fold over the ledger's events: the same `apply` serves live events and recovery, so after a crash the view is what
it was. Only what is open is kept; what is closed is in the ledger.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from flo.core.command import Command
from flo.core.loop.definition import BundleDefinition, PipelineDefinition
from flo.core.record import (
    Answered,
    Attempted,
    CommandIssued,
    CommandOutcome,
    CommandReissued,
    DeadLetter,
    Event,
    IterationClosed,
    PipelinePaused,
)
from flo.flow.breaker import Breaker
from flo.flow.pauses import Pause, Pauses


class OpenCommand(msgspec.Struct):
    """A command whose end is not known. `state`: pending (owed to the engine), attempted, answered, parked."""

    command: Command
    state: str = "pending"
    attempts: int = 0
    reference: str | None = None
    result: Any = None
    deadline_ns: int | None = None  # when silence becomes an outcome: set once the engine has answered


class OpenIteration(msgspec.Struct):
    """An iteration with commands whose ends are not known."""

    loop: str
    key: str
    seq: int
    opened_ns: int
    decision_id: str
    root: str
    commands: list[str]
    status: str = "open"  # open | awaiting
    worst: str = "closed"  # what it will end as, by the commands that ended so far


_END_BY_OUTCOME = {
    "succeeded": "closed",
    "stale": "stale",
    "tolerated": "tolerated",
    "failed": "failed",
    "silent": "silent",
    "expired": "killed",
}
_SEVERITY = ("closed", "tolerated", "stale", "silent", "failed", "killed")


MODELS_MAX = 10_000
"""Models whose swaps are remembered; the one swapped longest ago is forgotten."""


class OpenWork:
    """Owned by the deciding thread; changed by events alone."""

    def __init__(self) -> None:
        self.commands: dict[str, OpenCommand] = {}
        self.iterations: dict[tuple[str, str, int], OpenIteration] = {}
        self.newest_closed: dict[tuple[str, str], int] = {}  # only where an older iteration is still open
        self._open_seqs: dict[tuple[str, str], set[int]] = {}
        self.expected: dict[str, dict[str, OpenCommand]] = {}  # signal type -> command key -> who waits
        self.pauses = Pauses()
        self.breaker = Breaker()
        self.pipelines: Mapping[str, PipelineDefinition] = {}
        self.pipeline_of: dict[str, PipelineDefinition] = {}  # by loop
        self.revision = ""
        self.models: dict[str, int] = {}  # "model:x" -> when the version swapped in was there, at the latest

    def turn_to(self, definition: BundleDefinition) -> None:
        """The pipelines of the bundle in force."""
        self.revision = definition.revision
        self.pipelines = definition.pipelines
        self.pipeline_of = {
            loop: pipeline for pipeline in definition.pipelines.values() for loop in pipeline.loops
        }

    def apply(self, event: Event) -> None:
        """Bring the view up to one event. Events that concern nothing open change nothing."""
        if isinstance(event, CommandIssued | CommandReissued):
            self._apply_issued(event.command)
        elif isinstance(event, Attempted):
            waiting = self.commands.get(event.command_key)
            if waiting is not None:
                waiting.state, waiting.attempts = "attempted", event.attempt
        elif isinstance(event, Answered):
            self._apply_answered(event)
        elif isinstance(event, CommandOutcome):
            self._apply_outcome(event)
        elif isinstance(event, IterationClosed):
            self._apply_closed(event)
        elif isinstance(event, DeadLetter):
            self._apply_dead_letter(event)
        else:
            if isinstance(event, PipelinePaused):
                for loop in event.loops:  # it takes as many dead letters again to pause it again
                    self.breaker.forget(loop)
            self.pauses.apply(event)

    def _apply_issued(self, command: Command) -> None:
        waiting = OpenCommand(command)
        self.commands[command.key] = waiting
        at = (command.loop, command.loop_key, command.seq)
        iteration = self.iterations.get(at)
        if iteration is None:
            iteration = self.iterations[at] = OpenIteration(
                command.loop,
                command.loop_key,
                command.seq,
                command.issued_ns,
                command.decision_id,
                command.root,
                [],
            )
            self._open_seqs.setdefault(at[:2], set()).add(command.seq)
        iteration.commands.append(command.key)
        if command.expect_signal is not None:
            self.expected.setdefault(command.expect_signal, {})[command.key] = waiting

    def _apply_answered(self, event: Answered) -> None:
        waiting = self.commands.get(event.command_key)
        if waiting is None:
            return
        waiting.state, waiting.attempts = "answered", event.attempts
        waiting.reference, waiting.result = event.reference, event.result
        command = waiting.command
        if command.expect_within_ns is not None:
            waiting.deadline_ns = event.at_ns + command.expect_within_ns
            self.watch(waiting)
        iteration = self.iterations.get((command.loop, command.loop_key, command.seq))
        if iteration is not None:
            iteration.status = "awaiting"

    def _apply_outcome(self, event: CommandOutcome) -> None:
        waiting = self.commands.pop(event.command_key, None)
        if waiting is None:
            return
        command = waiting.command
        self._forget_expectation(command)
        if command.verb == "swap" and event.outcome == "succeeded" and command.target is not None:
            self.tell_models({command.target: command.issued_ns})
        iteration = self.iterations.get((command.loop, command.loop_key, command.seq))
        if iteration is not None and not event.fenced:
            end = _END_BY_OUTCOME[event.outcome]
            iteration.worst = max(iteration.worst, end, key=_SEVERITY.index)

    def _apply_dead_letter(self, event: DeadLetter) -> None:
        """Recovery counts for the breaker what was counted live."""
        pipeline = self.pipeline_of.get(event.loop)
        if pipeline is not None and pipeline.breaker is not None:
            self.breaker.count(event.loop, event.at_ns, pipeline.breaker)
        if event.reason == "unknown-fate":
            self._apply_parked(event)

    def tell_models(self, written: Mapping[str, int]) -> bool:
        """Versions of models that are in use now, and when they were made. Whether that was news."""
        news = {name: at_ns for name, at_ns in written.items() if at_ns > self.models.get(name, 0)}
        for name, at_ns in news.items():
            self.models.pop(name, None)
            self.models[name] = at_ns
        while len(self.models) > MODELS_MAX:
            del self.models[next(iter(self.models))]
        return bool(news)

    def _apply_parked(self, event: DeadLetter) -> None:
        waiting = self.commands.get(event.command_key or "")
        if waiting is not None:
            waiting.state, waiting.deadline_ns = "parked", None
            self._forget_expectation(waiting.command)

    def _forget_expectation(self, command: Command) -> None:
        if command.expect_signal is not None:
            waits = self.expected.get(command.expect_signal, {})
            waits.pop(command.key, None)
            if not waits:
                self.expected.pop(command.expect_signal, None)

    def _apply_closed(self, event: IterationClosed) -> None:
        self.iterations.pop((event.loop, event.key, event.seq), None)
        at = (event.loop, event.key)
        still_open = self._open_seqs.get(at, set())
        still_open.discard(event.seq)
        if not still_open:  # nobody older can answer any more: nothing to fence
            self._open_seqs.pop(at, None)
            self.newest_closed.pop(at, None)
        elif event.status != "parked":
            self.newest_closed[at] = max(event.seq, self.newest_closed.get(at, 0))

    # -- checkpoints --------------------------------------------------------------------------------------

    def snapshot(self) -> bytes:
        """All that is open, for a checkpoint."""
        closed = [(loop, key, seq) for (loop, key), seq in self.newest_closed.items()]
        pauses, incidents = self.pauses.snapshot()
        return _encode(
            _Snapshot(
                list(self.commands.values()),
                list(self.iterations.values()),
                closed,
                pauses,
                incidents,
                self.breaker.snapshot(),
                self.models,
            )
        )

    def restore(self, snapshot: bytes) -> None:
        held = _decode(snapshot)
        self.pauses.restore(held.pauses, held.incidents)
        self.breaker.restore(held.dead)
        self.models = held.models
        self.newest_closed = {(loop, key): seq for loop, key, seq in held.closed}
        self.iterations = {(item.loop, item.key, item.seq): item for item in held.iterations}
        for loop, key, seq in self.iterations:
            self._open_seqs.setdefault((loop, key), set()).add(seq)
        for waiting in held.commands:
            self.commands[waiting.command.key] = waiting
            if waiting.command.expect_signal is not None and waiting.state != "parked":
                self.expected.setdefault(waiting.command.expect_signal, {})[waiting.command.key] = waiting
            if waiting.deadline_ns is not None:
                self.watch(waiting)

    def watch(self, waiting: OpenCommand) -> None:
        """It has a `deadline_ns` now. Only who acts on time keeps a list of these: a mere view would never empty it."""


class _Snapshot(msgspec.Struct, array_like=True):
    """What a checkpoint holds of all this. Fields are only ever added, with defaults."""

    commands: list[OpenCommand]
    iterations: list[OpenIteration]
    closed: list[tuple[str, str, int]]
    pauses: list[Pause] = []
    incidents: dict[str, int] = {}
    dead: dict[str, list[int]] = {}
    models: dict[str, int] = {}


_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(_Snapshot).decode
