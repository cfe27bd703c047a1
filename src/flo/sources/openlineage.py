"""OpenLineage events: read tolerantly, refused by name, and carried on as signals.

The specification's required fields are required where FLO needs them (a job, a run's id, a time). Facets that FLO does
not read are ignored, and so is a facet it reads that is not what it should be: lineage of a newer or looser producer
is still lineage. Each event becomes one signal with the event as its data, unchanged: what was reported is recorded,
a repeat is known, and rules can match it.
"""

from __future__ import annotations

import re
from typing import Any

import msgspec

from flo.core.errors import SignalRejected
from flo.core.lineage import (
    DATASET,
    EVENT_TYPES,
    JOB,
    NAME_CHARS_MAX,
    RUN,
    DatasetUse,
    DeclaredParents,
    JobName,
    LineageEvent,
)
from flo.core.signal import ATTRIBUTE_CHARS_MAX, SIGNAL_BYTES_MAX, encode_signal, time_from_text

SIGNAL_TYPES = {RUN: "openlineage.run", JOB: "openlineage.job", DATASET: "openlineage.dataset"}

DATASETS_MAX = 5_000
"""Inputs and outputs of one event, each: more than any query plan lists, and a bound on one turn of the event loop."""

_Facets = dict[str, msgspec.Raw]


class _Dataset(msgspec.Struct):
    namespace: str
    name: str
    facets: _Facets | None = None


class _Job(msgspec.Struct):
    namespace: str
    name: str


class _Run(msgspec.Struct, rename="camel"):
    run_id: str
    facets: _Facets | None = None


class _Event(msgspec.Struct, rename="camel"):
    event_time: str
    event_type: str | None = None
    producer: str | None = None
    run: _Run | None = None
    job: _Job | None = None
    dataset: _Dataset | None = None
    inputs: list[_Dataset] | None = None
    outputs: list[_Dataset] | None = None


class _Version(msgspec.Struct, rename="camel"):
    dataset_version: str


class _RunId(msgspec.Struct, rename="camel"):
    run_id: str


class _Root(msgspec.Struct):
    run: _RunId | None = None


class _Parent(msgspec.Struct):
    run: _RunId
    job: _Job | None = None
    root: _Root | None = None


class _Dependency(msgspec.Struct):
    job: _Job


class _Dependencies(msgspec.Struct):
    upstream: list[_Dependency] | None = None


class _AirflowTask(msgspec.Struct):
    upstream_task_ids: str | list[str] | None = None
    inlets: str | list[Any] | None = None
    outlets: str | list[Any] | None = None


class _AirflowDag(msgspec.Struct):
    dag_id: str


class _Airflow(msgspec.Struct):
    dag: _AirflowDag
    task: _AirflowTask


_decode = msgspec.json.Decoder(_Event).decode
_decode_version = msgspec.json.Decoder(_Version).decode
_decode_parent = msgspec.json.Decoder(_Parent).decode
_decode_dependencies = msgspec.json.Decoder(_Dependencies).decode
_decode_airflow = msgspec.json.Decoder(_Airflow).decode

_QUOTED = re.compile(r"""['"]([^'"]+)['"]""")
_URI = re.compile(r"""['"]uri['"]: ['"]([^'"]+)['"]""")


def read_event(raw: bytes) -> tuple[LineageEvent, bytes]:
    """One event and the signal that carries it. `SignalRejected` names what is wrong; nothing of it is kept then."""
    if len(raw) > SIGNAL_BYTES_MAX:
        raise SignalRejected("too-large", f"{len(raw)} bytes, one event has at most {SIGNAL_BYTES_MAX}")
    try:
        found = _decode(raw)
    except msgspec.ValidationError as error:
        raise SignalRejected("openlineage", f"not an OpenLineage event: {error}") from None
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise SignalRejected("json", f"not JSON: {error}") from None
    event = _event(found)
    return event, _signal(event, found, raw)


