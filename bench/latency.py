"""`POST /v1/decisions`, one transaction a request, committed before the answer, 500 a second."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from dataclasses import dataclass, field
from pathlib import Path

from bench.arrivals import poisson, trace_file, traced
from bench.machine import TREE
from bench.processes import served
from bench.report import Options, Report, Target, quantile, table
from bench.transactions import transactions_file
from bench.w1 import BUNDLE

ABOUT = "one decision a request over HTTP, committed before the answer, open loop"
RATE = 500.0
P99_MS_MAX = 10.0

DURATION_S, ROUNDS = 8.0, 3
DURATION_QUICK_S, ROUNDS_QUICK = 4.0, 1
WARM_UP_S = 1.0

NAMES = {"FLO": "FLO", "FLO, 2 workers": "FLO, 2 workers", "append": "aiohttp, one synced append"}
"""What is measured, and as what it is told."""


@dataclass(slots=True)
class Measured:
    """One server under one shape of arrivals, all rounds together."""

    ms: list[float] = field(default_factory=list)
    lag_ms: list[float] = field(default_factory=list)
    p99s_ms: list[float] = field(default_factory=list)
    failed: int = 0


class Signals:
    """Transactions in order, none of them offered twice."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.used = 0

    def offer(self, url: str, route: str, offsets_s: list[float]) -> dict[str, list[float]]:
        plan = {"signals": str(self.path), "first": self.used, "offsets_s": offsets_s, "path": route}
        self.used += len(offsets_s)
        ended = subprocess.run(
            [sys.executable, "-m", "bench.open_loop", url],
            cwd=TREE,
            input=json.dumps(plan),
            capture_output=True,
            text=True,
            check=False,
        )
        if ended.returncode:
            raise RuntimeError(f"the client failed:\n{ended.stderr}")
        answer: dict[str, list[float]] = json.loads(ended.stdout)
        return answer


def run(options: Options) -> Report:
    """All servers stand; they are asked in turn, one at a time."""
    duration_s = DURATION_QUICK_S if options.quick else DURATION_S
    rounds = options.rounds or (ROUNDS_QUICK if options.quick else ROUNDS)
    report = Report("latency", ABOUT, options.seed)
    shapes: dict[str, list[list[float]]] = {
        "independent": [poisson(RATE, duration_s, options.seed + number) for number in range(rounds)]
    }
    trace = trace_file()
    if trace.is_file():
        shapes["azure_llm"] = [traced(trace, RATE, duration_s)] * max(1, rounds - 1)
    else:
        report.notes.append(
            f"azure_llm skipped: {trace} is absent; set FLO_DATA to the folder that holds it."
        )
    signals = Signals(transactions_file(200_000, options.seed))
    found = {(server, shape): Measured() for shape in shapes for server in NAMES}
    with (
        tempfile.TemporaryDirectory(prefix="flo-bench-") as scratch,
        served(_flo(f"{scratch}/data")) as flo_url,
        served(_flo(f"{scratch}/data-2", workers=2)) as workers_url,
        served(["-m", "bench.append_server", f"{scratch}/log"]) as append_url,
    ):
        servers = {
            "FLO": (flo_url, "/v1/decisions"),
            "FLO, 2 workers": (workers_url, "/v1/decisions"),
            "append": (append_url, "/"),
        }
        for url, route in servers.values():
            signals.offer(url, route, poisson(RATE, WARM_UP_S, options.seed))
        for shape, plans in shapes.items():
            for offsets_s in plans:
                for server, (url, route) in servers.items():
                    _add(found[server, shape], signals.offer(url, route, offsets_s))
    _tell(report, found, duration_s)
    return report


def _flo(data: str, workers: int = 1) -> list[str]:
    command = ["-m", "flo.faces.cli", "run", str(BUNDLE), "--data", data]
    return [*command, "--workers", str(workers), "--port", "0", "--json"]


def _add(measured: Measured, answer: dict[str, list[float]]) -> None:
    measured.ms += answer["ms"]
    measured.lag_ms += answer["lag_ms"]
    measured.p99s_ms.append(quantile(sorted(answer["ms"]), 0.99))
    measured.failed += int(answer["failed"])  # type: ignore[call-overload]


def _tell(report: Report, found: dict[tuple[str, str], Measured], duration_s: float) -> None:
    rows = []
    for (server, shape), measured in found.items():
        ordered = sorted(measured.ms)
        figures = {f"p{q:g}": quantile(ordered, q / 100) for q in (50, 90, 99, 99.9)}
        figures["max"] = ordered[-1]
        lag = quantile(sorted(measured.lag_ms), 0.99)
        report.figures[f"{server} {shape}"] = {**figures, "lag_p99": lag, "requests": len(ordered)}
        cells = [f"{figures[name]:.2f}" for name in ("p50", "p90", "p99", "p99.9", "max")]
        rounds = ", ".join(f"{each:.1f}" for each in measured.p99s_ms)
        rows.append([f"{NAMES[server]}, {shape}", str(len(ordered)), *cells, rounds, f"{lag:.2f}"])
        if measured.failed:
            report.notes.append(f"{NAMES[server]}, {shape}: {measured.failed} requests FAILED")
    head = ["ms", "requests", "p50", "p90", "p99", "p99.9", "max", "p99 by round", "client lag p99"]
    report.tables.append(table(head, rows))
    told = report.figures
    report.targets.append(
        Target("FLO's p99 in ms, independent", told["FLO independent"]["p99"], P99_MS_MAX, at_least=False)
    )
    for shape in dict.fromkeys(shape for _, shape in found):
        report.notes.append(
            f"Ratio to the ceiling, {shape}: p50 "
            f"{told[f'FLO {shape}']['p50'] / told[f'append {shape}']['p50']:.2f}, p99 "
            f"{told[f'FLO {shape}']['p99'] / told[f'append {shape}']['p99']:.2f}"
        )
    report.notes.append(
        f"{RATE:g} requests a second for {duration_s:g} s a round, after {WARM_UP_S:g} s of warming up; latency counts "
        "from the scheduled time, so it holds the client's own lag. The ceiling decides nothing and keeps one body."
    )
