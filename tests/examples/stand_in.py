"""A stand-in for FLO, just large enough to close the payments loop: the bundle's rules by hand, its
functions for real.

It speaks the same HTTP as FLO, keeps windows in memory, and runs `retrain` and `swap_model` in a thread. The
tests of the driver and of the closed loop use it; tests of FLO itself never do.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import msgspec
from aiohttp import ClientSession, web


@dataclass(frozen=True)
class Told:
    """What FLO tells a function of its command."""

    key: str
    seq: int
    decision_id: str = "0-1-0-0"


class StandIn:
    def __init__(self, functions: Any, profiles_url: str) -> None:
        self.functions = functions
        self.profiles_url = profiles_url
        self.url = ""
        self.seen: dict[tuple[str, str], list[dict[str, Any]]] = {}
        self.signals: list[dict[str, Any]] = []
        self.letters: list[dict[str, Any]] = []
        self.commands: list[dict[str, Any]] = []
        self.refuse_busy = 0  # so many next requests are answered 429
        self._cards: dict[str, deque[tuple[float, float, str]]] = {}
        self._labels: deque[tuple[float, bool]] = deque()
        self._last_retrain_s = 0.0
        self._profiles: dict[str, dict[str, Any]] = {}
        self._jobs: set[asyncio.Task[None]] = set()

    async def start(self) -> None:
        self._http = ClientSession()
        app = web.Application()
        app.router.add_post("/v1/decisions", self._decide)
        app.router.add_post("/v1/signals", self._take)
        app.router.add_get("/readyz", self._ready)
        app.router.add_get("/v1/dead-letters", self._dead_letters)
        app.router.add_get("/v1/commands", self._commands)
        self._runner = web.AppRunner(app, access_log=None)
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", 0).start()
        host, port = self._runner.addresses[0][:2]
        self.url = f"http://{host}:{port}"

    async def stop(self) -> None:
        if self._jobs:
            await asyncio.wait(self._jobs)
        await self._http.close()
        await self._runner.cleanup()

    async def _decide(self, request: web.Request) -> web.Response:
        if self.refuse_busy:
            self.refuse_busy -= 1
            return web.json_response({"title": "overloaded"}, status=429, headers={"Retry-After": "0"})
        event = msgspec.json.decode(await request.read())
        identity = (event["source"], event["id"])
        if identity not in self.seen:
            self.seen[identity] = [await self._decision(event)]
        return web.json_response({"decisions": self.seen[identity]})

    async def _decision(self, event: dict[str, Any]) -> dict[str, Any]:
        data = event["data"]
        profile = await self._profile(data["card"])
        t = _seconds(event["time"])
        entries = self._cards.setdefault(data["card"], deque())
        entries.append((t, data["amount"], data["device"]))
        while entries[0][0] <= t - 86_400:
            entries.popleft()
        recent = [amount for at, amount, _ in entries if at > t - 600]
        devices = len({device for _, _, device in entries})
        given = [data[name] for name in ("amount", "country", "device", "entry", "category", "x", "y")]
        network = self.functions.network_score(*given, len(recent), sum(recent), devices, profile)
        score = network["score"]
        result = "decline" if score >= 0.9 else "review" if score >= 0.5 else "approve"
        if result == "approve" and len(recent) >= 5 and sum(recent) > 900.0:
            result = "review"
        return {"loop": "payments-score", "result": result, "version": network["version"]}

    async def _profile(self, card: str) -> dict[str, Any]:
        if card not in self._profiles:
            async with self._http.get(f"{self.profiles_url}/profiles/{card}") as answer:
                self._profiles[card] = await answer.json() if answer.status == 200 else {"missing": True}
        return self._profiles[card]

    async def _take(self, request: web.Request) -> web.Response:
        body = msgspec.json.decode(await request.read())
        events = body if isinstance(body, list) else [body]
        for event in events:
            self.signals.append(event)
            if event["type"] in ("tx.chargeback", "tx.reviewed"):
                self._label(event)
            elif event["type"] == "model.trained" and event["data"]["better"]:
                arguments = {"model": "fraud", "version": event["data"]["version"]}
                self._command("payments-swap", self.functions.swap_model, arguments)
            elif event["type"] == "tx.authorized":
                self.letters.append({"reason": "contract", "id": event["id"]})
        return web.json_response({"accepted": len(events), "duplicates": 0, "rejected": []}, status=202)

    def _label(self, event: dict[str, Any]) -> None:
        t = _seconds(event["time"])
        self._labels.append((t, event["data"]["decided"] == "approve"))
        while self._labels[0][0] <= t - 3 * 3600:
            self._labels.popleft()
        missed = sum(missed for _, missed in self._labels) / len(self._labels)
        if len(self._labels) >= 30 and missed > 0.4 and t - self._last_retrain_s >= 150 * 60:
            self._last_retrain_s = t
            self._command("payments-retrain", self.functions.retrain, {"model": "fraud"})

    def _command(self, loop: str, function: Any, arguments: dict[str, Any]) -> None:
        seq = len(self.commands) + 1
        row = {"key": f"{loop}/fraud/{seq}/rule/0", "loop": loop, "status": "pending"}
        self.commands.append(row)

        async def run() -> None:
            await asyncio.to_thread(function, arguments, Told(row["key"], seq))
            row["status"] = "succeeded"

        task = asyncio.create_task(run())
        self._jobs.add(task)
        task.add_done_callback(self._jobs.discard)

    async def _ready(self, request: web.Request) -> web.Response:
        return web.json_response({"status": "ok", "at": time.time()})

    async def _dead_letters(self, request: web.Request) -> web.Response:
        return web.json_response({"dead_letters": self.letters, "next": None})

    async def _commands(self, request: web.Request) -> web.Response:
        found = [row for row in self.commands if row["loop"] == request.query["loop"]]
        return web.json_response({"commands": found, "next": None})


def _seconds(text: str) -> float:
    return datetime.fromisoformat(text).timestamp()
