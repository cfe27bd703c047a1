"""Spans as OTLP/HTTP carries them: protobuf and JSON, whole or in part, and the answers its clients expect.

Of a span FLO reads ids, times, kind, status, and the few attributes that name its service and its other end. A span
without valid ids is refused alone and counted in the answer's partial success; what is beyond a limit is too.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

import msgspec
from google.protobuf.message import DecodeError
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTracePartialSuccess,
    ExportTraceServiceRequest,
    ExportTraceServiceResponse,
)

from flo.core.errors import SignalRejected
from flo.core.span import CLIENT, CONSUMER, INTERNAL, NAME_CHARS_MAX, PRODUCER, SERVER, Span

PROTOBUF = "application/x-protobuf"
JSON = "application/json"

SPANS_MAX = 20_000
"""Of one request; a collector sends 8,192 at most unless told otherwise."""

ATTRIBUTES_MAX = 128
"""Looked at in one span or resource: the default limit of the SDKs. The rest is ignored."""

LINKS_MAX = 32

UNKNOWN_SERVICE = "unknown_service"
"""What the specification calls a service that does not say its name."""

_KINDS = (INTERNAL, INTERNAL, SERVER, CLIENT, PRODUCER, CONSUMER)

_NAMED = frozenset(
    {
        "peer.service", "server.address", "server.port", "net.peer.name", "net.peer.port", "db.system",
        "db.system.name", "db.name", "db.namespace", "messaging.system", "messaging.destination.name", "rpc.system",
    }
)  # fmt: skip
"""Attributes of which the other end of a client's or a producer's span is made."""

_NS_MAX = 2**63 - 1


class Spans(msgspec.Struct, frozen=True):
    """What was read of one request. `rejected` spans were refused; `message` says why the first of them was."""

    spans: list[Span]
    rejected: int = 0
    message: str = ""


# -- JSON: ids as hex, 64-bit integers as texts or numbers ---------------------------------------------------


class _Value(msgspec.Struct, rename="camel"):
    string_value: str | None = None
    int_value: int | str | None = None


class _Attribute(msgspec.Struct):
    key: str = ""
    value: _Value | None = None


class _Link(msgspec.Struct, rename="camel"):
    trace_id: str = ""
    span_id: str = ""


class _Status(msgspec.Struct):
    code: int = 0


class _Span(msgspec.Struct, rename="camel"):
    trace_id: str = ""
    span_id: str = ""
    parent_span_id: str = ""
    name: str = ""
    kind: int = 0
    start_time_unix_nano: int | str = 0
    end_time_unix_nano: int | str = 0
    attributes: list[_Attribute] = []
    links: list[_Link] = []
    status: _Status | None = None


class _Scope(msgspec.Struct):
    spans: list[_Span] = []


class _Resource(msgspec.Struct):
    attributes: list[_Attribute] = []


class _ResourceSpans(msgspec.Struct, rename="camel"):
    resource: _Resource | None = None
    scope_spans: list[_Scope] = []


class _Request(msgspec.Struct, rename="camel"):
    resource_spans: list[_ResourceSpans] = []


_decode_json = msgspec.json.Decoder(_Request).decode
_encode_json = msgspec.json.Encoder().encode


def read_spans(body: bytes, media: str) -> Spans:
    """All spans of one request. `SignalRejected` where the body as a whole is not a request."""
    if media == JSON:
        try:
            return _gather(_of_json(_decode_json(body)))
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            raise SignalRejected("otlp", f"not an OTLP trace request in JSON: {error}") from None
    try:
        request = ExportTraceServiceRequest.FromString(body)
    except DecodeError:
        raise SignalRejected("otlp", "not an OTLP trace request in protobuf: it cannot be decoded") from None
    return _gather(_of_protobuf(request))


def _gather(found: Iterable[Span | str]) -> Spans:
    spans: list[Span] = []
    rejected, message = 0, ""
    for span in found:
        if isinstance(span, str):
            rejected += 1
            message = message or span
        elif len(spans) >= SPANS_MAX:
            rejected += 1
            message = message or f"a request has at most {SPANS_MAX} spans: send smaller batches"
        else:
            spans.append(span)
    return Spans(spans, rejected, message)


def _of_json(request: _Request) -> Iterator[Span | str]:
    for resource in request.resource_spans:
        attributes = resource.resource.attributes if resource.resource is not None else []
        service = _service(_texts(attributes, frozenset({"service.name"})))
        for scope in resource.scope_spans:
            for span in scope.spans:
                yield _span(
                    service,
                    (span.trace_id.lower(), span.span_id.lower(), span.parent_span_id.lower()),
                    span.name,
                    span.kind,
                    (_whole(span.start_time_unix_nano), _whole(span.end_time_unix_nano)),
                    failed=span.status is not None and span.status.code == 2,
                    named=_texts(span.attributes, _NAMED) if span.kind in (3, 4) else {},
                    links=tuple(
                        (each.trace_id.lower(), each.span_id.lower()) for each in span.links[:LINKS_MAX]
                    ),
                )


def _texts(attributes: list[_Attribute], wanted: frozenset[str]) -> dict[str, str]:
    found = {}
    for each in attributes[:ATTRIBUTES_MAX]:
        if each.key in wanted and each.value is not None:
            value = each.value.string_value
            found[each.key] = str(each.value.int_value) if value is None else value
    return found


def _whole(value: int | str) -> int:
    if isinstance(value, int):
        return value
    return int(value) if value.isascii() and value.isdecimal() and len(value) < 20 else -1


# -- protobuf ------------------------------------------------------------------------------------------------


def _of_protobuf(request: ExportTraceServiceRequest) -> Iterator[Span | str]:
    for resource in request.resource_spans:
        service = _service(_proto_texts(resource.resource.attributes, frozenset({"service.name"})))
        for scope in resource.scope_spans:
            for span in scope.spans:
                kind = span.kind
                yield _span(
                    service,
                    (span.trace_id.hex(), span.span_id.hex(), span.parent_span_id.hex()),
                    span.name,
                    kind,
                    (span.start_time_unix_nano, span.end_time_unix_nano),
                    failed=span.status.code == 2,
                    named=_proto_texts(span.attributes, _NAMED) if kind in (3, 4) else {},
                    links=tuple((each.trace_id.hex(), each.span_id.hex()) for each in span.links[:LINKS_MAX]),
                )


def _proto_texts(attributes: Any, wanted: frozenset[str]) -> dict[str, str]:
    found = {}
    for each in attributes[:ATTRIBUTES_MAX]:
        if each.key in wanted:
            value = each.value
            found[each.key] = value.string_value or (str(value.int_value) if value.int_value else "")
    return found


# -- both ----------------------------------------------------------------------------------------------------


def _service(named: dict[str, str]) -> str:
    return (named.get("service.name") or UNKNOWN_SERVICE)[:NAME_CHARS_MAX]


def _span(
    service: str,
    ids: tuple[str, str, str],
    name: str,
    kind: int,
    times: tuple[int, int],
    *,
    failed: bool,
    named: dict[str, str],
    links: tuple[tuple[str, str], ...],
) -> Span | str:
    """The span, or why it is none."""
    trace_id, span_id, parent_id = ids
    if not _is_id(trace_id, 32) or not _is_id(span_id, 16):
        return f"span {name[:40]!r} of {service[:40]!r}: its ids must be 16 and 8 bytes, and not all zero"
    start_ns, end_ns = times
    if not 0 < start_ns <= end_ns <= _NS_MAX:
        return f"span {span_id} of {service[:40]!r}: it ends before it starts, or has no times"
    return Span(
        trace_id=trace_id,
        span_id=span_id,
        parent_id=parent_id if _is_id(parent_id, 16) else "",
        service=service,
        name=name[:NAME_CHARS_MAX],
        kind=_KINDS[kind] if 0 <= kind < len(_KINDS) else INTERNAL,
        start_ns=start_ns,
        end_ns=end_ns,
        failed=failed,
        peer=_peer(named) if named else "",
        links=tuple(link for link in links if _is_id(link[0], 32) and _is_id(link[1], 16)),
    )


_HEX = frozenset("0123456789abcdef")


def _is_id(text: str, length: int) -> bool:
    return len(text) == length and _HEX.issuperset(text) and text.strip("0") != ""


def _peer(named: dict[str, str]) -> str:
    """The other end, by the most telling name there is."""
    service = named.get("peer.service")
    if service:
        return service[:NAME_CHARS_MAX]
    database = named.get("db.system.name") or named.get("db.system")
    if database:
        name = named.get("db.namespace") or named.get("db.name")
        return (f"{database}/{name}" if name else database)[:NAME_CHARS_MAX]
    queue = named.get("messaging.destination.name")
    if queue:
        return f"{named.get('messaging.system') or 'queue'}/{queue}"[:NAME_CHARS_MAX]
    host = named.get("server.address") or named.get("net.peer.name")
    if not host:
        return ""
    port = named.get("server.port") or named.get("net.peer.port")
    return (f"{host}:{port}" if port else host)[:NAME_CHARS_MAX]


# -- answers -------------------------------------------------------------------------------------------------


def success(found: Spans, media: str) -> bytes:
    """The answer to a request that was taken, whole or in part."""
    if media == JSON:
        partial = {"rejectedSpans": str(found.rejected), "errorMessage": found.message}
        return _encode_json({"partialSuccess": partial} if found.rejected else {})
    if not found.rejected:
        return b""
    partial_success = ExportTracePartialSuccess(rejected_spans=found.rejected, error_message=found.message)
    return bytes(ExportTraceServiceResponse(partial_success=partial_success).SerializeToString())


def failure(code: int, message: str, media: str) -> bytes:
    """The body of an error: a `google.rpc.Status`. `code` is gRPC's."""
    if media == JSON:
        return _encode_json({"code": code, "message": message})
    text = message.encode()[:4096]
    return b"\x08" + _varint(code) + b"\x12" + _varint(len(text)) + text


def _varint(value: int) -> bytes:
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)
