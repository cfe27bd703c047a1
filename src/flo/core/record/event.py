"""The rare rows of the ledger: everything that is not a signal or a decision.

They are tagged structs in one list per block, in the order they happened. Fields are only ever added, with defaults:
a ledger written by an older FLO stays readable.
"""

from __future__ import annotations

from typing import Any

import msgspec

from flo.core.command import Command


class _Event(msgspec.Struct, frozen=True, kw_only=True, tag_field="t"):
    pass


class CommandIssued(_Event, frozen=True, kw_only=True, tag="command"):
    """The outbox: this command is owed to its engine from this block on."""

    command: Command


class Attempted(_Event, frozen=True, kw_only=True, tag="attempted"):
    """A send is about to happen. Written first, for engines whose unknown fate must not be resent."""

    command_key: str
    attempt: int
    at_ns: int


class Answered(_Event, frozen=True, kw_only=True, tag="answered"):
    """The engine took the command; its end is not known yet."""

    command_key: str
    at_ns: int
    attempts: int
    reference: str | None = None
    result: Any = None


class CommandOutcome(_Event, frozen=True, kw_only=True, tag="outcome"):
    """What became of a command. `fenced`: the answer came from an older sequence and changed nothing."""

    command_key: str
    outcome: str
    at_ns: int
    attempts: int
    detail: str = ""
    result: Any = None
    reference: str | None = None
    fenced: bool = False


class IterationClosed(_Event, frozen=True, kw_only=True, tag="iteration"):
    """The end of an iteration that had commands: `closed`, or one of the other ends of §4."""

    loop: str
    key: str
    seq: int
    status: str
    at_ns: int
    detail: str = ""


class DeadLetter(_Event, frozen=True, kw_only=True, tag="dead"):
    """A signal or a command that could not be processed. Its id is `<shard>-<block>-<n>`, n its place among the events
    of its block.

    `signal` is the row in this block's signals; a command's dead letter has `command_key` instead.
    `applied`: the loop's state already holds the signal, so a replay must not count it again.
    """

    loop: str
    reason: str
    detail: str
    at_ns: int
    signal: int | None = None
    command_key: str | None = None
    decision_id: str | None = None
    key: str | None = None
    applied: bool = False


class DeadLetterDropped(_Event, frozen=True, kw_only=True, tag="dropped"):
    """A dead letter that left: dropped by a person with a reason, or replayed."""

    dead_letter_id: str
    how: str  # dropped | replayed
    note: str
    at_ns: int


class Killed(_Event, frozen=True, kw_only=True, tag="killed"):
    """A context that died: past its deadline, past its hops, or by a person."""

    loop: str
    why: str
    detail: str
    at_ns: int
    signal: int | None = None
    key: str | None = None
    root: str | None = None


class Note(_Event, frozen=True, kw_only=True, tag="note"):
    """What an operator did and why: kill, pause, resume, apply, rollback."""

    action: str
    subject: str
    text: str
    at_ns: int
    by: str = ""


class Applied(_Event, frozen=True, kw_only=True, tag="bundle"):
    """From the next block on, decisions are made under this revision. `files` is the whole bundle, so that the ledger
    alone explains.
    """

    revision: str
    files: dict[str, bytes]
    at_ns: int
    by: str = ""


Event = (
    CommandIssued
    | Attempted
    | Answered
    | CommandOutcome
    | IterationClosed
    | DeadLetter
    | DeadLetterDropped
    | Killed
    | Note
    | Applied
)
