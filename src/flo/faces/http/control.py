"""What changes a running FLO: kill, and the bundle."""

from __future__ import annotations

from typing import Any

from aiohttp import web

from flo.faces.http.body import read_object
from flo.faces.http.problems import Refused
from flo.faces.http.state import STATE, answer

NOTE_CHARS_MAX = 4096
KEY_CHARS_MAX = 512

KILL_KEYS = frozenset({"key", "note"})
BUNDLE_KEYS = frozenset({"files", "note"})


async def post_kill(request: web.Request) -> web.Response:
    """End a loop's open iterations, or those of one key."""
    state = request.app[STATE]
    body = await read_object(request, state.limits, KILL_KEYS)
    key = _text(body, "key", None, KEY_CHARS_MAX)
    note = _text(body, "note", "", NOTE_CHARS_MAX)
    return answer(await state.service.kill(request.match_info["name"], key, note or ""))


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
