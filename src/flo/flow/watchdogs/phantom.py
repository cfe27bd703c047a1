"""`flo.edge.phantom`: an edge that is observed and that nobody declared; and a declared one that is never seen."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import msgspec

from flo.core.finding import Finding
from flo.core.signal import text_from_time
from flo.flow.observe.comparison import Comparison, NeverSeen
from flo.flow.observe.graph import PHANTOM, Edge, evidence_of
from flo.flow.watchdogs.board import Board
from flo.flow.watchdogs.watchdog import Watchdog

TYPE = "flo.edge.phantom"

UNSEEN_EVERY_NS = 10_000_000_000
"""Declared edges are few and become missing after a day: ten seconds are soon enough."""


class PhantomWatchdog(Watchdog):
    """A phantom is found with its first sighting and holds until it is declared or has not been seen for a month."""

    type = TYPE

    def __init__(self, comparison: Comparison) -> None:
        super().__init__()
        self._comparison = comparison
        self._pending: dict[tuple[str, str], Edge] = {}
        self._gone: list[Edge] = []
        self._looked_ns: int | None = None
        self._unseen: set[str] = set()

    def looked(self, edges: Iterable[Edge], gone: Iterable[Edge]) -> None:
        """Edges whose status was brought up to date, and phantoms that left the graph."""
        if self.is_on:
            self._pending.update(((edge.source, edge.target), edge) for edge in edges)
            self._gone.extend(gone)

    def check(self, now_ns: int, board: Board) -> None:
        pending, self._pending = self._pending, {}
        gone, self._gone = self._gone, []
        for edge in gone:
            board.clear(TYPE, subject_of(edge.source, edge.target))
        for edge in pending.values():
            if edge.status == PHANTOM and not self._is_excepted(edge):
                board.report(_phantom(edge, now_ns))
            else:
                board.clear(TYPE, subject_of(edge.source, edge.target))
        if self._looked_ns is None or now_ns - self._looked_ns >= UNSEEN_EVERY_NS:
            self._looked_ns = now_ns
            self._check_unseen(now_ns, board)

    def snapshot(self) -> list[tuple[str, str, int]]:
        """Which edges are excused: the ledger has the edges, not what was declared when they were seen."""
        return [(*place, at_ns) for place, at_ns in self._comparison.excused.items()]

    def restore(self, snapshot: Any, now_ns: int) -> None:
        found = msgspec.convert(snapshot, list[tuple[str, str, int]])
        self._comparison.excused = {(source, target): at_ns for source, target, at_ns in found}

    def _is_excepted(self, edge: Edge) -> bool:
        names = (edge.source, edge.target, subject_of(edge.source, edge.target), *edge.loops)
        return not self.excepted.isdisjoint(names)

    def never_seen(self, now_ns: int) -> list[NeverSeen]:
        """Declared edges that should have been seen by now."""
        if not self.is_on:
            return []
        found = self._comparison.never_seen(now_ns, self.limits["after"], self.limits["sightings"])
        return [each for each in found if self.excepted.isdisjoint((each.source, each.target, each.loop))]

    def _check_unseen(self, now_ns: int, board: Board) -> None:
        holding = set()
        for missing in self.never_seen(now_ns):
            finding = _never_seen(missing, now_ns)
            holding.add(finding.subject)
            board.report(finding)
        for subject in self._unseen - holding:
            board.clear(TYPE, subject)
        self._unseen = holding


def subject_of(source: str, target: str) -> str:
    return f"{source} -> {target}"


def _phantom(edge: Edge, now_ns: int) -> Finding:
    evidence = evidence_of(edge)
    count = edge.count
    kinds = ", ".join(evidence)
    times = "once" if count == 1 else f"{count} times"
    first = text_from_time(edge.first_ns)
    return Finding(
        type=TYPE,
        subject=subject_of(edge.source, edge.target),
        detail=f"{edge.source} -> {edge.target} was seen {times} since {first} ({kinds}) and nobody declared it: "
        f"declare it {_way(edge)}, or stop it",
        at_ns=now_ns,
        loop=edge.loops[0] if edge.loops else None,
        figures={
            "kind": "phantom",
            "from": edge.source,
            "to": edge.target,
            "count": count,
            "first_seen": first,
            "last_seen": text_from_time(edge.last_ns),
            "evidence": evidence,
        },
    )


def _way(edge: Edge) -> str:
    """Where a declaration of this edge would stand."""
    if not edge.loops:
        return "among the parents in the lineage of its reader"
    loop = edge.loops[0]
    if edge.source.startswith("loop:") and (len(edge.loops) == 2 or edge.source == edge.target):
        return f"under `feeds` of loop {loop}"
    if edge.source.startswith("dataset:"):
        return f"under `reads` of loop {loop}"
    if edge.target.startswith("dataset:"):
        return f"under `writes` of loop {loop}"
    return f"under `reads` of loop {loop}, as service:NAME"


def _never_seen(missing: NeverSeen, now_ns: int) -> Finding:
    since = text_from_time(missing.since_ns)
    return Finding(
        type=TYPE,
        subject=subject_of(missing.source, missing.target),
        detail=f"{missing.source} -> {missing.target}, declared under `{missing.key}` of loop {missing.loop}, was never "
        f"seen, while {missing.sightings} sightings of the loop's other edges of that kind came in since {since}",
        at_ns=now_ns,
        loop=missing.loop,
        figures={
            "kind": "never-seen",
            "from": missing.source,
            "to": missing.target,
            "declared_under": missing.key,
            "sightings_of_others": missing.sightings,
            "since": since,
        },
    )
