"""PagerDuty's Events API v2 and Slack's incoming webhooks as their public documentation describes them.

They are not PagerDuty and not Slack, which cannot be had: what is checked and what is answered was written down from
PagerDuty's published OpenAPI document and Slack's pages on incoming webhooks and their errors. Neither is known to be
complete.
"""

from __future__ import annotations

import json
from collections import Counter
from typing import Any

import jsonschema
from aiohttp import web

from flo.core.signal import time_from_text

EVENT_SCHEMA = {
    "type": "object",
    "required": ["routing_key", "event_action"],
    "additionalProperties": False,
    "properties": {
        "routing_key": {"type": "string", "minLength": 32, "maxLength": 32},
        "event_action": {"enum": ["trigger", "acknowledge", "resolve"]},
        "dedup_key": {"type": "string", "maxLength": 255},
        "client": {"type": "string"},
        "client_url": {"type": "string"},
        "links": {"type": "array"},
        "images": {"type": "array"},
        "payload": {
            "type": "object",
            "required": ["summary", "severity", "source"],
            "additionalProperties": False,
            "properties": {
                "summary": {"type": "string", "minLength": 1, "maxLength": 1024},
                "source": {"type": "string", "minLength": 1},
                "severity": {"enum": ["critical", "warning", "error", "info"]},
                "timestamp": {"type": "string"},
                "component": {"type": "string"},
                "group": {"type": "string"},
                "class": {"type": "string"},
                "custom_details": {"type": "object"},
            },
        },
    },
    "allOf": [
        {"if": {"properties": {"event_action": {"const": "trigger"}}}, "then": {"required": ["payload"]}},
        {"if": {"properties": {"event_action": {"const": "resolve"}}}, "then": {"required": ["dedup_key"]}},
    ],
}
EVENT_BYTES_MAX = 512 * 1024


class Pager:
    """A server on a free port. `answers`: the next answers, instead of what would be said."""

    def __init__(self) -> None:
        self.port = 0
        self.answers: list[web.Response] = []
        self._runner: web.AppRunner | None = None

    async def start(self) -> None:
        app = web.Application(client_max_size=1 << 24)
        app.router.add_post("/{path:.*}", self._handle)
        self._runner = web.AppRunner(app, shutdown_timeout=0.1)
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", 0).start()
        self.port = self._runner.addresses[0][1]

    async def stop(self) -> None:
        assert self._runner is not None
        await self._runner.cleanup()

    async def _handle(self, request: web.Request) -> web.Response:
        body = await request.read()
        return self.answers.pop(0) if self.answers else self.take(request.path, body)

    def take(self, path: str, body: bytes) -> web.Response:
        raise NotImplementedError


class DocumentedPagerDuty(Pager):
    """Alerts by `dedup_key`, for one integration. A trigger under an open alert's key is noted there and wakes nobody."""

    def __init__(self, routing_key: str) -> None:
        super().__init__()
        self.routing_key = routing_key
        self.open: dict[str, dict[str, Any]] = {}
        self.opened: Counter[str] = Counter()

    def take(self, path: str, body: bytes) -> web.Response:
        assert path == "/v2/enqueue"
        if len(body) > EVENT_BYTES_MAX:
            return web.json_response({"status": "invalid event", "message": "too large"}, status=413)
        try:
            event = json.loads(body)
            jsonschema.validate(event, EVENT_SCHEMA)
            if "payload" in event:
                time_from_text(event["payload"]["timestamp"])
        except jsonschema.ValidationError as error:
            return self._invalid(error.message[:200])
        except ValueError:
            return self._invalid("JSON parse error")
        if event["routing_key"] != self.routing_key:
            return self._invalid("Invalid routing key")
        key = event["dedup_key"]
        if event["event_action"] == "resolve":
            self.open.pop(key, None)
        elif key not in self.open:
            self.open[key] = event["payload"]
            self.opened[key] += 1
        return web.json_response(
            {"status": "success", "message": "Event processed", "dedup_key": key}, status=202
        )

    def _invalid(self, problem: str) -> web.Response:
        value = {"status": "invalid event", "message": "Event object is invalid", "errors": [problem]}
        return web.json_response(value, status=400)


class DocumentedSlack(Pager):
    """One channel behind one incoming webhook. It posts what it is sent, as often as it is sent."""

    def __init__(self, path: str) -> None:
        super().__init__()
        self.path = path
        self.posted: list[str] = []

    def take(self, path: str, body: bytes) -> web.Response:
        if path != self.path:
            return web.Response(status=404, text="no_service")
        try:
            message = json.loads(body)
        except ValueError:
            return web.Response(status=400, text="invalid_payload")
        if not isinstance(message, dict) or not message.get("text"):
            return web.Response(status=400, text="no_text")
        if len(message["text"]) > 40_000:
            return web.Response(status=400, text="msg_too_long")
        self.posted.append(message["text"])
        return web.Response(text="ok")
