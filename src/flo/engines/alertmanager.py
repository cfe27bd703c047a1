"""Engine `alertmanager`: a `page` is an alert in Prometheus' Alertmanager (API v2, or what is compatible with it).

    page    an alert that fires from the command's time for as long as `lasts` says
    cancel  the incident's alerts end now

Class: honours the key. An alert is its labels; among them is `flo_incident`, by default the command's key, so a repeat is
the same alert. It can also be asked: the incident's alerts are looked up by that label. Alertmanager keeps alerts in
memory alone: one that is restarted has forgotten them, which Prometheus makes good by sending its own again and again.
FLO sends once, so run Alertmanager in a cluster, or page through something that keeps what it is told.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any, ClassVar
from urllib.parse import quote

from yarl import URL

from flo.core.bundle.settings import Setting
from flo.core.command import Command
from flo.core.errors import UsageError
from flo.core.loop.definition import EngineDefinition
from flo.core.secret import Secret
from flo.core.signal import text_from_time
from flo.engines.configured import Revealed, settings_of
from flo.engines.http_client import HttpClient, idempotency_key
from flo.engines.pages import SEVERITY, Page, as_text, incident_of, page_of, shortened
from flo.ports.clock import Clock
from flo.ports.engine import Answer, EngineRejected, FateUnknown, KeyClass, OutcomeSink, Status

LASTS_DEFAULT = "4h"
NS_PER_H = 3_600 * 1_000_000_000

INCIDENT_LABEL = "flo_incident"
OWN_LABELS = frozenset({"alertname", "loop", "rule", "severity", INCIDENT_LABEL})

ANNOTATION_CHARS_MAX = 2_000


class AlertmanagerEngine:
    """See the module."""

    kind: ClassVar[str] = "alertmanager"
    verbs: ClassVar[frozenset[str]] = frozenset({"page", "cancel"})
    key_class: ClassVar[KeyClass] = KeyClass.HONOURS_KEY
    settings: ClassVar[Mapping[str, Setting]] = MappingProxyType(
        {
            "url": Setting(
                "url", required=True, help="as http://alertmanager:9093, with a prefix where it has one"
            ),
            "severity": SEVERITY,
            "lasts": Setting(
                "duration",
                default=LASTS_DEFAULT,
                minimum="1m",
                help="how long an alert fires that nobody ends",
            ),
            "labels": Setting("map", help="further labels, for its routes; the same on every alert"),
            "headers": Setting("map", help="further headers; values may be ${env:...} or ${file:...}"),
            "allow_private": Setting("bool", default=False, help="the url may lead to private addresses"),
        }
    )

    def __init__(
        self,
        url: str,
        clock: Clock,
        *,
        severity: str = "critical",
        lasts_ns: int = 4 * NS_PER_H,
        labels: Mapping[str, str] | None = None,
        headers: Mapping[str, str] | None = None,
        allow_private: bool = False,
        hidden: tuple[str, ...] = (),
    ) -> None:
        """Raises `UsageError` for a label that is FLO's to set."""
        for name in labels or ():
            if name in OWN_LABELS:
                raise UsageError(f"the label {name} is FLO's to set: leave it out of `labels`")
        self._client = HttpClient(
            f"{url.rstrip('/')}/api/v2/alerts",
            clock,
            kind=self.kind,
            keeps_connections=True,
            allow_private=allow_private,
            hidden=hidden,
        )
        self._clock = clock
        self._severity = severity
        self._lasts_ns = lasts_ns
        self._labels = dict(labels or {})
        self._headers = dict(headers or {})

    async def start(self, outcome: OutcomeSink) -> None:
        await self._client.start()

    async def send(self, command: Command, *, timeout_s: float) -> Answer:
        if command.verb == "page":
            alert = self._alert(command, page_of(command, self._severity))
            await self._post([alert], timeout_s)
            return Answer(status=Status.SUCCEEDED, reference=alert["labels"][INCIDENT_LABEL])
        if command.verb != "cancel":
            raise EngineRejected(f"an alertmanager engine knows no `{command.verb}`; it knows cancel, page")
        incident = incident_of(command)
        firing = await self._firing(incident, timeout_s)
        if not firing:
            return Answer(status=Status.SUCCEEDED, detail="no alert of this incident was firing")
        now = text_from_time(self._clock.now_ns())
        ended = [{**alert, "endsAt": now} for alert in firing]
        await self._post(ended, timeout_s)
        return Answer(status=Status.SUCCEEDED, result={"ended": len(ended)})

    async def ask(self, command: Command, *, timeout_s: float) -> Answer:
        """Whether the page's alert fires. One that was ended, or that Alertmanager forgot, is `UNKNOWN`."""
        if command.verb != "page":
            raise EngineRejected("a cancel is done when it is sent: there is nothing to ask")
        page = page_of(command, self._severity)
        if await self._firing(page.incident, timeout_s):
            return Answer(status=Status.SUCCEEDED, reference=idempotency_key(page.incident))
        return Answer(status=Status.UNKNOWN, detail="no alert of this incident is firing")

    async def close(self) -> None:
        await self._client.close()

    def _alert(self, command: Command, page: Page) -> dict[str, Any]:
        labels = {
            **self._labels,
            "alertname": "FloPage",
            "loop": command.loop,
            "rule": command.rule,
            "severity": page.severity,
            INCIDENT_LABEL: idempotency_key(page.incident),
        }
        details = {
            name: shortened(as_text(value), ANNOTATION_CHARS_MAX) for name, value in page.details.items()
        }
        return {
            "labels": labels,
            "annotations": {**details, "summary": shortened(page.summary, ANNOTATION_CHARS_MAX)},
            "startsAt": text_from_time(command.issued_ns),
            "endsAt": text_from_time(command.issued_ns + self._lasts_ns),
        }

    async def _post(self, alerts: list[dict[str, Any]], timeout_s: float) -> None:
        reply = await self._client.request(
            "POST",
            URL(self._client.url, encoded=True),
            body=json.dumps(alerts).encode(),
            headers={**self._headers, "Content-Type": "application/json"},
            timeout_s=timeout_s,
        )
        if reply.status != 200:
            raise self._client.error_of(reply)

    async def _firing(self, incident: str, timeout_s: float) -> list[dict[str, Any]]:
        """The incident's alerts, as they can be posted again. Its label holds nothing that a matcher would escape."""
        matcher = quote(f'{INCIDENT_LABEL}="{idempotency_key(incident)}"', safe="")
        url = URL(f"{self._client.url}?filter={matcher}", encoded=True)
        reply = await self._client.request("GET", url, headers=self._headers, timeout_s=timeout_s)
        if reply.status != 200:
            raise self._client.error_of(reply)
        found = reply.json()
        if not isinstance(found, list):
            raise FateUnknown(f"{self._client.host} answered no list of alerts")
        kept = ("labels", "annotations", "startsAt", "generatorURL")
        return [{name: alert[name] for name in kept if alert.get(name)} for alert in found]


def alertmanager_from_settings(
    definition: EngineDefinition, reveal: Callable[[Secret], str], clock: Clock
) -> AlertmanagerEngine:
    """The engine as flo.yaml configures it. Secrets are revealed here, and kept by the engine alone."""
    values, revealed = settings_of(definition, AlertmanagerEngine.settings), Revealed(reveal)
    url, labels, headers = (
        revealed.text(values["url"]),
        revealed.texts(values["labels"]),
        revealed.texts(values["headers"]),
    )
    return AlertmanagerEngine(
        url,
        clock,
        severity=values["severity"],
        lasts_ns=values["lasts"],
        labels=labels,
        headers=headers,
        allow_private=values["allow_private"],
        hidden=revealed.hidden,
    )
