"""The edges as they are listed: observed ones, newest first, then declared ones that were not seen."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from flo.core.errors import UsageError
from flo.core.signal import text_from_time
from flo.flow.cursor import decode_cursor, encode_cursor
from flo.flow.observe.comparison import Comparison, NeverSeen
from flo.flow.observe.graph import BOTH, DECLARED, EVIDENCE, OBSERVED, PHANTOM, Edge, Graph, evidence_of
from flo.ports.service import Page

EDGE_KEYS = ("loop", "evidence", "status")
NEVER_SEEN = "never-seen"
STATUSES = (PHANTOM, BOTH, DECLARED, NEVER_SEEN, OBSERVED)

Place = tuple[int, str, str]
"""(turn, source, target), counting down; declared edges that were not seen have 0 and come last, by name."""


def page(
    graph: Graph,
    comparison: Comparison,
    never_seen: Iterable[NeverSeen],
    query: Mapping[str, str],
    limit: int,
    cursor: str | None,
) -> Page:
    """One page. An edge that is seen again meanwhile moves to the front and is not shown twice."""
    _check(query)
    before = None if cursor is None else decode_cursor(cursor, tuple[int, str, str])
    rows: list[dict[str, Any]] = []
    last: Place | None = None
    for place, found in _all(graph, comparison, never_seen):
        if (before is not None and place >= before) or not _matches(found, query):
            continue
        if len(rows) == limit:
            assert last is not None
            return Page(rows, encode_cursor(last))
        rows.append(found if isinstance(found, dict) else _row(found))
        last = place
    return Page(rows, None)


def _check(query: Mapping[str, str]) -> None:
    for name, value in query.items():
        known = {"evidence": EVIDENCE, "status": STATUSES}.get(name)
        if name not in EDGE_KEYS:
            raise UsageError(f"edges cannot be asked for by `{name}`: by {', '.join(EDGE_KEYS)}")
        if known is not None and value not in known:
            raise UsageError(f"{name} {value[:40]!r}: there are {', '.join(known)}")


def _all(
    graph: Graph, comparison: Comparison, never_seen: Iterable[NeverSeen]
) -> Iterator[tuple[Place, Edge | dict[str, Any]]]:
    for edge in graph.newest_first():
        yield (edge.turn, edge.source, edge.target), edge
    missing = {(each.source, each.target) for each in never_seen}
    for source, target, key, loop in sorted(comparison.unseen(), reverse=True):
        status = NEVER_SEEN if (source, target) in missing else DECLARED
        yield (0, source, target), _declared_row(source, target, key, loop, status)


def _matches(row: Edge | dict[str, Any], query: Mapping[str, str]) -> bool:
    if isinstance(row, dict):
        status, loops, evidence = row["status"], row["loops"], row["evidence"]
    else:
        status, loops, evidence = row.status, row.loops, row.seen
    return (
        query.get("status", status) == status
        and ("loop" not in query or query["loop"] in loops)
        and ("evidence" not in query or query["evidence"] in evidence)
    )


def _row(edge: Edge) -> dict[str, Any]:
    return {
        "from": edge.source,
        "to": edge.target,
        "status": edge.status,
        "loops": list(edge.loops),
        "declared_under": None,
        "count": edge.count,
        "first_seen": text_from_time(edge.first_ns),
        "last_seen": text_from_time(edge.last_ns),
        "evidence": evidence_of(edge),
    }


def _declared_row(source: str, target: str, key: str, loop: str, status: str) -> dict[str, Any]:
    return {
        "from": source,
        "to": target,
        "status": status,
        "loops": [loop],
        "declared_under": key,
        "count": 0,
        "first_seen": None,
        "last_seen": None,
        "evidence": {},
    }
