"""What can be read: decisions, loops, dead letters, iterations, commands."""

from __future__ import annotations

import difflib
import re
from collections.abc import Awaitable, Callable, Mapping

from aiohttp import web

from flo.core.errors import SignalRejected
from flo.core.signal import time_from_text
from flo.faces.http.problems import Refused
from flo.faces.http.state import STATE, State, answer
from flo.flow.observe.listing import EDGE_KEYS
from flo.flow.views.decisions import QUERY_KEYS
from flo.flow.views.rows import COMMAND_KEYS, DEAD_LETTER_KEYS, ITERATION_KEYS
from flo.flow.watchdogs.board import QUERY_KEYS as FINDING_KEYS
from flo.ports.service import Page

VALUE_CHARS_MAX = 1024

_CURSOR = re.compile(r"[A-Za-z0-9_.~:=+/-]{1,512}\Z")
_LIMIT = re.compile(r"[0-9]{1,6}\Z")

Fetch = Callable[[Mapping[str, str], int, str | None], Awaitable[Page]]


def read_query(
    request: web.Request, state: State, filters: tuple[str, ...]
) -> tuple[dict[str, str], int, str | None]:
    """(filters, limit, cursor), each checked: an unknown or repeated parameter is refused, not ignored."""
    query: dict[str, str] = {}
    limit = state.limits.list_limit
    cursor: str | None = None
    for name, value in request.query.items():
        if len(request.query.getall(name)) > 1:
            raise Refused("bad-request", f"parameter {name[:60]!r} is given twice")
        if name == "limit":
            limit = _limit(value, state.limits.list_limit_max)
        elif name == "cursor":
            if not _CURSOR.match(value):
                raise Refused("bad-request", "cursor: give back the `next` of the last page, unchanged")
            cursor = value
        elif name in filters:
            query[name] = check_filter(name, value)
        else:
            raise Refused("bad-request", _unknown_parameter(name, (*filters, "limit", "cursor")))
    return query, limit, cursor


def _limit(value: str, limit_max: int) -> int:
    if not _LIMIT.match(value) or not 1 <= int(value) <= limit_max:
        raise Refused("bad-request", f"limit: a number from 1 to {limit_max}")
    return int(value)


def check_filter(name: str, value: str) -> str:
    """A filter's value; `Refused` says what it should be."""
    if not value or len(value) > VALUE_CHARS_MAX:
        raise Refused("bad-request", f"{name}: 1 to {VALUE_CHARS_MAX} characters")
    if name in ("since", "until"):
        try:
            time_from_text(value)
        except SignalRejected:
            raise Refused("bad-request", f"{name}: an RFC 3339 time, as 2026-11-23T05:10:12Z is") from None
    return value


def _unknown_parameter(name: str, known: tuple[str, ...]) -> str:
    near = difflib.get_close_matches(name, known, 1)
    hint = f"; did you mean {near[0]!r}?" if near else f"; there are {', '.join(known)}"
    return f"unknown parameter {name[:60]!r}{hint}"


async def _page(request: web.Request, filters: tuple[str, ...], plural: str, fetch: Fetch) -> web.Response:
    query, limit, cursor = read_query(request, request.app[STATE], filters)
    page = await fetch(query, limit, cursor)
    return answer({plural: page.items, "next": page.next})


async def get_decisions(request: web.Request) -> web.Response:
    """Decisions, newest first."""
    return await _page(request, QUERY_KEYS, "decisions", request.app[STATE].service.decisions)


async def get_decision(request: web.Request) -> web.Response:
    """One whole record."""
    return answer(await request.app[STATE].service.decision(request.match_info["id"]))


async def get_explanation(request: web.Request) -> web.Response:
    """Why: the record, each rule's trace, the chain of contexts, and the same as a text for people."""
    explanation = await request.app[STATE].service.explain(request.match_info["id"])
    if request.headers.get("Accept", "").startswith("text/plain"):
        return web.Response(text=explanation["text"], headers={"Server": "flo"})
    return answer(explanation)


async def get_loops(request: web.Request) -> web.Response:
    """Every loop with its health."""
    read_query(request, request.app[STATE], ())
    return answer({"loops": await request.app[STATE].service.loops(), "next": None})


async def get_loop(request: web.Request) -> web.Response:
    """One loop: health, rates, latencies, open iterations, state."""
    return answer(await request.app[STATE].service.loop(request.match_info["name"]))


async def get_dead_letters(request: web.Request) -> web.Response:
    """Dead letters, newest first."""
    return await _page(request, DEAD_LETTER_KEYS, "dead_letters", request.app[STATE].service.dead_letters)


async def get_dead_letter(request: web.Request) -> web.Response:
    """One dead letter with the original bytes."""
    return answer(await request.app[STATE].service.dead_letter(request.match_info["id"]))


async def get_iterations(request: web.Request) -> web.Response:
    """Iterations, newest first."""
    return await _page(request, ITERATION_KEYS, "iterations", request.app[STATE].service.iterations)


async def get_commands(request: web.Request) -> web.Response:
    """Commands with their outcomes, newest first."""
    return await _page(request, COMMAND_KEYS, "commands", request.app[STATE].service.commands)


async def get_watchdogs(request: web.Request) -> web.Response:
    """What watchdogs find that holds now, newest first."""
    return await _page(request, FINDING_KEYS, "watchdogs", request.app[STATE].service.watchdogs)


async def get_edges(request: web.Request) -> web.Response:
    """Edges observed, held against those declared: newest first, then declared ones that were not seen."""
    return await _page(request, EDGE_KEYS, "edges", request.app[STATE].service.edges)
