"""Lineage and spans over HTTP, on a real FLO: what their clients expect, and what FLO shows of it."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from tests.faces.conftest import Serve, Served
from tests.faces.observing import LOOPS, observing, run_event
from tests.faces.test_openapi import resolved
from tests.sources.test_otlp import protobuf, request, span

from flo.core.errors import Overloaded, StorageUnavailable
from flo.faces.http import Limits
from flo.sources.otlp import JSON, PROTOBUF

ROOT = {"parentSpanId": "", "kind": 2, "attributes": []}


def call(caller: str, called: str, number: int = 1) -> list[dict[str, Any]]:
    """The requests of a trace in which one service calls another: each sends its own spans."""
    trace, parent, child = f"{number:032x}", f"{number * 2:016x}", f"{number * 2 + 1:016x}"
    return [
        request(span(traceId=trace, spanId=parent, **ROOT), service=caller),
        request(span(traceId=trace, spanId=child, **{**ROOT, "parentSpanId": parent}), service=called),
    ]


async def test_lineage_shows_as_edges_and_undeclared_ones_as_findings(tmp_path: Path) -> None:
    async with observing(tmp_path) as flo:
        status, body = await flo.lineage(
            run_event("r1", "COMPLETE", 5, job="score", inputs=["profiles", "blocklist"], outputs=["scores"])
        )
        assert (status, body) == (201, {"accepted": 1, "duplicates": 0, "rejected": []})
        edges = await flo.edges(loop="score")
        assert {name: edge["status"] for name, edge in edges.items()} == {
            "dataset:warehouse/profiles -> job:jobs/score": "both",
            "dataset:warehouse/blocklist -> job:jobs/score": "phantom",
            "job:jobs/score -> dataset:warehouse/scores": "both",
            "loop:score -> loop:retrain": "declared",
        }
        (finding,) = (await flo.findings()).values()
        assert (finding["type"], finding["loop"]) == ("flo.edge.phantom", "score")
        _, _, listed = await flo.ask("GET", "/v1/edges")
        jsonschema.validate(listed, resolved("Edges"))


async def test_a_finding_of_an_edge_is_a_signal_that_a_rule_acts_on(tmp_path: Path) -> None:
    watch = (
        "on: flo.edge.phantom\nkey: data.subject\nrules:\n"
        "  - {id: tell, when: data.figures.count > 0, then: [{do: oncall.call, with: {about: '${data.detail}'}}]}\n"
    )
    engines = "engines: {oncall: {kind: stub}}\n"
    async with observing(tmp_path, {**LOOPS, "watch": watch}, flo_yaml=engines) as flo:
        await flo.lineage(run_event("r1", "COMPLETE", 5, job="score", inputs=["blocklist"]))
        await flo.findings()
        _, _, body = await flo.ask("GET", "/v1/commands", params={"loop": "watch"})
        (command,) = body["commands"]
        assert "dataset:warehouse/blocklist -> job:jobs/score was seen once" in command["arguments"]["about"]


async def test_rules_can_match_lineage(tmp_path: Path) -> None:
    failed = (
        'on: openlineage.run\nkey: data.job.name\nrules:\n  - {id: failed, when: data.eventType == "FAIL"}\n'
    )
    async with observing(tmp_path, {"failed": failed}) as flo:
        await flo.lineage([run_event("r1", "START", 1), run_event("r1", "FAIL", 2)])
        _, _, body = await flo.ask("GET", "/v1/decisions", params={"loop": "failed"})
        assert [decision["result"] for decision in body["decisions"]] == ["failed", None]


async def test_bad_events_are_refused_alone_and_named(tmp_path: Path) -> None:
    good = run_event("r1", "COMPLETE", 5)
    async with observing(tmp_path) as flo:
        status, body = await flo.lineage([good, {"eventTime": "x"}, good])
        assert (status, body["status"]) == (200, "partial_success")
        assert (body["accepted"], body["duplicates"], body["rejected"][0]["index"]) == (1, 1, 1)
        assert body["summary"] == {"received": 3, "successful": 2, "failed": 1}
        assert body["failed_events"][0]["retriable"] is False
        jsonschema.validate(body, resolved("LineageTaken"))
        status, body = await flo.lineage({"eventTime": "x"})
        assert (status, body["type"], body["reason"]) == (400, "urn:flo:problem:signal", "openlineage")
        for value, told in (([], "empty"), ("text", "not an OpenLineage event")):
            status, body = await flo.lineage(value)
            assert status == 400
            assert told in body["detail"]
        status, _, body = await flo.ask(
            "POST", "/api/v1/lineage", data=b"{}", headers={"Content-Type": "text/plain"}
        )
        assert (status, body["type"]) == (415, "urn:flo:problem:media-type")


async def test_events_may_be_compressed_pretty_and_one_a_line(tmp_path: Path) -> None:
    events = [run_event(f"r{number}", "COMPLETE", number) for number in range(3)]
    async with observing(tmp_path) as flo:
        zipped = {"Content-Type": "application/json", "Content-Encoding": "gzip"}
        body = gzip.compress(json.dumps(events[0], indent=2).encode())
        status, _, answer = await flo.ask("POST", "/api/v1/lineage", data=body, headers=zipped)
        assert (status, answer["accepted"]) == (201, 1)
        lines = b"\n".join(json.dumps(event).encode() for event in events)
        headers = {"Content-Type": "application/x-ndjson"}
        status, _, answer = await flo.ask("POST", "/api/v1/lineage", data=lines, headers=headers)
        assert (status, answer["accepted"], answer["duplicates"]) == (200, 2, 1)


@pytest.mark.parametrize("media", [JSON, PROTOBUF])
async def test_spans_of_several_senders_make_an_edge(tmp_path: Path, media: str) -> None:
    async with observing(tmp_path) as flo:
        for each in reversed(call("score", "exporter")):  # the parent's span ends last
            body = json.dumps(each).encode() if media == JSON else protobuf(each)
            headers = {"Content-Type": media, "Content-Encoding": "gzip"}
            status, answered, answer = await flo.ask(
                "POST", "/v1/traces", data=gzip.compress(body), headers=headers
            )
            assert (status, answered["Content-Type"]) == (200, media)
            assert answer == ({} if media == JSON else b"")
        edge = (await flo.edges(status="phantom"))["service:score -> service:exporter"]
        assert edge["evidence"]["traced"]["count"] == 1
        assert edge["evidence"]["traced"]["mean_ms"] == 250.0
        assert edge["loops"] == ["score"]


async def test_a_span_without_ids_is_a_partial_success(tmp_path: Path) -> None:
    async with observing(tmp_path) as flo:
        body = json.dumps(request(span(traceId=""), span())).encode()
        status, _, answer = await flo.ask(
            "POST", "/v1/traces", data=body, headers={"Content-Type": "application/json"}
        )
        assert (status, answer["partialSuccess"]["rejectedSpans"]) == (200, "1")


async def test_errors_of_spans_are_those_of_the_protocol(start: Serve) -> None:
    served = await start(limits=Limits(body_bytes_max=1_000))
    good = json.dumps(request(span())).encode()

    async def post(body: bytes, media: str = JSON) -> tuple[int, Any, Any]:
        return await served.post("/v1/traces", body, media)

    status, _, body = await post(b"{")
    assert (status, body["code"]) == (400, 3)
    assert "not an OTLP trace request" in body["message"]
    status, headers, body = await post(b"\xff\xff", PROTOBUF)
    assert (status, headers["Content-Type"], body[:2]) == (400, PROTOBUF, b"\x08\x03")
    status, _, body = await post(b" " * 2_000 + good)
    assert (status, body["code"]) == (413, 8)
    served.service.fail_next = [Overloaded("too many spans wait", 2.5)]
    status, headers, body = await post(good)
    assert (status, headers["Retry-After"], body) == (429, "3", {"code": 8, "message": "too many spans wait"})
    served.service.fail_next = [StorageUnavailable("the disk is full", 1.0)]
    status, headers, body = await post(good)
    assert (status, headers["Retry-After"], body["code"]) == (503, "1", 14)
    status, _, body = await post(b"x", "text/plain")
    assert (status, body["type"]) == (415, "urn:flo:problem:media-type")
    served.service.fail_next = [ValueError("secret inside")]
    status, _, body = await post(good)
    assert (status, body["type"]) == (500, "urn:flo:problem:internal")


async def test_overload_of_lineage_says_when_to_come_back(served: Served) -> None:
    event = json.dumps(run_event("r", "START", 1)).encode()
    for error, expected in ((Overloaded("full", 2.0), 429), (StorageUnavailable("the disk is full"), 503)):
        served.service.fail_next = [error]
        status, headers, body = await served.post("/api/v1/lineage", event, "application/json")
        assert (status, body["status"]) == (expected, expected)
        assert int(headers["Retry-After"]) >= 1


async def test_edges_are_paged_and_asked_for_by_what_they_are(tmp_path: Path) -> None:
    async with observing(tmp_path) as flo:
        for number in range(7):
            await flo.lineage(run_event(f"r{number}", "COMPLETE", number, job="score", inputs=[f"d{number}"]))
        seen: list[str] = []
        cursor: dict[str, str] = {}
        while True:
            _, _, body = await flo.ask(
                "GET", "/v1/edges", params={"limit": "3", "status": "phantom", **cursor}
            )
            seen += [edge["from"] for edge in body["edges"]]
            if body["next"] is None:
                break
            cursor = {"cursor": body["next"]}
        assert seen == [f"dataset:warehouse/d{number}" for number in reversed(range(7))]
        assert await flo.edges(evidence="traced") == {}
        assert await flo.edges(loop="retrain", status="declared") != {}
        for query, told in (
            ("status=ghost", "there are phantom, both, declared, never-seen, observed"),
            ("evidence=rumour", "there are context, fetched, traced, reported, declared"),
            ("cursor=AAAA", "not one FLO gave"),
        ):
            status, _, body = await flo.ask("GET", f"/v1/edges?{query}")
            assert (status, body["type"]) == (400, "urn:flo:problem:bad-request")
            assert told in body["detail"]
