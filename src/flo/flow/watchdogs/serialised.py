"""`flo.edge.serialised`: branches that should run in parallel and run one after another.

Only branches that are *declared* parallel (one loop feeds both; jobs with the same declared parents) or that *used to
overlap* are looked at: services that one caller asks in turn are its way of working, not a fault. Where data may get
from one branch to the other, they have to wait for each other, and nothing is said.
"""

from __future__ import annotations

from statistics import median

import msgspec

from flo.core.finding import Finding
from flo.flow.observe.comparison import Comparison
from flo.flow.observe.graph import Graph
from flo.flow.observe.siblings import Branch, Family, Siblings, overlap_ns, pairs
from flo.flow.watchdogs.board import Board
from flo.flow.watchdogs.watchdog import Watchdog

TYPE = "flo.edge.serialised"

SERIAL_SHARE_MIN = 0.9
"""Of the traces, without overlap. One trace in ten may differ: a retry, a cold start."""

LOST_SHARE_MIN = 0.05
"""Of the time from the first branch's start to the last one's end: less is not worth a word."""


class _Serial(msgspec.Struct, frozen=True):
    one: str
    other: str
    traces: int
    serial: int
    overlap_share: float


class SerialisedWatchdog(Watchdog):
    """Looks at parents with new traces only.

    `traces` bounds chance; below `lost`, two short branches miss each other by the jitter of threads and networks alone.
    """

    type = TYPE

    def __init__(self, siblings: Siblings, comparison: Comparison, graph: Graph) -> None:
        super().__init__()
        self._siblings = siblings
        self._comparison = comparison
        self._graph = graph

    def check(self, now_ns: int, board: Board) -> None:
        changed, self._siblings.changed = self._siblings.changed, {}
        for parent in changed:
            family = self._siblings.families.get(parent)
            found = (
                None if family is None or self._is_excepted(parent) else self._look(parent, family, now_ns)
            )
            if found is None:
                board.clear(TYPE, parent)
            else:
                board.report(found)

    def _is_excepted(self, parent: str) -> bool:
        loop = self._comparison.loop_of(parent)
        return parent in self.excepted or (loop is not None and loop.name in self.excepted)

    def _look(self, parent: str, family: Family, now_ns: int) -> Finding | None:
        serial = [pair for pair in self._pairs(parent, family) if pair is not None]
        if not serial:
            return None
        names = {name for pair in serial for name in (pair.one, pair.other)}
        traces, lost, spans = 0, [], []
        for sighting in family.recent:
            branches = [branch for branch in sighting.branches if branch.node in names]
            if len(branches) < 2:
                continue
            traces += 1
            busy = [branch.busy_ns for branch in branches]
            began = min(branch.times[0][0] for branch in branches)
            ended = max(end for branch in branches for _, end in branch.times)
            spans.append(ended - began)
            lost.append(max(0, ended - began - max(busy)))
        lost_ns, whole_ns = median(lost), median(spans)
        if lost_ns < self.limits["lost"] or lost_ns < LOST_SHARE_MIN * whole_ns:
            return None
        loop = self._comparison.loop_of(parent)
        overlap = sum(pair.overlap_share for pair in serial) / len(serial)
        lost_ms, whole_ms = round(lost_ns / 1e6, 1), round(whole_ns / 1e6, 1)
        return Finding(
            type=TYPE,
            subject=parent,
            detail=f"under {parent}, {', '.join(sorted(names))} run one after another in "
            f"{min(pair.serial for pair in serial)} of the last {traces} traces: {lost_ms} ms of {whole_ms} ms are lost",
            at_ns=now_ns,
            loop=None if loop is None else loop.name,
            figures={
                "branches": sorted(names),
                "traces": traces,
                "overlap_share": round(overlap, 3),
                "lost_ms_per_trace": lost_ms,
                "whole_ms_per_trace": whole_ms,
                "declared_parallel": self._is_declared(parent, family, serial),
                "example": family.recent[-1].example,
            },
        )

    def _pairs(self, parent: str, family: Family) -> list[_Serial | None]:
        by_pair: dict[tuple[str, str], list[tuple[Branch, Branch]]] = {}
        for sighting in family.recent:
            for one, other in pairs(sighting.branches):
                by_pair.setdefault((one.node, other.node), []).append((one, other))
        return [self._pair(parent, family, pair, seen) for pair, seen in by_pair.items()]

    def _pair(
        self, parent: str, family: Family, pair: tuple[str, str], seen: list[tuple[Branch, Branch]]
    ) -> _Serial | None:
        if len(seen) < self.limits["traces"]:
            return None
        if not (pair in family.were_parallel or self._declared_parallel(parent, family, pair)):
            return None
        shares = [overlap_ns(one, other) / max(1, min(one.busy_ns, other.busy_ns)) for one, other in seen]
        serial = sum(share == 0.0 for share in shares)
        if serial < SERIAL_SHARE_MIN * len(seen) or self._must_wait(parent, pair):
            return None
        return _Serial(*pair, len(seen), serial, sum(shares) / len(shares))

    def _declared_parallel(self, parent: str, family: Family, pair: tuple[str, str]) -> bool:
        """Fed by the same loop, or with the same declared parents."""
        if pair in family.declared:
            return True
        loop = self._comparison.loop_of(parent)
        if loop is None:
            return False
        branches = [self._comparison.loop_of(node) for node in pair]
        return all(branch is not None and branch.name in loop.feeds for branch in branches)

    def _is_declared(self, parent: str, family: Family, serial: list[_Serial]) -> bool:
        return all(self._declared_parallel(parent, family, (pair.one, pair.other)) for pair in serial)

    def _must_wait(self, parent: str, pair: tuple[str, str]) -> bool:
        """Whether data gets from one to the other, by what is seen or declared, other than through their parent."""
        shorts = self._graph.shorts
        one, other, above = (shorts.get(node, node.partition(":")[2]) for node in (*pair, parent))
        follows = self._comparison.declared.follows
        return self._graph.leads_to(one, other, follows, above) or self._graph.leads_to(
            other, one, follows, above
        )
