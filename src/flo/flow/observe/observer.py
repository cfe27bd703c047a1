"""The observer: everything that shows an edge comes in here, and what follows from it goes out.

    observer.observe_spans(spans, now_ns)       OTLP
    observer.observe_lineage(event)             OpenLineage
    observer.observe_context(...)               a loop decided what another loop's decision caused
    observer.observe_fetches(...)               a loop read a dependency
    observer.turn_to(loops)                     what to hold it against
    observer.check(now_ns, board)               the watchdogs of edges
    observer.summaries(now_ns)                  signals that make it survive
    observer.restore(raw)                       those signals, read back

Memory is bounded by the limits of the parts: edges, runs, spans, siblings, computations.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from flo.core.errors import SignalRejected
from flo.core.lineage import LineageEvent
from flo.core.loop.definition import LoopDefinition
from flo.core.signal import parse_signal
from flo.core.span import Span
from flo.flow.observe import summary
from flo.flow.observe.comparison import NEVER_SEEN_AFTER_NS, NEVER_SEEN_COUNT_MIN, Comparison
from flo.flow.observe.computations import Computations
from flo.flow.observe.declared import declared_by
from flo.flow.observe.graph import CONTEXT, FETCHED, Graph
from flo.flow.observe.runs import RunBook
from flo.flow.observe.siblings import Siblings
from flo.flow.observe.traces import TraceBook
from flo.flow.watchdogs.board import Board
from flo.flow.watchdogs.phantom import PhantomWatchdog
from flo.flow.watchdogs.recomputed import RecomputedWatchdog
from flo.flow.watchdogs.serialised import SerialisedWatchdog

AGE_EVERY_NS = 3_600_000_000_000


class Observer:
    """Used on one thread, the event loop's."""

    def __init__(
        self,
        never_seen_after_ns: int = NEVER_SEEN_AFTER_NS,
        never_seen_count_min: int = NEVER_SEEN_COUNT_MIN,
    ) -> None:
        self.graph = Graph()
        self.siblings = Siblings()
        self.computations = Computations()
        self.traces = TraceBook(self.graph, self.siblings)
        self.runs = RunBook(self.graph, self.siblings, self.computations)
        self.comparison = Comparison(
            self.graph, self.runs.is_declared, never_seen_after_ns, never_seen_count_min
        )
        self._phantoms = PhantomWatchdog(self.comparison)
        self._serialised = SerialisedWatchdog(self.siblings, self.comparison, self.graph)
        self._recomputed = RecomputedWatchdog(self.computations)
        self._aged_ns = 0

    def turn_to(self, loops: Mapping[str, LoopDefinition]) -> None:
        """Another bundle is in force."""
        self.comparison.turn_to(declared_by(loops))

    def observe_spans(self, spans: Iterable[Span], now_ns: int) -> None:
        take = self.traces.take
        for span in spans:
            take(span, now_ns)

    def observe_lineage(self, event: LineageEvent) -> None:
        self.runs.take(event)

    def observe_context(self, source: str, target: str, at_ns: int, count: int, decision_id: str) -> None:
        """`count` signals that a decision of loop `source` caused were decided by loop `target`."""
        self.graph.observe(f"loop:{source}", f"loop:{target}", CONTEXT, at_ns, decision_id, count)

    def observe_fetches(self, dependency: str, loop: str, at_ns: int, count: int) -> None:
        """A loop read a dependency `count` times, from the service or from the cache."""
        self.graph.observe(f"dependency:{dependency}", f"loop:{loop}", FETCHED, at_ns, "", count)

    def check(self, now_ns: int, board: Board) -> None:
        """Once a second: fold what has fallen quiet, and report what follows from it."""
        self.traces.fold(now_ns)
        if now_ns - self._aged_ns >= AGE_EVERY_NS:
            self._aged_ns = now_ns
            self.graph.age(now_ns)
        gone, self.graph.gone = self.graph.gone, []
        self._phantoms.check(now_ns, board, gone)
        self._serialised.check(now_ns, board)
        self._recomputed.check(now_ns, board)

    def summaries(self, now_ns: int) -> list[bytes]:
        """What is in no record yet, as signals. They are not given a second time: put them into the ledger."""
        unrecorded, self.graph.unrecorded = self.graph.unrecorded, {}
        return list(summary.summaries(unrecorded, now_ns))

    def restore(self, raw: bytes) -> None:
        """A recorded summary. What is none, or one of another FLO that cannot be read, is left alone."""
        try:
            for source, target, evidence, seen in summary.edges_of(parse_signal(raw).data):
                self.graph.add(source, target, evidence, seen, is_recorded=True)
        except (SignalRejected, ValueError):
            return
