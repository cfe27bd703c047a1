"""Engine `slack`: posts a `page` into a Slack channel, through an incoming webhook.

Class: neither. Slack posts whatever it is sent, has no idempotency key, and an incoming webhook cannot be asked. So a page
whose answer is lost is parked for a person, and never posted again blindly; and no connection is used twice. Who must be
woken is better woken by something that honours keys.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import ClassVar

from yarl import URL

from flo.core.bundle.settings import Setting
from flo.core.command import Command
from flo.core.loop.definition import EngineDefinition
from flo.core.secret import Secret
from flo.engines.configured import settings_of
from flo.engines.http_client import HttpClient
from flo.engines.pages import SEVERITIES, Page, as_text, page_of, shortened
from flo.ports.clock import Clock
from flo.ports.engine import Answer, EngineRejected, KeyClass, OutcomeSink, Status

TEXT_CHARS_MAX = 4_000
"""What Slack advises for a message's text; it cuts off at 40,000."""

SUMMARY_CHARS_MAX = 1_000
DETAIL_CHARS_MAX = 300


class SlackEngine:
    """See the module."""

    kind: ClassVar[str] = "slack"
    verbs: ClassVar[frozenset[str]] = frozenset({"page"})
    key_class: ClassVar[KeyClass] = KeyClass.NEITHER
    settings: ClassVar[Mapping[str, Setting]] = MappingProxyType(
        {
            "webhook_url": Setting(
                "secret",
                required=True,
                help="the incoming webhook's URL: who has it can post, so it is a secret",
            ),
            "severity": Setting(
                "choice", default="critical", choices=SEVERITIES, help="of pages that say none themselves"
            ),
            "allow_private": Setting("bool", default=False, help="the url may lead to private addresses"),
        }
    )

    def __init__(
        self, webhook_url: str, clock: Clock, *, severity: str = "critical", allow_private: bool = False
    ) -> None:
        secret_path = URL(webhook_url, encoded=True).raw_path
        self._client = HttpClient(
            webhook_url,
            clock,
            kind=self.kind,
            keeps_connections=False,
            allow_private=allow_private,
            hidden=[webhook_url, secret_path],
        )
        self._severity = severity

    async def start(self, outcome: OutcomeSink) -> None:
        await self._client.start()

    async def send(self, command: Command, *, timeout_s: float) -> Answer:
        if command.verb != "page":
            raise EngineRejected(f"a slack engine knows no `{command.verb}`; it knows page")
        text = _text(page_of(command, self._severity))
        reply = await self._client.request(
            "POST",
            URL(self._client.url, encoded=True),
            body=json.dumps({"text": text}).encode(),
            headers={"Content-Type": "application/json; charset=utf-8"},
            timeout_s=timeout_s,
        )
        if reply.status != 200:
            raise self._client.error_of(reply)
        return Answer(status=Status.SUCCEEDED)

    async def ask(self, command: Command, *, timeout_s: float) -> Answer:
        raise EngineRejected("an incoming webhook of Slack cannot be asked")

    async def close(self) -> None:
        await self._client.close()


def _text(page: Page) -> str:
    """Slack's markup is escaped: what a signal says can neither link nor call a whole channel."""
    lines = [f"*{page.severity.upper()}* {_escaped(shortened(page.summary, SUMMARY_CHARS_MAX))}"]
    origin = f"`{_escaped(page.details.pop('command'))}`"
    lines += [
        f"{_escaped(name)}: {_escaped(shortened(as_text(value), DETAIL_CHARS_MAX))}"
        for name, value in page.details.items()
    ]
    return f"{shortened(chr(10).join(lines), TEXT_CHARS_MAX)}\n{origin}"


def _escaped(text: str) -> str:
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def slack_from_settings(
    definition: EngineDefinition, reveal: Callable[[Secret], str], clock: Clock
) -> SlackEngine:
    """The engine as flo.yaml configures it. The URL is revealed here, and kept by the engine alone."""
    values = settings_of(definition, SlackEngine.settings)
    url = reveal(values.pop("webhook_url"))
    return SlackEngine(url, clock, **values)
