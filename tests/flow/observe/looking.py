"""An observer with its watchdogs, shown spans and lineage by hand."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from itertools import count
from typing import Any

from tests.flow.watchdogs.watched import START_NS, S, bundle

from flo.core.finding import Finding
from flo.core.lineage import RUN, DatasetUse, DeclaredParents, JobName, LineageEvent
from flo.core.span import INTERNAL, Span
from flo.flow.observe.observer import Observer
from flo.flow.watchdogs.board import Board

MS = S // 1_000


class Looking:
    """`now_ns` moves on with every look; spans and runs get ids of their own."""

    def __init__(self, loops: Mapping[str, str], flo_yaml: str = "engines: {}") -> None:
        self.observer = Observer()
        self.raised: list[Finding] = []
        self.board = Board(self.raised.append)
        self.now_ns = START_NS
        self._ids = count(1)
        self.turn_to(loops, flo_yaml)

    def turn_to(self, loops: Mapping[str, str], flo_yaml: str = "engines: {}") -> None:
        definition = bundle(loops, flo_yaml)
        self.observer.turn_to(definition)
        for dog in self.observer.dogs:
            dog.turn_to(definition, definition.loops)

    def look(self, after_ns: int = 15 * S) -> dict[str, Finding]:
        """What holds after a while of quiet, by subject."""
        self.now_ns += after_ns
        self.observer.turn(self.now_ns)
        for dog in self.observer.dogs:
            if dog.is_on:
                dog.check(self.now_ns, self.board)
        return {posted.finding.subject: posted.finding for posted in self.board.posted()}

    # -- spans ------------------------------------------------------------------------------------------------

    def trace(self, *calls: tuple[str, str, int, int]) -> str:
        """A trace of services: (caller, called, start, end in ms). The first caller is the root."""
        trace_id = f"{next(self._ids):032x}"
        spans: dict[str, str] = {}
        root = calls[0][0]
        self._span(trace_id, spans, root, "", 0, max(end for *_, end in calls))
        for caller, called, start_ms, end_ms in calls:
            self._span(trace_id, spans, called, spans[caller], start_ms, end_ms)
        return trace_id

    def _span(
        self, trace_id: str, spans: dict[str, str], service: str, parent: str, start_ms: int, end_ms: int
    ) -> None:
        span_id = f"{next(self._ids):016x}"
        spans[service] = span_id
        span = Span(
            trace_id=trace_id,
            span_id=span_id,
            parent_id=parent,
            service=service,
            name="work",
            kind=INTERNAL,
            start_ns=self.now_ns + start_ms * MS,
            end_ns=self.now_ns + end_ms * MS,
        )
        self.observer.observe_spans([span], self.now_ns)

    # -- runs -------------------------------------------------------------------------------------------------

    def run(
        self,
        job: str,
        reads: Iterable[str] = (),
        writes: Iterable[str] = (),
        *,
        took_s: float = 10,
        state: str = "COMPLETE",
        run_id: str = "",
        parent: str | None = None,
        root: str | None = None,
        after: Iterable[str] | None = None,
        start_s: float = 0,
    ) -> str:
        """A run from START to its end. Datasets are `name` or `name@version`; `after`: its declared parents."""
        run_id = run_id or f"run-{next(self._ids)}"
        parents = (
            None if after is None else DeclaredParents(frozenset(JobName("jobs", name) for name in after))
        )
        about: dict[str, Any] = {
            "kind": RUN,
            "job": JobName("jobs", job),
            "run_id": run_id,
            "parent_run": parent,
            "root_run": root,
            "parents": parents,
        }
        began_ns = self.now_ns + round(start_s * S)
        self.observer.observe_lineage(LineageEvent(at_ns=began_ns, state="START", **about))
        end = LineageEvent(
            at_ns=began_ns + round(took_s * S),
            state=state,
            inputs=tuple(map(dataset, reads)),
            outputs=tuple(map(dataset, writes)),
            **about,
        )
        self.observer.observe_lineage(end)
        return run_id


def dataset(text: str) -> DatasetUse:
    name, _, version = text.partition("@")
    return DatasetUse("warehouse", name, version or None)
