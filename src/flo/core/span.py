"""Spans: one piece of work of one service, as tracing reports it. FLO reads of a span what makes an edge or a duration."""

from __future__ import annotations

import msgspec

SERVER, CLIENT, PRODUCER, CONSUMER, INTERNAL = "server", "client", "producer", "consumer", "internal"

NAME_CHARS_MAX = 256
"""Of services, peers and span names: they are kept in memory, so an unbounded one could fill it."""


class Span(msgspec.Struct, frozen=True, gc=False, kw_only=True):
    """One finished span. Ids are lower-case hex; `parent_id` is empty at the root of a trace."""

    trace_id: str
    span_id: str
    parent_id: str
    service: str
    name: str
    kind: str  # server | client | producer | consumer | internal
    start_ns: int
    end_ns: int
    failed: bool = False
    peer: str = ""  # what a client or producer names as its other end; empty where it names none
    links: tuple[tuple[str, str], ...] = ()  # (trace id, span id) of what it follows from
