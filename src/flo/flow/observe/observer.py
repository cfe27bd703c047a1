"""The observer: everything that shows an edge comes in here, and what follows from it goes out.

    observe_spans(spans, now_ns)      OTLP
    observe_lineage(event)            OpenLineage
    observe_digest(digest)            what loops decided because of other loops' decisions
    fetched[dependency, loop] += 1    what loops read before deciding
    turn_to(definition)               what to hold it all against
    turn(now_ns)                      about once a second
    dogs                              its watchdogs
    due(now_ns), put_back()           signals that make it survive, once a minute
    restore(raw)                      those signals, read back
    page(query, limit, cursor)        what `/v1/edges` shows

Memory is bounded by the limits of the parts: edges, runs, spans, siblings, computations.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Iterable, Mapping

from flo.core.errors import SignalRejected
from flo.core.lineage import LineageEvent
from flo.core.loop.definition import BundleDefinition
from flo.core.record import CommandIssued
from flo.core.signal import parse_signal
from flo.core.span import Span
from flo.flow.digest import Digest
from flo.flow.observe import summary
from flo.flow.observe.comparison import Comparison
from flo.flow.observe.computations import Computations
from flo.flow.observe.declared import declared_by
from flo.flow.observe.graph import CONTEXT, FETCHED, Graph, Seen
from flo.flow.observe.listing import page
from flo.flow.observe.runs import RunBook
from flo.flow.observe.siblings import Siblings
from flo.flow.observe.traces import TraceBook
from flo.flow.watchdogs.phantom import PhantomWatchdog
from flo.flow.watchdogs.recomputed import RecomputedWatchdog
from flo.flow.watchdogs.serialised import SerialisedWatchdog
from flo.flow.watchdogs.watchdog import Watchdog
from flo.ports.service import Page

AGE_EVERY_NS = 3_600_000_000_000
SUMMARY_EVERY_NS = 60_000_000_000

CAUSES_MAX = 100_000
"""Groups whose commands' loops are remembered; whoever decides what such a command caused is told by them."""

LOOKUPS_PER_GROUP_MAX = 16
"""In the ledger, for what was decided before this start: each is a read, and anybody may write what they like into
`floparent`."""

FindLoop = Callable[[str], str | None]
"""`<shard>-<block>-<section>` -> the loop whose decisions stand there, from the ledger; None where it cannot be told."""


class Observer:
    """Used on one thread, the event loop's."""

    def __init__(self, find_loop: FindLoop = lambda section: None) -> None:
        self.find_loop = find_loop
        self.graph = Graph()
        self.siblings = Siblings()
        self.computations = Computations()
        self.traces = TraceBook(self.graph, self.siblings)
        self.runs = RunBook(self.graph, self.siblings, self.computations)
        self.comparison = Comparison(self.graph, self.runs.is_declared)
        self.fetched: dict[tuple[str, str], int] = {}  # (dependency, loop) -> times since the last turn
        self._phantoms = PhantomWatchdog(self.comparison)
        self.dogs: tuple[Watchdog, ...] = (
            self._phantoms,
            SerialisedWatchdog(self.siblings, self.comparison, self.graph),
            RecomputedWatchdog(self.computations),
        )
        self._loop_of: OrderedDict[str, str | None] = OrderedDict()
        self._offered: dict[tuple[str, str, str], Seen] = {}
        self._aged_ns: int | None = None
        self._summarised_ns: int | None = None

    def turn_to(self, definition: BundleDefinition) -> None:
        """Another bundle is in force."""
        self.comparison.turn_to(declared_by(definition.loops))

    # -- in -----------------------------------------------------------------------------------------------

    def observe_spans(self, spans: Iterable[Span], now_ns: int) -> None:
        take = self.traces.take
        for span in spans:
            take(span, now_ns)

    def observe_lineage(self, event: LineageEvent) -> None:
        self.runs.take(event)

    def observe_digest(self, digest: Digest) -> None:
        """A durable group: remember whose commands it holds, and see whose commands caused what it decided."""
        for event in digest.events:
            if isinstance(event, CommandIssued):
                self._remember(event.command.decision_id.rpartition("-")[0], event.command.loop)
        looked_up = 0
        for caused in digest.caused:
            if caused.section not in self._loop_of:
                looked_up += 1
                if looked_up > LOOKUPS_PER_GROUP_MAX:
                    continue
                self._remember(caused.section, self.find_loop(caused.section))
            parent = self._loop_of[caused.section]
            if parent is not None:
                self.graph.observe(
                    f"loop:{parent}",
                    f"loop:{caused.loop}",
                    CONTEXT,
                    digest.decided_ns,
                    caused.decision_id,
                    caused.count,
                )

    def _remember(self, section: str, loop: str | None) -> None:
        self._loop_of[section] = loop
        if len(self._loop_of) > CAUSES_MAX:
            self._loop_of.popitem(last=False)

    # -- about once a second ------------------------------------------------------------------------------

    def turn(self, now_ns: int) -> None:
        """Take in what was counted, fold what has fallen quiet, bring statuses up to date."""
        self.graph.now_ns = now_ns
        fetched = dict(self.fetched)
        self.fetched.clear()
        for (dependency, loop), count in fetched.items():
            self.graph.observe(f"dependency:{dependency}", f"loop:{loop}", FETCHED, now_ns, "", count)
        self.traces.fold(now_ns)
        if self._aged_ns is None or now_ns - self._aged_ns >= AGE_EVERY_NS:
            self._aged_ns = now_ns
            self.graph.age()
        self._look()

    def look_at_all(self) -> None:
        """Bring every status up to date, however many there are."""
        while self.graph.changed:
            self._look()

    def _look(self) -> None:
        gone, self.graph.gone = self.graph.gone, []
        self._phantoms.looked(self.comparison.look(), gone)

    # -- what survives ------------------------------------------------------------------------------------

    def due(self, now_ns: int, *, at_once: bool = False) -> list[bytes]:
        """Once a minute: what is in no record yet, as signals to be offered."""
        self._offered = {}
        if self._summarised_ns is None:
            self._summarised_ns = now_ns
        if not at_once and now_ns - self._summarised_ns < SUMMARY_EVERY_NS:
            return []
        self._summarised_ns = now_ns
        self._offered, self.graph.unrecorded = self.graph.unrecorded, {}
        return list(summary.summaries(self._offered, now_ns))

    def put_back(self) -> None:
        """What `due` gave last was not taken: it is due again."""
        for place, seen in self._offered.items():
            newer = self.graph.unrecorded.get(place)
            if newer is None:
                self.graph.unrecorded[place] = seen
            else:
                newer.add(seen)
        self._offered = {}

    def restore(self, raw: bytes) -> None:
        """A recorded summary. What is none, or is of another FLO and cannot be read, is left alone."""
        try:
            for source, target, evidence, seen in summary.edges_of(parse_signal(raw).data):
                self.graph.add(source, target, evidence, seen, is_recorded=True)
        except (SignalRejected, ValueError):
            return

    # -- out ----------------------------------------------------------------------------------------------

    def page(self, query: Mapping[str, str], limit: int, cursor: str | None, now_ns: int) -> Page:
        """Edges, newest first, then declared ones that were not seen."""
        self._look()
        return page(self.graph, self.comparison, self._phantoms.never_seen(now_ns), query, limit, cursor)
