"""OpenLineage events are read tolerantly, and refused by name."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.faces.observing import run_event

from flo.core.errors import SignalRejected
from flo.core.lineage import DATASET, JOB, DeclaredParents, JobName
from flo.core.signal import parse_signal
from flo.sources.openlineage import read_event


def read(event: Any) -> Any:
    return read_event(json.dumps(event).encode())[0]


def refusal(event: Any) -> SignalRejected:
    with pytest.raises(SignalRejected) as caught:
        read(event)
    return caught.value


def test_a_run_event_becomes_a_signal_that_a_repeat_is_known_by() -> None:
    event = run_event("run-1", "COMPLETE", 61, inputs=["tx", ("cards", "v2")], outputs=["scores"])
    raw = json.dumps(event).encode()
    found, signal = read_event(raw)
    assert (found.job, found.state, found.run_id) == (JobName("jobs", "etl"), "COMPLETE", "run-1")
    assert [(use.name, use.version) for use in found.inputs] == [("tx", None), ("cards", "v2")]
    envelope = parse_signal(signal)
    assert (envelope.type, envelope.id) == ("openlineage.run", f"run-1/COMPLETE/{event['eventTime']}")
    assert envelope.source == "https://example.com/test#jobs"
    assert envelope.time == "2026-11-23T05:01:01Z"
    assert json.loads(bytes(envelope.data)) == event, "what was reported is recorded, unchanged"


def test_job_and_dataset_events_have_types_of_their_own() -> None:
    base = run_event("", "", 1, inputs=["tx"], outputs=["scores"])
    for name in ("run", "eventType"):
        del base[name]
    job, signal = read_event(json.dumps(base).encode())
    assert (job.kind, parse_signal(signal).type) == (JOB, "openlineage.job")
    alone = {"eventTime": base["eventTime"], "dataset": {"namespace": "warehouse", "name": "tx"}}
    dataset, signal = read_event(json.dumps(alone).encode())
    assert (dataset.kind, parse_signal(signal).type) == (DATASET, "openlineage.dataset")


def test_what_a_producer_leaves_out_or_adds_is_no_reason_to_refuse() -> None:
    event = run_event("run-1", "START", 1)
    for name in ("producer", "schemaURL", "inputs", "outputs", "eventType"):
        del event[name]
    event["run"]["facets"] = {
        "parent": {"run": "odd"},
        "unheard": [1, 2],
        "airflow": 7,
        "jobDependencies": [],
    }
    event["more"] = {"of": "it"}
    found = read(event)
    assert (found.state, found.parent_run, found.inputs) == ("OTHER", None, ())


def test_parents_roots_and_declared_parents_are_read() -> None:
    parent = {
        "run": {"runId": "dag-run"},
        "job": {"namespace": "jobs", "name": "dag"},
        "root": {"run": {"runId": "root-run"}, "job": {"namespace": "jobs", "name": "root"}},
    }
    upstream = {"upstream": [{"job": {"namespace": "jobs", "name": "extract"}}]}
    found = read(run_event("r", "START", 1, parent=parent, jobDependencies=upstream))
    assert (found.parent_run, found.root_run, found.parent_job) == (
        "dag-run",
        "root-run",
        JobName("jobs", "dag"),
    )
    assert found.parents == DeclaredParents(frozenset({JobName("jobs", "extract")}))


@pytest.mark.parametrize("upstream", ["['extract', 'clean']", ["extract", "clean"]])
def test_airflows_task_names_its_parents_within_its_dag(upstream: object) -> None:
    airflow = {"dag": {"dag_id": "fraud"}, "task": {"upstream_task_ids": upstream}}
    found = read(run_event("r", "START", 1, job="fraud.train", airflow=airflow))
    jobs = frozenset({JobName("jobs", "fraud.extract"), JobName("jobs", "fraud.clean")})
    assert found.parents == DeclaredParents(jobs, "fraud.")


def test_what_airflow_lists_as_inlets_is_declared_and_what_it_extracted_is_not() -> None:
    inlets = "[{'uri': 'warehouse/tx', 'extra': {}, 'type': 'asset'}]"
    airflow = {"dag": {"dag_id": "fraud"}, "task": {"inlets": inlets}}
    found = read(run_event("r", "START", 1, inputs=["tx", "cards"], airflow=airflow))
    assert [(use.name, use.is_declared) for use in found.inputs] == [("tx", True), ("cards", False)]


BAD: dict[str, tuple[Any, str]] = {
    "no job": ({"eventTime": "2026-11-23T05:00:00Z"}, "names no `job`"),
    "no time": ({**run_event("r", "START", 1), "eventTime": None}, "eventTime"),
    "a bad time": ({**run_event("r", "START", 1), "eventTime": "yesterday"}, '"yesterday" is not RFC 3339'),
    "an unknown state": (run_event("r", "DONE", 1), "'DONE' is none of START, RUNNING"),
    "no run id": ({**run_event("r", "START", 1), "run": {}}, "`run_id`" and "runId"),
    "an empty run id": (run_event("", "START", 1), "run.runId has 0 characters"),
    "a job without a name": (run_event("r", "START", 1, job=""), "job.name has 0 characters"),
    "a very long name": (run_event("r", "START", 1, job="x" * 600), "job.name has 600 characters, 1 to 512"),
    "inputs that are none": ({**run_event("r", "START", 1), "inputs": "tx"}, "$.inputs"),
    "too many inputs": (run_event("r", "START", 1, inputs=["t"] * 5_001), "inputs has 5001 datasets"),
    "not an object": ([1], "not an OpenLineage event"),
}


@pytest.mark.parametrize("case", BAD)
def test_a_bad_event_is_refused_with_what_is_wrong(case: str) -> None:
    event, told = BAD[case]
    error = refusal(event)
    assert error.reason == "openlineage"
    assert told in error.detail


def test_what_is_not_json_or_too_large_is_refused() -> None:
    with pytest.raises(SignalRejected, match="json: not JSON"):
        read_event(b"{")
    with pytest.raises(SignalRejected, match="too-large"):
        read_event(b" " * (1 << 20) + b"{}")


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text("aé'[:\\\"", max_size=8),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text("aé'[:\\\"", max_size=8), inner, max_size=3)
    ),
    max_leaves=8,
)


@given(
    st.dictionaries(
        st.sampled_from(["eventTime", "eventType", "run", "job", "inputs", "outputs", "dataset", "producer"]),
        JSON,
    ),
    st.dictionaries(st.sampled_from(["parent", "airflow", "jobDependencies", "version"]), JSON),
)
def test_whatever_is_sent_is_read_or_refused(parts: dict[str, Any], facets: dict[str, Any]) -> None:
    event = {**run_event("r", "START", 1, inputs=["tx"], **facets), **parts}
    reason = "read"
    try:
        _, signal = read_event(json.dumps(event).encode())
        parse_signal(signal)
    except SignalRejected as error:
        reason = error.reason
    assert reason in ("read", "openlineage", "json")
