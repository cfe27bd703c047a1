"""What was observed and is in no record yet, as signals: the ledger then holds it, and a restart reads it back.

Single spans are not kept, nor is each fetch: their sum for each edge is, once a minute. Until then a crash may lose it.
Lineage needs no summary, since its events are signals themselves.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import msgspec

from flo.core.signal import encode_signal, text_from_time, time_from_text
from flo.flow.observe.graph import TRACED, Seen

TRACE_EDGES = "flo.trace.edges"
LOOP_EDGES = "flo.loop.edges"
"""Types of summaries: edges that spans showed; edges that FLO itself went along (contexts, fetches)."""

SOURCE = "/flo/observe"

EDGES_PER_SIGNAL_MAX = 500
"""With the longest names about 500 kB, half of what a signal may have."""


class EdgeSummary(msgspec.Struct):
    """One edge within a summary, as its signal's data has it."""

    source: str = msgspec.field(name="from")
    target: str = msgspec.field(name="to")
    evidence: str
    count: int
    first_seen: str
    last_seen: str
    example: str
    seconds: float = 0.0
    longest_s: float = 0.0


class _Data(msgspec.Struct):
    edges: list[EdgeSummary]


_decode = msgspec.json.Decoder(_Data).decode


def summaries(unrecorded: Mapping[tuple[str, str, str], Seen], now_ns: int) -> Iterator[bytes]:
    """The signals that record these edges."""
    for type in (TRACE_EDGES, LOOP_EDGES):
        edges = [
            _summary(source, target, evidence, seen)
            for (source, target, evidence), seen in unrecorded.items()
            if (evidence == TRACED) == (type == TRACE_EDGES)
        ]
        for start in range(0, len(edges), EDGES_PER_SIGNAL_MAX):
            yield encode_signal(
                id=f"{type}/{now_ns}/{start}",
                source=SOURCE,
                type=type,
                time_ns=now_ns,
                data=_Data(edges[start : start + EDGES_PER_SIGNAL_MAX]),
            )


def _summary(source: str, target: str, evidence: str, seen: Seen) -> EdgeSummary:
    return EdgeSummary(
        source,
        target,
        evidence,
        seen.count,
        text_from_time(seen.first_ns),
        text_from_time(seen.last_ns),
        seen.example,
        seen.took_ns / 1e9,
        seen.longest_ns / 1e9,
    )


def edges_of(data: bytes | msgspec.Raw) -> Iterator[tuple[str, str, str, Seen]]:
    """The edges of a summary: (source, target, evidence, how it was seen)."""
    for edge in _decode(data).edges:
        seen = Seen(
            time_from_text(edge.first_seen),
            time_from_text(edge.last_seen),
            edge.count,
            edge.example,
            round(edge.seconds * 1e9),
            round(edge.longest_s * 1e9),
        )
        yield edge.source, edge.target, edge.evidence, seen
