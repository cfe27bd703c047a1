"""Orders to a shard: what people, and drains, have it do besides deciding what comes. Each commits with its group.

They travel to worker processes as they are, so they are plain values.
"""

from __future__ import annotations

from typing import Any

import msgspec

from flo.core.command import Command
from flo.core.record import CommandReissued, DeadLetter, DeadLetterDropped, Group
from flo.flow import pipelines
from flo.flow.redecide import Letter, Parked, drain, replay
from flo.flow.step import Step


class Pause(msgspec.Struct, array_like=True, tag="pause"):
    """Pause a pipeline. `tell`: its engines too; so one of all shards is ordered. Answers whether it was not paused."""

    pipeline: str
    by: str
    reason: str
    incident: int
    tell: bool


class Resume(msgspec.Struct, array_like=True, tag="resume"):
    """Begin to decide what is parked. Answers whether the pipeline was paused."""

    pipeline: str
    note: str
    by: str
    tell: bool


class Drain(msgspec.Struct, array_like=True, tag="drain"):
    """Decide these parked signals. Answers how many were."""

    parked: Parked


class Replay(msgspec.Struct, array_like=True, tag="replay"):
    """Replay these dead letters. Answers (how it left or `kept`, why) for each."""

    letters: list[Letter]
    note: str


class Drop(msgspec.Struct, array_like=True, tag="drop"):
    """Let these dead letters leave: (id, loop, key of its command where it is one of unknown fate). See `leaving`."""

    letters: list[tuple[str, str, str | None]]
    note: str
    how: str = "dropped"


class Reissue(msgspec.Struct, array_like=True, tag="reissue"):
    """Send these commands again: (dead letter, command, whether its engine is asked first). Answers as `Replay`."""

    commands: list[tuple[str, Command, bool]]
    note: str


Order = Pause | Resume | Drain | Replay | Drop | Reissue


def leaving(dead_letter_id: str, letter: DeadLetter) -> tuple[str, str, str | None]:
    """As `Drop` names it."""
    return dead_letter_id, letter.loop, letter.command_key if letter.reason == "unknown-fate" else None


def carry_out(order: Order, step: Step, group: Group) -> Any:
    """Within the group under way, on the deciding thread."""
    work = step.reconciler
    match order:
        case Pause():
            return pipelines.pause(
                work,
                group,
                order.pipeline,
                by=order.by,
                reason=order.reason,
                incident=order.incident,
                tell=order.tell,
            )
        case Resume():
            return pipelines.resume(
                work, group, order.pipeline, note=order.note, by=order.by, tell=order.tell
            )
        case Drain():
            return drain(step, order.parked, group)
        case Replay():
            return replay(step, order.letters, order.note, group)
        case Drop():
            return _drop(order, step, group)
        case Reissue():
            return [_reissue(order.note, *each, step, group) for each in order.commands]


def _drop(order: Drop, step: Step, group: Group) -> int:
    for dead_letter_id, loop, command_key in order.letters:
        _leave(group, dead_letter_id, order.how, order.note, loop)
        if command_key is not None:
            step.reconciler.give_up(command_key, f"{order.how}: {order.note}", group)
    return len(order.letters)


def _reissue(
    note: str, dead_letter_id: str, command: Command, ask: bool, step: Step, group: Group
) -> tuple[str, str]:
    open_command = step.reconciler.commands.get(command.key)
    if open_command is not None and open_command.state != "parked":
        return "kept", "its command is under way again already"
    now = group.decided_ns
    again = msgspec.structs.replace(
        command, issued_ns=now, deadline_ns=now + max(command.deadline_ns - command.issued_ns, 0)
    )
    event = CommandReissued(command=again, dead_letter_id=dead_letter_id, note=note, at_ns=now, ask=ask)
    group.events.append(event)
    step.reconciler.apply(event)
    _leave(group, dead_letter_id, "replayed", note, command.loop)
    return "replayed", note


def _leave(group: Group, dead_letter_id: str, how: str, note: str, loop: str) -> None:
    group.events.append(
        DeadLetterDropped(
            dead_letter_id=dead_letter_id, how=how, note=note, at_ns=group.decided_ns, loop=loop
        )
    )
