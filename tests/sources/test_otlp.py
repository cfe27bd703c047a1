"""OTLP/HTTP spans in both encodings, and the answers of the protocol."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTraceServiceRequest,
    ExportTraceServiceResponse,
)

from flo.core.errors import SignalRejected
from flo.core.span import CLIENT, SERVER, Span
from flo.sources.otlp import JSON, PROTOBUF, SPANS_MAX, Spans, failure, read_spans, success

TRACE, PARENT, CHILD = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331", "00f067aa0ba902b7"


def text(key: str, value: str) -> dict[str, Any]:
    return {"key": key, "value": {"stringValue": value}}


def request(*spans: dict[str, Any], service: str | None = "score") -> dict[str, Any]:
    attributes = [] if service is None else [text("service.name", service)]
    return {
        "resourceSpans": [{"resource": {"attributes": attributes}, "scopeSpans": [{"spans": list(spans)}]}]
    }


def span(**changes: Any) -> dict[str, Any]:
    return {
        "traceId": TRACE,
        "spanId": CHILD,
        "parentSpanId": PARENT,
        "name": "GET /profiles",
        "kind": 3,
        "startTimeUnixNano": "1767225600000000000",
        "endTimeUnixNano": "1767225600250000000",
        "attributes": [
            text("server.address", "10.0.0.3"),
            {"key": "server.port", "value": {"intValue": "8080"}},
        ],
        "status": {"code": 2},
        **changes,
    }


EXPECTED = Span(
    trace_id=TRACE,
    span_id=CHILD,
    parent_id=PARENT,
    service="score",
    name="GET /profiles",
    kind=CLIENT,
    start_ns=1_767_225_600_000_000_000,
    end_ns=1_767_225_600_250_000_000,
    failed=True,
    peer="10.0.0.3:8080",
)


def protobuf(value: dict[str, Any]) -> bytes:
    """The same request in protobuf, made by the library of OpenTelemetry."""
    made = ExportTraceServiceRequest()
    for resource in value["resourceSpans"]:
        into = made.resource_spans.add()
        for attribute in resource["resource"]["attributes"]:
            into.resource.attributes.add(key=attribute["key"]).value.string_value = attribute["value"][
                "stringValue"
            ]
        for each in resource["scopeSpans"][0]["spans"]:
            out = into.scope_spans.add().spans.add(
                trace_id=bytes.fromhex(each["traceId"]),
                span_id=bytes.fromhex(each["spanId"]),
                parent_span_id=bytes.fromhex(each["parentSpanId"]),
                name=each["name"],
                kind=each["kind"],
                start_time_unix_nano=int(each["startTimeUnixNano"]),
                end_time_unix_nano=int(each["endTimeUnixNano"]),
            )
            out.status.code = each["status"]["code"]
            for attribute in each["attributes"]:
                value = out.attributes.add(key=attribute["key"]).value
                if "intValue" in attribute["value"]:
                    value.int_value = int(attribute["value"]["intValue"])
                else:
                    value.string_value = attribute["value"]["stringValue"]
    return made.SerializeToString()


def test_both_encodings_give_the_same_span() -> None:
    value = request(span())
    assert read_spans(json.dumps(value).encode(), JSON) == Spans([EXPECTED])
    assert read_spans(protobuf(value), PROTOBUF) == Spans([EXPECTED])


def test_hex_may_be_of_either_case_and_numbers_of_either_form() -> None:
    value = request(span(traceId=TRACE.upper(), startTimeUnixNano=1767225600000000000))
    assert read_spans(json.dumps(value).encode(), JSON) == Spans([EXPECTED])


@pytest.mark.parametrize(
    ("attributes", "peer"),
    [
        ([text("peer.service", "profiles"), text("server.address", "10.0.0.3")], "profiles"),
        ([text("db.system", "postgresql"), text("db.name", "orders")], "postgresql/orders"),
        ([text("db.system.name", "redis")], "redis"),
        ([text("messaging.system", "kafka"), text("messaging.destination.name", "tx")], "kafka/tx"),
        ([text("net.peer.name", "old.example")], "old.example"),
        ([text("http.method", "GET")], ""),
    ],
)
def test_the_other_end_is_named_by_the_most_telling_attribute(attributes: list[Any], peer: str) -> None:
    (found,) = read_spans(json.dumps(request(span(attributes=attributes))).encode(), JSON).spans
    assert found.peer == peer
    (server,) = read_spans(json.dumps(request(span(attributes=attributes, kind=2))).encode(), JSON).spans
    assert (server.kind, server.peer) == (SERVER, ""), "a server's other end is its caller, who tells itself"


def test_a_service_without_a_name_is_called_what_the_specification_calls_it() -> None:
    (found,) = read_spans(json.dumps(request(span(), service=None)).encode(), JSON).spans
    assert found.service == "unknown_service"


@pytest.mark.parametrize(
    "change",
    [
        {"traceId": ""},
        {"traceId": "0" * 32},
        {"traceId": "xyz"},
        {"spanId": "0" * 16},
        {"endTimeUnixNano": "1"},
        {"startTimeUnixNano": "0"},
        {"startTimeUnixNano": "soon"},
    ],
)
def test_a_span_that_is_none_is_refused_alone(change: dict[str, Any]) -> None:
    found = read_spans(json.dumps(request(span(**change), span())).encode(), JSON)
    assert (found.spans, found.rejected) == ([EXPECTED], 1)
    assert "score" in found.message


def test_what_is_beyond_the_limit_is_counted_as_refused() -> None:
    many = request(*(span(spanId=f"{number:016x}") for number in range(1, SPANS_MAX + 4)))
    found = read_spans(json.dumps(many).encode(), JSON)
    assert (len(found.spans), found.rejected) == (SPANS_MAX, 3)
    assert "smaller batches" in found.message


def test_answers_are_those_of_the_protocol() -> None:
    whole, part = Spans([EXPECTED]), Spans([EXPECTED], 2, "two are none")
    assert (success(whole, PROTOBUF), success(whole, JSON)) == (b"", b"{}")
    assert json.loads(success(part, JSON)) == {
        "partialSuccess": {"rejectedSpans": "2", "errorMessage": "two are none"}
    }
    answer = ExportTraceServiceResponse.FromString(success(part, PROTOBUF)).partial_success
    assert (answer.rejected_spans, answer.error_message) == (2, "two are none")
    assert json.loads(failure(8, "full", JSON)) == {"code": 8, "message": "full"}
    long = "x" * 300
    assert failure(14, long, PROTOBUF) == b"\x08\x0e\x12\xac\x02" + long.encode()


@given(st.binary(max_size=200))
def test_any_bytes_are_a_request_or_refused(body: bytes) -> None:
    for media in (JSON, PROTOBUF):
        reason, spans = "otlp", []
        try:
            spans = read_spans(body, media).spans
        except SignalRejected as error:
            reason = error.reason
        assert reason == "otlp"
        assert all(len(each.trace_id) == 32 for each in spans)


@given(st.binary(max_size=40), st.integers(0, 300))
def test_a_request_with_flipped_bytes_is_read_or_refused(noise: bytes, at: int) -> None:
    body = protobuf(request(span(), span(spanId=PARENT)))
    at %= len(body)
    broken = body[:at] + noise + body[at + len(noise) :]
    try:
        found = read_spans(broken, PROTOBUF)
    except SignalRejected:
        return
    assert all(each.start_ns <= each.end_ns for each in found.spans)
