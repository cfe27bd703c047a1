"""What a `page` says, whoever is paged.

    with: {summary: TEXT, severity: critical|error|warning|info, incident: NAME, ...}

`incident` names what the page is about: pages of one incident are one alert, and `cancel` with the same name, or with
`run: KEY` of the page, ends it. Without it each command is an incident of its own. All else becomes details.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

from flo.core.bundle.settings import Setting
from flo.core.command import Command
from flo.ports.engine import EngineRejected

SEVERITIES = ("critical", "error", "warning", "info")
SEVERITY = Setting("choice", default="critical", choices=SEVERITIES, help="of pages that say none themselves")


@dataclass(frozen=True, slots=True)
class Page:
    """A page, told apart from others by `incident`."""

    summary: str
    severity: str
    incident: str
    details: dict[str, Any]


def page_of(command: Command, default_severity: str) -> Page:
    """`EngineRejected` names what is missing or wrong."""
    arguments = dict(command.arguments)
    summary = arguments.pop("summary", None)
    if not isinstance(summary, str) or not summary.strip():
        raise EngineRejected("page needs `with: {summary: TEXT}`: what the one who is woken reads first")
    severity = arguments.pop("severity", default_severity)
    if severity not in SEVERITIES:
        raise EngineRejected(f'the severity "{severity}" is none of {", ".join(SEVERITIES)}')
    incident = _incident(arguments.pop("incident", command.key))
    origin = {
        "loop": command.loop,
        "loop_key": command.loop_key,
        "rule": command.rule,
        "decision": command.decision_id,
        "command": command.key,
    }
    return Page(_clean(summary), severity, incident, _json({**arguments, **origin}))


def incident_of(command: Command) -> str:
    """The incident that a `cancel` ends."""
    named = command.arguments.get("incident", command.arguments.get("run"))
    if named is None:
        raise EngineRejected("cancel needs `with: {incident: NAME}`, or `{run: KEY}` of the page it ends")
    return _incident(named)


def shortened(text: str, chars_max: int) -> str:
    return text if len(text) <= chars_max else f"{text[: chars_max - 1]}…"


def as_text(value: Any) -> str:
    """A detail's value, for systems that know texts alone."""
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def _incident(named: Any) -> str:
    if not isinstance(named, str) or not named:
        raise EngineRejected("`incident` and `run` are texts, and not empty")
    return named


def _clean(text: str) -> str:
    """Half a surrogate pair fits no JSON text: it becomes a question mark."""
    return text.encode("utf-8", "replace").decode()


def _json(details: dict[str, Any]) -> dict[str, Any]:
    try:
        cleaned: dict[str, Any] = json.loads(_clean(json.dumps(details, ensure_ascii=False, allow_nan=False)))
    except (TypeError, ValueError, RecursionError) as error:
        raise EngineRejected(f"the page's details are not JSON: {error}") from None
    return cleaned
