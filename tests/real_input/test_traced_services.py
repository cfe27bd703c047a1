"""Real traces of 28 services under injected faults: exactly the edges that the spans themselves show, no more, no fewer.

The truth is computed here from the spans by another way: a table of all spans, then one look at each parent.
"""

from __future__ import annotations

import os
import random
import re
from collections import Counter
from pathlib import Path

import pyarrow.parquet as parquet
import pytest

from flo.core.span import INTERNAL, Span
from flo.flow.observe.graph import TRACED
from flo.flow.observe.observer import Observer

_DATA = Path(os.environ.get("FLO_DATA") or Path(__file__).parents[3] / "shared" / "data")
FOLDER = _DATA / "nezha_trainticket"
SEED = int(os.environ.get("FLO_SEED", "20261125"))
POD = re.compile(r"-[0-9a-f]+-[a-z0-9]+$")


def read(name: str) -> list[Span]:
    file = FOLDER / f"{name}_2023-01-29.parquet"
    if not file.exists():
        pytest.skip(f"{file} is absent; set FLO_DATA to the folder that holds nezha_trainticket/{file.name}")
    columns = parquet.read_table(file).to_pydict()
    services = {pod: POD.sub("", pod) for pod in set(columns["PodName"])}
    names = ("minute", "trace", "span", "parent", "PodName", "OperationName", "start_us", "dur_us")
    return [
        Span(
            trace_id=f"{minute}{trace}",
            span_id=str(span),
            parent_id="" if parent < 0 else str(parent),
            service=services[pod],
            name=operation,
            kind=INTERNAL,
            start_ns=start_us * 1_000,
            end_ns=(start_us + took_us) * 1_000,
        )
        for minute, trace, span, parent, pod, operation, start_us, took_us in zip(
            *(columns[name] for name in names), strict=True
        )
    ]


def shown_by(spans: list[Span]) -> Counter[tuple[str, str]]:
    """Calls between services. The file holds a few spans twice; each is one call."""
    by_id = {(span.trace_id, span.span_id): span for span in spans}
    calls: Counter[tuple[str, str]] = Counter()
    for span in by_id.values():
        parent = by_id.get((span.trace_id, span.parent_id))
        if parent is not None and parent.service != span.service:
            calls[parent.service, span.service] += 1
    return calls


def found_in(observer: Observer) -> dict[tuple[str, str], int]:
    return {
        (edge.source.removeprefix("service:"), edge.target.removeprefix("service:")): edge.seen[TRACED].count
        for edge in observer.graph.newest_first()
    }


@pytest.mark.parametrize(("name", "edges"), [("normal", 42), ("faulty", 55)])
def test_the_edges_are_those_of_the_spans_each_counted_once(name: str, edges: int) -> None:
    spans = read(name)
    observer = Observer()
    observer.observe_spans(spans, 1)
    observer.traces.fold_all()
    expected = shown_by(spans)
    assert len(expected) == edges
    assert found_in(observer) == expected


def test_the_order_in_which_spans_come_changes_nothing() -> None:
    print(f"seed {SEED}")
    spans = read("normal")
    random.Random(SEED).shuffle(spans)
    observer = Observer()
    for start in range(0, len(spans), 100):
        observer.observe_spans(spans[start : start + 100], 1)
    assert found_in(observer) == shown_by(spans)
