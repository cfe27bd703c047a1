"""From spans to edges, and to how the branches of a trace lie in time.

Spans of one trace come from many senders, in any order, the parent often last: its span ends last. So a trace is kept
until no span of it has come for a while, and what comes later is still joined to what is known. An edge between
services is seen at once; the other end of a client's span counts only when the trace is quiet, since until then the
called service may still report itself, under its own name.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator

from flo.core.span import CLIENT, PRODUCER, Span
from flo.flow.observe.graph import TRACED, Graph
from flo.flow.observe.siblings import Branch, Siblings

QUIET_NS = 10_000_000_000
"""Senders export in batches, every 5 s unless told otherwise: a trace that was silent for two of them is whole."""

SPANS_MAX = 100_000
"""Kept, of all traces together: about 60 MB. Beyond, the trace that was silent longest is folded and leaves."""

SPANS_PER_TRACE_MAX = 10_000
WAITING_PER_TRACE_MAX = 10_000

ADDRESSES_MAX = 10_000
"""Which service answers at an address that clients name, as traces have shown."""

DEPTH_MAX = 200
"""Spans within one service, one in the other, on the way up to where it was called."""


class _Trace:
    __slots__ = ("called", "is_folded", "last_ns", "spans", "waiting")

    def __init__(self) -> None:
        self.spans: dict[str, Span] = {}
        self.waiting: dict[str, list[Span]] = {}  # by the parent that has not come yet
        self.called: set[str] = set()  # spans whose other end has reported itself
        self.last_ns = 0
        self.is_folded = False


class TraceBook:
    """Used on one thread. `now_ns` is FLO's clock: what is quiet is told by arrival, not by the senders' clocks."""

    def __init__(self, graph: Graph, siblings: Siblings, spans_max: int = SPANS_MAX) -> None:
        self._graph = graph
        self._siblings = siblings
        self._spans_max = spans_max
        self._traces: OrderedDict[str, _Trace] = OrderedDict()  # in the order of their last span
        self._unfolded: OrderedDict[str, None] = (
            OrderedDict()
        )  # the same, without those that have been looked through
        self._addresses: OrderedDict[str, str] = OrderedDict()
        self._kept = 0
        self.taken = self.repeated = self.cut = 0

    def take(self, span: Span, now_ns: int) -> None:
        """One span, in any order. A repeat, as senders make who got no answer, changes nothing."""
        trace = self._traces.get(span.trace_id)
        if trace is None:
            trace = self._traces[span.trace_id] = _Trace()
        self._traces.move_to_end(span.trace_id)
        trace.last_ns = now_ns
        if not trace.is_folded:
            self._unfolded[span.trace_id] = None
            self._unfolded.move_to_end(span.trace_id)
        if span.span_id in trace.spans:
            self.repeated += 1
            return
        if len(trace.spans) >= SPANS_PER_TRACE_MAX:
            self.cut += 1
            return
        self.taken += 1
        self._kept += 1
        trace.spans[span.span_id] = span
        if span.parent_id:
            self._join(trace, span.parent_id, span)
        for child in trace.waiting.pop(span.span_id, ()):
            self._edge(trace, span, child)
        for trace_id, span_id in span.links:
            linked = self._traces.get(trace_id)
            found = None if linked is None else linked.spans.get(span_id)
            if found is not None and linked is not None:
                self._edge(linked, found, span)
        while self._kept > self._spans_max and len(self._traces) > 1:
            self._leave(next(iter(self._traces)))

    def _join(self, trace: _Trace, parent_id: str, child: Span) -> None:
        parent = trace.spans.get(parent_id)
        if parent is not None:
            self._edge(trace, parent, child)
        elif len(trace.waiting) < WAITING_PER_TRACE_MAX:
            trace.waiting.setdefault(parent_id, []).append(child)

    def _edge(self, trace: _Trace, parent: Span, child: Span) -> None:
        if parent.service == child.service:
            return
        trace.called.add(parent.span_id)
        if parent.peer:
            self._addresses[parent.peer] = child.service
            if len(self._addresses) > ADDRESSES_MAX:
                self._addresses.popitem(last=False)
        self._graph.observe(
            f"service:{parent.service}",
            f"service:{child.service}",
            TRACED,
            child.start_ns,
            child.trace_id,
            took_ns=child.end_ns - child.start_ns,
        )

    def fold(self, now_ns: int) -> None:
        """Look through the traces that have fallen quiet."""
        while self._unfolded:
            trace_id = next(iter(self._unfolded))
            if now_ns - self._traces[trace_id].last_ns < QUIET_NS:
                break
            self._fold(trace_id, self._traces[trace_id])

    def fold_all(self) -> None:
        """Whatever is there, as it is: nothing more will come."""
        while self._unfolded:
            trace_id = next(iter(self._unfolded))
            self._fold(trace_id, self._traces[trace_id])

    def _leave(self, trace_id: str) -> None:
        trace = self._traces[trace_id]
        if not trace.is_folded:
            self._fold(trace_id, trace)
        del self._traces[trace_id]
        self._kept -= len(trace.spans)

    def _fold(self, trace_id: str, trace: _Trace) -> None:
        trace.is_folded = True
        del self._unfolded[trace_id]
        for span in trace.spans.values():
            if span.peer and span.kind in (CLIENT, PRODUCER) and span.span_id not in trace.called:
                other = self._addresses.get(span.peer, span.peer)
                if other != span.service:
                    self._graph.observe(
                        f"service:{span.service}",
                        f"service:{other}",
                        TRACED,
                        span.start_ns,
                        trace_id,
                        took_ns=span.end_ns - span.start_ns,
                    )
        branches: dict[str, list[tuple[str, int, int]]] = {}
        for span in trace.spans.values():
            entry = _caller(trace, span)
            if entry is not None:
                branches.setdefault(entry.span_id, []).append((span.service, span.start_ns, span.end_ns))
        for entry_id, found in branches.items():
            if len({service for service, _, _ in found}) > 1:
                entry = trace.spans[entry_id]
                self._siblings.add(
                    f"service:{entry.service}", _branches(found), entry.start_ns, trace_id, is_declared=False
                )

    def kept(self) -> int:
        return self._kept


def _caller(trace: _Trace, span: Span) -> Span | None:
    """Where the service that called this span was itself called: the branches of one piece of work share it."""
    parent = trace.spans.get(span.parent_id)
    if parent is None or parent.service == span.service:
        return None
    for _ in range(DEPTH_MAX):
        above = trace.spans.get(parent.parent_id)
        if above is None or above.service != parent.service:
            return parent
        parent = above
    return None


def _branches(found: list[tuple[str, int, int]]) -> Iterator[Branch]:
    by_service: dict[str, list[tuple[int, int]]] = {}
    for service, start_ns, end_ns in found:
        by_service.setdefault(service, []).append((start_ns, end_ns))
    for service, times in by_service.items():
        yield Branch(f"service:{service}", tuple(sorted(times)))
