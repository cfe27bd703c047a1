"""What became of commands: the outbox, expected effects, silence, fencing and kills.

Everything decided here becomes an event of the group under way, and changes what is open by that event alone.
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
from flo.flow.open_work import OpenCommand, OpenIteration, OpenWork

__all__ = ["OpenCommand", "OpenIteration", "Reconciler"]

_decode_json = msgspec.json.Decoder().decode


class Reconciler(OpenWork):
    """Owned by the deciding thread. `submit` and `emit` are called for commands whose group is durable, not here."""

    def __init__(self, action: Callable[[str, str, int], CompiledAction | None]) -> None:
        super().__init__()
        self._action = action  # (loop, rule, n) -> the action under the bundle in force
        self.told_of_dead: Callable[[DeadLetter, Group], None] = _nobody
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
                    self.dead(event, group)
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
        self._apply_parked(event)
        self.dead(event, group)
        self._close(group, waiting.command, "parked", event.at_ns, event.detail)

    # -- time ---------------------------------------------------------------------------------------------

    def watch(self, waiting: OpenCommand) -> None:
        assert waiting.deadline_ns is not None
        heapq.heappush(self._timers, (waiting.deadline_ns, waiting.command.key))

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

    def give_up(self, command_key: str, detail: str, group: Group) -> None:
        """A person has decided of a command of unknown fate: it is not waited for any more."""
        waiting = self.commands.get(command_key)
        if waiting is not None and waiting.state == "parked":
            self._end(group, command_key, "failed", group.decided_ns, detail=detail)

    def _add(self, group: Group, event: Event) -> None:
        group.events.append(event)
        self.apply(event)

    def dead(self, letter: DeadLetter, group: Group) -> None:
        """Record a dead letter, and let whoever watches them act within the same group."""
        group.events.append(letter)
        self.told_of_dead(letter, group)

    def _dead_letter(self, group: Group, command: Command, reason: str, detail: str) -> None:
        letter = DeadLetter(
            loop=command.loop,
            reason=reason,
            detail=detail,
            at_ns=group.decided_ns,
            command_key=command.key,
            decision_id=command.decision_id,
            key=command.loop_key,
            command=command,
        )
        self.dead(letter, group)

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
        self._close(group, command, iteration.worst, at_ns, detail)

    def _close(self, group: Group, command: Command, status: str, at_ns: int, detail: str) -> None:
        """The iteration of this command is over."""
        closed = IterationClosed(
            loop=command.loop,
            key=command.loop_key,
            seq=command.seq,
            status=status,
            at_ns=at_ns,
            detail=detail,
        )
        self._add(group, closed)


def _nobody(letter: DeadLetter, group: Group) -> None:
    """Nobody watches."""
