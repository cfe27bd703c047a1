"""MLflow's registry, a real server on SQLite: the conformance suite, swaps and swaps back.

Effects are counted in the server's own database, by triggers that note every move of an alias.
"""

from __future__ import annotations

import json
import sqlite3
import urllib.error
import urllib.request
import uuid
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import closing
from pathlib import Path
from types import MappingProxyType
from typing import Any

import pytest
from tests.engines.conformance import EngineConformance
from tests.engines.rigs import ProxiedRig, started
from tests.flow.dispatching import make_command
from tests.servers.process import ServerProcess
from tests.servers.programs import program

from flo.core.command import Command
from flo.engines.http_client import idempotency_key
from flo.engines.mlflow import MlflowEngine
from flo.ports.engine import Answer, Engine, EngineRejected, FateUnknown, Status
from flo.runtimes.clock import SteadyClock

pytestmark = pytest.mark.servers

VERSIONS = 3
TRIGGERS = """
CREATE TABLE alias_moves (name TEXT, alias TEXT, version INTEGER);
CREATE TRIGGER alias_made AFTER INSERT ON registered_model_aliases
    BEGIN INSERT INTO alias_moves VALUES (NEW.name, NEW.alias, NEW.version); END;
CREATE TRIGGER alias_moved AFTER UPDATE ON registered_model_aliases
    BEGIN INSERT INTO alias_moves VALUES (NEW.name, NEW.alias, NEW.version); END;
"""


class Mlflow:
    """A server, and what its database says."""

    def __init__(self, home: Path) -> None:
        server = program("mlflow", venv="mlflow")
        self.database = home / "mlflow.db"

        def command(port: int) -> list[str]:
            store = [
                "--backend-store-uri",
                f"sqlite:///{self.database}",
                "--default-artifact-root",
                str(home / "art"),
            ]
            return [server, "server", "--host", "127.0.0.1", "--port", str(port), "--workers", "1", *store]

        self.process = ServerProcess(command, "/health", home / "log")
        self.process.start()
        with closing(sqlite3.connect(self.database, timeout=120)) as database:
            database.executescript(TRIGGERS)

    def ask(self, path: str, **value: str) -> Any:
        request = urllib.request.Request(
            f"{self.process.url}/api/2.0/mlflow/{path}",
            data=json.dumps(value).encode(),
            headers={"Content-Type": "application/json"},
        )
        with urllib.request.urlopen(request, timeout=120) as answer:
            return json.load(answer)

    def new_model(self) -> str:
        name = f"fraud-{uuid.uuid4().hex[:8]}"
        self.ask("registered-models/create", name=name)
        for n in range(VERSIONS):
            self.ask("model-versions/create", name=name, source=f"s3://models/{name}/{n}")
        return name

    def moves(self, model: str) -> list[tuple[str, int]]:
        """(alias, version) of every move of the model's aliases, in order."""
        with closing(sqlite3.connect(self.database, timeout=120)) as database:
            return database.execute(
                "SELECT alias, version FROM alias_moves WHERE name = ?", (model,)
            ).fetchall()

    def alias_of(self, model: str, key: str) -> str:
        """The alias whose history holds a command's key."""
        with closing(sqlite3.connect(self.database, timeout=120)) as database:
            tags = database.execute(
                "SELECT key, value FROM registered_model_tags WHERE name = ?", (model,)
            ).fetchall()
        found = [tag for tag, value in tags if any(swap["key"] == key for swap in json.loads(value))]
        return found[0].removeprefix("flo.swaps.") if found else ""


class MlflowRig(ProxiedRig):
    verb = "swap"
    timeout_s = 5.0
    effect = b"/registered-models/alias"
    lacks: Mapping[str, str] = MappingProxyType(
        {
            "failure": "a swap is made or refused: nothing runs that could fail",
            "cancel": "an alias that was moved is moved back by another swap",
            "cancel in the engine": "an alias that was moved is moved back by another swap",
            "pause": "nothing runs that could be held",
            "restart": "nothing runs that could fail and be restarted",
        }
    )
    untold: Mapping[str, str] = MappingProxyType(
        {"bad credentials": "this server is started without its basic-auth app, and asks for none"}
    )

    def __init__(self, mlflow: Mlflow) -> None:
        super().__init__(mlflow.process.port)
        self.mlflow = mlflow
        self.model = mlflow.new_model()
        self.aliases = 0

    def engine(self) -> Engine:
        return MlflowEngine(f"http://127.0.0.1:{self.proxy.port}", SteadyClock())

    def arguments(self, job: str) -> dict[str, Any]:
        """Each command has an alias of its own, so that its moves can be told from others'."""
        self.aliases += 1
        version = "99" if job == "is unknown" else "2"
        return {"model": self.model, "alias": f"alias-{self.aliases}", "version": version}

    def effects(self, key: str) -> int:
        alias = self.mlflow.alias_of(self.model, idempotency_key(key))
        return self.mlflow.moves(self.model).count((alias, 2))

    async def restart_engine(self) -> None:
        await self.take_down()
        self.mlflow.process.stop()
        self.mlflow.process.start()
        self.proxy.target = self.mlflow.process.port
        await self.bring_up()


