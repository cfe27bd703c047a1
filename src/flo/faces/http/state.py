"""What every handler works with, kept in the application under one typed key."""

from __future__ import annotations

import asyncio
from collections import Counter
from dataclasses import dataclass, field
from typing import Any

import msgspec
from aiohttp import web

from flo.faces.http.limits import Limits
from flo.faces.http.tokens import TokenTable
from flo.ports.service import Service

_encode = msgspec.json.Encoder().encode

_JSON_HEADERS = {"Content-Type": "application/json", "Server": "flo"}


@dataclass(slots=True)
class State:
    """One application's service, limits and counts."""

    service: Service
    tokens: TokenTable | None
    limits: Limits
    requests: Counter[tuple[str, str, int]] = field(
        default_factory=Counter
    )  # (method, path template, status)
    streams: set[asyncio.Task[Any]] = field(default_factory=set)
    openapi: bytes = b""


STATE = web.AppKey("flo.http.state", State)


def answer(value: Any, status: int = 200) -> web.Response:
    """`value` as JSON."""
    return web.Response(body=_encode(value), status=status, headers=_JSON_HEADERS)
