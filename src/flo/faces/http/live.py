"""How a running FLO is watched: probes, metrics, the event stream."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import msgspec
from aiohttp import web

from flo.core.errors import Overloaded
from flo.faces.http.state import STATE, State, answer

METRICS_TYPE = "text/plain; version=0.0.4; charset=utf-8"

_encode = msgspec.json.Encoder().encode


async def get_healthz(_request: web.Request) -> web.Response:
    """Alive: the event loop turns."""
    return answer({"status": "ok"})


async def get_readyz(request: web.Request) -> web.Response:
    """Ready to take signals; 503 with the reason where not."""
    ready, why_not = request.app[STATE].service.ready()
    return answer({"ready": ready, "detail": why_not}, 200 if ready else 503)


async def get_openapi(request: web.Request) -> web.Response:
    """This description."""
    return web.Response(
        body=request.app[STATE].openapi, headers={"Content-Type": "application/json", "Server": "flo"}
    )


async def get_metrics(request: web.Request) -> web.Response:
    """Prometheus text: the service's own, and the requests answered here."""
    state = request.app[STATE]
    body = await state.service.metrics()
    if body and not body.endswith(b"\n"):
        body += b"\n"
    return web.Response(
        body=body + _request_metrics(state), headers={"Content-Type": METRICS_TYPE, "Server": "flo"}
    )


def _request_metrics(state: State) -> bytes:
    lines = [
        "# HELP flo_http_requests_total Requests answered, by route and status.",
        "# TYPE flo_http_requests_total counter",
    ]
    for (method, path, status), count in sorted(state.requests.items()):
        lines.append(f'flo_http_requests_total{{method="{method}",route="{path}",status="{status}"}} {count}')
    lines += [
        "# HELP flo_http_streams Event streams open now.",
        "# TYPE flo_http_streams gauge",
        f"flo_http_streams {len(state.streams)}",
        "",
    ]
    return "\n".join(lines).encode()


async def get_stream(request: web.Request) -> web.StreamResponse:
    """Live events. Nothing is kept for a client: what it missed is in the lists. A slow one is dropped."""
    state = request.app[STATE]
    if len(state.streams) >= state.limits.streams_max:
        raise Overloaded(f"{len(state.streams)} streams are open, the most there can be", 5.0)
    response = web.StreamResponse(
        headers={
            "Content-Type": "text/event-stream",
            "Cache-Control": "no-store",
            "X-Accel-Buffering": "no",
            "Server": "flo",
        }
    )
    task = asyncio.current_task()
    assert task is not None
    state.streams.add(task)
    try:
        await response.prepare(request)
        await _pump(request, response, state)
    finally:
        state.streams.discard(task)
    return response


async def _pump(request: web.Request, response: web.StreamResponse, state: State) -> None:
    """Events to the client until either side ends. Heartbeats leave a waiting `anext` alone: none is lost."""
    await response.write(b"retry: 2000\n\n")
    events: AsyncIterator[dict[str, Any]] = state.service.stream()
    waiting: asyncio.Task[dict[str, Any]] | None = None
    number = 0
    try:
        while True:
            if waiting is None:
                waiting = asyncio.ensure_future(anext(events))
            done, _ = await asyncio.wait((waiting,), timeout=state.limits.heartbeat_s)
            if not done:
                chunk = b": still here\n\n"
            else:
                try:
                    event = waiting.result()
                except StopAsyncIteration:
                    return
                waiting = None
                number += 1
                chunk = _frame(number, event)
            if not await _write(request, response, chunk, state):
                return
    except ConnectionError:
        return  # the client left
    finally:
        if waiting is not None:
            waiting.cancel()
            await asyncio.gather(waiting, return_exceptions=True)
        close = getattr(events, "aclose", None)
        if close is not None:
            await close()


async def _write(request: web.Request, response: web.StreamResponse, chunk: bytes, state: State) -> bool:
    """Write unless the client is too slow; then cut the connection, for a normal end would wait for it."""
    transport = request.transport
    if transport is None or transport.is_closing():
        return False
    if transport.get_write_buffer_size() > state.limits.stream_buffer_bytes_max:
        transport.abort()
        return False
    try:
        async with asyncio.timeout(state.limits.heartbeat_s):
            await response.write(chunk)
    except TimeoutError:
        transport.abort()
        return False
    return True


def _frame(number: int, event: dict[str, Any]) -> bytes:
    kind = str(event.get("type", "event")).replace("\n", " ").replace("\r", " ")
    return b"id: %d\nevent: %b\ndata: %b\n\n" % (number, kind.encode("utf-8", "replace"), _encode(event))


async def end_streams(app: web.Application) -> None:
    """On shutdown: streams never end by themselves, and would hold up everything else."""
    tasks = list(app[STATE].streams)
    for task in tasks:
        task.cancel()
