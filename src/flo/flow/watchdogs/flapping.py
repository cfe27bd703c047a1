"""`flo.loop.flapping`: commands that undo each other on one target, or a key's result that alternates again and again.

Both are counted strictly: A, B, A, B. Eight reversals of a command within half an hour are somebody fighting somebody.
A result is only what a signal made of it, so it takes forty turns in a row, which chance (a coin for each) does once in
five hundred thousand million tries.
"""

from __future__ import annotations

from collections import OrderedDict
from typing import Any

import msgspec

from flo.core.command import Command
from flo.core.finding import Finding
from flo.core.loop.program import EXIT_ERROR
from flo.flow.digest import LoopDigest
from flo.flow.watchdogs.board import Board
from flo.flow.watchdogs.watchdog import Watchdog

NS_PER_S = 1_000_000_000

REMEMBERED_MAX = 50_000
"""Targets, and keys, of all loops together; the one met longest ago leaves. About 10 MB."""

OPPOSITES = frozenset(
    [
        frozenset(("pause", "resume")),
        frozenset(("trigger", "cancel")),
        frozenset(("rerun", "cancel")),
        frozenset(("restart", "cancel")),
    ]
)
REPLACING = frozenset(("swap", "call"))
"""Verbs that undo each other where the arguments go there and back."""


class Turns(msgspec.Struct):
    """A row of strict turns: what came last, what before, how many turns, since when."""

    last: Any
    before: Any = None
    count: int = 0
    since_ns: int = 0
    seq: int = 0

    def take(self, what: Any, at_ns: int) -> bool:
        """Whether this is a turn: back to what was before, away from what came last."""
        turned = bool(what == self.before and what != self.last)
        if turned:
            self.count += 1
        elif what != self.last:
            self.count, self.since_ns = 0, at_ns
        self.before, self.last = self.last, what
        return turned


_Memory = OrderedDict[tuple[str, str], Turns]


class FlappingWatchdog(Watchdog):
    """Fed with every command, and with the decisions that a digest shows."""

    type = "flo.loop.flapping"

    def __init__(self) -> None:
        super().__init__()
        self._targets: _Memory = OrderedDict()
        self._keys: _Memory = OrderedDict()
        self._found: dict[str, Finding] = {}  # by subject: reported by the next check
        self._last_ns: dict[str, int] = {}  # by subject: its last turn

    def commanded(self, command: Command) -> None:
        """A command was issued."""
        verb = command.verb
        if not self.is_on or command.loop not in self.loops:
            return
        if verb not in REPLACING and not any(verb in pair for pair in OPPOSITES):
            return
        target = command.target or f"{command.loop}/{command.loop_key}"
        arguments = hash(_encode(command.arguments)) if verb in REPLACING else 0
        what = (verb, arguments)
        turns = _remembered(self._targets, (command.engine, target), what, command.issued_ns)
        if what == turns.last:  # the same again undoes nothing
            return
        undone = turns.last
        turned = turns.take(what, command.issued_ns)
        if (
            turned
            and _undoes(what, undone)
            and self._is_fast(turns, command.issued_ns, self.limits["commands"])
        ):
            subject = command.target or command.loop
            over_s = (command.issued_ns - turns.since_ns) / NS_PER_S
            self._find(
                subject,
                command.loop,
                f"commands on {target} undo each other: {undone[0]} and {verb}, {turns.count} times in {over_s:.0f} s, "
                f"the last by rule {command.rule} of {command.loop}",
                {"turns": turns.count, "over_s": round(over_s, 1), "target": target},
                command.issued_ns,
            )

    def decided(self, loop: LoopDigest, at_ns: int) -> None:
        """Some decisions of a loop. Only those that follow each other tell of turns."""
        if not self.is_on or loop.loop not in self.loops:
            return
        for _, key, seq, exit in loop.shown:
            turns = _remembered(self._keys, (loop.loop, key), exit, at_ns)
            if seq != turns.seq + 1 or exit == EXIT_ERROR:
                turns.last, turns.before, turns.count = exit, None, 0
            elif exit == turns.last:
                turns.before, turns.count = exit, 0
            elif turns.take(exit, at_ns) and self._is_fast(turns, at_ns, self.limits["results"]):
                over_s = (at_ns - turns.since_ns) / NS_PER_S
                self._find(
                    loop.loop,
                    loop.loop,
                    f"the result of {loop.loop} for key {key!r} turned {turns.count} times in {over_s:.0f} s, "
                    "there and back each time",
                    {"turns": turns.count, "over_s": round(over_s, 1), "key": key},
                    at_ns,
                )
            turns.seq = seq

    def _is_fast(self, turns: Turns, at_ns: int, wanted: int) -> bool:
        """As many turns as wanted, and as close together as so many within the time would be."""
        return (
            turns.count >= wanted and (at_ns - turns.since_ns) * wanted <= self.limits["within"] * turns.count
        )

    def _find(self, subject: str, loop: str, detail: str, figures: dict[str, Any], at_ns: int) -> None:
        if subject not in self.excepted:
            self._last_ns[subject] = at_ns
            self._found[subject] = Finding(
                type=self.type, subject=subject, loop=loop, detail=detail, at_ns=at_ns, figures=figures
            )

    def check(self, now_ns: int, board: Board) -> None:
        found, self._found = self._found, {}
        for finding in found.values():
            board.report(finding)
        for subject, last_ns in list(self._last_ns.items()):
            if now_ns - last_ns > self.limits["within"]:
                del self._last_ns[subject]
                board.clear(self.type, subject)

    def snapshot(self) -> Any:
        """Only what holds: turns are counted anew."""
        return self._last_ns

    def restore(self, snapshot: Any, now_ns: int) -> None:
        self._last_ns = msgspec.convert(snapshot, dict[str, int])


def _remembered(memory: _Memory, of: tuple[str, str], what: Any, at_ns: int) -> Turns:
    turns = memory.pop(of, None)
    if turns is None:
        while len(memory) >= REMEMBERED_MAX:
            memory.popitem(last=False)
        turns = Turns(what, since_ns=at_ns)
    memory[of] = turns
    return turns


def _undoes(what: tuple[str, int], undone: tuple[str, int]) -> bool:
    return frozenset((what[0], undone[0])) in OPPOSITES or (what[0] == undone[0] and what[0] in REPLACING)


_encode = msgspec.json.Encoder(order="sorted").encode
