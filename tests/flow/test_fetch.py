"""Fetching: against a real server, and (where time matters) against a scripted transport on a simulated
clock.
"""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import pytest
from aiohttp import web

from flo.core.errors import UsageError
from flo.core.loop.definition import DependencyDefinition, Place
from flo.flow.fetch import Fetcher
from flo.flow.http_get import BODY_BYTES_MAX, FetchFailed
from flo.runtimes.clock import SteadyClock
from flo.runtimes.simulated.clock import SimulatedClock

S = 1_000_000_000
MS = 1_000_000
Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]
Serve = Callable[[Handler], Awaitable[str]]


def definition(url: str = "http://h/{key}", **changes: Any) -> DependencyDefinition:
    place = Place("flo.yaml", 1, 1)
    fields: dict[str, Any] = {"name": "profiles", "kind": "http", "url": url, "place": place}
    return DependencyDefinition(**{**fields, "deadline_s": 5.0, **changes})


@pytest.fixture
async def serve() -> AsyncIterator[Serve]:
    runners: list[web.AppRunner] = []

    async def start(handler: Handler) -> str:
        app = web.Application()
        app.router.add_get("/{tail:.*}", handler)
        runner = web.AppRunner(app)
        runners.append(runner)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        return f"http://127.0.0.1:{runner.addresses[0][1]}/profiles/{{key}}"

    yield start
    for runner in runners:
        await runner.cleanup()


class ScriptedTransport:
    """Answers after `latency_ns` of simulated time with what `answer` says."""

    def __init__(self, clock: SimulatedClock, latency_ns: int = 0) -> None:
        self.clock = clock
        self.latency_ns = latency_ns
        self.urls: list[str] = []
        self.times_ns: list[int] = []
        self.in_flight = 0
        self.in_flight_max = 0
        self.fails: Callable[[int], FetchFailed | None] = lambda nth: None

    async def get(self, url: str) -> tuple[object, int]:
        self.urls.append(url)
        self.times_ns.append(self.clock.now_ns())
        self.in_flight += 1
        self.in_flight_max = max(self.in_flight, self.in_flight_max)
        error = self.fails(len(self.urls))
        await self.clock.sleep_until_ns(self.clock.now_ns() + self.latency_ns)
        self.in_flight -= 1
        if error is not None:
            raise error
        return {"url": url}, 100

    async def close(self) -> None: ...


def scripted(latency_ns: int = 0, **changes: Any) -> tuple[Fetcher, ScriptedTransport, SimulatedClock]:
    clock = SimulatedClock()
    transport = ScriptedTransport(clock, latency_ns)
    return Fetcher({"profiles": definition(**changes)}, clock, lambda _: transport), transport, clock


async def test_a_value_is_fetched_from_a_real_server(serve: Serve) -> None:
    async def handler(request: web.Request) -> web.Response:
        return web.json_response({"path": request.raw_path})

    fetcher = Fetcher({"profiles": definition(await serve(handler))}, SteadyClock())
    fetched = await fetcher.fetch("profiles", "card/7 ü?#")
    assert (fetched.missing, fetched.value) == (False, {"path": "/profiles/card%2F7%20%C3%BC%3F%23"})
    assert fetched.ms > 0
    stats = fetcher.stats()["profiles"]
    assert stats.requests == 1
    assert stats.p99_s is not None
    await fetcher.close()


@pytest.mark.parametrize(
    ("response", "reason"),
    [
        (lambda: web.Response(status=404), "status 404"),
        (lambda: web.Response(status=503), "status 503"),
        (lambda: web.Response(status=302, headers={"Location": "http://169.254.169.254/"}), "status 302"),
        (lambda: web.Response(text="<html>"), "not JSON"),
        (lambda: web.Response(body=b"[" * 100_000), "not JSON"),
        (lambda: web.Response(body=b" " * (BODY_BYTES_MAX + 1)), f"larger than {BODY_BYTES_MAX} bytes"),
    ],
)
async def test_what_is_no_value_is_missing_with_its_reason(
    serve: Serve, response: Callable[[], web.Response], reason: str
) -> None:
    async def handler(request: web.Request) -> web.Response:
        return response()

    fetcher = Fetcher({"profiles": definition(await serve(handler))}, SteadyClock())
    fetched = await fetcher.fetch("profiles", "k")
    assert (fetched.missing, fetched.reason, fetched.value) == (True, reason, None)
    await fetcher.close()


