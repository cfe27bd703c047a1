"""The board: what the watchdogs have found and what of it still holds."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

import msgspec

from flo.core.finding import Finding

FINDINGS_MAX = 10_000
"""On the board at once. Beyond, the one reported longest ago leaves: a board nobody can read is no use."""


class Posted(msgspec.Struct):
    """A finding on the board. `first_ns` to `last_ns`: how long it has held; `count`: how often it was reported."""

    finding: Finding
    first_ns: int
    last_ns: int
    count: int = 1


Raise = Callable[[Finding], None]
"""Called once when a finding begins to hold: it becomes a signal."""


class Board:
    """Used on the event loop only. A finding is raised when it begins to hold, and again only after it was cleared."""

    def __init__(self, raised: Raise) -> None:
        self._raised = raised
        self._posted: dict[tuple[str, str], Posted] = {}
        self.raised_total: dict[str, int] = {}

    def report(self, finding: Finding) -> None:
        """It holds. The first report raises it; later ones bring its figures up to date."""
        posted = self._posted.pop(finding.identity, None)
        if posted is not None:
            self._posted[finding.identity] = Posted(finding, posted.first_ns, finding.at_ns, posted.count + 1)
            return
        while len(self._posted) >= FINDINGS_MAX:
            del self._posted[next(iter(self._posted))]
        self._posted[finding.identity] = Posted(finding, finding.at_ns, finding.at_ns)
        self.raised_total[finding.type] = self.raised_total.get(finding.type, 0) + 1
        self._raised(finding)

    def clear(self, type: str, subject: str) -> bool:
        """It holds no more. False: it was not on the board."""
        return self._posted.pop((type, subject), None) is not None

    def holds(self, type: str, subject: str) -> bool:
        return (type, subject) in self._posted

    def posted(self) -> Iterator[Posted]:
        """Newest first."""
        return reversed(self._posted.values())

    def counts(self) -> Mapping[str, int]:
        """How many hold now, by type."""
        counts: dict[str, int] = {}
        for type, _ in self._posted:
            counts[type] = counts.get(type, 0) + 1
        return counts

    def row(self, posted: Posted) -> dict[str, Any]:
        """As the API shows it, but for the times, which are nanoseconds here."""
        finding = posted.finding
        return {
            "type": finding.type,
            "subject": finding.subject,
            "detail": finding.detail,
            "loop": finding.loop,
            "pipeline": finding.pipeline,
            "figures": dict(finding.figures),
            "first_ns": posted.first_ns,
            "last_ns": posted.last_ns,
            "count": posted.count,
        }
