"""The functions and the driver, with a stand-in where FLO will be: signals, labels, trainings and swaps are real."""

from __future__ import annotations

import asyncio
import importlib
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from dataclasses import replace
from pathlib import Path
from types import ModuleType

import msgspec
import pytest
import wire
from demo import Options, drive, plan_of
from models import ModelError
from report import PHASES
from scenarios import HOUR_NS
from stand_in import StandIn, Told
from store import Store
from traffic import Traffic
from training import BASE_VERSION, prepare, version_of

from flo.core.command import Command
from flo.engines.python import PythonEngine
from flo.ports.engine import Status

OPTIONS = Options(seconds=2.5, rate_per_s=600.0, cards=3_000, seed=5, broken=2)
NOW_S = 1_795_000_000.0
PLAN = plan_of(OPTIONS, NOW_S)
PROFILE = {"home": "GB", "x": 3.0, "y": 4.0, "mean_amount": 20.0, "known_devices": ["d1"], "missing": False}
ASKED = (900.0, "US", "d9", "online", "giftcards", 3.0, 4.0, 6, 2500.0, 2)


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    home = tmp_path_factory.mktemp("home")
    prepare(home, PLAN)
    return home


@pytest.fixture
def functions(prepared: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[ModuleType]:
    monkeypatch.setenv("PAYMENTS_HOME", str(prepared))
    sys.modules.pop("functions", None)
    yield importlib.import_module("functions")
    sys.modules.pop("functions", None)


@pytest.fixture
async def flo(
    functions: ModuleType, payments: Path, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[StandIn]:
    arguments = ["--port", "0", "--seed", str(OPTIONS.seed), "--cards", str(OPTIONS.cards)]
    with subprocess.Popen(
        [sys.executable, str(payments / "profiles.py"), *arguments], stdout=subprocess.PIPE, text=True
    ) as profiles:
        stand_in = StandIn(functions, profiles.stdout.readline().split()[-1])
        await stand_in.start()
        monkeypatch.setenv("FLO_URL", stand_in.url)
        yield stand_in
        await stand_in.stop()
        profiles.terminate()


def test_the_network_tells_fraud_from_shopping(functions: ModuleType) -> None:
    fraud = functions.network_score(*ASKED, PROFILE)
    honest = functions.network_score(21.0, "GB", "d1", "chip", "grocery", 3.0, 9.0, 1, 21.0, 1, dict(PROFILE))
    assert fraud["version"] == honest["version"] == BASE_VERSION
    assert fraud["score"] > 0.9 > 0.2 > honest["score"]


def test_all_rules_of_one_decision_see_one_network(functions: ModuleType, prepared: Path) -> None:
    models = functions._models
    base = models.alias()
    models.save("other", models.load(BASE_VERSION), models.meta(BASE_VERSION) | {"version": "other"})
    first = functions.network_score(*ASKED, PROFILE)
    models.swap("other", base.seq + 1)
    functions._current._next_check_s = 0.0
    assert functions.network_score(*ASKED, PROFILE) is first
    assert functions.network_score(*ASKED, dict(PROFILE))["version"] == "other"
    models.swap(BASE_VERSION, base.seq + 2)


def test_without_any_network_the_score_is_nothing_and_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PAYMENTS_HOME", str(tmp_path))
    sys.modules.pop("functions", None)
    functions = importlib.import_module("functions")
    sys.modules.pop("functions", None)
    assert functions.network_score(*ASKED, {"missing": True}) == {"score": 0.0, "version": "none"}


async def test_training_and_swap_announce_themselves_once_a_key(flo: StandIn, functions: ModuleType) -> None:
    told = Told("payments-retrain/fraud/1/missing-fraud/0", 1)
    results = [await asyncio.to_thread(functions.retrain, {"model": "fraud"}, told) for _ in range(2)]
    assert results[0] == results[1]
    assert results[0]["version"] == version_of(told.key)
    trained = [signal for signal in flo.signals if signal["type"] == "model.trained"]
    assert {signal["id"] for signal in trained} == {f"{told.key}/model.trained"}
    assert trained[0]["data"]["command"] == told.key

    seq = functions._models.alias().seq + 1
    swap = Told("payments-swap/fraud/1/better/0", seq)
    arguments = {"model": "fraud", "version": results[0]["version"]}
    swapped = await asyncio.to_thread(functions.swap_model, arguments, swap)
    assert (swapped["version"], swapped["previous"]) == (results[0]["version"], BASE_VERSION)
    assert flo.signals[-1]["type"] == "model.swapped"

    late = await asyncio.to_thread(
        functions.swap_model,
        {"model": "fraud", "version": BASE_VERSION},
        Told("payments-swap/fraud/0/better/0", seq - 1),
    )
    assert late["version"] == results[0]["version"]
    assert flo.signals[-1]["id"] == f"{swap.key}/model.swapped"
    with pytest.raises(ModelError, match="no model nowhere"):
        functions.swap_model({"model": "fraud", "version": "nowhere"}, Told("k", seq + 1))
    functions._models.swap(BASE_VERSION, seq + 2)


async def test_the_python_engine_runs_the_training_in_a_worker(
    flo: StandIn, functions: ModuleType, payments: Path
) -> None:
    command = Command(
        key="payments-retrain/fraud/7/missing-fraud/0",
        loop="payments-retrain",
        loop_key="fraud",
        seq=7,
        rule="missing-fraud",
        n=0,
        engine="trainer",
        verb="call",
        arguments={"function": "retrain", "model": "fraud", "missed": 0.6},
        decision_id="0-1-0-0",
        root="r",
        hops=0,
        born_ns=0,
        deadline_ns=1 << 62,
        issued_ns=0,
        revision="x",
    )
    engine = PythonEngine(payments / "functions.py")
    await engine.start(lambda key, answer: None)
    try:
        answer = await engine.send(command, timeout_s=30.0)
    finally:
        await engine.close()
    assert answer.status is Status.SUCCEEDED
    assert answer.result["version"] == version_of(command.key)
    assert [(s["type"], s["data"], s["floparent"]) for s in flo.signals] == [
        ("model.trained", answer.result, command.decision_id)
    ]


async def test_a_run_decides_labels_and_reports(flo: StandIn, prepared: Path) -> None:
    flo.refuse_busy = 3
    options = replace(OPTIONS, to=flo.url, home=prepared, profiles_port=None)
    report = await drive(options, PLAN)
    count = int(OPTIONS.seconds * OPTIONS.rate_per_s)
    assert report.offered == report.results.total() == len(report.latencies_ms) == count
    assert (report.failed, report.refused.total(), report.busy) == (0, 0, 3)
    assert report.dead_letters == {"contract": 2}
    before, stale = report.phases[PHASES[0]], report.phases[PHASES[1]]
    assert before.honest + before.frauds.total() == pytest.approx(0.35 * count, rel=0.25)
    assert stale.honest > 0

    truth = Traffic(PLAN)
    list(truth.events(count))
    labels = [signal for signal in flo.signals if signal["type"] in ("tx.chargeback", "tx.reviewed")]
    assert labels
    assert {label["data"]["tx_id"] for label in labels} <= set(truth.truth)
    for label in labels:
        decided = label["data"]["decided"]
        assert decided == flo.seen[(PLAN.source, label["data"]["tx_id"])][0]["result"]
        assert label["type"] == ("tx.chargeback" if decided == "approve" else "tx.reviewed")
    assert Store(prepared / "store").recent().y.sum() == len(labels)
    assert f"{count:,} transactions decided" in report.text()
    assert msgspec.json.decode(msgspec.json.encode(report.as_json()))["decided"] == count


async def test_a_driver_without_flo_says_how_to_start_one(
    prepared: Path, monkeypatch: pytest.MonkeyPatch, unused_tcp_port: int
) -> None:
    monkeypatch.setattr("demo.READY_PATIENCE_S", 0.5)
    options = replace(OPTIONS, to=f"http://127.0.0.1:{unused_tcp_port}", home=prepared, profiles_port=None)
    with pytest.raises(OSError, match="flo run"):
        await drive(options, PLAN)


def test_a_run_begins_at_midnight_and_ends_before_now() -> None:
    assert PLAN.start_ns % (24 * HOUR_NS) == 0
    assert PLAN.start_ns < NOW_S * 1e9 - 24 * 3.6e12
    assert plan_of(OPTIONS, NOW_S + 60).source != PLAN.source


async def test_a_connection_that_closes_is_replaced_by_a_new_one() -> None:
    async def once(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readline()  # nothing, where the connection was never used
        if head.startswith(b"GET /good"):
            for part in (b"HTTP/1.1 200 OK\r\nConnection: close\r\ncontent-", b"length: 2\r\n\r\no", b"k"):
                writer.write(part)
                await writer.drain()
                await asyncio.sleep(0.005)
        writer.close()
        await writer.wait_closed()
        handled.append(head)

    handled: list[bytes] = []
    server = await asyncio.start_server(once, "127.0.0.1", 0)
    host, port = server.sockets[0].getsockname()
    pool = wire.Pool(f"http://{host}:{port}", 2)
    asked = [asyncio.create_task(pool.get("/good")) for _ in range(6)]
    assert [answer.body for answer in await asyncio.gather(*asked)] == [b"ok"] * 6
    with pytest.raises(ConnectionError):
        await pool.get("/bad")
    assert (await pool.get("/good")).body == b"ok"
    await pool.close()
    while len(handled) < 8:
        await asyncio.sleep(0.01)
    server.close()
    await server.wait_closed()
