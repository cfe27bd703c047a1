"""Something that should not happen to a loop, counted: one finding a loop however often it happens."""

from __future__ import annotations

from abc import abstractmethod
from typing import Any

import msgspec

from flo.core.finding import Finding
from flo.flow.watchdogs.board import Board
from flo.flow.watchdogs.watchdog import Watchdog


class Tally(msgspec.Struct):
    """How often it happened to one loop, by kind, and where last."""

    first_ns: int
    last_ns: int
    counts: dict[str, int] = {}
    key: str = ""
    detail: str = ""
    is_new: bool = True

    @property
    def total(self) -> int:
        return sum(self.counts.values())


class TallyWatchdog(Watchdog):
    """Counts by loop; what did not happen again for `clear` is over."""

    def __init__(self) -> None:
        super().__init__()
        self.tallies: dict[str, Tally] = {}

    def count(self, loop: str, kind: str, at_ns: int, key: str, detail: str) -> None:
        """It happened once more."""
        if not self.is_on or loop not in self.loops:
            return
        tally = self.tallies.get(loop)
        if tally is None:
            tally = self.tallies[loop] = Tally(at_ns, at_ns)
        tally.counts[kind] = tally.counts.get(kind, 0) + 1
        tally.last_ns, tally.key, tally.detail, tally.is_new = max(at_ns, tally.last_ns), key, detail, True

    @abstractmethod
    def finding(self, loop: str, tally: Tally) -> Finding:
        """What is said of a loop with this count."""

    def check(self, now_ns: int, board: Board) -> None:
        clear_ns = self.limits.get("clear", 0)
        for loop, tally in list(self.tallies.items()):
            if loop not in self.loops or now_ns - tally.last_ns > clear_ns:
                del self.tallies[loop]
                board.clear(self.type, loop)
            elif tally.is_new:
                tally.is_new = False
                board.report(self.finding(loop, tally))

    def snapshot(self) -> Any:
        return msgspec.to_builtins(self.tallies)

    def restore(self, snapshot: Any, now_ns: int) -> None:
        self.tallies = msgspec.convert(snapshot, dict[str, Tally])
