"""The webhook engine against real servers: what is sent, what an answer means, and where no request ever
goes.
"""

from __future__ import annotations

import asyncio
import ipaddress
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import pytest
from aiohttp import web
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.flow.dispatching import S, make_command

from flo.core.errors import UsageError
from flo.core.signal import parse_signal
from flo.engines.address_guard import AddressGuard, AddressRefused, is_public
from flo.engines.http_client import BODY_BYTES_MAX, idempotency_key
from flo.engines.signature import sign, verify
from flo.engines.webhook import WebhookEngine
from flo.ports.engine import Answer, EngineRejected, EngineUnavailable, FateUnknown, KeyClass, Status
from flo.runtimes.clock import SteadyClock
from flo.runtimes.simulated.clock import SimulatedClock

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


class Receiver:
    """A server that keeps what it was sent and answers as told."""

    def __init__(self) -> None:
        self.requests: list[tuple[web.Request, bytes]] = []
        self.respond: Handler = self._ok
        self.port = 0

    async def _ok(self, request: web.Request) -> web.StreamResponse:
        return web.json_response({"ok": True})

    async def handle(self, request: web.Request) -> web.StreamResponse:
        self.requests.append((request, await request.read()))
        return await self.respond(request)

    def answers(self, **response: Any) -> None:
        async def respond(request: web.Request) -> web.StreamResponse:
            return web.Response(**response)

        self.respond = respond

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/hooks?team=risk"


@pytest.fixture
async def receiver() -> AsyncIterator[Receiver]:
    found = Receiver()
    app = web.Application()
    app.router.add_route("*", "/{tail:.*}", found.handle)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    found.port = runner.addresses[0][1]
    yield found
    await runner.cleanup()


async def post(url: str, timeout_s: float = 5.0, command: Any = None, **options: Any) -> Answer:
    engine = WebhookEngine(url, options.pop("clock", SteadyClock()), **options)
    await engine.start(lambda key, answer: None)
    try:
        return await engine.send(command or make_command(arguments={"queue": "manual"}), timeout_s=timeout_s)
    finally:
        await engine.close()


