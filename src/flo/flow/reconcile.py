"""What became of commands: the outbox, open iterations and expected effects, as a fold over the ledger's events.

The same `apply` serves live events and recovery, so after a crash the view is what it was. Only what is open is kept;
what is closed is in the ledger.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import msgspec

from flo.core.command import Command
from flo.core.expression import EvaluationError
from flo.core.loop.compiler import BUILT_IN
from flo.core.loop.program import CompiledAction
from flo.core.record import (
    Answered,
    Attempted,
    CommandIssued,
    CommandOutcome,
    DeadLetter,
    Event,
    Group,
    IterationClosed,
    Killed,
)
from flo.core.signal import Envelope

_decode_json = msgspec.json.Decoder().decode


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


class Reconciler:
    """Owned by the deciding thread. `submit` and `emit` are called for commands whose group is durable, not here."""

    def __init__(self, action: Callable[[str, str, int], CompiledAction | None]) -> None:
        self._action = action  # (loop, rule, n) -> the action under the bundle in force
        self.commands: dict[str, OpenCommand] = {}
        self.iterations: dict[tuple[str, str, int], OpenIteration] = {}
        self.newest_closed: dict[
            tuple[str, str], int
        ] = {}  # only for keys with an older iteration still open
        self._open_seqs: dict[tuple[str, str], set[int]] = {}
        self.expected: dict[str, dict[str, OpenCommand]] = {}  # signal type -> command key -> who waits
        self._timers: list[tuple[int, str]] = []

    # -- deciding -----------------------------------------------------------------------------------------

    def issue(self, command: Command, group: Group) -> None:
        """A decision's command enters the outbox. `review` is done by being recorded: the record is the flag."""
        self._add(group, CommandIssued(command=command))
        if command.engine == BUILT_IN and command.verb == "review":
            self._end(
                group, command.key, "succeeded", group.decided_ns, attempts=1, detail="flagged for review"
            )

    def observe(self, event: Envelope, t: int, group: Group) -> None:
        """A signal of a type some command waits for: the effect it promised, perhaps."""
        waiting = self.expected.get(event.type)
        if not waiting:
            return
        try:
            data = _decode_json(event.data)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            return
        for key, open_command in list(waiting.items()):
            if self._fits(open_command, data):
                command = open_command.command
                detail = f"{event.type} {event.source}#{event.id}"
                self._end(
                    group, key, "stale" if command.stale else "succeeded", group.decided_ns, detail=detail
                )

    def _fits(self, waiting: OpenCommand, data: Any) -> bool:
        command = waiting.command
        action = self._action(command.loop, command.rule, command.n)
        where = None if action is None else action.expect_where
        if where is None:
            return True
        try:
            return where({"data": data, "command": self.bindings(waiting)}) is True
        except EvaluationError:
            return False  # not the signal that was meant: it lacks what the condition reads

    def bindings(self, waiting: OpenCommand) -> dict[str, Any]:
        """`command` as expressions see it: its own fields, and on top what the engine answered."""
        command = waiting.command
        answer = waiting.result if isinstance(waiting.result, Mapping) else {}
        return {
            "key": command.key,
            "verb": command.verb,
            "engine": command.engine,
            "target": command.target,
            "loop": command.loop,
            "loop_key": command.loop_key,
            "seq": command.seq,
            "reference": waiting.reference,
            "arguments": command.arguments,
            **answer,
        }

    # -- what the dispatcher reports ----------------------------------------------------------------------

    def learned(
        self, events: Sequence[Attempted | Answered | CommandOutcome | DeadLetter], group: Group
    ) -> None:
        """What the dispatcher has to say of commands. Of a command that is not open any more, nothing is news."""
        for event in events:
            waiting = self.commands.get(event.command_key or "")
            if isinstance(event, DeadLetter):
                if event.reason == "unknown-fate" and waiting is not None:
                    self._park(waiting, event, group)
                else:
                    group.events.append(event)
            elif waiting is None or waiting.state == "parked":
                continue
            elif isinstance(event, CommandOutcome):
                self._finished(waiting, event, group)
            else:
                self._add(group, event)

    def _finished(self, waiting: OpenCommand, event: CommandOutcome, group: Group) -> None:
        """The engine's word on the end. A success that promised an effect now waits for the effect."""
        command, outcome = waiting.command, event.outcome
        if outcome == "succeeded" and command.expect_signal is not None:
            answered = Answered(
                command_key=command.key,
                at_ns=event.at_ns,
                attempts=event.attempts,
                reference=event.reference,
                result=event.result,
            )
            self._add(group, answered)
            return
        if outcome == "succeeded" and command.stale:
            outcome = "stale"
        self._end(
            group,
            command.key,
            outcome,
            event.at_ns,
            event.attempts,
            event.detail,
            event.reference,
            event.result,
        )

    def _park(self, waiting: OpenCommand, event: DeadLetter, group: Group) -> None:
        """Nobody can say whether it was done: a person decides, and nothing is sent again."""
        self._add(group, event)
        command = waiting.command
        self._add(
            group,
            IterationClosed(
                loop=command.loop,
                key=command.loop_key,
                seq=command.seq,
                status="parked",
                at_ns=event.at_ns,
                detail=event.detail,
            ),
        )

    # -- time ---------------------------------------------------------------------------------------------

    def next_timer_ns(self) -> int | None:
        return self._timers[0][0] if self._timers else None

    def fire(self, now_ns: int, group: Group) -> None:
        """Promises whose time is over: the engine said yes and nothing came of it."""
        while self._timers and self._timers[0][0] <= now_ns:
            _, key = heapq.heappop(self._timers)
            waiting = self.commands.get(key)
            if waiting is None or waiting.deadline_ns is None or waiting.deadline_ns > now_ns:
                continue
            command = waiting.command
            detail = f"reported success, but no {command.expect_signal} came"
            if command.expect_within_ns is not None:
                detail += f" within {command.expect_within_ns / 1e9:g} s"
            self._dead_letter(group, command, "silent", detail)
            bindings = self.bindings(waiting)
            self._end(group, key, "silent", now_ns, detail=detail)
            self._on_silent(command, bindings, group)

    def _on_silent(self, command: Command, bindings: dict[str, Any], group: Group) -> None:
        action = self._action(command.loop, command.rule, command.n)
        for n, (engine, verb, render) in enumerate(action.on_silent if action is not None else ()):
            try:
                arguments = render({"command": bindings})
            except EvaluationError as error:
                self._dead_letter(group, command, "expression", f"on_silent: {error.message}")
                continue
            self.issue(
                msgspec.structs.replace(
                    command,
                    key=f"{command.key}/silent/{n}",
                    n=n,
                    rule=f"{command.rule}/silent",
                    engine=engine,
                    verb=verb,
                    arguments=arguments,
                    target=None,
                    issued_ns=group.decided_ns,
                    deadline_ns=max(command.deadline_ns, group.decided_ns + 300_000_000_000),
                    expect_signal=None,
                    expect_within_ns=None,
                    attempts_max=3,
                ),
                group,
            )

    # -- a person -----------------------------------------------------------------------------------------

    def kill(self, loop: str, key: str | None, note: str, group: Group) -> list[str]:
        """End the open iterations of a loop, or of one key of it; returns the commands no longer to be sent."""
        killed: list[str] = []
        for (of_loop, of_key, _), iteration in list(self.iterations.items()):
            if of_loop != loop or (key is not None and of_key != key):
                continue
            group.events.append(
                Killed(
                    loop=loop,
                    why="operator",
                    detail=note,
                    at_ns=group.decided_ns,
                    key=of_key,
                    root=iteration.root,
                )
            )
            for command_key in list(iteration.commands):
                if command_key in self.commands:
                    killed.append(command_key)
                    self._end(group, command_key, "expired", group.decided_ns, detail=f"killed: {note}")
        return killed

    # -- the fold -----------------------------------------------------------------------------------------

    def apply(self, event: Event) -> None:
        """Bring the view up to one event. Events that concern nothing open change nothing."""
        if isinstance(event, CommandIssued):
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
        elif isinstance(event, DeadLetter) and event.reason == "unknown-fate":
            self._apply_parked(event)

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
            heapq.heappush(self._timers, (waiting.deadline_ns, command.key))
        iteration = self.iterations.get((command.loop, command.loop_key, command.seq))
        if iteration is not None:
            iteration.status = "awaiting"

    def _apply_outcome(self, event: CommandOutcome) -> None:
        waiting = self.commands.pop(event.command_key, None)
        if waiting is None:
            return
        command = waiting.command
        self._forget_expectation(command)
        iteration = self.iterations.get((command.loop, command.loop_key, command.seq))
        if iteration is not None and not event.fenced:
            end = _END_BY_OUTCOME[event.outcome]
            iteration.worst = max(iteration.worst, end, key=_SEVERITY.index)

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

    def _add(self, group: Group, event: Event) -> None:
        group.events.append(event)
        self.apply(event)

    def _dead_letter(self, group: Group, command: Command, reason: str, detail: str) -> None:
        group.events.append(
            DeadLetter(
                loop=command.loop,
                reason=reason,
                detail=detail,
                at_ns=group.decided_ns,
                command_key=command.key,
                decision_id=command.decision_id,
                key=command.loop_key,
            )
        )

    def _end(
        self,
        group: Group,
        key: str,
        outcome: str,
        at_ns: int,
        attempts: int | None = None,
        detail: str = "",
        reference: str | None = None,
        result: Any = None,
    ) -> None:
        """Record a command's end, and the iteration's where it was the last one open."""
        waiting = self.commands[key]
        command = waiting.command
        newest = self.newest_closed.get((command.loop, command.loop_key), 0)
        fenced = command.seq < newest
        self._add(
            group,
            CommandOutcome(
                command_key=key,
                outcome=outcome,
                at_ns=at_ns,
                attempts=waiting.attempts if attempts is None else attempts,
                detail=f"fenced: sequence {newest} has closed since; {detail}" if fenced else detail,
                result=waiting.result if result is None else result,
                reference=reference or waiting.reference,
                fenced=fenced,
            ),
        )
        iteration = self.iterations.get((command.loop, command.loop_key, command.seq))
        if iteration is None or any(other in self.commands for other in iteration.commands):
            return
        self._add(
            group,
            IterationClosed(
                loop=command.loop,
                key=command.loop_key,
                seq=command.seq,
                status=iteration.worst,
                at_ns=at_ns,
                detail=detail,
            ),
        )

    # -- checkpoints --------------------------------------------------------------------------------------

    def snapshot(self) -> bytes:
        """All that is open, for a checkpoint."""
        closed = [(loop, key, seq) for (loop, key), seq in self.newest_closed.items()]
        return _encode((list(self.commands.values()), list(self.iterations.values()), closed))

    def restore(self, snapshot: bytes) -> None:
        commands, iterations, closed = _decode(snapshot)
        self.newest_closed = {(loop, key): seq for loop, key, seq in closed}
        self.iterations = {(item.loop, item.key, item.seq): item for item in iterations}
        for loop, key, seq in self.iterations:
            self._open_seqs.setdefault((loop, key), set()).add(seq)
        for waiting in commands:
            self.commands[waiting.command.key] = waiting
            if waiting.command.expect_signal is not None and waiting.state != "parked":
                self.expected.setdefault(waiting.command.expect_signal, {})[waiting.command.key] = waiting
            if waiting.deadline_ns is not None:
                heapq.heappush(self._timers, (waiting.deadline_ns, waiting.command.key))


_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(
    tuple[list[OpenCommand], list[OpenIteration], list[tuple[str, str, int]]]
).decode
