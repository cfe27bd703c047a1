"""The conformance suite, run by the engines FLO has: stub (in each class), python, webhook (in each class)."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from tests.engines.conformance import EngineConformance, Rig
from tests.flow.dispatching import MS, S, make_command

from flo.core.command import Command
from flo.engines import stub
from flo.engines.python import PythonEngine
from flo.engines.stub import Behaviour, StubEngine
from flo.engines.webhook import WebhookEngine
from flo.ports.engine import Answer, Engine, KeyClass, Status
from flo.runtimes.clock import SteadyClock


class StubRig:
    verb = "trigger"
    timeout_s = 0.3
    tells_failure = True

    def __init__(self, key_class: KeyClass) -> None:
        self.stub = StubEngine(SteadyClock(), key_class=key_class, plan=self.plan)

    def plan(self, command: Command, nth: int) -> Behaviour:
        lasting = {"lasts": 600 * S, "succeeds slowly": 500 * MS}
        job = command.arguments.get("job", "succeeds")
        if job == "is unknown":
            return stub.rejects("no such job")
        if job == "answers late":
            return stub.answers(latency_ns=2 * S)
        if job in lasting and self.stub.key_class is not KeyClass.NEITHER:
            return stub.accepts(lasting[job])
        return stub.answers(Status.FAILED if job == "fails" else Status.SUCCEEDED)

    def engine(self) -> Engine:
        return self.stub

    def arguments(self, job: str) -> dict[str, Any]:
        return {"job": job}

    def effects(self, key: str) -> int:
        return self.stub.effects.count(key)

    async def lose_next_answer(self) -> bool:
        self.stub.script(stub.loses_answer())
        return True

    async def take_down(self) -> bool:
        self.stub.down = True
        return True

    async def bring_up(self) -> None:
        self.stub.down = False

    def with_bad_credentials(self) -> Engine | None:
        return None


class TestStub(EngineConformance):
    @pytest.fixture(params=list(KeyClass), ids=lambda key_class: key_class.name)
    async def rig(self, request: pytest.FixtureRequest) -> StubRig:
        return StubRig(request.param)

    def cancel_of(self, rig: Rig, run: Command) -> Command | None:
        return self.acting_on(rig, "cancel", run)

    def acting_on(self, rig: Rig, verb: str, run: Command) -> Command | None:
        if rig.engine().key_class is KeyClass.NEITHER:
            return None
        return self.command(rig, "succeeds", 2 + len(verb), verb=verb, arguments={"run": run.key})


class PythonRig:
    verb = "call"
    timeout_s = 10.0
    tells_failure = True

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.notes = folder / "notes"

    def engine(self) -> Engine:
        return PythonEngine(Path(__file__).with_name("functions.py"), journal=self.folder / "calls")

    def arguments(self, job: str) -> dict[str, Any]:
        if job in ("fails", "is unknown"):
            return {"function": "fail" if job == "fails" else "gone"}
        sleep_s = {"answers late": 30.0, "lasts": 600.0}.get(job, 0.0)
        return {"function": "note", "file": str(self.notes), "sleep_s": sleep_s}

    def effects(self, key: str) -> int:
        return self.notes.read_text().splitlines().count(key) if self.notes.exists() else 0

    async def lose_next_answer(self) -> bool:
        return False

    async def take_down(self) -> bool:
        return False

    async def bring_up(self) -> None: ...

    def with_bad_credentials(self) -> Engine | None:
        return None


class TestPython(EngineConformance):
    @pytest.fixture
    async def rig(self, tmp_path: Path) -> PythonRig:
        return PythonRig(tmp_path)

    async def test_a_late_answer_never_makes_two_effects(self, rig: Rig, flo: Any) -> None:
        rig.timeout_s = 1.0
        await super().test_a_late_answer_never_makes_two_effects(rig, flo)

    def cancel_of(self, rig: Rig, run: Command) -> Command | None:
        return self.command(rig, "succeeds", 2, verb="cancel", arguments={"command": run.key})


class WebhookRig:
    verb = "call"
    timeout_s = 1.0
    tells_failure = False

    def __init__(self, honours_key: bool) -> None:
        self.honours_key = honours_key
        self.seen: Counter[str] = Counter()
        self.cut = False
        self.runner: web.AppRunner | None = None
        self.port = 0

    async def handle(self, request: web.Request) -> web.StreamResponse:
        event = await request.json()
        key, job = event["id"], event["data"]["arguments"].get("job")
        if request.headers.get("Authorization") != "Bearer right":
            return web.Response(status=401)
        if job in ("is unknown", "fails"):
            return web.Response(status=404 if job == "is unknown" else 422)
        if not (self.honours_key and self.seen[key]):
            self.seen[key] += 1
        if self.cut:
            self.cut = False
            assert request.transport is not None
            request.transport.abort()
        if job == "answers late":
            await asyncio.sleep(3)
        return web.json_response({"done": key})

    def engine(self, token: str = "right") -> WebhookEngine:
        return WebhookEngine(
            f"http://127.0.0.1:{self.port}/",
            SteadyClock(),
            headers={"Authorization": f"Bearer {token}"},
            honours_key=self.honours_key,
        )

    def arguments(self, job: str) -> dict[str, Any]:
        return {"job": job}

    def effects(self, key: str) -> int:
        return self.seen[key]

    async def lose_next_answer(self) -> bool:
        self.cut = True
        return True

    async def take_down(self) -> bool:
        if self.runner is not None:
            await self.runner.cleanup()
            self.runner = None
        return True

    async def bring_up(self) -> None:
        app = web.Application()
        app.router.add_post("/", self.handle)
        self.runner = web.AppRunner(app, shutdown_timeout=0.1)
        await self.runner.setup()
        await web.TCPSite(self.runner, "127.0.0.1", self.port, reuse_address=True).start()
        self.port = self.runner.addresses[0][1]

    def with_bad_credentials(self) -> Engine | None:
        return self.engine("wrong")


class TestWebhook(EngineConformance):
    @pytest.fixture(params=[True, False], ids=["honours_key", "neither"])
    async def rig(self, request: pytest.FixtureRequest) -> AsyncIterator[WebhookRig]:
        rig = WebhookRig(request.param)
        await rig.bring_up()
        yield rig
        await rig.take_down()


async def test_an_outcome_that_arrives_by_itself_reaches_the_dispatcher() -> None:
    """The seam for engines with callbacks: `start` hands them a sink."""
    rig = StubRig(KeyClass.NEITHER)
    rig.stub.plan = lambda command, nth: stub.accepts(600 * S)
    told: list[tuple[str, Answer]] = []
    await rig.stub.start(lambda key, answer: told.append((key, answer)))
    await rig.stub.send(make_command(), timeout_s=1.0)
    rig.stub.tell(make_command().key, Answer(status=Status.SUCCEEDED))
    assert told == [(make_command().key, Answer(status=Status.SUCCEEDED))]
