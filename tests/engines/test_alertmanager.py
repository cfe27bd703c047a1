"""Alertmanager, a real one: the conformance suite, and what it says of the alerts it has."""

from __future__ import annotations

import json
import urllib.parse
import urllib.request
from collections.abc import AsyncIterator, Iterator, Mapping
from types import MappingProxyType
from typing import Any

import pytest
from tests.engines.conformance import EngineConformance
from tests.engines.rigs import PAGES_ARE_ENDED_ELSEWHERE, PAGES_LACK, ProxiedRig, started
from tests.flow.dispatching import make_command
from tests.servers.process import ServerProcess
from tests.servers.programs import UNPACKED, program

from flo.core.command import Command
from flo.engines.alertmanager import AlertmanagerEngine
from flo.engines.http_client import idempotency_key
from flo.ports.engine import Engine, EngineRejected, Status
from flo.runtimes.clock import SteadyClock

pytestmark = pytest.mark.servers

CONFIGURATION = "route: {receiver: nobody, group_wait: 1h}\nreceivers: [{name: nobody}]\n"


class AlertmanagerRig(ProxiedRig):
    verb = "page"
    lacks: Mapping[str, str] = MappingProxyType(
        {**PAGES_LACK, "bad credentials": "Alertmanager asks for none by itself: a proxy before it does"}
    )
    untold = PAGES_ARE_ENDED_ELSEWHERE

    def __init__(self, process: ServerProcess) -> None:
        super().__init__(process.port)
        self.process = process

    def engine(self, **options: Any) -> Engine:
        return AlertmanagerEngine(f"http://127.0.0.1:{self.proxy.port}/", SteadyClock(), **options)

    def arguments(self, job: str) -> dict[str, Any]:
        return {"summary": "error up", "share": 0.2}

    def alerts(self, incident: str) -> list[dict[str, Any]]:
        """What Alertmanager itself says is firing."""
        matcher = urllib.parse.quote(f'flo_incident="{idempotency_key(incident)}"')
        with urllib.request.urlopen(
            f"{self.process.url}/api/v2/alerts?filter={matcher}", timeout=10
        ) as answer:
            found: list[dict[str, Any]] = json.load(answer)
        return found

    def effects(self, key: str) -> int:
        return len(self.alerts(key))

    async def restart_engine(self) -> None:
        await self.take_down()
        self.process.stop()
        self.process.start()
        self.proxy.target = self.process.port
        await self.bring_up()


@pytest.fixture(scope="module")
def alertmanager(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    home = tmp_path_factory.mktemp("alertmanager")
    (home / "config.yml").write_text(CONFIGURATION)
    path = program("prometheus-alertmanager")

    def command(port: int) -> list[str]:
        return [
            path,
            f"--config.file={home}/config.yml",
            f"--storage.path={home}/data",
            f"--web.listen-address=127.0.0.1:{port}",
            "--cluster.listen-address=",
        ]

    # Where its templates are, which it looks for from here; see tests/servers/install.
    process = ServerProcess(command, "/-/ready", home / "log", directory=UNPACKED)
    process.start()
    yield process
    process.stop()


@pytest.fixture
async def paged(
    alertmanager: ServerProcess, request: pytest.FixtureRequest
) -> AsyncIterator[AlertmanagerRig]:
    rig = AlertmanagerRig(alertmanager)
    rig.loop = request.node.name.replace("_", "-")[:60]
    await rig.bring_up()
    yield rig
    await rig.take_down()


class TestAlertmanager(EngineConformance):
    @pytest.fixture
    async def rig(self, paged: AlertmanagerRig) -> AlertmanagerRig:
        return paged


def page(n: int, **arguments: Any) -> Command:
    now_ns = SteadyClock().now_ns()
    return make_command(n, verb="page", issued_ns=now_ns, arguments={"summary": "error up", **arguments})


async def test_an_alert_says_what_the_page_says_for_as_long_as_it_lasts(paged: AlertmanagerRig) -> None:
    name = 'a "quoted" ü\\ incident'
    command = page(1, incident=name, severity="warning", share=0.25)
    async with started(paged.engine(lasts_ns=3_600 * 10**9, labels={"team": "ml"})) as engine:
        assert (await engine.send(command, timeout_s=5.0)).status is Status.SUCCEEDED
    (alert,) = paged.alerts(name)
    labels = alert["labels"]
    assert (labels["alertname"], labels["severity"], labels["team"]) == ("FloPage", "warning", "ml")
    assert alert["annotations"]["summary"] == "error up"
    assert (alert["annotations"]["share"], alert["annotations"]["command"]) == ("0.25", command.key)
    assert alert["status"]["state"] in ("unprocessed", "active")
    assert alert["startsAt"][:13] != alert["endsAt"][:13], "it fires for an hour"


async def test_cancel_ends_every_alert_of_the_incident_and_asking_tells(paged: AlertmanagerRig) -> None:
    async with started(paged.engine()) as engine:
        first, second = page(2, incident="drift"), page(3, incident="drift", severity="error")
        for command in (first, second, first):
            await engine.send(command, timeout_s=5.0)
        assert len(paged.alerts("drift")) == 2
        assert (await engine.ask(first, timeout_s=5.0)).status is Status.SUCCEEDED
        end = make_command(4, verb="cancel", arguments={"incident": "drift"})
        assert (await engine.send(end, timeout_s=5.0)).result == {"ended": 2}
        assert paged.alerts("drift") == []
        assert (await engine.ask(first, timeout_s=5.0)).status is Status.UNKNOWN
        again = await engine.send(end, timeout_s=5.0)
        assert (again.status, again.detail) == (Status.SUCCEEDED, "no alert of this incident was firing")


async def test_a_label_that_alertmanager_refuses_is_rejected(paged: AlertmanagerRig) -> None:
    async with started(paged.engine(labels={"not a label": "x"})) as engine:
        with pytest.raises(EngineRejected, match="400"):
            await engine.send(page(5), timeout_s=5.0)
