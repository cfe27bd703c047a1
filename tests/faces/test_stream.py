"""Live events: sent as they happen, nothing kept for the slow."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable

from tests.faces.conftest import Serve, Served, line
from tests.faces.memory import MemoryService

from flo.faces.http import Limits, build_app, serve

STRUCTURED = "application/cloudevents+json"


async def until(condition: Callable[[], object]) -> None:
    """Wait for something another task does; the test's own time limit is its bound."""
    while not condition():
        await asyncio.sleep(0.005)


async def test_events_arrive_as_server_sent_events(served: Served) -> None:
    headers = {"Last-Event-ID": "77"}
    async with served.session.get(served.url + "/v1/stream", headers=headers) as response:
        assert response.headers["Content-Type"] == "text/event-stream"
        await until(lambda: served.service.subscribers)
        await served.post("/v1/signals", line(), STRUCTURED)
        text = b""
        while not text.endswith(b"}\n\n"):
            text += await response.content.readany()
    fields = dict(
        row.split(b": ", 1) for row in text.split(b"\n") if row.startswith((b"id", b"event", b"data"))
    )
    assert (fields[b"id"], fields[b"event"]) == (b"1", b"decision")
    assert json.loads(fields[b"data"])["result"] == "approve"


async def test_a_silent_stream_beats_and_loses_no_event_by_it(start: Serve) -> None:
    served = await start(limits=Limits(heartbeat_s=0.02))
    async with served.session.get(served.url + "/v1/stream") as response:
        text = b""
        while text.count(b": still here\n\n") < 3:
            text += await response.content.readany()
        await served.post("/v1/signals", line(), STRUCTURED)
        while b"event: decision" not in text:
            text += await response.content.readany()


async def test_a_client_that_leaves_is_forgotten(served: Served) -> None:
    async with served.session.get(served.url + "/v1/stream"):
        await until(lambda: served.service.subscribers)
    await served.post("/v1/signals", line(), STRUCTURED)
    await served.post("/v1/signals", line(2), STRUCTURED)
    await asyncio.wait_for(until(lambda: not served.service.subscribers), 10)


async def test_a_client_that_does_not_read_is_dropped_not_buffered(start: Serve) -> None:
    served = await start(limits=Limits(heartbeat_s=0.1, stream_buffer_bytes_max=1000))
    reader, writer = await asyncio.open_connection("127.0.0.1", served.port, limit=1024)
    writer.write(b"GET /v1/stream HTTP/1.1\r\nHost: localhost\r\n\r\n")
    await until(lambda: served.service.subscribers)
    queue = served.service.subscribers[0]
    for number in range(9000):
        queue.put_nowait({"type": "big", "n": number, "text": "x" * 2000})
    await asyncio.wait_for(until(lambda: not served.service.subscribers), 20)
    writer.close()
    del reader


async def test_there_are_only_so_many_streams(start: Serve) -> None:
    served = await start(limits=Limits(streams_max=1))
    async with served.session.get(served.url + "/v1/stream"):
        await until(lambda: served.service.subscribers)
        status, headers, body = await served.ask("GET", "/v1/stream")
        assert (status, headers["Retry-After"], body["status"]) == (429, "5", 429)


async def test_the_end_of_the_service_and_a_stop_of_the_server_end_streams(start: Serve) -> None:
    served = await start()
    async with served.session.get(served.url + "/v1/stream") as response:
        await until(lambda: served.service.subscribers)
        served.service.subscribers[0].put_nowait(None)
        await asyncio.wait_for(response.content.read(), 10)


async def test_stopping_the_server_ends_a_stream_at_once() -> None:
    service = MemoryService()
    runner, port = await serve(build_app(service), "127.0.0.1", 0)
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(b"GET /v1/stream HTTP/1.1\r\nHost: localhost\r\n\r\n")
    await until(lambda: service.subscribers)
    await asyncio.wait_for(runner.cleanup(), 5)
    assert (await reader.read()).startswith(b"HTTP/1.1 200")  # and then the end
    assert service.subscribers == []
    writer.close()
