"""PagerDuty and Slack: the conformance suite and their own promises, against both as documented (see
`documented_pagers`: their real servers cannot be had)."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Mapping
from types import MappingProxyType
from typing import Any

import pytest
from aiohttp import web
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.engines.conformance import EngineConformance
from tests.engines.documented_pagers import DocumentedPagerDuty, DocumentedSlack, Pager
from tests.engines.rigs import PAGES_ARE_ENDED_ELSEWHERE, PAGES_LACK, ProxiedRig, started
from tests.flow.dispatching import PLACE, make_command

from flo.core.errors import UsageError
from flo.core.loop.definition import EngineDefinition
from flo.core.secret import Secret
from flo.engines import Surroundings, build_engine
from flo.engines.http_client import idempotency_key
from flo.engines.pagerduty import PagerDutyEngine
from flo.engines.pages import page_of
from flo.engines.slack import SlackEngine
from flo.ports.engine import Engine, EngineRejected, EngineUnavailable, FateUnknown, Status
from flo.runtimes.clock import SteadyClock

ROUTING_KEY = "e93facc04764012d7bfb002500d5d1a6"
HOOK = "/services/T00000000/B00000000/XXXXXXXXXXXXXXXXXXXXXXXX"


class PagerRig(ProxiedRig):
    verb = "page"
    lacks = PAGES_LACK

    def __init__(self, server: Pager) -> None:
        super().__init__(server.port)
        self.server = server

    def arguments(self, job: str) -> dict[str, Any]:
        return {"summary": "error up <fast>", "share": 0.2}

    async def start(self) -> None:
        await self.server.start()
        self.proxy.target = self.server.port
        await self.bring_up()

    async def stop(self) -> None:
        await self.take_down()
        await self.server.stop()

    async def restart_engine(self) -> None:
        await self.stop()
        await self.start()


class PagerDutyRig(PagerRig):
    untold = PAGES_ARE_ENDED_ELSEWHERE

    def __init__(self) -> None:
        self.pagerduty = DocumentedPagerDuty(ROUTING_KEY)
        super().__init__(self.pagerduty)

    def engine(self, routing_key: str = ROUTING_KEY) -> Engine:
        return PagerDutyEngine(
            routing_key, SteadyClock(), url=f"http://127.0.0.1:{self.proxy.port}/v2/enqueue"
        )

    def effects(self, key: str) -> int:
        return self.pagerduty.opened[idempotency_key(key)]

    def with_bad_credentials(self) -> Engine:
        return self.engine("f" * 32)


class SlackRig(PagerRig):
    lacks: Mapping[str, str] = MappingProxyType(
        {**PAGES_LACK, "cancel": "an incoming webhook cannot take a message back"}
    )

    def __init__(self) -> None:
        self.slack = DocumentedSlack(HOOK)
        super().__init__(self.slack)

    def engine(self, path: str = HOOK) -> Engine:
        return SlackEngine(f"http://127.0.0.1:{self.proxy.port}{path}", SteadyClock())

    def effects(self, key: str) -> int:
        return sum(text.endswith(f"`{key}`") for text in self.slack.posted)

    def with_bad_credentials(self) -> Engine:
        return self.engine(HOOK[:-1] + "Y")


@pytest.fixture
async def pagerduty() -> AsyncIterator[PagerDutyRig]:
    rig = PagerDutyRig()
    await rig.start()
    yield rig
    await rig.stop()


@pytest.fixture
async def slack() -> AsyncIterator[SlackRig]:
    rig = SlackRig()
    await rig.start()
    yield rig
    await rig.stop()


class TestPagerDuty(EngineConformance):
    @pytest.fixture
    async def rig(self, pagerduty: PagerDutyRig) -> PagerDutyRig:
        return pagerduty


class TestSlack(EngineConformance):
    @pytest.fixture
    async def rig(self, slack: SlackRig) -> SlackRig:
        return slack


async def test_pages_of_one_incident_are_one_alert_until_cancel_ends_it(pagerduty: PagerDutyRig) -> None:
    server = pagerduty.pagerduty
    async with started(pagerduty.engine()) as engine:
        for n in range(3):
            arguments = {"summary": f"up {n}", "incident": "fraud-model", "severity": "warning"}
            await engine.send(make_command(n, verb="page", arguments=arguments), timeout_s=5.0)
        assert server.opened == {"fraud-model": 1}
        assert server.open["fraud-model"]["severity"] == "warning"
        end = make_command(9, verb="cancel", arguments={"incident": "fraud-model"})
        assert (await engine.send(end, timeout_s=5.0)).status is Status.SUCCEEDED
        assert server.open == {}
        page = make_command(10, verb="page", arguments={"summary": "again", "share": 0.3})
        await engine.send(page, timeout_s=5.0)
        details = server.open[idempotency_key(page.key)]["custom_details"]
        assert (details["share"], details["command"], details["loop"]) == (0.3, page.key, "loop")
        await engine.send(make_command(11, verb="cancel", arguments={"run": page.key}), timeout_s=5.0)
        assert server.open == {}


@given(key=st.text(min_size=1, max_size=300), summary=st.text(max_size=3_000))
@settings(max_examples=100, print_blob=True, deadline=None)
def test_every_event_is_one_that_the_schema_takes(key: str, summary: str) -> None:
    engine = PagerDutyEngine(ROUTING_KEY, SteadyClock())
    command = make_command(verb="page", key=key, arguments={"summary": "x" + summary, "\ud800": "\ud800"})
    body = json.dumps(engine._event(command)).encode()
    assert DocumentedPagerDuty(ROUTING_KEY).take("/v2/enqueue", body).status == 202


@pytest.mark.parametrize(
    ("status", "headers", "error"),
    [
        (429, {"Retry-After": "7"}, EngineUnavailable),
        (400, {}, EngineRejected),
        (413, {}, EngineRejected),
        (500, {}, FateUnknown),
        (302, {"Location": "http://elsewhere.example/"}, EngineRejected),
    ],
)
async def test_what_pagers_answer_means_this(
    pagerduty: PagerDutyRig, slack: SlackRig, status: int, headers: dict[str, str], error: type[Exception]
) -> None:
    for rig, secret in ((pagerduty, ROUTING_KEY), (slack, HOOK)):
        async with started(rig.engine()) as engine:
            rig.server.answers = [web.Response(status=status, headers=headers, text=f"you said {secret}")]
            with pytest.raises(error) as caught:
                await engine.send(make_command(verb="page", arguments={"summary": "s"}), timeout_s=5.0)
        if isinstance(caught.value, EngineUnavailable):
            assert caught.value.retry_after_s == 7.0
        assert secret not in str(caught.value)


async def test_a_signals_text_can_neither_link_nor_call_a_channel(slack: SlackRig) -> None:
    async with started(slack.engine()) as engine:
        arguments = {"summary": "<!channel> & <https://evil.example|click>", "long": "x" * 9_000}
        await engine.send(make_command(verb="page", arguments=arguments), timeout_s=5.0)
    (text,) = slack.slack.posted
    assert "<" not in text
    assert text.startswith("*CRITICAL* &lt;!channel&gt; &amp; &lt;https://evil.example|click&gt;\nlong: xxx")
    assert len(text) < 4_200


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ({}, "page needs `with: {summary: TEXT}`"),
        ({"summary": " "}, "page needs `with: {summary: TEXT}`"),
        ({"summary": "s", "severity": "fatal"}, "none of critical, error, warning, info"),
        ({"summary": "s", "incident": 7}, "are texts"),
        ({"summary": "s", "x": float("inf")}, "not JSON"),
    ],
)
def test_what_a_page_lacks_is_named(arguments: dict[str, Any], said: str) -> None:
    with pytest.raises(EngineRejected, match=said):
        page_of(make_command(verb="page", arguments=arguments), "critical")


def test_from_flo_yaml_with_secrets_that_are_never_shown() -> None:
    environ = {"KEY": ROUTING_KEY, "HOOK": f"https://hooks.slack.com{HOOK}"}
    around = Surroundings(clock=SteadyClock(), environ=environ)
    engines = [
        build_engine(EngineDefinition(name="it", kind=kind, place=PLACE, settings=given), around)
        for kind, given in (
            ("pagerduty", {"routing_key": Secret("${env:KEY}")}),
            ("slack", {"webhook_url": Secret("${env:HOOK}")}),
            ("alertmanager", {"url": "http://alertmanager.example:9093", "lasts": 60 * 10**9}),
        )
    ]
    assert [engine.kind for engine in engines] == ["pagerduty", "slack", "alertmanager"]
    assert not any(secret in repr(engines) for secret in environ.values())
    bad = {"url": "http://alertmanager.example:9093", "labels": {"severity": "page"}}
    with pytest.raises(UsageError, match="label severity is FLO's"):
        build_engine(EngineDefinition(name="it", kind="alertmanager", place=PLACE, settings=bad), around)
