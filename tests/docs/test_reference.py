"""The reference pages name everything there is: metrics, errors, statuses, outcomes, reasons."""

from __future__ import annotations

import ast
import os
from collections.abc import Iterator
from pathlib import Path

import prometheus_client as prometheus
from prometheus_client.parser import text_string_to_metric_families
from tests.docs.pages import DOCS, REPOSITORY

from flo.core import errors
from flo.core.command import OUTCOMES
from flo.core.contract import ContractViolation
from flo.core.errors import FloError
from flo.faces.http.limits import Limits
from flo.faces.http.live import _request_metrics
from flo.faces.http.problems import KINDS, TYPE_PREFIX, kind_of
from flo.faces.http.state import State
from flo.ports import engine
from flo.runtimes.embedded.figures import Figures
from flo.runtimes.embedded.outward_metrics import OutwardMetrics

REFERENCE = DOCS / "reference"
METRICS = REFERENCE / "metrics.md"
ITERATION_STATUSES = (
    "open",
    "awaiting",
    "closed",
    "stale",
    "tolerated",
    "failed",
    "silent",
    "killed",
    "parked",
)

HEAD = """# Metrics

`GET /metrics` answers Prometheus text. This page is made from the metrics themselves.

| metric | type | labels | |
|---|---|---|---|
"""
TAIL = """
Counters begin at 0 with each start of FLO. With `--workers`, all workers are counted together.

What to alert on, to begin with: `flo_pipeline_paused` 1; `flo_dead_letters_total` rising; `flo_command_outcomes_total`
with `outcome` `failed`, `silent` or `expired`; `flo_open_commands` growing without end; the upper quantiles of
`flo_commit_seconds`; `/readyz` not 200.
"""


def metrics_page() -> str:
    figures = Figures()
    rows = []
    outward = OutwardMetrics(lambda: {}, lambda: {})
    for family in outward.collect():
        name = family.name + ("_total" if family.type == "counter" else "")
        labels = ", ".join(f"`{label}`" for label in family._labelnames)  # type: ignore[attr-defined]
        rows.append((name, family.type, labels, family.documentation))
    for collector, names in sorted(figures.registry._collector_to_names.items(), key=lambda each: each[1]):
        assert isinstance(collector, prometheus.metrics.MetricWrapperBase)
        name = next((name for name in names if name.endswith("_total")), names[0])
        labels = ", ".join(f"`{label}`" for label in collector._labelnames)
        rows.append((name, collector._type, labels, collector._documentation))
    for family in text_string_to_metric_families(_request_metrics(_state()).decode()):
        labels = ", ".join(f"`{label}`" for sample in family.samples for label in sample.labels)
        name = family.name + ("_total" if family.type == "counter" else "")
        rows.append((name, family.type, labels, family.documentation))
    body = "".join(
        f"| `{name}` | {kind} | {labels} | {about} |\n" for name, kind, labels, about in sorted(rows)
    )
    return HEAD + body + TAIL


def _state() -> State:
    state = State(service=None, tokens=None, limits=Limits())  # type: ignore[arg-type]
    state.requests["GET", "/v1/loops", 200] = 1
    return state


def test_the_page_of_metrics_is_current() -> None:
    if os.environ.get("FLO_UPDATE_DOCS") == "1":
        METRICS.write_text(metrics_page())
    assert METRICS.read_text() == metrics_page(), (
        "run this test with FLO_UPDATE_DOCS=1 to write the page anew"
    )


def test_every_error_is_on_its_page_with_its_problem() -> None:
    page = (REFERENCE / "errors.md").read_text()
    tree = {
        value
        for module in (errors, engine)
        for value in vars(module).values()
        if isinstance(value, type) and issubclass(value, FloError)
    }
    for error in {*tree, ContractViolation}:
        row = next(
            (line for line in page.splitlines() if line.startswith("|") and f"`{error.__name__}`" in line),
            None,
        )
        assert row is not None, f"errors.md does not mention {error.__name__}"
        assert f"`{kind_of(error.__new__(error)).name}`" in row, row
    for kind in KINDS.values():
        assert f"`{kind.name}`" in page, f"errors.md does not mention {TYPE_PREFIX}{kind.name}"


def test_every_status_outcome_and_reason_is_on_its_page() -> None:
    page = (REFERENCE / "statuses-and-outcomes.md").read_text()
    for word in {*ITERATION_STATUSES, *OUTCOMES, *dead_letter_reasons()}:
        assert f"`{word}`" in page, f"statuses-and-outcomes.md does not mention {word}"


def dead_letter_reasons() -> set[str]:
    """What the code gives as the reason of a dead letter, wherever it is written out."""
    found = {"expired", "exhausted", "rejected", "unknown-fate"}
    for path in (REPOSITORY / "src/flo/flow").rglob("*.py"):
        found |= set(_reasons(path))
    return found


def _reasons(path: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Call) and getattr(node.func, "id", "") in ("DeadLetter", "Step"):
            for keyword in node.keywords:
                value = keyword.value
                if keyword.arg in ("reason", "dead") and isinstance(value, ast.Constant) and value.value:
                    yield str(value.value)
