"""Lineage: what a run of a job says it read and wrote. It is a report, not an observation: who reports may leave out."""

from __future__ import annotations

import msgspec

RUN, JOB, DATASET = "run", "job", "dataset"
"""Kinds of events: of a run of a job, of a job as designed, of a dataset alone."""

EVENT_TYPES = ("START", "RUNNING", "COMPLETE", "FAIL", "ABORT", "OTHER")
ENDS = frozenset({"COMPLETE", "FAIL", "ABORT"})

NAME_CHARS_MAX = 512
"""Of namespaces, jobs, datasets, versions and run ids: they are kept in memory, so an unbounded one could fill it."""


class JobName(msgspec.Struct, frozen=True, gc=False):
    """A job; its name is unique in its namespace."""

    namespace: str
    name: str


class DatasetUse(msgspec.Struct, frozen=True, gc=False):
    """A dataset as a run read or wrote it. `is_declared`: the event says that it was declared, whether used or not."""

    namespace: str
    name: str
    version: str | None = None
    is_declared: bool = False


class DeclaredParents(msgspec.Struct, frozen=True, gc=False):
    """The jobs that one job is declared to follow. Complete for jobs whose names begin with `within`; silent on others."""

    jobs: frozenset[JobName]
    within: str = ""


class LineageEvent(msgspec.Struct, frozen=True, kw_only=True):
    """One event. A run is the sum of its events: each may add datasets, versions and times."""

    kind: str  # RUN | JOB | DATASET
    at_ns: int
    job: JobName | None = None  # None: of a dataset alone
    state: str = "OTHER"  # one of EVENT_TYPES; runs alone
    run_id: str = ""
    parent_run: str | None = None
    root_run: str | None = None
    parent_job: JobName | None = None
    inputs: tuple[DatasetUse, ...] = ()
    outputs: tuple[DatasetUse, ...] = ()
    parents: DeclaredParents | None = None  # None: nobody declared any