@pytest.fixture(scope="module")
def mlflow(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Mlflow]:
    mlflow = Mlflow(tmp_path_factory.mktemp("mlflow"))
    yield mlflow
    mlflow.process.stop()


@pytest.fixture
async def registry(mlflow: Mlflow) -> AsyncIterator[MlflowRig]:
    rig = MlflowRig(mlflow)
    await rig.bring_up()
    yield rig
    await rig.take_down()


class TestMlflow(EngineConformance):
    @pytest.fixture
    async def rig(self, registry: MlflowRig) -> MlflowRig:
        return registry


def swap(n: int, model: str, /, **arguments: Any) -> Command:
    return make_command(n, verb="swap", arguments={"model": model, "alias": "champion"} | arguments)


async def done(engine: Engine, command: Command) -> tuple[Status, Any, Any]:
    answer: Answer = await engine.send(command, timeout_s=10.0)
    result = answer.result
    return answer.status, result["previous"], result["version"]


async def test_an_alias_goes_there_and_back_by_its_history(registry: MlflowRig) -> None:
    model = registry.model
    async with started(registry.engine()) as engine:
        assert await done(engine, swap(1, model, version="1")) == (Status.SUCCEEDED, None, "1")
        assert await done(engine, swap(2, model, version=2)) == (Status.SUCCEEDED, "1", "2")
        assert await done(engine, swap(3, model, version="3")) == (Status.SUCCEEDED, "2", "3")
        assert await done(engine, swap(4, model, back=True)) == (Status.SUCCEEDED, "3", "2")
        assert await done(engine, swap(4, model, back=True)) == (Status.SUCCEEDED, "3", "2"), (
            "the same key again"
        )
        assert await done(engine, swap(5, model, back=True)) == (Status.SUCCEEDED, "2", "1")
        with pytest.raises(EngineRejected, match="no swap is known that brought it there"):
            await engine.send(swap(6, model, back=True), timeout_s=10.0)
    assert registry.mlflow.moves(model) == [("champion", n) for n in (1, 2, 3, 2, 1)]


async def test_a_swap_sent_again_after_another_one_moves_nothing(registry: MlflowRig) -> None:
    model = registry.model
    first, second = swap(1, model, version="1"), swap(2, model, version="2")
    async with started(registry.engine()) as engine:
        await engine.send(first, timeout_s=10.0)
        await engine.send(second, timeout_s=10.0)
        again = await engine.send(first, timeout_s=10.0)
        assert (again.status, again.detail) == (Status.SUCCEEDED, "and swapped again since")
        assert (await engine.ask(second, timeout_s=10.0)).status is Status.SUCCEEDED
        registry.mlflow.ask("registered-models/alias", name=model, alias="champion", version="3")
        by_hand = await engine.send(second, timeout_s=10.0)
        assert (by_hand.status, by_hand.detail) == (
            Status.FAILED,
            "somebody moved the alias to version 3 since",
        )
    assert registry.mlflow.moves(model) == [("champion", n) for n in (1, 2, 3)]


async def test_a_swap_that_was_written_down_and_not_made_is_made_or_overtaken(registry: MlflowRig) -> None:
    """FLO, or the connection, died between the history's entry and the alias' move."""
    model = registry.model
    late, newer = swap(1, model, version="2"), swap(2, model, version="3")
    async with started(registry.engine()) as engine:
        registry.proxy.cut_next_answer(b"/registered-models/set-tag")
        with pytest.raises(FateUnknown):
            await engine.send(late, timeout_s=10.0)
        assert (await engine.ask(late, timeout_s=10.0)).status is Status.UNKNOWN
        assert registry.mlflow.moves(model) == []
        await engine.send(newer, timeout_s=10.0)
        overtaken = await engine.send(late, timeout_s=10.0)
        assert (overtaken.status, overtaken.detail) == (Status.FAILED, "a later swap overtook it")
    assert registry.mlflow.moves(model) == [("champion", 3)]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ({"version": "9"}, "Model Version .* not found"),
        ({"model": "nobody", "version": "1"}, "nobody not found"),
        ({"alias": "v1", "version": "1"}, "reserved"),
        ({}, "one of `version:`"),
        ({"version": "1", "back": True}, "one of `version:`"),
        ({"version": "latest"}, "a version's number"),
        ({"alias": None, "version": "1"}, "swap needs"),
        ({"version": "1", "stage": "x"}, "does not know 'stage'"),
    ],
)
async def test_what_cannot_be_is_refused(registry: MlflowRig, arguments: dict[str, Any], said: str) -> None:
    async with started(registry.engine()) as engine:
        with pytest.raises(EngineRejected, match=said):
            await engine.send(swap(1, registry.model, **arguments), timeout_s=10.0)
    assert registry.mlflow.moves(registry.model) == []


async def test_a_history_that_flo_did_not_write_is_named(registry: MlflowRig) -> None:
    registry.mlflow.ask("registered-models/set-tag", name=registry.model, key="flo.swaps.champion", value="{")
    async with started(registry.engine()) as engine:
        with pytest.raises(EngineRejected, match=r"the tag flo\.swaps\.champion .* is not as FLO wrote it"):
            await engine.send(swap(1, registry.model, version="1"), timeout_s=10.0)
