"""`flo.state.stale_read`: a read that returned an earlier iteration's value.

Two kinds are seen: a dependency (with `version`) that answers a key with an older version than it did before, as a replica
does that is not written to any more; and shared state whose other workers have not been heard of for too long.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from flo.core.finding import Finding
from flo.core.loop.definition import BundleDefinition, LoopDefinition
from flo.flow.fetch import FetchStats
from flo.flow.watchdogs.board import Board
from flo.flow.watchdogs.watchdog import Watchdog

NS_PER_S = 1_000_000_000
SHARED = "shared state"
"""The subject of what is found of it: it belongs to all loops that have some."""


class StaleReadWatchdog(Watchdog):
    """Given the fetcher's figures and the age of shared state; says in `check` what it thinks of them."""

    type = "flo.state.stale_read"

    def __init__(self) -> None:
        super().__init__()
        self._has_shared = False
        self._shared_age_s = 0.0
        self._stats: Mapping[str, FetchStats] = {}
        self._counted: dict[str, int] = {}
        self._last_ns: dict[str, int] = {}

    def turn_to(self, definition: BundleDefinition, loops: Mapping[str, LoopDefinition]) -> None:
        super().turn_to(definition, loops)
        self._has_shared = any(state.shared for loop in self.loops.values() for state in loop.state)
        self._counted = {
            name: count for name, count in self._counted.items() if name in definition.dependencies
        }

    def look(self, stats: Mapping[str, FetchStats], shared_age_s: float) -> None:
        """The figures of all dependencies, and how old other workers' shared state may be, now."""
        self._stats, self._shared_age_s = stats, shared_age_s

    def check(self, now_ns: int, board: Board) -> None:
        stats, self._stats = self._stats, {}
        for name, figures in stats.items():
            before = self._counted.get(name, 0)
            self._counted[name] = figures.stale
            if figures.stale > before and name not in self.excepted:
                self._last_ns[name] = now_ns
                detail = (
                    f"{name} answered {figures.stale} times with an older version than before, last for key "
                )
                self._report(
                    board, name, f"{detail}{figures.stale_key!r}", now_ns,
                    {"stale_reads": figures.stale, "fetches": figures.fetches, "last_key": figures.stale_key},
                )  # fmt: skip
        if (
            self._has_shared
            and self._shared_age_s * NS_PER_S > self.limits["shared"]
            and SHARED not in self.excepted
        ):
            self._last_ns[SHARED] = now_ns
            detail = f"a worker's part of shared state was last told {self._shared_age_s:.1f} s ago"
            self._report(board, SHARED, detail, now_ns, {"staleness_s": round(self._shared_age_s, 1)})
        for subject, last_ns in list(self._last_ns.items()):
            clear_ns = 0 if subject == SHARED else self.limits["clear"]
            if now_ns - last_ns > clear_ns:
                del self._last_ns[subject]
                board.clear(self.type, subject)

    def _report(self, board: Board, subject: str, detail: str, now_ns: int, figures: dict[str, Any]) -> None:
        board.report(Finding(type=self.type, subject=subject, detail=detail, at_ns=now_ns, figures=figures))

    def snapshot(self) -> Any:
        return self._last_ns

    def restore(self, snapshot: Any, now_ns: int) -> None:
        self._last_ns = msgspec.convert(snapshot, dict[str, int])
