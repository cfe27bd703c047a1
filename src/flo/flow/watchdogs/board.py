"""The board: what the watchdogs have found and what of it still holds."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import msgspec

from flo.core.finding import Finding
from flo.core.signal import text_from_time
from flo.flow.cursor import decode_cursor, encode_cursor
from flo.ports.service import Page

FINDINGS_MAX = 10_000
"""On the board at once. Beyond, the one reported longest ago leaves: a board nobody can read is no use."""


class Posted(msgspec.Struct):
    """A finding on the board. `first_ns` to `last_ns`: how long it has held; `count`: how often it was reported."""

    finding: Finding
    first_ns: int
    last_ns: int
    count: int = 1


QUERY_KEYS = ("type", "subject", "loop")
"""What findings can be asked for by."""

Raise = Callable[[Finding], None]
"""Called once when a finding begins to hold: it becomes a signal."""


class Board:
    """Used on the event loop only. A finding is raised when it begins to hold, and again only after it was cleared."""

    def __init__(self, raised: Raise) -> None:
        self._raised = raised
        # ordered: to find the first of a dict that others left before takes as long as there were such
        self._posted: OrderedDict[tuple[str, str], Posted] = OrderedDict()
        self.raised_total: dict[str, int] = {}

    def report(self, finding: Finding) -> None:
        """It holds. The first report raises it; later ones bring its figures up to date."""
        posted = self._posted.pop(finding.identity, None)
        if posted is not None:
            self._posted[finding.identity] = Posted(finding, posted.first_ns, finding.at_ns, posted.count + 1)
            return
        while len(self._posted) >= FINDINGS_MAX:
            self._posted.popitem(last=False)
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

    def keep(self, wanted: Callable[[Finding], bool]) -> None:
        """Take down whatever is not wanted any more: its loop is gone, its watchdog is off."""
        self._posted = OrderedDict(
            (identity, posted) for identity, posted in self._posted.items() if wanted(posted.finding)
        )

    def page(self, query: Mapping[str, str], limit: int, cursor: str | None) -> Page:
        """What holds, newest first by when it began, so that a finding that is reported again keeps its place."""
        found = sorted(self._posted.values(), key=_place, reverse=True)
        before = None if cursor is None else decode_cursor(cursor, tuple[int, str, str])
        rows = [
            posted
            for posted in found
            if (before is None or _place(posted) < before)
            and all(getattr(posted.finding, name) == wanted for name, wanted in query.items())
        ]
        more = len(rows) > limit
        rows = rows[:limit]
        return Page([self.row(posted) for posted in rows], encode_cursor(_place(rows[-1])) if more else None)

    def snapshot(self) -> list[Posted]:
        """All that holds, to be given to `restore` in another life."""
        return list(self._posted.values())

    def restore(self, posted: list[Posted]) -> None:
        """What held when FLO ended holds on: it was raised then, and is not raised again."""
        self._posted = OrderedDict((each.finding.identity, each) for each in posted[-FINDINGS_MAX:])

    def row(self, posted: Posted) -> dict[str, Any]:
        """As the API shows it."""
        finding = posted.finding
        return {
            "type": finding.type,
            "subject": finding.subject,
            "detail": finding.detail,
            "loop": finding.loop,
            "pipeline": finding.pipeline,
            "figures": dict(finding.figures),
            "first": text_from_time(posted.first_ns),
            "last": text_from_time(posted.last_ns),
            "count": posted.count,
        }


Place = tuple[int, str, str]


def _place(posted: Posted) -> Place:
    return posted.first_ns, posted.finding.type, posted.finding.subject
