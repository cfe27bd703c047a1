"""What happens, as it happens, to whoever listens: bounded, sampled under load, never in the way of deciding."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from typing import Any

from flo.core.record import Applied, CommandIssued, CommandOutcome, DeadLetter, Killed
from flo.core.signal import text_from_time
from flo.flow.digest import Digest

LISTENER_EVENTS_MAX = 1_000


class Broadcast:
    """Publishes on the event loop. A listener that does not keep up loses events, and is told how many."""

    def __init__(self) -> None:
        self._listeners: dict[asyncio.Queue[dict[str, Any] | None], int] = {}
        self._closed = False

    def publish(self, digests: list[Digest], results: Mapping[str, Any]) -> None:
        if not self._listeners:
            return
        events = [event for digest in digests for event in _events(digest, results)]
        for queue, lost in list(self._listeners.items()):
            for event in events:
                if queue.full():
                    lost += 1
                else:
                    queue.put_nowait({**event, "lost": lost} if lost else event)
                    lost = 0
            self._listeners[queue] = lost

    async def subscribe(self) -> AsyncIterator[dict[str, Any]]:
        queue: asyncio.Queue[dict[str, Any] | None] = asyncio.Queue(LISTENER_EVENTS_MAX)
        if self._closed:
            return
        self._listeners[queue] = 0
        try:
            while (event := await queue.get()) is not None:
                yield event
        finally:
            self._listeners.pop(queue, None)

    def close(self) -> None:
        self._closed = True
        for queue in self._listeners:
            if queue.full():
                queue.get_nowait()
            queue.put_nowait(None)


def _events(digest: Digest, results: Mapping[str, Any]) -> list[dict[str, Any]]:
    at = text_from_time(digest.decided_ns)
    found: list[dict[str, Any]] = []
    for loop in digest.loops:
        result = results.get(loop.loop)
        for decision_id, key, seq, exit in loop.shown:
            found.append(
                {
                    "type": "decision",
                    "decision_id": decision_id,
                    "loop": loop.loop,
                    "key": key,
                    "seq": seq,
                    "result": None if result is None else result(exit),
                    "at": at,
                }
            )
        more = sum(loop.exits.values()) - len(loop.shown)
        if more:
            found.append({"type": "decisions", "loop": loop.loop, "more": more, "at": at})
    found += [shown for event in digest.events if (shown := _event(event, at)) is not None]
    return found


def _event(event: object, at: str) -> dict[str, Any] | None:
    if isinstance(event, CommandIssued):
        command = event.command
        return {
            "type": "command",
            "command_key": command.key,
            "engine": command.engine,
            "verb": command.verb,
            "at": at,
        }
    if isinstance(event, CommandOutcome):
        return {"type": "outcome", "command_key": event.command_key, "outcome": event.outcome, "at": at}
    if isinstance(event, DeadLetter):
        return {
            "type": "dead_letter",
            "loop": event.loop,
            "reason": event.reason,
            "detail": event.detail,
            "at": at,
        }
    if isinstance(event, Killed):
        return {"type": "killed", "loop": event.loop, "why": event.why, "at": at}
    if isinstance(event, Applied):
        return {"type": "bundle", "revision": event.revision, "by": event.by, "at": at}
    return None
