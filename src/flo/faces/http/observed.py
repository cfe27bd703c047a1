"""What others tell of their work: `POST /api/v1/lineage` and `POST /v1/traces`, where their clients already send it."""

from __future__ import annotations

import asyncio
from typing import Any

from aiohttp import web

from flo.core.errors import SignalRejected
from flo.core.signal import split_batch, split_lines
from flo.faces.http.body import is_deeper, read_body
from flo.faces.http.events import checked
from flo.faces.http.intake import summarise
from flo.faces.http.limits import Limits
from flo.faces.http.problems import ProblemDocument, Refused, problem_of
from flo.faces.http.state import STATE, answer
from flo.ports.service import Receipt
from flo.sources.otlp import JSON, PROTOBUF, Spans, failure, read_spans, success

LINEAGE_TYPES = ("application/json", "application/x-ndjson")
TRACE_TYPES = (PROTOBUF, JSON)

KEPT = frozenset({"contract", "expression", "context"})
"""Reasons for which FLO has the event all the same: a loop that listens to lineage refused it."""

_CODES = {400: 3, 408: 4, 413: 8, 429: 8, 503: 14}
"""HTTP statuses as the codes of gRPC that a `google.rpc.Status` carries; 2 is unknown."""

LARGE_BYTES = 256 << 10
"""Bodies from here on are decoded on a thread: half a megabyte of spans takes ten milliseconds."""


async def post_lineage(request: web.Request) -> web.Response:
    """Take OpenLineage events: one, an array, or one a line. 201 for one, 200 for many, once they are durable.

    Each becomes a signal (`openlineage.run`, `openlineage.job`, `openlineage.dataset`) with the event as its data. Bad
    ones of many are refused alone; where not one was readable the whole is a 400.
    """
    state = request.app[STATE]
    if request.content_type not in LINEAGE_TYPES:
        reads = ", ".join(LINEAGE_TYPES)
        raise Refused("media-type", f"content-type: this route reads {reads}", {"Accept": reads})
    body = await read_body(request, state.limits)
    many = True
    if request.content_type == "application/x-ndjson":
        raws = split_lines(body)
    elif body.lstrip()[:1] == b"[":
        raws = split_batch(body)
    else:
        raws, many = [body], False
    if not body.strip() or not raws:
        raise Refused("bad-request", "the body is empty: send at least one OpenLineage event")
    if len(raws) > state.limits.batch_count_max:
        detail = (
            f"{len(raws)} events in one request, at most {state.limits.batch_count_max}: send them in several"
        )
        raise Refused("too-large", detail)
    events = [_event(raw, state.limits) for raw in raws]
    taken = iter(await state.service.lineage([event for event in events if isinstance(event, bytes)]))
    receipts = [event if isinstance(event, Receipt) else next(taken) for event in events]
    summary = summarise(receipts)
    rejected = summary["rejected"]
    if len(rejected) == len(receipts) and all(row["reason"] not in KEPT for row in rejected):
        first = rejected[0]
        detail = (
            first["detail"] if not many else f"none of {len(rejected)} events; the first: {first['detail']}"
        )
        raise Refused("signal", detail, members={"reason": first["reason"], "rejected": rejected})
    return answer(_batch(summary, len(receipts)) if many else summary, 200 if many else 201)


def _event(raw: bytes, limits: Limits) -> bytes | Receipt:
    try:
        return checked(raw, limits)
    except SignalRejected as error:
        return Receipt("rejected", error.reason, error.detail)


def _batch(summary: dict[str, Any], received: int) -> dict[str, Any]:
    """With the members that clients of OpenLineage's batch route read, beside our own."""
    rejected = summary["rejected"]
    return {
        **summary,
        "status": "partial_success" if rejected else "success",
        "summary": {"received": received, "successful": received - len(rejected), "failed": len(rejected)},
        "failed_events": [
            {"index": row["index"], "reason": row["detail"], "retriable": False} for row in rejected
        ],
    }


async def post_traces(request: web.Request) -> web.Response:
    """Take spans as OTLP/HTTP sends them, in protobuf or JSON. 200 once they are taken in.

    Spans that are none are refused alone, by the partial success of the protocol. Errors of the body are answered as
    the protocol wants, with a `google.rpc.Status` in the encoding of the request.
    """
    media = request.content_type
    if media not in TRACE_TYPES:
        reads = ", ".join(TRACE_TYPES)
        raise Refused("media-type", f"content-type: this route reads {reads}", {"Accept": reads})
    try:
        found = await _take_spans(request, media)
    except Exception as error:
        problem = problem_of(error)
        if problem.kind.status >= 500 and problem.kind.status != 503:
            raise
        return _failed(problem, media)
    return web.Response(body=success(found, media), headers={"Content-Type": media, "Server": "flo"})


async def _take_spans(request: web.Request, media: str) -> Spans:
    state = request.app[STATE]
    body = await read_body(request, state.limits)
    if media == JSON and is_deeper(body, state.limits.json_depth_max):
        raise SignalRejected("too-deep", f"nests deeper than {state.limits.json_depth_max} levels")
    if len(body) < LARGE_BYTES:
        found = read_spans(body, media)
    else:
        found = await asyncio.to_thread(read_spans, body, media)
    if found.spans:
        await state.service.traces(found.spans)
    return found


def _failed(problem: ProblemDocument, media: str) -> web.Response:
    status = problem.kind.status
    response = web.Response(
        status=status,
        body=failure(_CODES.get(status, 2), problem.detail, media),
        headers={"Content-Type": media, "Server": "flo", **problem.headers},
    )
    if problem.closes:
        response.force_close()
    return response
