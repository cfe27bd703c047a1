"""A served FLO for every test that asks for one: a real server on a free port, and a real client."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import aiohttp
import pytest
from tests.faces.memory import MemoryService

from flo.faces.http import Limits, TokenTable, build_app, serve


def event(number: int = 0, card: str = "c1", **attributes: Any) -> dict[str, Any]:
    return {
        "specversion": "1.0",
        "id": f"e{number}",
        "source": "/gateway",
        "type": "tx.authorized",
        "time": "2026-11-23T05:10:12Z",
        "data": {"card": card, "amount": 12.5},
        **attributes,
    }


def line(number: int = 0, card: str = "c1", **attributes: Any) -> bytes:
    return json.dumps(event(number, card, **attributes)).encode()


class Served:
    """A client of one served application."""

    def __init__(self, service: MemoryService, session: aiohttp.ClientSession, port: int) -> None:
        self.service = service
        self.session = session
        self.port = port
        self.url = f"http://127.0.0.1:{port}"

    async def ask(self, method: str, path: str, **options: Any) -> tuple[int, Any, Any]:
        """(status, headers, body: decoded where JSON)."""
        async with self.session.request(method, self.url + path, **options) as response:
            body = await response.read()
            value = json.loads(body) if "json" in response.headers.get("Content-Type", "") else body
            return response.status, response.headers, value

    async def post(self, path: str, body: bytes, media: str, **headers: str) -> tuple[int, Any, Any]:
        return await self.ask("POST", path, data=body, headers={"Content-Type": media, **headers})


Serve = Callable[..., Awaitable[Served]]


@pytest.fixture
async def start() -> AsyncIterator[Serve]:
    """Serves as many applications as a test asks for."""
    opened: list[Any] = []

    async def start(tokens: TokenTable | None = None, limits: Limits | None = None) -> Served:
        service = MemoryService()
        runner, port = await serve(build_app(service, tokens=tokens, limits=limits), "127.0.0.1", 0)
        opened.append(runner)
        session = aiohttp.ClientSession()
        opened.append(session)
        return Served(service, session, port)

    yield start
    for thing in reversed(opened):
        await (thing.cleanup() if hasattr(thing, "cleanup") else thing.close())


@pytest.fixture
async def served(start: Serve) -> Served:
    return await start()