async def test_a_command_is_posted_as_a_signed_cloudevent_with_its_key(receiver: Receiver) -> None:
    clock = SimulatedClock()
    answer = await post(receiver.url, secret="s3cret", headers={"X-Team": "risk"}, clock=clock)
    assert answer == Answer(status=Status.SUCCEEDED, result={"ok": True})
    ((request, body),) = receiver.requests
    assert (request.method, request.path_qs) == ("POST", "/hooks?team=risk")
    assert request.headers["Idempotency-Key"] == make_command().key
    assert request.headers["X-Team"] == "risk"
    assert verify(b"s3cret", body, request.headers["FLO-Signature"], clock.now_ns() // S)
    event = parse_signal(body)
    assert (event.id, event.type, event.floroot, event.flohops) == (
        make_command().key,
        "flo.command.call",
        "root-1",
        2,
    )
    data = json.loads(body)["data"]
    assert (data["verb"], data["arguments"], data["seq"]) == ("call", {"queue": "manual"}, 1)


async def test_202_is_accepted_and_its_end_comes_by_signal(receiver: Receiver) -> None:
    receiver.answers(status=202, headers={"Location": "/jobs/7"})
    answer = await post(receiver.url)
    assert (answer.status, answer.reference) == (Status.ACCEPTED, "/jobs/7")
    with pytest.raises(EngineRejected):
        await WebhookEngine(receiver.url, SteadyClock()).ask(make_command(), timeout_s=1.0)


@pytest.mark.parametrize("status", [400, 401, 403, 404, 409, 410, 422, 501])
async def test_a_refusal_is_never_asked_again(receiver: Receiver, status: int) -> None:
    receiver.answers(status=status, text="no such queue")
    with pytest.raises(EngineRejected, match=rf"answered {status}.*"):
        await post(receiver.url)


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
async def test_redirects_are_not_followed(receiver: Receiver, status: int) -> None:
    receiver.answers(status=status, headers={"Location": "http://169.254.169.254/latest/meta-data"})
    with pytest.raises(EngineRejected, match="redirects are not followed"):
        await post(receiver.url)
    assert len(receiver.requests) == 1


@pytest.mark.parametrize(
    ("header", "retry_after_s"),
    [
        ("7", 7.0),
        ("Thu, 01 Jan 2026 00:01:30 GMT", 90.0),
        ("Wed, 01 Jan 2020 00:00:00 GMT", 0.0),
        ("soon", None),
        ("-1", None),
    ],
)
@pytest.mark.parametrize("status", [408, 425, 429, 503])
async def test_what_asks_for_patience_is_unavailable_with_its_time(
    receiver: Receiver, status: int, header: str, retry_after_s: float | None
) -> None:
    receiver.answers(status=status, headers={"Retry-After": header})
    with pytest.raises(EngineUnavailable) as caught:
        await post(receiver.url, clock=SimulatedClock())
    assert caught.value.retry_after_s == retry_after_s
    assert caught.value.reached


@pytest.mark.parametrize("status", [500, 502, 504])
async def test_a_server_error_leaves_the_fate_unknown(receiver: Receiver, status: int) -> None:
    receiver.answers(status=status)
    with pytest.raises(FateUnknown):
        await post(receiver.url)


async def test_a_connection_cut_after_the_request_leaves_the_fate_unknown(receiver: Receiver) -> None:
    async def cut(request: web.Request) -> web.StreamResponse:
        assert request.transport is not None
        request.transport.abort()
        return web.Response()

    receiver.respond = cut
    with pytest.raises(FateUnknown, match="after the request went out"):
        await post(receiver.url)
    assert len(receiver.requests) == 1, "it was sent again behind our back"


async def test_an_answer_that_does_not_come_in_time_leaves_the_fate_unknown(receiver: Receiver) -> None:
    async def sleep(request: web.Request) -> web.StreamResponse:
        await asyncio.sleep(30)
        return web.Response()

    receiver.respond = sleep
    with pytest.raises(FateUnknown, match=r"within 0.2 s"):
        await post(receiver.url, timeout_s=0.2)


async def test_a_refused_connection_was_certainly_not_done() -> None:
    with pytest.raises(EngineUnavailable) as caught:
        await post("http://127.0.0.1:1/")
    assert not caught.value.reached


async def test_a_host_that_never_shakes_hands_was_certainly_not_asked() -> None:
    writers: list[asyncio.StreamWriter] = []
    server = await asyncio.start_server(lambda reader, writer: writers.append(writer), "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    with pytest.raises(EngineUnavailable) as caught:
        # TLS against a server that never shakes hands: the request itself cannot have gone out.
        await post(f"https://127.0.0.1:{port}/", timeout_s=0.3)
    assert not caught.value.reached
    for writer in writers:
        writer.close()
    server.close()


async def test_a_large_or_endless_answer_is_cut_and_the_success_stands(receiver: Receiver) -> None:
    receiver.answers(body=b"x" * (BODY_BYTES_MAX + 1))
    answer = await post(receiver.url)
    assert (answer.status, answer.result) == (Status.SUCCEEDED, None)
    assert "not kept" in answer.detail
    receiver.answers(text="ok")
    assert (await post(receiver.url)).detail == "ok"


async def test_a_receiver_that_honours_keys_gets_kept_connections_and_the_class_follows(
    receiver: Receiver,
) -> None:
    for honours, connections in ((True, 1), (False, 3)):
        receiver.requests.clear()
        engine = WebhookEngine(receiver.url, SteadyClock(), honours_key=honours)
        assert engine.key_class is (KeyClass.HONOURS_KEY if honours else KeyClass.NEITHER)
        await engine.start(lambda key, answer: None)
        peers = set()
        for n in range(3):
            await engine.send(make_command(n), timeout_s=5.0)
            peers.add(receiver.requests[-1][0].headers["Idempotency-Key"])
        await engine.close()
        assert len(peers) == 3
        ports = {request._transport_peername for request, _ in receiver.requests}
        assert len(ports) == connections


async def test_arguments_change_the_path_only_where_the_engine_allows_it_and_never_the_host(
    receiver: Receiver,
) -> None:
    command = make_command(arguments={"path": "/a b/@evil.example:80/?x#y", "n": 1})
    await post(receiver.url, command=command)
    assert receiver.requests[-1][0].path_qs == "/hooks?team=risk"
    with pytest.raises(EngineRejected, match="dot segment"):
        await post(receiver.url, paths=True, command=make_command(arguments={"path": "/a/../b"}))
    await post(
        receiver.url,
        paths=True,
        command=make_command(arguments={"path": "/a b/@evil.example:80/?x#y", "n": 1}),
    )
    request, body = receiver.requests[-1]
    assert request.raw_path == "/hooks/a%20b/%40evil.example%3A80/%3Fx%23y?team=risk"
    assert json.loads(body)["data"]["arguments"] == {"n": 1}


@pytest.mark.parametrize(
    "url",
    [
        "http://10.0.0.5/", "http://192.168.1.1/", "http://172.16.0.1/", "http://169.254.169.254/", "http://0.0.0.0/",
        "http://[fe80::1]/", "http://[fc00::1]/", "http://[::]/", "http://[::ffff:10.0.0.1]/", "http://224.0.0.1/",
        "http://[64:ff9b::a00:1]/", "http://100.64.0.1/", "http://0xa000001/", "http://167772161/",
    ],
)  # fmt: skip
def test_an_address_that_is_not_public_is_refused_when_the_engine_is_made(url: str) -> None:
    with pytest.raises(UsageError, match="allow_private"):
        WebhookEngine(url, SteadyClock())
    WebhookEngine(url, SteadyClock(), allow_private=True)


@pytest.mark.parametrize(
    "url", ["http://127.0.0.1/", "http://[::1]/", "http://localhost:9/", "https://example.com/x"]
)
def test_public_hosts_and_a_literal_loopback_are_fine(url: str) -> None:
    assert WebhookEngine(url, SteadyClock()).key_class is KeyClass.NEITHER


async def test_a_name_that_points_inside_is_refused_after_it_was_resolved(
    receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    loop = asyncio.get_running_loop()
    real = loop.getaddrinfo
    looked_up: list[str] = []

    async def rebinding(host: Any, port: Any, **options: Any) -> Any:
        looked_up.append(host)
        return await real("127.0.0.1", port, **options)

    monkeypatch.setattr(loop, "getaddrinfo", rebinding)
    url = f"http://hooks.example.com:{receiver.port}/"
    with pytest.raises(EngineRejected, match="resolves to no public address"):
        await post(url)
    assert receiver.requests == []
    assert (await post(url, allow_private=True)).status is Status.SUCCEEDED
    assert looked_up == ["hooks.example.com", "hooks.example.com"], "one look-up a connection"


async def test_the_guard_resolves_no_other_host() -> None:
    guard = AddressGuard("example.com", allow_private=True)
    with pytest.raises(AddressRefused, match=r"example.com alone"):
        await guard.resolve("evil.example")


@given(value=st.ip_addresses())
@settings(max_examples=200, print_blob=True)
def test_an_ipv4_address_hidden_in_an_ipv6_one_is_judged_by_what_it_is(value: Any) -> None:
    if isinstance(value, ipaddress.IPv4Address):
        for hidden in (f"::ffff:{value}", f"64:ff9b::{value}"):
            assert is_public(ipaddress.IPv6Address(hidden)) == is_public(value)


@pytest.mark.parametrize(
    "options",
    [
        {"headers": {"idempotency-key": "x"}},
        {"headers": {"Host": "evil"}},
        {"url": "ftp://h/"},
        {"url": "http:///x"},
    ],
)
def test_settings_that_would_undo_a_promise_are_refused(options: dict[str, Any]) -> None:
    with pytest.raises(UsageError):
        WebhookEngine(**{"url": "https://example.com/", "clock": SteadyClock(), **options})


@given(key=st.text(min_size=1, max_size=400))
@settings(max_examples=200, print_blob=True)
def test_any_key_fits_a_header_and_different_keys_stay_different(key: str) -> None:
    header = idempotency_key(key)
    assert header.isascii()
    assert header.isprintable()
    assert len(header) <= 255
    assert header != idempotency_key(key + "x")


def test_a_signature_holds_for_its_body_its_secret_and_its_time_alone() -> None:
    header = sign(b"secret", b"body", 1_000)
    assert verify(b"secret", b"body", header, 1_010)
    assert not verify(b"secret", b"body2", header, 1_010)
    assert not verify(b"other", b"body", header, 1_010)
    assert not verify(b"secret", b"body", header, 2_000)
    assert not verify(b"secret", b"body", header.replace("1000", "1001"), 1_010)
    assert not verify(b"secret", b"body", "t=,v1=", 1_010)
    assert not verify(b"secret", b"body", "", 1_010)
