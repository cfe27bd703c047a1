"""The observed graph: who is seen to feed, read, write or call whom, with the evidence for each edge.

A node is a text that says its kind: `loop:score`, `job:airflow/etl.load`, `service:exporter`, `dataset:warehouse/labels`,
`dependency:profiles`. An edge points the way the data goes, or from the caller to the called. It holds, for each kind of
evidence, when it was first and last seen, how often, and one example to look up.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator, Mapping
from typing import Any

import msgspec

from flo.core.lineage import DatasetUse, JobName
from flo.core.signal import text_from_time

DECLARED, REPORTED, TRACED, FETCHED, CONTEXT = "declared", "reported", "traced", "fetched", "context"
EVIDENCE = (CONTEXT, FETCHED, TRACED, REPORTED, DECLARED)
"""From the strongest: FLO carried the context itself; FLO fetched it itself; a span showed it; a run reported it; a
producer of lineage listed it as declared, which shows nothing.
"""

OBSERVED, PHANTOM, BOTH = "observed", "phantom", "both"
"""What the comparison makes of an observed edge: nothing (no declaration could name it), undeclared, declared too."""

UNUSED_NAMES_MAX = 10_000
"""Names of jobs that have no edge (yet); they go within the hour."""

SUMMARISED = frozenset({TRACED, FETCHED, CONTEXT})
"""Evidence whose single sightings are not in the ledger: summaries of it are, as signals."""

EDGES_MAX = 100_000
"""About 150 MB. Beyond, the edge seen longest ago leaves and is counted."""

EDGE_AGE_NS_MAX = 30 * 86_400_000_000_000
"""Not told of for so long, an edge leaves: what was removed from the system should leave the picture too."""


class Seen(msgspec.Struct):
    """One kind of evidence for an edge. `example`: a trace, run or decision that shows it; durations are of calls."""

    first_ns: int
    last_ns: int
    count: int
    example: str
    took_ns: int = 0  # of all of them together
    longest_ns: int = 0

    def add(self, other: Seen) -> None:
        """More of the same. Order does not matter: what is older only moves `first_ns`."""
        self.count += other.count
        self.first_ns = min(self.first_ns, other.first_ns)
        self.took_ns += other.took_ns
        self.longest_ns = max(self.longest_ns, other.longest_ns)
        if other.last_ns >= self.last_ns:
            self.last_ns, self.example = other.last_ns, other.example


class Edge(msgspec.Struct):
    """One observed edge. `status` is the comparison's word for it, as of its last look."""

    source: str
    target: str
    seen: dict[str, Seen]
    status: str = OBSERVED
    loops: tuple[str, ...] = ()
    turn: int = 0  # counts up with every sighting of any edge: the newest has the highest
    judged_count: int = 0  # its count when the comparison last looked
    told_ns: int = 0  # FLO's clock when it was last told of it, to the second; 0: before the first turn

    @property
    def first_ns(self) -> int:
        return min(seen.first_ns for seen in self.seen.values())

    @property
    def last_ns(self) -> int:
        return max(seen.last_ns for seen in self.seen.values())

    @property
    def count(self) -> int:
        return sum(seen.count for seen in self.seen.values())

    @property
    def is_observed(self) -> bool:
        """Whether anything but a declaration speaks for it."""
        return len(self.seen) > (DECLARED in self.seen)


