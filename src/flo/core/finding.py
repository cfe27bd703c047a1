"""What a watchdog found: a fact about the loops themselves, with its figures."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from flo.core.signal import encode_signal

SOURCE = "/flo/watchdogs"


class Finding(msgspec.Struct, frozen=True, kw_only=True):
    """One finding. `type` and `subject` together are its identity: found again, it is the same finding.

    `type` is the type of its signal, such as `flo.cycle.slowing`; `subject` is what it is about: a loop, a pipeline, a
    dependency, a dataset, or an edge as `a -> b`. `detail` is one sentence for a person, with the figures in it.
    `figures` are the same as values, JSON-able, units in their names.
    """

    type: str
    subject: str
    detail: str
    at_ns: int
    loop: str | None = None
    pipeline: str | None = None
    figures: Mapping[str, Any] = {}

    @property
    def identity(self) -> tuple[str, str]:
        return self.type, self.subject


def signal_of(finding: Finding) -> bytes:
    """The finding as a signal that rules can match: its id makes a repeat of the same finding a duplicate."""
    data: dict[str, Any] = {
        "subject": finding.subject,
        "detail": finding.detail,
        "figures": dict(finding.figures),
    }
    if finding.loop is not None:
        data["loop"] = finding.loop
    if finding.pipeline is not None:
        data["pipeline"] = finding.pipeline
    return encode_signal(
        id=f"{finding.type}/{finding.subject}/{finding.at_ns}"[:1024],
        source=SOURCE,
        type=finding.type,
        time_ns=finding.at_ns,
        data=data,
    )
