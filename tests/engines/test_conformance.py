"""The conformance suite, run by the engines that need no server: stub and webhook in each class, python, emit."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import AsyncIterator, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any

import pytest
from aiohttp import web
from tests.engines.conformance import EngineConformance
from tests.engines.rigs import PlainRig, ProxiedRig
from tests.faces.observing import observing
from tests.flow.dispatching import MS, S, make_command

from flo.core.command import Command
from flo.core.errors import Overloaded
from flo.engines import stub
from flo.engines.emit import EmitEngine
from flo.engines.python import PythonEngine
from flo.engines.stub import Behaviour, StubEngine
from flo.engines.webhook import WebhookEngine
from flo.ports.engine import Answer, Engine, KeyClass, Status
from flo.ports.service import Receipt
from flo.runtimes.clock import SteadyClock
from flo.runtimes.embedded.runtime import EmbeddedRuntime


class StubRig(PlainRig):
    verb = "trigger"
    timeout_s = 0.3

    def __init__(self, key_class: KeyClass) -> None:
        self.stub = StubEngine(SteadyClock(), key_class=key_class, plan=self.plan)
        self.lacks = {
            "bad credentials": "a stub asks for no credentials",
            "engine restart": "a stub lives in FLO's own process",
        }
        if key_class is KeyClass.NEITHER:
            told = "the end of a run of this class is told by a signal, and there is none here"
            self.untold = dict.fromkeys(("cancel", "cancel in the engine", "pause", "restart"), told)

    def plan(self, command: Command, nth: int) -> Behaviour:
        lasting = {"lasts": 600 * S, "succeeds slowly": 500 * MS}
        job = command.arguments.get("job", "succeeds")
        if job == "is unknown":
            return stub.rejects("no such job")
        if job == "answers late":
            return stub.answers(latency_ns=2 * S)
        if job in lasting and self.stub.key_class is not KeyClass.NEITHER:
            return stub.accepts(lasting[job])
        return stub.answers(Status.FAILED if job.startswith("fails") else Status.SUCCEEDED)

    def engine(self) -> Engine:
        return self.stub

    def arguments(self, job: str) -> dict[str, Any]:
        return {"job": job}

    def effects(self, key: str) -> int:
        return self.stub.effects.count(key)

    async def lose_next_answer(self) -> None:
        self.stub.script(stub.loses_answer())

    async def take_down(self) -> None:
        self.stub.down = True

    async def bring_up(self) -> None:
        self.stub.down = False

    async def cancel_in_engine(self, run: Command) -> None:
        self.stub.runs[run.key] = stub.Run(Answer(status=Status.CANCELLED), 0)


class TestStub(EngineConformance):
    @pytest.fixture(params=list(KeyClass), ids=lambda key_class: key_class.name)
    async def rig(self, request: pytest.FixtureRequest) -> StubRig:
        return StubRig(request.param)


class PythonRig(PlainRig):
    verb = "call"
    timeout_s = 10.0
    ends_with_flo = True
    lacks: Mapping[str, str] = MappingProxyType(
        {
            "lost answer": "FLO and its worker processes share a pipe, which ends with either of them",
            "down": "the engine is FLO itself: it lives and dies with it",
            "engine restart": "the engine is FLO itself: it lives and dies with it",
            "bad credentials": "a function of the bundle asks for none",
            "cancel in the engine": "no one but FLO has its worker processes",
            "pause": "a Python function that runs cannot be held",
        }
    )
    untold: Mapping[str, str] = MappingProxyType(
        {"restart": "what becomes of this verb is the function's own affair: the adapter calls it"}
    )

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

    def about(self, verb: str, run: Command) -> dict[str, Any]:
        return {"command": run.key}

    def effects(self, key: str) -> int:
        return self.notes.read_text().splitlines().count(key) if self.notes.exists() else 0

    async def slow_down(self) -> bool:
        self.timeout_s = 1.0
        return False


class TestPython(EngineConformance):
    @pytest.fixture
    async def rig(self, tmp_path: Path) -> PythonRig:
        return PythonRig(tmp_path)


_RECEIVER = "what becomes of this verb is the receiver's own affair: the adapter passes it on"


class WebhookRig(ProxiedRig):
    """A receiver that does, or does not, honour keys, behind a proxy."""

    verb = "call"
    lacks: Mapping[str, str] = MappingProxyType(
        {"failure": "a receiver's 4xx is a refusal; a run that fails later is told by a signal"}
    )
    untold: Mapping[str, str] = MappingProxyType(
        dict.fromkeys(("cancel", "cancel in the engine", "pause", "restart"), _RECEIVER)
    )

    def __init__(self, honours_key: bool) -> None:
        super().__init__(0)
        self.honours_key = honours_key
        self.seen: Counter[str] = Counter()
        self.runner: web.AppRunner | None = None

    async def handle(self, request: web.Request) -> web.StreamResponse:
        event = await request.json()
        key, job = event["id"], event["data"]["arguments"].get("job")
        if request.headers.get("Authorization") != "Bearer right":
            return web.Response(status=401)
        if job == "is unknown":
            return web.Response(status=404)
        if not (self.honours_key and self.seen[key]):
            self.seen[key] += 1
        return web.json_response({"done": key})

    def engine(self, token: str = "right") -> WebhookEngine:
        return WebhookEngine(
            f"http://127.0.0.1:{self.proxy.port}/",
            SteadyClock(),
            headers={"Authorization": f"Bearer {token}"},
            honours_key=self.honours_key,
        )

    def arguments(self, job: str) -> dict[str, Any]:
        return {"job": job}

    def effects(self, key: str) -> int:
        return self.seen[key]

    async def start(self) -> None:
        app = web.Application()
        app.router.add_post("/", self.handle)
        self.runner = web.AppRunner(app, shutdown_timeout=0.1)
        await self.runner.setup()
        await web.TCPSite(self.runner, "127.0.0.1", 0).start()
        self.proxy.target = self.runner.addresses[0][1]
        await self.proxy.listen()

    async def stop(self) -> None:
        await self.proxy.refuse()
        assert self.runner is not None
        await self.runner.cleanup()

    async def restart_engine(self) -> None:
        await self.stop()
        await self.start()

    def with_bad_credentials(self) -> Engine:
        return self.engine("wrong")


class TestWebhook(EngineConformance):
    @pytest.fixture(params=[True, False], ids=["honours_key", "neither"])
    async def rig(self, request: pytest.FixtureRequest) -> AsyncIterator[WebhookRig]:
        rig = WebhookRig(request.param)
        await rig.start()
        yield rig
        await rig.stop()


class EmitRig(PlainRig):
    """A real FLO, which commands itself. Effects are the signals it says it took and had not seen before."""

    verb = "emit"
    timeout_s = 10.0
    lacks: Mapping[str, str] = MappingProxyType(
        {
            "failure": "a signal is taken or refused: nothing runs that could fail",
            "lost answer": "the answer is a call's return in one process",
            "late answer": "the answer is a call's return in one process",
            "engine restart": "the engine is FLO itself: it lives and dies with it",
            "bad credentials": "FLO asks itself for no credentials",
            "cancel": "a signal that was taken cannot be taken back",
            "cancel in the engine": "a signal that was taken cannot be taken back",
            "pause": "nothing runs that could be held",
            "restart": "nothing runs that could fail and be restarted",
        }
    )

    def __init__(self, runtime: EmbeddedRuntime) -> None:
        self.runtime = runtime
        self.taken: Counter[str] = Counter()
        self.full = False

    async def ingest(self, raws: Sequence[bytes]) -> list[Receipt]:
        if self.full:
            raise Overloaded("intake is full")
        receipts = await self.runtime.ingest(raws)
        ids = [json.loads(raw)["id"] for raw in raws]
        self.taken.update(
            id for id, receipt in zip(ids, receipts, strict=True) if receipt.status == "accepted"
        )
        return receipts

    def engine(self) -> Engine:
        return EmitEngine(self.ingest)

    def arguments(self, job: str) -> dict[str, Any]:
        return {"data": {"n": 1}} if job == "is unknown" else {"type": "made", "data": {"n": 1}}

    def effects(self, key: str) -> int:
        return self.taken[key]

    async def take_down(self) -> None:
        self.full = True

    async def bring_up(self) -> None:
        self.full = False


class TestEmit(EngineConformance):
    @pytest.fixture
    async def rig(self, tmp_path: Path) -> AsyncIterator[EmitRig]:
        async with observing(tmp_path, {"made": "on: made\nkey: data.n\n"}) as flo:
            yield EmitRig(flo.runtime)


async def test_an_outcome_that_arrives_by_itself_reaches_the_dispatcher() -> None:
    """The seam for engines with callbacks: `start` hands them a sink."""
    rig = StubRig(KeyClass.NEITHER)
    rig.stub.plan = lambda command, nth: stub.accepts(600 * S)
    told: list[tuple[str, Answer]] = []
    await rig.stub.start(lambda key, answer: told.append((key, answer)))
    await rig.stub.send(make_command(), timeout_s=1.0)
    rig.stub.tell(make_command().key, Answer(status=Status.SUCCEEDED))
    assert told == [(make_command().key, Answer(status=Status.SUCCEEDED))]
