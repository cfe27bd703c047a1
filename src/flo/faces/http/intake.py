"""Signals in: `POST /v1/signals` and `POST /v1/decisions`."""

from __future__ import annotations

from typing import Any

from aiohttp import web

from flo.faces.http.body import read_body
from flo.faces.http.events import many_events, one_event
from flo.faces.http.problems import Refused
from flo.faces.http.state import STATE, answer
from flo.ports.service import Receipt

MALFORMED = frozenset({"json", "cloudevent", "too-large", "too-deep"})
"""Reasons for which nothing is kept of an event. Any other made a dead letter, and FLO has it."""


async def post_signals(request: web.Request) -> web.Response:
    """Take signals. 202 once they are durable; bad ones are refused alone, by index.

    Where not one event was readable the whole is a 400, so that a sender of garbage notices.
    """
    state = request.app[STATE]
    body = await read_body(request, state.limits)
    if not body and "ce-specversion" not in request.headers:
        raise Refused("bad-request", "the body is empty: send at least one CloudEvent")
    events = many_events(request, body, state.limits)
    good = [event for event in events if isinstance(event, bytes)]
    receipts = await state.service.ingest(good) if good else []
    if len(good) != len(events):
        ingested = iter(receipts)
        receipts = [event if isinstance(event, Receipt) else next(ingested) for event in events]
    summary = summarise(receipts)
    rejected = summary["rejected"]
    if rejected and len(rejected) == len(receipts) and all(row["reason"] in MALFORMED for row in rejected):
        first = rejected[0]
        detail = f"none of {len(rejected)} events can be read; the first: {first['detail']}"
        raise Refused("signal", detail, members={"reason": first["reason"], "rejected": rejected})
    return answer(summary, 202)


def summarise(receipts: list[Receipt]) -> dict[str, Any]:
    """Counts, and each rejected event by its place in the request."""
    accepted = duplicates = 0
    rejected: list[dict[str, Any]] = []
    for index, receipt in enumerate(receipts):
        if receipt.status == "accepted":
            accepted += 1
        elif receipt.status == "duplicate":
            duplicates += 1
        else:
            rejected.append({"index": index, "reason": receipt.reason, "detail": receipt.detail})
    return {"accepted": accepted, "duplicates": duplicates, "rejected": rejected}


async def post_decisions(request: web.Request) -> web.Response:
    """Decide one signal; answered once its decisions are committed."""
    state = request.app[STATE]
    body = await read_body(request, state.limits)
    raw = one_event(request, body, state.limits)
    return answer({"decisions": await state.service.decide(raw)})
