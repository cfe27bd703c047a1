"""Observed edges held against declared ones.

An edge is a phantom only where a declaration could have named it: an edge of a loop, or a call further down that a
loop's work makes. What strangers report among themselves is shown and judged by nobody, except where a job says whom
it follows: then whoever else it follows in fact is a phantom.

A declared edge counts as never seen only where the same kind of evidence comes in for its loop, long enough and often
enough: who sends no lineage is not told that nothing was read.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import msgspec

from flo.flow.observe.declared import NOTHING_DECLARED, Declared, DeclaredLoop
from flo.flow.observe.graph import BOTH, CONTEXT, DECLARED, OBSERVED, PHANTOM, REPORTED, TRACED, Edge, Graph

LOOPS_PER_NODE_MAX = 8
"""Loops remembered as those whose work reaches a service."""

LOOK_MAX = 2_000
"""Edges looked at in one go, and phantoms among them reported: at most 30 ms of the event loop."""

EXCUSED_MAX = 10_000
REACHED_MAX = 200_000

JobsDeclare = Callable[[str, str], bool | None]
"""(writer, reader) -> whether the reader's declared parents hold the writer; None: nobody said."""


class NeverSeen(msgspec.Struct, frozen=True):
    """A declared edge that should have been seen by now. `since_ns`, `sightings`: of the loop's other edges of its kind."""

    source: str
    target: str
    key: str
    loop: str
    since_ns: int
    sightings: int


