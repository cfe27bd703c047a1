"""From lineage events to edges, to what was computed from what, and to how sibling jobs lie in time.

A run is the sum of its events. A dataset counts once a run, however many events name it. Job to job edges are drawn
only where the reader's parents are declared, so that there is something to hold them against, and only within one
parent run: what an earlier run left behind is not what this one's order is about.
"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass, field

from flo.core.lineage import DATASET, ENDS, RUN, DatasetUse, DeclaredParents, JobName, LineageEvent
from flo.flow.observe.computations import Computation, Computations, Inputs
from flo.flow.observe.graph import DECLARED, REPORTED, Graph
from flo.flow.observe.siblings import Branch, Siblings

RUNS_MAX = 20_000
USES_MAX = 500_000
"""Runs remembered, and the datasets and children of all of them together: at most 150 MB. Beyond, the run heard of
longest ago is forgotten."""

DATASETS_PER_RUN_MAX = 5_000

WRITES_MAX = 50_000
"""Datasets whose last writers are remembered."""

WRITERS_PER_DATASET_MAX = 16

CHILDREN_MAX = 1_000
"""Of one parent run, whose times are compared."""

DEPTH_MAX = 16
"""Runs within runs."""


@dataclass(slots=True)
class Run:
    """One run, so far."""

    job: str  # its node
    run_id: str
    parent_run: str | None = None
    root_run: str | None = None
    parents: DeclaredParents | None = None
    started_ns: int | None = None
    ended_ns: int | None = None
    state: str = "OTHER"
    inputs: dict[str, str | None] = field(default_factory=dict)  # dataset node -> version
    outputs: dict[str, str | None] = field(default_factory=dict)
    children: dict[str, tuple[str, int, int, frozenset[JobName]]] = field(default_factory=dict)


class RunBook:
    """Used on one thread. Events may come in any order and more than once; each run ends once."""

    def __init__(self, graph: Graph, siblings: Siblings, computations: Computations) -> None:
        self._graph = graph
        self._siblings = siblings
        self._computations = computations
        self._uses = 0  # datasets and children of all runs together
        self._runs: OrderedDict[str, Run] = OrderedDict()
        # dataset -> job -> the parent run it last wrote in
        self._writers: OrderedDict[str, dict[str, str | None]] = OrderedDict()
        # (writer, reader) -> whether the reader declares that it follows the writer
        self._declared: OrderedDict[tuple[str, str], bool] = OrderedDict()

    def is_declared(self, source: str, target: str) -> bool | None:
        """Whether the job `target` declares that it follows the job `source`; None: nobody said either way."""
        return self._declared.get((source, target))

    def take(self, event: LineageEvent) -> None:
        """One event."""
        if event.kind == DATASET or event.job is None:
            return
        job = self._graph.job(event.job)
        if event.kind != RUN:
            about = f"{event.job.namespace}/{event.job.name}"
            for use in event.inputs:  # a job as it is designed: nothing ran
                self._graph.observe(self._graph.dataset(use), job, DECLARED, event.at_ns, about)
            for use in event.outputs:
                self._graph.observe(job, self._graph.dataset(use), DECLARED, event.at_ns, about)
            return
        run = self._run(event, job)
        follows = None
        if run.parents is not None and event.inputs:
            follows = (frozenset(map(self._graph.node_of, run.parents.jobs)), run.parents.within)
        for use in event.inputs:
            self._read(run, use, event.at_ns, follows)
        for use in event.outputs:
            self._wrote(run, use, event.at_ns)
        if event.state == "START" or (run.started_ns is None and event.state == "RUNNING"):
            run.started_ns = event.at_ns if run.started_ns is None else min(run.started_ns, event.at_ns)
        if event.state in ENDS and run.ended_ns is None:
            run.ended_ns, run.state = event.at_ns, event.state
            self._ended(run)

    def _run(self, event: LineageEvent, job: str) -> Run:
        run = self._runs.pop(event.run_id, None)
        if run is None:
            run = Run(job, event.run_id)
            self._make_room()
        self._runs[event.run_id] = run
        run.job = job  # a parent that is known by its children alone has none yet
        run.parent_run = event.parent_run or run.parent_run
        run.root_run = event.root_run or run.root_run
        run.parents = event.parents or run.parents
        return run

    def _make_room(self) -> None:
        while self._runs and (len(self._runs) >= RUNS_MAX or self._uses >= USES_MAX):
            _, run = self._runs.popitem(last=False)
            self._uses -= len(run.inputs) + len(run.outputs) + len(run.children)

    def _read(
        self, run: Run, use: DatasetUse, at_ns: int, follows: tuple[frozenset[str], str] | None
    ) -> None:
        dataset = self._graph.dataset(use)
        if dataset not in run.inputs:
            if len(run.inputs) >= DATASETS_PER_RUN_MAX:
                return
            self._uses += 1
            self._graph.observe(dataset, run.job, _evidence(use), at_ns, run.run_id)
            if follows is not None:
                self._follow(run, follows, dataset, at_ns)
        if use.version is not None or dataset not in run.inputs:
            run.inputs[dataset] = use.version

    def _wrote(self, run: Run, use: DatasetUse, at_ns: int) -> None:
        dataset = self._graph.dataset(use)
        if dataset not in run.outputs:
            if len(run.outputs) >= DATASETS_PER_RUN_MAX:
                return
            self._uses += 1
            self._graph.observe(run.job, dataset, _evidence(use), at_ns, run.run_id)
            writers = self._writers.pop(dataset, None) or {}
            writers.pop(run.job, None)
            writers[run.job] = run.parent_run
            if len(writers) > WRITERS_PER_DATASET_MAX:
                del writers[next(iter(writers))]
            self._writers[dataset] = writers
            if len(self._writers) > WRITES_MAX:
                self._writers.popitem(last=False)
        if use.version is not None or dataset not in run.outputs:
            run.outputs[dataset] = use.version

    def _follow(self, run: Run, follows: tuple[frozenset[str], str], dataset: str, at_ns: int) -> None:
        """Who wrote this dataset in the same parent run, the reader follows in fact."""
        declared, within = follows
        for writer, parent_run in self._writers.get(dataset, {}).items():
            if writer == run.job or parent_run != run.parent_run:
                continue
            if not self._graph.shorts.get(writer, "").startswith(within):
                continue
            self._declared[writer, run.job] = writer in declared
            self._graph.observe(writer, run.job, REPORTED, at_ns, run.run_id)
        while len(self._declared) > WRITES_MAX * 2:
            self._declared.popitem(last=False)

    # -- ends -------------------------------------------------------------------------------------------------

    def _ended(self, run: Run) -> None:
        if run.started_ns is not None and run.ended_ns is not None and run.ended_ns >= run.started_ns:
            self._child(run, run.started_ns, run.ended_ns)
        if run.children:
            self._compare_children(run)
        if run.state == "COMPLETE":
            self._computed(run)

    def _child(self, run: Run, started_ns: int, ended_ns: int) -> None:
        parent = self._runs.get(run.parent_run or "")
        if parent is None and run.parent_run is not None and run.parents is not None:
            self._make_room()
            parent = self._runs[run.parent_run] = Run("", run.parent_run)  # it has not reported itself yet
        if parent is not None and run.parents is not None and len(parent.children) < CHILDREN_MAX:
            self._uses += run.run_id not in parent.children
            parent.children[run.run_id] = (run.job, started_ns, ended_ns, run.parents.jobs)

    def _compare_children(self, run: Run) -> None:
        """Jobs of one parent run that are declared to follow the same are declared to be parallel."""
        groups: dict[frozenset[JobName], dict[str, list[tuple[int, int]]]] = {}
        for job, started_ns, ended_ns, parents in run.children.values():
            groups.setdefault(parents, {}).setdefault(job, []).append((started_ns, ended_ns))
        for branches in groups.values():
            if len(branches) > 1:
                at_ns = min(start for times in branches.values() for start, _ in times)
                found = (Branch(job, tuple(sorted(times))) for job, times in branches.items())
                self._siblings.add(run.job, found, at_ns, run.run_id, is_declared=True)
        self._uses -= len(run.children)
        run.children.clear()

    def _computed(self, run: Run) -> None:
        if run.ended_ns is None or not run.inputs or any(version is None for version in run.inputs.values()):
            return  # what cannot be told to be the same is not called the same
        inputs = Inputs({node: version or "" for node, version in run.inputs.items()})
        is_timed = run.started_ns is not None and run.started_ns <= run.ended_ns
        took_ns = run.ended_ns - run.started_ns if is_timed and run.started_ns is not None else None
        ancestors = self._ancestors(run)
        for dataset, version in run.outputs.items():
            if version is not None:
                done = Computation(run.job, run.run_id, run.ended_ns, took_ns, ancestors)
                self._computations.add(dataset, version, inputs, done)

    def _ancestors(self, run: Run) -> frozenset[str]:
        """The runs this one is part of: a task and the query it runs report the same work twice."""
        found = set() if run.root_run is None else {run.root_run}
        above = run.parent_run
        for _ in range(DEPTH_MAX):
            if above is None:
                break
            found.add(above)
            parent = self._runs.get(above)
            above = None if parent is None else parent.parent_run
        return frozenset(found)


def _evidence(use: DatasetUse) -> str:
    return DECLARED if use.is_declared else REPORTED