async def test_a_body_without_end_is_cut_at_the_limit(serve: Serve) -> None:
    async def handler(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        while True:
            await response.write(b" " * 65_536)

    fetcher = Fetcher({"profiles": definition(await serve(handler))}, SteadyClock())
    assert (await fetcher.fetch("profiles", "k")).reason.startswith("larger than")
    await fetcher.close()


async def test_a_service_that_is_down_is_missing_by_name() -> None:
    fetcher = Fetcher({"profiles": definition("http://127.0.0.1:1/{key}")}, SteadyClock())
    assert (await fetcher.fetch("profiles", "k")).reason.startswith("unreachable")
    await fetcher.close()


async def test_a_miss_returns_at_the_deadline_and_the_late_answer_still_fills_the_cache() -> None:
    fetcher, transport, clock = scripted(100 * MS, deadline_s=0.02, cache_s=5.0)
    fetch = asyncio.ensure_future(fetcher.fetch("profiles", "k"))
    await clock.advance(20 * MS)
    assert fetch.done()
    assert (fetch.result().reason, fetch.result().ms) == ("deadline", 20.0)
    await clock.advance(100 * MS)
    again = await fetcher.fetch("profiles", "k")
    assert (again.missing, again.age_s, len(transport.urls)) == (False, 0.02, 1)
    assert fetcher.stats()["profiles"].late == 1


async def test_identical_fetches_in_flight_are_one_request() -> None:
    fetcher, transport, clock = scripted(10 * MS)
    fetches = [asyncio.ensure_future(fetcher.fetch("profiles", "k")) for _ in range(50)]
    await clock.advance(10 * MS)
    assert {str(fetch.result().value) for fetch in fetches} == {str({"url": "http://h/k"})}
    assert len(transport.urls) == 1
    assert fetcher.stats()["profiles"].coalesced == 49


async def test_a_cached_value_is_used_until_its_time_and_not_after() -> None:
    fetcher, transport, clock = scripted(cache_s=5.0)
    for wait_ns, requests in ((0, 1), (5 * S, 1), (1, 2)):
        await clock.advance(wait_ns)
        fetch = asyncio.ensure_future(fetcher.fetch("profiles", "k"))
        await clock.advance(0)
        assert not fetch.result().missing
        assert len(transport.urls) == requests


async def test_a_service_in_trouble_is_not_remembered_but_a_404_is() -> None:
    fetcher, transport, clock = scripted(cache_s=5.0)
    transport.fails = lambda nth: FetchFailed("status 503" if nth == 1 else "status 404")
    reasons = []
    for _ in range(3):
        fetch = asyncio.ensure_future(fetcher.fetch("profiles", "k"))
        await clock.advance(MS)
        reasons.append(fetch.result().reason)
    assert reasons == ["status 503", "status 404", "status 404"]
    assert len(transport.urls) == 2


async def test_concurrency_and_rate_are_held() -> None:
    fetcher, transport, clock = scripted(50 * MS, concurrency=4, rate_per_s=100.0)
    fetches = [asyncio.ensure_future(fetcher.fetch("profiles", f"k{n}")) for n in range(200)]
    await clock.advance(5 * S)
    assert not any(fetch.result().missing for fetch in fetches)
    assert transport.in_flight_max == 4
    for first in transport.times_ns:
        assert sum(1 for at in transport.times_ns if first <= at < first + S) <= 1 + 110


async def test_nothing_is_sent_for_callers_that_are_all_gone() -> None:
    fetcher, transport, clock = scripted(100 * MS, concurrency=1, deadline_s=0.02)
    fetches = [asyncio.ensure_future(fetcher.fetch("profiles", f"k{n}")) for n in range(100)]
    await clock.advance(10 * S)
    assert {fetch.result().reason for fetch in fetches} == {"deadline"}
    assert len(transport.urls) == 1
    assert fetcher.stats()["profiles"].queued == 0


async def test_a_caller_that_gives_up_disturbs_nobody() -> None:
    fetcher, _, clock = scripted(10 * MS)
    first, second = (asyncio.ensure_future(fetcher.fetch("profiles", "k")) for _ in range(2))
    await clock.settle()
    first.cancel()
    await clock.advance(10 * MS)
    assert second.result().missing is False


async def test_requests_stay_within_a_tenth_above_what_was_asked_for() -> None:
    fetcher, transport, _ = scripted()
    transport.fails = lambda nth: FetchFailed("disconnected", stale=True)
    for n in range(1_000):
        assert (await fetcher.fetch("profiles", f"k{n}")).reason == "disconnected"
    assert 1_050 < len(transport.urls) <= 1_102


async def test_aiohttp_does_not_send_again_behind_our_back() -> None:
    """A server that closes every kept connection on its second request: aiohttp's own retry would hide in no
    figure.
    """
    requests = itertools.count(1)
    seen: list[int] = []

    async def serve_once(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        for turn in range(2):
            try:
                await reader.readuntil(b"\r\n\r\n")
            except asyncio.IncompleteReadError:
                break
            seen.append(next(requests))
            if turn == 0:
                writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}")
        writer.close()

    server = await asyncio.start_server(serve_once, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    url = f"http://127.0.0.1:{port}/{{key}}"
    fetcher = Fetcher({"profiles": definition(url, concurrency=1)}, SteadyClock())
    for n in range(40):
        await fetcher.fetch("profiles", f"k{n}")
    assert len(seen) == fetcher.stats()["profiles"].requests <= 45
    await fetcher.close()
    server.close()


async def test_an_unusable_key_is_missing_and_sends_nothing() -> None:
    fetcher, transport, _ = scripted()
    fetched = await fetcher.fetch("profiles", "../admin")
    assert fetched.reason.startswith("unusable key")
    assert transport.urls == []


async def test_closing_serves_callers_that_wait_and_refuses_new_ones() -> None:
    fetcher, _, clock = scripted(S, deadline_s=2.0)
    fetch = asyncio.ensure_future(fetcher.fetch("profiles", "k"))
    await clock.settle()
    closing = asyncio.ensure_future(fetcher.close())
    await clock.settle()
    assert (await fetcher.fetch("profiles", "x")).reason == "closed"
    await clock.advance(2 * S)
    assert fetch.result().missing is False
    assert closing.done()


async def test_an_unknown_dependency_is_named() -> None:
    fetcher, _, _ = scripted()
    with pytest.raises(UsageError, match="the dependencies are: profiles"):
        await fetcher.fetch("profile", "k")