class Comparison:
    """Keeps the status of every edge. Used on one thread."""

    def __init__(
        self,
        graph: Graph,
        jobs_declare: JobsDeclare,
    ) -> None:
        self._graph = graph
        self._jobs_declare = jobs_declare
        self._reached: dict[str, frozenset[str]] = {}  # service -> loops whose work calls it, directly or not
        self.declared: Declared = NOTHING_DECLARED
        self.excused: dict[tuple[str, str], int] = {}
        """Edges that were declared when they were last seen, at that time: undeclared since, they are no phantoms before
        they are seen again."""

    def turn_to(self, declared: Declared) -> None:
        """Hold against another bundle from here on; everything is looked at again."""
        while self._graph.changed:
            self.look()  # what was seen so far is held against what was declared so far
        self.declared = declared
        self._reached.clear()
        for edge in self._graph.newest_first():
            self._graph.changed[edge.source, edge.target] = None

    def look(self, most: int = LOOK_MAX) -> list[Edge]:
        """Bring the status of the changed edges up to date; they are answered."""
        changed = self._graph.changed
        looked: list[Edge] = []
        while changed and len(looked) < most:
            place, _ = changed.popitem(last=False)
            edge = self._graph.get(*place)
            if edge is not None:
                before = edge.status
                edge.status, edge.loops = self._judge(edge)
                if edge.status == PHANTOM:
                    self._excuse(edge, was_declared=before == BOTH)
                edge.judged_count = edge.count
                looked.append(edge)
        return looked

    def _excuse(self, edge: Edge, *, was_declared: bool) -> None:
        """An edge that went with its declaration, by the same change of bundle, is no phantom."""
        place = (edge.source, edge.target)
        if was_declared and edge.count == edge.judged_count and len(self.excused) < EXCUSED_MAX:
            self.excused[place] = edge.last_ns
        until_ns = self.excused.get(place)
        if until_ns is not None and edge.last_ns <= until_ns:
            edge.status = OBSERVED
        else:
            self.excused.pop(place, None)

    def loop_of(self, node: str) -> DeclaredLoop | None:
        """The loop at work under this node: itself, or a job or service of its name."""
        kind = node.partition(":")[0]
        if kind not in ("loop", "job", "service"):
            return None
        return self.declared.loops.get(self._graph.shorts.get(node, ""))

    # -- one edge ---------------------------------------------------------------------------------------------

    def _judge(self, edge: Edge) -> tuple[str, tuple[str, ...]]:
        """(status, the loops it concerns)."""
        source, target = self.loop_of(edge.source), self.loop_of(edge.target)
        loops = tuple(dict.fromkeys(loop.name for loop in (source, target) if loop is not None))
        if TRACED in edge.seen:
            self._reach(edge, source, target)
        if not edge.is_observed:
            return DECLARED, loops
        if source is None and target is None:
            return self._judge_strangers(edge)
        if self._is_declared(edge, source, target):
            return BOTH, loops
        if source is None and not edge.source.startswith(("dataset:", "dependency:")):
            return OBSERVED, loops  # who calls a loop's service from outside cannot be declared
        return PHANTOM, loops

    def _judge_strangers(self, edge: Edge) -> tuple[str, tuple[str, ...]]:
        """An edge of no loop: a call further down, or between jobs that say whom they follow."""
        reached_by = self._reached.get(edge.source) if TRACED in edge.seen else None
        if reached_by:
            short = self._graph.shorts[edge.target]
            is_known = any(
                loop.knows(short)
                for name in reached_by
                if (loop := self.declared.loops.get(name)) is not None
            )
            return BOTH if is_known else PHANTOM, tuple(sorted(reached_by))
        follows = self._jobs_declare(edge.source, edge.target)
        if follows is not None:
            return BOTH if follows else PHANTOM, ()
        return BOTH if DECLARED in edge.seen else OBSERVED, ()

    def _is_declared(self, edge: Edge, source: DeclaredLoop | None, target: DeclaredLoop | None) -> bool:
        if source is not None and target is not None:
            is_call = TRACED in edge.seen  # a call carries data both ways
            return target.name in source.feeds or (is_call and source.name in target.feeds)
        if source is not None:
            if edge.target.startswith("dataset:"):
                return not source.writes.isdisjoint(self._names(edge.target))
            return source.knows(self._graph.shorts[edge.target])
        assert target is not None
        if edge.source.startswith("dataset:"):
            return not target.reads.isdisjoint(self._names(edge.source))
        return target.knows(self._graph.shorts[edge.source])

    def _names(self, dataset: str) -> tuple[str, str]:
        """As a declaration may name it: with its namespace, or without."""
        return dataset.partition(":")[2], self._graph.shorts[dataset]

    def _reach(self, edge: Edge, source: DeclaredLoop | None, target: DeclaredLoop | None) -> None:
        """Services that a loop's work calls are its work too, and so are those they call; another loop is its own."""
        if target is not None:
            return
        by = frozenset((source.name,)) if source is not None else self._reached.get(edge.source, frozenset())
        before = self._reached.get(edge.target, frozenset())
        if by <= before or len(before) >= LOOPS_PER_NODE_MAX:
            return
        if len(self._reached) >= REACHED_MAX:  # of services long gone, most of them: begin anew
            self._reached.clear()
            self._graph.changed.update(
                dict.fromkeys((one.source, one.target) for one in self._graph.newest_first())
            )
        self._reached[edge.target] = before | by
        for further in self._graph.out.get(edge.target, {}).values():
            if TRACED in further.seen:
                self._graph.changed[further.source, further.target] = None

    # -- declared and not seen ----------------------------------------------------------------------------------

    def unseen(self) -> Iterator[tuple[str, str, str, str]]:
        """Declared edges without any observation: (source, target, key, loop)."""
        for source, target, key, loop in self.declared.edges():
            if any(edge.is_observed for edge in self._standing_for(source, target)):
                continue
            if key != "feeds" or not self._feeds_through_data(source, target):
                yield source, target, key, loop

    def never_seen(self, now_ns: int, after_ns: int, sightings_min: int) -> Iterator[NeverSeen]:
        """Those of them that should have been seen by now: the loop's other edges of the kind were, so long and so often.

        What runs once a day is not missing after an hour, and what ran twice is not missing at all.
        """
        for source, target, key, loop in self.unseen():
            first_ns, sightings = now_ns, 0
            for edge in self._of_its_kind(key, loop):
                first_ns = min(first_ns, edge.first_ns)
                sightings += edge.count
            if sightings >= sightings_min and now_ns - first_ns >= after_ns:
                yield NeverSeen(source, target, key, loop, first_ns, sightings)

    def _of_its_kind(self, key: str, loop: str) -> Iterator[Edge]:
        """Edges of a loop that show that what would have shown the declared one does come in."""
        for node in self._nodes(f"loop:{loop}"):
            if key in ("reads", "needs"):
                kind = "dependency:" if key == "needs" else "dataset:"
                yield from (
                    edge for source, edge in self._graph.into.get(node, {}).items() if source.startswith(kind)
                )
            elif key == "writes":
                yield from (
                    edge for to, edge in self._graph.out.get(node, {}).items() if to.startswith("dataset:")
                )
            else:
                yield from (
                    edge
                    for to, edge in self._graph.out.get(node, {}).items()
                    if self.loop_of(to) is not None
                    and not edge.seen.keys().isdisjoint((CONTEXT, TRACED, REPORTED))
                )

    def _standing_for(self, source: str, target: str) -> Iterator[Edge]:
        """The observed edges that a declared one stands for."""
        targets = self._nodes(target)
        for one in self._nodes(source):
            for other in targets:
                for edge in (self._graph.get(one, other), self._graph.get(other, one)):
                    if edge is not None and (edge.source == one or TRACED in edge.seen):
                        yield edge

    def _feeds_through_data(self, source: str, target: str) -> bool:
        """Whether one loop was seen to write what another was seen to read."""
        targets = set(self._nodes(target))
        return any(
            not targets.isdisjoint(self._graph.out.get(dataset, ()))
            for node in self._nodes(source)
            for dataset in self._graph.out.get(node, ())
            if dataset.startswith("dataset:")
        )

    def _nodes(self, declared: str) -> list[str]:
        """The observed nodes that a declared name stands for."""
        kind, _, name = declared.partition(":")
        nodes = list(self._graph.by_short.get(name, ()))
        if kind not in ("loop", "dependency") and f"dataset:{name}" in self._graph.shorts:
            nodes.append(f"dataset:{name}")
        return nodes
