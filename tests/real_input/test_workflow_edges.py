"""167 real workflow runs as lineage: whatever edge is dropped from the declared ones, or added to the real ones, is found.

The declared parents of every task are exactly those that follow from its files, in all runs, so that the phantoms are
known: an edge whose declaration was taken away, and an edge that a file added by us makes. A declared parent that no
file shows is no phantom.
"""

from __future__ import annotations

import os
import random
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow.parquet as parquet
import pytest

from flo.core.finding import Finding
from flo.core.lineage import RUN, DatasetUse, DeclaredParents, JobName, LineageEvent
from flo.flow.observe.observer import Observer
from flo.flow.watchdogs.board import Board
from flo.runtimes.simulated.simulation import load

_DATA = Path(os.environ.get("FLO_DATA") or Path(__file__).parents[3] / "shared" / "data")
FILE = _DATA / "wfinstances" / "tasks.parquet"
SEED = int(os.environ.get("FLO_SEED", "20261125"))
START_NS = 1_767_225_600_000_000_000


@dataclass(slots=True)
class Task:
    name: str
    parents: set[str]
    inputs: list[str]
    outputs: list[str]


@pytest.fixture(scope="module")
def workflows() -> dict[str, list[Task]]:
    if not FILE.exists():
        pytest.skip(f"{FILE} is absent; set FLO_DATA to the folder that holds wfinstances/tasks.parquet")
    columns = ["instance", "task_id", "parents", "input_files", "output_files"]
    found: dict[str, list[Task]] = defaultdict(list)
    for row in parquet.read_table(FILE, columns=columns).to_pylist():
        task = Task(row["task_id"], set(row["parents"]), row["input_files"], row["output_files"])
        found[row["instance"]].append(task)
    return {instance: _in_order(tasks) for instance, tasks in found.items()}


def _in_order(tasks: list[Task]) -> list[Task]:
    """Parents before children, as they ran."""
    by_name = {task.name: task for task in tasks}
    waiting = {task.name: len(task.parents) for task in tasks}
    children: dict[str, list[str]] = defaultdict(list)
    for task in tasks:
        for parent in task.parents:
            children[parent].append(task.name)
    ready = [name for name, count in waiting.items() if not count]
    ordered = []
    while ready:
        name = ready.pop()
        ordered.append(by_name[name])
        for child in children[name]:
            waiting[child] -= 1
            if not waiting[child]:
                ready.append(child)
    assert len(ordered) == len(tasks)
    return ordered


def _events(instance: str, tasks: list[Task], declared: dict[str, set[str]]) -> Iterator[LineageEvent]:
    """A run of the workflow: each task starts, and completes with its files."""
    for place, task in enumerate(tasks):
        about: dict[str, Any] = {
            "kind": RUN,
            "job": JobName(instance, task.name),
            "run_id": f"{instance}/{task.name}",
            "parent_run": instance,
            "parents": DeclaredParents(
                frozenset(JobName(instance, parent) for parent in declared[task.name])
            ),
        }
        at_ns = START_NS + place * 2_000_000_000
        yield LineageEvent(at_ns=at_ns, state="START", **about)
        yield LineageEvent(
            at_ns=at_ns + 1_000_000_000,
            state="COMPLETE",
            inputs=tuple(DatasetUse(instance, name) for name in task.inputs),
            outputs=tuple(DatasetUse(instance, name) for name in task.outputs),
            **about,
        )


def _phantoms(instance: str, tasks: list[Task], declared: dict[str, set[str]]) -> set[tuple[str, str]]:
    """What FLO finds in a run of the workflow."""
    observer = Observer()
    definition = load({"flo.yaml": b"engines: {}\n"}).definition
    observer.turn_to(definition)
    for dog in observer.dogs:
        dog.turn_to(definition, {})
    raised: list[Finding] = []
    board = Board(raised.append)
    for event in _events(instance, tasks, declared):
        observer.observe_lineage(event)
        if len(observer.graph.changed) > 4_000:
            _look(observer, board)
    while observer.graph.changed:
        _look(observer, board)
    assert observer.graph.dropped == 0
    prefix = f"job:{instance}/"
    return {
        (finding.figures["from"].removeprefix(prefix), finding.figures["to"].removeprefix(prefix))
        for finding in raised
    }


def _look(observer: Observer, board: Board) -> None:
    observer.turn(START_NS + 86_400_000_000_000)
    for dog in observer.dogs:
        dog.check(START_NS + 86_400_000_000_000, board)


def test_declared_parents_are_what_the_files_show(workflows: dict[str, list[Task]]) -> None:
    """So that the truth of the tests below is the truth."""
    assert len(workflows) == 167
    for tasks in workflows.values():
        writers = {name: task.name for task in tasks for name in task.outputs}
        for task in tasks:
            assert {writers[name] for name in task.inputs if name in writers} - {task.name} == task.parents


def test_nothing_is_found_where_everything_is_declared(workflows: dict[str, list[Task]]) -> None:
    for instance, tasks in list(workflows.items())[::4]:
        assert _phantoms(instance, tasks, {task.name: task.parents for task in tasks}) == set()


def test_every_dropped_declaration_and_every_added_edge_is_found_and_nothing_else(
    workflows: dict[str, list[Task]],
) -> None:
    randomness = random.Random(SEED)
    print(f"seed {SEED}")
    expected_count = 0
    for instance, tasks in workflows.items():
        declared = {task.name: set(task.parents) for task in tasks}
        changed = [Task(task.name, task.parents, list(task.inputs), list(task.outputs)) for task in tasks]
        expected = set()
        for task in randomness.sample(tasks, min(len(tasks), 10)):  # a declaration less
            if declared[task.name]:
                parent = randomness.choice(sorted(declared[task.name]))
                declared[task.name].discard(parent)
                expected.add((parent, task.name))
        for place in randomness.sample(range(len(changed)), min(len(changed), 10)):  # a file more
            earlier = [task for task in changed[:place] if task.outputs]
            if earlier:
                writer = randomness.choice(earlier)
                changed[place].inputs.append(randomness.choice(writer.outputs))
                expected |= _by_files(changed, place) - {
                    (parent, changed[place].name) for parent in declared[changed[place].name]
                }
        for task in randomness.sample(tasks, min(len(tasks), 10)):  # a declaration that no file shows
            others = [other.name for other in tasks if other.name not in (task.name, *task.parents)]
            if others:
                stranger = randomness.choice(others)
                if (stranger, task.name) not in expected:
                    declared[task.name].add(stranger)
        assert _phantoms(instance, changed, declared) == expected, (instance, SEED)
        expected_count += len(expected)
    assert expected_count > 1_000


def _by_files(tasks: list[Task], place: int) -> set[tuple[str, str]]:
    """The edges into a task, independently of FLO."""
    reader = tasks[place]
    read = set(reader.inputs)
    return {
        (task.name, reader.name)
        for task in tasks[:place]
        if task.name != reader.name and read.intersection(task.outputs)
    }
