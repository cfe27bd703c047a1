"""What changes a running FLO: kill, pause and resume, dead letters that leave, and the bundle."""

from __future__ import annotations

from typing import Any

from aiohttp import web

from flo.faces.http.body import read_object
from flo.faces.http.lists import VALUE_CHARS_MAX, check_filter, read_query
from flo.faces.http.problems import Refused
from flo.faces.http.state import STATE, answer
from flo.flow.views.rows import DEAD_LETTER_KEYS
from flo.ports.service import DeadLetterOrder

NOTE_CHARS_MAX = 4096
KEY_CHARS_MAX = 512

KILL_KEYS = frozenset({"key", "note"})
BUNDLE_KEYS = frozenset({"files", "note"})
NOTE_KEYS = frozenset({"note"})
FILTER_KEYS = frozenset({*DEAD_LETTER_KEYS, "ids", "cursor", "limit", "note", "dry_run"})
REPLAY_KEYS = FILTER_KEYS | {"resend"}

IDS_MAX = 1_000
PAGE_MAX = 1_000
CURSOR_CHARS_MAX = 16_384


async def post_kill(request: web.Request) -> web.Response:
    """End a loop's open iterations, or those of one key."""
    state = request.app[STATE]
    body = await read_object(request, state.limits, KILL_KEYS)
    key = _text(body, "key", None, KEY_CHARS_MAX)
    note = _text(body, "note", "", NOTE_CHARS_MAX)
    return answer(await state.service.kill(request.match_info["name"], key, note or ""))


async def get_pipelines(request: web.Request) -> web.Response:
    """Every pipeline, the paused ones first: since when, by whom and why, and how much is parked."""
    read_query(request, request.app[STATE], ())
    return answer({"pipelines": await request.app[STATE].service.pipelines(), "next": None})


async def post_pause(request: web.Request) -> web.Response:
    """Pause a pipeline: its signals are parked, its jobs paused where their engines can. Repeatable."""
    state = request.app[STATE]
    body = await read_object(request, state.limits, NOTE_KEYS)
    note = _text(body, "note", "", NOTE_CHARS_MAX)
    return answer(await state.service.pause(request.match_info["name"], note or ""))


async def post_resume(request: web.Request) -> web.Response:
    """Resume a pipeline: what is parked is decided, in order, once each. The note, which is kept, is asked for."""
    state = request.app[STATE]
    body = await read_object(request, state.limits, NOTE_KEYS)
    note = _note(body, "what failed, and what was changed")
    return answer(await state.service.resume(request.match_info["name"], note))


async def post_replay(request: web.Request) -> web.Response:
    """Replay a page of dead letters, oldest first: signals under the bundle in force, commands under their own keys."""
    state = request.app[STATE]
    body = await read_object(request, state.limits, REPLAY_KEYS)
    if body.get("resend") and not body.get("dry_run"):
        _note(body, "how it is known that the commands were not done")
    return answer(await state.service.replay_dead_letters(_order(body)))


async def post_drop(request: web.Request) -> web.Response:
    """Drop a page of dead letters, oldest first. The note, which is kept, says why and is asked for."""
    state = request.app[STATE]
    body = await read_object(request, state.limits, FILTER_KEYS)
    if not body.get("dry_run"):
        _note(body, "why they may go")
    return answer(await state.service.drop_dead_letters(_order(body)))


def _note(body: dict[str, Any], what: str) -> str:
    note = _text(body, "note", None, NOTE_CHARS_MAX)
    if note is None or not note.strip():
        raise Refused("bad-request", f"`note` is missing: say {what}; it is kept in the ledger")
    return note


def _order(body: dict[str, Any]) -> DeadLetterOrder:
    query = {
        name: check_filter(name, value)
        for name in DEAD_LETTER_KEYS
        if (value := _text(body, name, None, VALUE_CHARS_MAX)) is not None
    }
    ids = body.get("ids", [])
    if not isinstance(ids, list) or len(ids) > IDS_MAX or not all(isinstance(each, str) for each in ids):
        raise Refused("bad-request", f"`ids` must be a list of at most {IDS_MAX} dead letter ids")
    limit = body.get("limit", PAGE_MAX)
    if type(limit) is not int or not 1 <= limit <= PAGE_MAX:
        raise Refused("bad-request", f"`limit` must be a number from 1 to {PAGE_MAX}")
    for name in ("dry_run", "resend"):
        if not isinstance(body.get(name, False), bool):
            raise Refused("bad-request", f"`{name}` must be true or false")
    return DeadLetterOrder(
        query=query,
        ids=tuple(ids),
        cursor=_text(body, "cursor", None, CURSOR_CHARS_MAX),
        limit=limit,
        note=_text(body, "note", "", NOTE_CHARS_MAX) or "",
        resend=body.get("resend", False),
        dry_run=body.get("dry_run", False),
    )


async def get_bundle(request: web.Request) -> web.Response:
    """The running bundle: its revision and files."""
    return answer(await request.app[STATE].service.bundle())


async def put_bundle(request: web.Request) -> web.Response:
    """Check a whole bundle and swap it in; a bad one changes nothing."""
    state = request.app[STATE]
    body = await read_object(request, state.limits, BUNDLE_KEYS)
    files = body.get("files")
    if not isinstance(files, dict) or not files:
        raise Refused(
            "bad-request", "`files` must be an object of path to text, with all files of the bundle"
        )
    for path, text in files.items():
        if not isinstance(text, str):
            raise Refused("bad-request", f"`files`: {path[:100]!r} must be a text")
    note = _text(body, "note", "", NOTE_CHARS_MAX)
    return answer(
        await state.service.put_bundle(
            {path: text.encode("utf-8") for path, text in files.items()}, note or ""
        )
    )


def _text(body: dict[str, Any], name: str, default: str | None, chars_max: int) -> str | None:
    value = body.get(name, default)
    if value is not None and (not isinstance(value, str) or len(value) > chars_max):
        raise Refused("bad-request", f"`{name}` must be a text of at most {chars_max} characters")
    return value
