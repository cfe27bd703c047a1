"""Engine `pagerduty`: pages people through PagerDuty's Events API v2.

    page    an event `trigger` with the summary, the severity and the details; see `pages`
    cancel  an event `resolve` of the incident

Class: honours the key. The event's `dedup_key` is the incident, by default the command's key: PagerDuty adds a repeat to
the alert that is open under it and wakes nobody again. (Once that alert is resolved the same key opens a new one; a
repeat after a lost answer comes within the command's deadline.) Accepted by PagerDuty (202) is success here; whether
somebody acknowledged is PagerDuty's to say.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any, ClassVar

from yarl import URL

from flo.core.bundle.settings import Setting
from flo.core.command import Command
from flo.core.loop.definition import EngineDefinition
from flo.core.secret import Secret
from flo.core.signal import text_from_time
from flo.engines.configured import Revealed, settings_of
from flo.engines.http_client import HttpClient, idempotency_key
from flo.engines.pages import SEVERITY, incident_of, page_of, shortened
from flo.ports.clock import Clock
from flo.ports.engine import Answer, EngineRejected, KeyClass, OutcomeSink, Status

URL_DEFAULT = "https://events.pagerduty.com/v2/enqueue"

SUMMARY_CHARS_MAX = 1_024
EVENT_BYTES_MAX = 512 * 1024
"""Limits of the Events API v2: longer summaries are cut off there, larger events refused."""


class PagerDutyEngine:
    """See the module."""

    kind: ClassVar[str] = "pagerduty"
    verbs: ClassVar[frozenset[str]] = frozenset({"page", "cancel"})
    key_class: ClassVar[KeyClass] = KeyClass.HONOURS_KEY
    settings: ClassVar[Mapping[str, Setting]] = MappingProxyType(
        {
            "routing_key": Setting(
                "secret", required=True, help="the integration key of a service's Events API v2 integration"
            ),
            "severity": SEVERITY,
            "source": Setting("plain", default="flo", help="what PagerDuty shows as the event's source"),
            "url": Setting("url", default=URL_DEFAULT, help="elsewhere than in the US: its own address"),
            "allow_private": Setting("bool", default=False, help="the url may lead to private addresses"),
        }
    )

    def __init__(
        self,
        routing_key: str,
        clock: Clock,
        *,
        severity: str = "critical",
        source: str = "flo",
        url: str = URL_DEFAULT,
        allow_private: bool = False,
    ) -> None:
        self._client = HttpClient(
            url,
            clock,
            kind=self.kind,
            keeps_connections=True,
            allow_private=allow_private,
            hidden=[routing_key],
        )
        self._routing_key = routing_key
        self._severity = severity
        self._source = source

    async def start(self, outcome: OutcomeSink) -> None:
        await self._client.start()

    async def send(self, command: Command, *, timeout_s: float) -> Answer:
        event = self._event(command)
        body = json.dumps(event).encode()
        if len(body) > EVENT_BYTES_MAX:
            raise EngineRejected(
                f"the event has {len(body)} bytes, PagerDuty takes {EVENT_BYTES_MAX}: say less"
            )
        reply = await self._client.request(
            "POST",
            URL(self._client.url, encoded=True),
            body=body,
            headers={"Content-Type": "application/json"},
            timeout_s=timeout_s,
        )
        if reply.status != 202:
            raise self._client.error_of(reply)
        return Answer(status=Status.SUCCEEDED, reference=event["dedup_key"])

    async def ask(self, command: Command, *, timeout_s: float) -> Answer:
        raise EngineRejected("PagerDuty's Events API cannot be asked: a page is done when it is accepted")

    async def close(self) -> None:
        await self._client.close()

    def _event(self, command: Command) -> dict[str, Any]:
        event: dict[str, Any] = {"routing_key": self._routing_key}
        if command.verb == "cancel":
            return {**event, "event_action": "resolve", "dedup_key": idempotency_key(incident_of(command))}
        if command.verb != "page":
            raise EngineRejected(f"a pagerduty engine knows no `{command.verb}`; it knows cancel, page")
        page = page_of(command, self._severity)
        return {
            **event,
            "event_action": "trigger",
            "dedup_key": idempotency_key(page.incident),
            "client": "FLO",
            "payload": {
                "summary": shortened(page.summary, SUMMARY_CHARS_MAX),
                "source": self._source,
                "severity": page.severity,
                "timestamp": text_from_time(command.issued_ns),
                "component": command.loop,
                "class": command.rule,
                "custom_details": page.details,
            },
        }


def pagerduty_from_settings(
    definition: EngineDefinition, reveal: Callable[[Secret], str], clock: Clock
) -> PagerDutyEngine:
    """The engine as flo.yaml configures it. The routing key is revealed here, and kept by the engine alone."""
    values, revealed = settings_of(definition, PagerDutyEngine.settings), Revealed(reveal)
    return PagerDutyEngine(
        revealed.text(values["routing_key"]),
        clock,
        severity=values["severity"],
        source=values["source"],
        url=revealed.text(values["url"]),
        allow_private=values["allow_private"],
    )