def _event(found: _Event) -> LineageEvent:
    at_ns = _time(found.event_time)
    if found.job is None:
        if found.dataset is None or found.run is not None:
            raise SignalRejected("openlineage", "not an OpenLineage event: it names no `job`")
        return LineageEvent(kind=DATASET, at_ns=at_ns, outputs=_datasets([found.dataset], "dataset", ""))
    job = _job(found.job, "job")
    facets = (found.run.facets if found.run is not None else None) or {}
    airflow: _Airflow | None = _facet(facets, "airflow", _decode_airflow)
    task = airflow.task if airflow is not None else _AirflowTask()
    inputs = _datasets(found.inputs, "inputs", str(task.inlets or ""))
    outputs = _datasets(found.outputs, "outputs", str(task.outlets or ""))
    if found.run is None:
        return LineageEvent(kind=JOB, at_ns=at_ns, job=job, inputs=inputs, outputs=outputs)
    state = found.event_type or "OTHER"
    if state not in EVENT_TYPES:
        raise SignalRejected(
            "openlineage",
            f"eventType {state[:20]!r} is none of {', '.join(EVENT_TYPES)}: correct the producer",
        )
    parent: _Parent | None = _facet(facets, "parent", _decode_parent)
    root = parent.root.run if parent is not None and parent.root is not None else None
    return LineageEvent(
        kind=RUN,
        at_ns=at_ns,
        job=job,
        state=state,
        run_id=_name(found.run.run_id, "run.runId"),
        parent_run=None if parent is None else parent.run.run_id[:NAME_CHARS_MAX],
        root_run=None if root is None else root.run_id[:NAME_CHARS_MAX],
        parent_job=None
        if parent is None or parent.job is None
        else _job(parent.job, "run.facets.parent.job"),
        inputs=inputs,
        outputs=outputs,
        parents=_parents(facets, job, airflow),
    )


def _signal(event: LineageEvent, found: _Event, raw: bytes) -> bytes:
    """Its id is what makes it a repeat: run, state and time. The source is who reported it, and for which namespace."""
    if event.kind == RUN:
        own_id = f"{event.run_id}/{event.state}/{found.event_time}"
    else:
        about = event.job or event.outputs[0]
        own_id = f"{about.namespace}/{about.name}/{found.event_time}"
    namespace = event.job.namespace if event.job is not None else event.outputs[0].namespace
    return encode_signal(
        id=own_id[-ATTRIBUTE_CHARS_MAX:],
        source=f"{found.producer or 'openlineage'}#{namespace}"[:ATTRIBUTE_CHARS_MAX],
        type=SIGNAL_TYPES[event.kind],
        time_ns=event.at_ns,
        data=msgspec.Raw(raw),
    )


def _time(text: str) -> int:
    try:
        return time_from_text(text)
    except SignalRejected:
        raise SignalRejected(
            "openlineage", f'eventTime "{text[:40]}" is not RFC 3339, as 2026-11-23T05:10:12.345Z is'
        ) from None


def _name(text: str, where: str) -> str:
    if not text or len(text) > NAME_CHARS_MAX:
        raise SignalRejected(
            "openlineage", f"{where} has {len(text)} characters, 1 to {NAME_CHARS_MAX} are expected"
        )
    return text


def _job(job: _Job, where: str) -> JobName:
    return JobName(_name(job.namespace, f"{where}.namespace"), _name(job.name, f"{where}.name"))


def _datasets(found: list[_Dataset] | None, where: str, declared: str) -> tuple[DatasetUse, ...]:
    """`declared`: what Airflow says of inlets or outlets; it lists them whether the task opened them or not."""
    if not found:
        return ()
    if len(found) > DATASETS_MAX:
        raise SignalRejected(
            "openlineage", f"{where} has {len(found)} datasets, at most {DATASETS_MAX} may be"
        )
    uris = frozenset(_URI.findall(declared)) if declared else frozenset()
    uses = []
    for each in found:
        namespace, name = _name(each.namespace, f"{where}.namespace"), _name(each.name, f"{where}.name")
        version: _Version | None = _facet(each.facets or {}, "version", _decode_version)
        is_declared = bool(uris) and not uris.isdisjoint(
            (f"{namespace}://{name}", f"{namespace}/{name}", f"{namespace}{name}")
        )
        stated = None if version is None else version.dataset_version[:NAME_CHARS_MAX] or None
        uses.append(DatasetUse(namespace, name, stated, is_declared))
    return tuple(uses)


def _parents(facets: _Facets, job: JobName, airflow: _Airflow | None) -> DeclaredParents | None:
    """From the facet of job dependencies; from Airflow's task, which names only those of its own DAG."""
    stated: _Dependencies | None = _facet(facets, "jobDependencies", _decode_dependencies)
    if stated is not None and stated.upstream is not None:
        jobs = (JobName(each.job.namespace, each.job.name) for each in stated.upstream[:DATASETS_MAX])
        return DeclaredParents(frozenset(jobs))
    if airflow is None or airflow.task.upstream_task_ids is None:
        return None
    ids = airflow.task.upstream_task_ids
    names = _QUOTED.findall(ids) if isinstance(ids, str) else ids
    within = f"{airflow.dag.dag_id}."
    jobs = (JobName(job.namespace, within + name) for name in names[:DATASETS_MAX])
    return DeclaredParents(frozenset(jobs), within)


def _facet(facets: _Facets, name: str, decode: Any) -> Any:
    """A facet that FLO reads; None where it is absent or not as the specification has it."""
    found = facets.get(name)
    if found is None:
        return None
    try:
        return decode(found)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None