class Graph:
    """Used on one thread. `changed` names the edges that were touched since the comparison last looked."""

    def __init__(self, edges_max: int = EDGES_MAX) -> None:
        self._edges_max = edges_max
        self._edges: OrderedDict[tuple[str, str], Edge] = OrderedDict()
        self.out: dict[str, dict[str, Edge]] = {}
        self.into: dict[str, dict[str, Edge]] = {}
        self.shorts: dict[str, str] = {}  # node -> its name without kind and namespace
        self.by_short: dict[str, set[str]] = {}
        self.changed: OrderedDict[tuple[str, str], None] = OrderedDict()
        self.gone: list[Edge] = []  # phantoms that left since the comparison last looked
        self.unrecorded: dict[tuple[str, str, str], Seen] = {}  # since it was last summarised into the ledger
        self.dropped = 0
        self._turns = 0
        self.now_ns = 0  # FLO's clock, to the second

    def __len__(self) -> int:
        return len(self._edges)

    def get(self, source: str, target: str) -> Edge | None:
        return self._edges.get((source, target))

    def newest_first(self) -> Iterator[Edge]:
        """By when FLO was last told of them: by `turn`."""
        return reversed(self._edges.values())

    def observe(
        self,
        source: str,
        target: str,
        evidence: str,
        at_ns: int,
        example: str,
        count: int = 1,
        took_ns: int = 0,
    ) -> None:
        """It was seen, `count` times up to `at_ns`."""
        self.add(source, target, evidence, Seen(at_ns, at_ns, count, example, took_ns, took_ns))

    def add(self, source: str, target: str, evidence: str, seen: Seen, *, is_recorded: bool = False) -> None:
        """It was seen as `seen` says. `is_recorded`: the ledger has it already, so it need not be summarised."""
        place = (source, target)
        edge = self._edges.get(place)
        if edge is None:
            edge = self._new(source, target)
            self._edges[place] = edge
        else:
            self._edges.move_to_end(place)
        self._turns += 1
        edge.turn, edge.told_ns = self._turns, self.now_ns
        self.changed[place] = None
        known = edge.seen.get(evidence)
        if known is None:
            edge.seen[evidence] = msgspec.structs.replace(seen)
        else:
            known.add(seen)
        if evidence in SUMMARISED and not is_recorded:
            summary = self.unrecorded.get((source, target, evidence))
            if summary is not None:
                summary.add(seen)
            elif (
                len(self.unrecorded) < self._edges_max
            ):  # a flood of edges is not worth a flood of the ledger
                self.unrecorded[source, target, evidence] = seen

    def _new(self, source: str, target: str) -> Edge:
        named = [(node, self.shorts.get(node) or node.partition(":")[2]) for node in (source, target)]
        while len(self._edges) >= self._edges_max:
            self._drop(next(iter(self._edges)))  # which may forget the very nodes of the new one
        edge = Edge(source, target, {})
        self.out.setdefault(source, {})[target] = edge
        self.into.setdefault(target, {})[source] = edge
        for node, short in named:
            self._name(node, short)
        return edge

    def _name(self, node: str, short: str) -> None:
        self.shorts[node] = short
        self.by_short.setdefault(short, set()).add(node)

    def job(self, job: JobName) -> str:
        """The node of a job; its short name is the job's own, without the namespace."""
        return self._in_namespace("job", job.namespace, job.name)

    @staticmethod
    def node_of(job: JobName) -> str:
        """The node of a job that is only looked for."""
        return f"job:{job.namespace}/{job.name}"

    def dataset(self, use: DatasetUse) -> str:
        return self._in_namespace("dataset", use.namespace, use.name)

    def _in_namespace(self, kind: str, namespace: str, name: str) -> str:
        node = f"{kind}:{namespace}/{name}"
        if node not in self.shorts and len(self.shorts) < 2 * self._edges_max + UNUSED_NAMES_MAX:
            self._name(node, name)
        return node

    def age(self) -> None:
        """Let those go that FLO was not told of for very long; by its own clock, since what is told may be of old times."""
        for edge in self._edges.values():
            edge.told_ns = edge.told_ns or self.now_ns
        old = [place for place, edge in self._edges.items() if self.now_ns - edge.told_ns > EDGE_AGE_NS_MAX]
        for place in old:
            self._drop(place)
        for node in [node for node in self.shorts if node not in self.out and node not in self.into]:
            self._forget(node)

    def _drop(self, place: tuple[str, str]) -> None:
        edge = self._edges.pop(place)
        self.dropped += 1
        self.changed.pop(place, None)
        if edge.status == PHANTOM:
            self.gone.append(edge)
        source, target = place
        for side, one, other in ((self.out, source, target), (self.into, target, source)):
            del side[one][other]
            if not side[one]:
                del side[one]
        for node in place:
            if node not in self.out and node not in self.into:
                self._forget(node)

    def _forget(self, node: str) -> None:
        short = self.shorts.pop(node, None)
        if short is not None:
            named = self.by_short[short]
            named.discard(node)
            if not named:
                del self.by_short[short]

    def leads_to(
        self, source: str, target: str, declared: Mapping[str, frozenset[str]], not_through: str
    ) -> bool:
        """Whether data may get from one name to another, by what is seen and what is declared.

        Names without kind and namespace: where two nodes share one, a way too many is found rather than one too few.
        """
        reached, border = {source}, [source]
        while border and len(reached) < REACH_MAX:
            short = border.pop()
            found = {
                self.shorts[to] for node in self.by_short.get(short, ()) for to in self.out.get(node, ())
            }
            for name in (found | declared.get(short, frozenset())) - reached:
                if name == target:
                    return True
                if name != not_through:
                    reached.add(name)
                    border.append(name)
        return len(reached) >= REACH_MAX


REACH_MAX = 10_000
"""Names looked at on the way from one to another. Where there are more, the answer is yes: then nothing is alleged."""


def evidence_of(edge: Edge) -> dict[str, Any]:
    """The evidence for an edge, JSON-able, the strongest first."""
    return {
        kind: {
            "count": seen.count,
            "first_seen": text_from_time(seen.first_ns),
            "last_seen": text_from_time(seen.last_ns),
            "example": seen.example,
            **({"mean_ms": round(seen.took_ns / seen.count / 1e6, 3)} if seen.took_ns else {}),
            **({"longest_ms": round(seen.longest_ns / 1e6, 3)} if seen.longest_ns else {}),
        }
        for kind in EVIDENCE
        if (seen := edge.seen.get(kind)) is not None
    }
