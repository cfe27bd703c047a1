"""`flo.data.recomputed`: the same dataset version computed again by others, from the same input versions.

The same is what says so: outputs and all inputs carry versions, and they are equal. A job's own retry or re-run is not
the work of others; a run that is part of another reports the same work twice; changed inputs are new work.
"""

from __future__ import annotations

from typing import Any

from flo.core.finding import Finding
from flo.core.signal import text_from_time
from flo.flow.observe.computations import Computations, Computed
from flo.flow.watchdogs.board import Board
from flo.flow.watchdogs.watchdog import Watchdog

TYPE = "flo.data.recomputed"

FADE_EVERY_NS = 60_000_000_000


class RecomputedWatchdog(Watchdog):
    """One finding for each dataset."""

    type = TYPE

    def __init__(self, computations: Computations) -> None:
        super().__init__()
        self._computations = computations
        self._faded_ns = 0

    def check(self, now_ns: int, board: Board) -> None:
        changed, self._computations.changed = self._computations.changed, {}
        if now_ns - self._faded_ns >= FADE_EVERY_NS:
            self._faded_ns = now_ns
            changed = dict.fromkeys([*changed, *self._computations.datasets()])
        for dataset in changed:
            repeated = self._computations.repeated(dataset, now_ns - self.limits["within"])
            if repeated and dataset not in self.excepted:
                board.report(_finding(dataset, repeated, now_ns))
            else:
                board.clear(TYPE, dataset)


def _finding(dataset: str, repeated: list[Computed], now_ns: int) -> Finding:
    by: dict[str, dict[str, Any]] = {}
    again, wasted_ns, unknown = 0, 0, 0
    for computed in repeated:
        runs = sorted(computed.by_job.values(), key=lambda done: done.ended_ns)
        for place, done in enumerate(runs):
            line = by.setdefault(done.job, {"computations": 0, "seconds": 0.0, "example": done.run_id})
            line["computations"] += 1
            line["seconds"] = round(line["seconds"] + (done.took_ns or 0) / 1e9, 3)
            if place:
                again += 1
                wasted_ns += done.took_ns or 0
                unknown += done.took_ns is None
    newest = max(repeated, key=lambda computed: computed.last_ns)
    wasted_s = round(wasted_ns / 1e9, 3)
    who = ", ".join(sorted(by))
    versions = "one version" if len(repeated) == 1 else f"{len(repeated)} versions"
    return Finding(
        type=TYPE,
        subject=dataset,
        detail=f"{versions} of {dataset} computed again {again} times from the same inputs by {who}: "
        f"{wasted_s} s spent on what was there already",
        at_ns=now_ns,
        figures={
            "versions": len(repeated),
            "recomputations": again,
            "wasted_s": wasted_s,
            "unknown_durations": unknown,
            "by": by,
            "newest_version": newest.version,
            "newest_inputs": dict(newest.inputs),
            "last": text_from_time(newest.last_ns),
        },
    )
