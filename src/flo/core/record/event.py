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
    `replay_of`: the dead letter that was replayed and came to this.
    `command`: that of `command_key`, as it was issued last; None in ledgers of a FLO that looked for it in its own block.
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
    replay_of: str | None = None
    command: Command | None = None


class DeadLetterDropped(_Event, frozen=True, kw_only=True, tag="dropped"):
    """A dead letter that left: dropped by a person with a reason, replayed, overtaken by a corrected signal that was
    sent under the same id, or expired: older than dead letters are kept.
    """

    dead_letter_id: str
    how: str  # dropped | replayed | overtaken | expired
    note: str
    at_ns: int
    loop: str = ""


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


class CommandReissued(_Event, frozen=True, kw_only=True, tag="reissued"):
    """A person sent a command again, under its own key, whatever had become of it: it is owed from this block on.

    `ask`: its engine is asked by the key before anything is sent.
    """

    command: Command
    dead_letter_id: str
    note: str
    at_ns: int
    ask: bool = False


class PipelinePaused(_Event, frozen=True, kw_only=True, tag="paused"):
    """From here on signals for these loops are parked. `incident` counts a pipeline's pauses: all shards number them
    alike, so what is commanded because of one has one key.
    """

    pipeline: str
    by: str  # breaker | operator
    reason: str
    at_ns: int
    incident: int
    loops: list[str]
    loop: str | None = None  # the one whose dead letters opened the breaker


class SignalsParked(_Event, frozen=True, kw_only=True, tag="parked"):
    """Signals of this block that one loop of a paused pipeline has not decided: runs of rows, as (first, how many)."""

    pipeline: str
    loop: str
    block: int
    rows: list[tuple[int, int]]


class PipelineResumed(_Event, frozen=True, kw_only=True, tag="resumed"):
    """What was parked is decided from here on, oldest first; what comes meanwhile is parked behind it."""

    pipeline: str
    note: str  # what failed, what was changed
    by: str
    at_ns: int


class SignalsReplayed(_Event, frozen=True, kw_only=True, tag="replayed"):
    """Signals that stand in this block a second time, decided here: runs of rows, as (first row here, how many, block
    they were taken in, first row there, when that was).

    Of a drain: `pipeline`, how many of each loop were `decided`, and where it goes on: everything parked before
    (`block`, `row`) has been decided.
    """

    rows: list[tuple[int, int, int, int, int]]
    pipeline: str = ""
    decided: dict[str, int] = {}
    block: int = 0
    row: int = 0


class PipelineRunning(_Event, frozen=True, kw_only=True, tag="running"):
    """Nothing is parked any more: the pipeline's signals are decided as they come."""

    pipeline: str
    at_ns: int
    decided: int


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
    | CommandReissued
    | PipelinePaused
    | SignalsParked
    | PipelineResumed
    | SignalsReplayed
    | PipelineRunning
)
