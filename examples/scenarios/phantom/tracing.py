"""A small OpenTelemetry exporter: spans of a service, sent to FLO's `/v1/traces` as OTLP/HTTP in JSON."""

from __future__ import annotations

import asyncio
import secrets
import sys
import time
from typing import Any

import aiohttp

EVERY_S = 0.5
SERVER, CLIENT = 2, 3


class Tracer:
    """Collects the spans of the services of one process and exports them in batches."""

    def __init__(self, collector: str) -> None:
        self._url = f"{collector}/v1/traces"
        self._spans: dict[str, list[dict[str, Any]]] = {}
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        self._task = asyncio.create_task(self._run())

    def finish(
        self,
        service: str,
        kind: int,
        name: str,
        trace: str,
        parent: str,
        span: str,
        start_ns: int,
        peer: str = "",
    ) -> None:
        """A span that ends now."""
        attributes = [{"key": "server.address", "value": {"stringValue": peer}}] if peer else []
        found = {
            "traceId": trace,
            "spanId": span,
            "parentSpanId": parent,
            "name": name,
            "kind": kind,
            "startTimeUnixNano": str(start_ns),
            "endTimeUnixNano": str(time.time_ns()),
            "attributes": attributes,
        }
        self._spans.setdefault(service, []).append(found)

    async def _run(self) -> None:
        async with aiohttp.ClientSession() as session:
            while True:
                await asyncio.sleep(EVERY_S)
                await self._export(session)

    async def _export(self, session: aiohttp.ClientSession) -> None:
        taken, self._spans = self._spans, {}
        if not taken:
            return
        request = {
            "resourceSpans": [
                {
                    "resource": {"attributes": [{"key": "service.name", "value": {"stringValue": service}}]},
                    "scopeSpans": [{"spans": spans}],
                }
                for service, spans in taken.items()
            ]
        }
        async with session.post(self._url, json=request) as response:
            if response.status != 200:
                print(f"the collector answered {response.status}", file=sys.stderr)


def new_id(size: int) -> str:
    return secrets.token_hex(size)


def traceparent(trace: str, span: str) -> str:
    """The W3C header that carries a trace to the next service."""
    return f"00-{trace}-{span}-01"


def caller_of(header: str | None) -> tuple[str, str]:
    """(trace, parent span) of a request; a new trace where it carries none."""
    if header is None:
        return new_id(16), ""
    _, trace, parent, _ = header.split("-")
    return trace, parent
