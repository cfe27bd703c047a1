"""Below HTTP: what is no HTTP, what never ends, what is cut off."""

from __future__ import annotations

import asyncio
import contextlib
import json

import pytest
from tests.faces.conftest import Serve, Served, line
from tests.faces.memory import MemoryService

from flo.core.errors import UsageError
from flo.faces.http import Limits, build_app, serve


async def talk(served: Served, sent: bytes, *, half: bool = False) -> bytes:
    """Send bytes; everything that comes back until the other side closes."""
    reader, writer = await asyncio.open_connection("127.0.0.1", served.port)
    writer.write(sent)
    if half:
        writer.write_eof()
    answer = await asyncio.wait_for(reader.read(), 20)
    writer.close()
    return answer


def problem(answer: bytes) -> dict[str, object]:
    head, _, body = answer.partition(b"\r\n\r\n")
    assert b"application/problem+json" in head, answer
    found = json.loads(body)
    assert isinstance(found, dict)
    return found


@pytest.mark.parametrize(
    "sent",
    [
        b"nonsense\r\n\r\n",
        b"GET / HTTP/9.9\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost localhost\r\n\r\n",
        b"POST /v1/signals HTTP/1.1\r\nHost: localhost\r\nContent-Length: x\r\n\r\n",
        b"POST /v1/signals HTTP/1.1\r\nHost: localhost\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc",
    ],
)
async def test_what_is_no_http_is_a_400_problem_and_the_end_of_the_connection(
    served: Served, sent: bytes
) -> None:
    answer = await talk(served, sent)
    assert problem(answer)["type"] == "urn:flo:problem:bad-request"
    assert b"Traceback" not in answer


async def test_a_head_that_is_too_large_is_a_431(served: Served) -> None:
    answer = await talk(served, b"GET /" + b"x" * 20_000 + b" HTTP/1.1\r\n\r\n")
    assert answer.startswith(b"HTTP/1.0 431") or answer.startswith(b"HTTP/1.1 431")
    answer = await talk(served, b"GET / HTTP/1.1\r\nHost: localhost\r\nX: " + b"x" * 20_000 + b"\r\n\r\n")
    assert problem(answer)["status"] == 431


async def test_a_head_that_dribbles_is_cut_off(start: Serve) -> None:
    served = await start(limits=Limits(head_timeout_s=0.2))
    reader, writer = await asyncio.open_connection("127.0.0.1", served.port)
    writer.write(b"GET /healthz HTTP/1.1\r\nHo")

    async def dribble() -> None:
        while True:
            await asyncio.sleep(0.02)
            writer.write(b"o")

    dribbling = asyncio.ensure_future(dribble())
    with contextlib.suppress(
        ConnectionResetError
    ):  # what is written after the cut may be answered by a reset
        assert await asyncio.wait_for(reader.read(), 20) == b""
    dribbling.cancel()
    writer.close()


async def test_a_connection_that_says_nothing_is_closed(start: Serve) -> None:
    served = await start(limits=Limits(head_timeout_s=0.1))
    assert await talk(served, b"") == b""


async def test_a_body_that_dribbles_is_a_408(start: Serve) -> None:
    served = await start(limits=Limits(body_timeout_s=0.2))
    head = b"POST /v1/signals HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/x-ndjson\r\n"
    answer = await talk(served, head + b"Content-Length: 1000\r\n\r\n{")
    assert problem(answer)["type"] == "urn:flo:problem:timeout"
    assert served.service.raws == []


async def test_a_body_that_is_cut_off_takes_nothing(served: Served) -> None:
    head = b"POST /v1/signals HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/x-ndjson\r\n"
    await talk(served, head + b"Content-Length: 1000\r\n\r\n" + line(1) + b"\n", half=True)
    assert served.service.raws == []


async def test_a_body_said_to_be_too_large_is_refused_before_it_is_sent(served: Served) -> None:
    head = b"POST /v1/signals HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/x-ndjson\r\n"
    answer = await talk(served, head + b"Content-Length: 99999999\r\n\r\n")
    assert problem(answer)["type"] == "urn:flo:problem:too-large"


async def test_a_port_that_is_taken_and_an_address_that_is_not_ours_are_wrong_use(served: Served) -> None:
    app = build_app(MemoryService())
    with pytest.raises(UsageError, match=f"port {served.port} is taken"):
        await serve(app, "127.0.0.1", served.port)
    with pytest.raises(UsageError, match=r"192\.0\.2\.1"):
        await serve(app, "192.0.2.1", 0)
    with pytest.raises(UsageError, match=r"no\.such\.host"):
        await serve(app, "no.such.host.invalid", 0)
