"""W1: 20,000 cards, zipf; count and sum of ten minutes of event time a card; two rules; a durable record for each."""

from __future__ import annotations

import shutil
import statistics
import tempfile
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from bench import stages
from bench.by_hand import read_decisions
from bench.processes import Ended, measured, run_file_command, size_bytes
from bench.recorded import ledger_bytes, recorded_decisions
from bench.report import Options, Report, Target, median_ratio, table
from bench.transactions import transactions_file

ABOUT = "decisions a second from a file, against the same work written by hand"
BUNDLE = Path(__file__).resolve().parent / "bundles" / "w1"

SIGNALS, ROUNDS = 1_000_000, 3
SIGNALS_QUICK, ROUNDS_QUICK = 50_000, 2

ONE_WORKER_MIN = 0.6
TWO_WORKERS_MIN = 1.0


@dataclass(slots=True)
class Contestant:
    """Who runs: how it is called on (signals, directory), and what it left there."""

    name: str
    command: Callable[[Path, Path], list[str]]
    recorded_bytes: Callable[[Path], int]
    start: Ended | None = None
    seconds: list[float] = field(default_factory=list)
    cpu_s: list[float] = field(default_factory=list)
    size_bytes: int = 0

    def run(self, signals: Path, directory: Path) -> Ended:
        directory.mkdir()
        return measured(self.command(signals, directory / "data"))


def contestants() -> list[Contestant]:
    def by_hand(*more: str) -> Callable[[Path, Path], list[str]]:
        return lambda signals, data: ["-m", "bench.by_hand", str(signals), str(data), *more]

    def flo(workers: int) -> Callable[[Path, Path], list[str]]:
        return lambda signals, data: run_file_command(BUNDLE, signals, data, workers)

    return [
        Contestant("by hand", by_hand(), size_bytes),
        Contestant("FLO, 1 worker", flo(1), ledger_bytes),
        Contestant("FLO, 2 workers", flo(2), ledger_bytes),
        Contestant("by hand, whole", by_hand("--whole"), size_bytes),
    ]


def run(options: Options) -> Report:
    """The rounds, in turn; then the proof that all decided the same."""
    count = options.signals or (SIGNALS_QUICK if options.quick else SIGNALS)
    rounds = options.rounds or (ROUNDS_QUICK if options.quick else ROUNDS)
    report = Report("w1", ABOUT, options.seed)
    signals = transactions_file(count, options.seed)
    if options.profile:
        stages.profile(report, BUNDLE, signals)
        return report
    field_of = contestants()
    with tempfile.TemporaryDirectory(prefix="flo-bench-") as scratch:
        _race(field_of, signals, count, rounds, Path(scratch), report)
    _tell(field_of, count, rounds, report)
    return report


def _race(
    field_of: list[Contestant], signals: Path, count: int, rounds: int, scratch: Path, report: Report
) -> None:
    nothing = scratch / "nothing.ndjson"
    nothing.touch()
    for each in field_of:
        each.start = each.run(nothing, scratch / "start")
        shutil.rmtree(scratch / "start")
    expected: dict[str, tuple[str, int, float, str]] = {}
    for number in range(rounds):
        for each in field_of if number % 2 == 0 else reversed(field_of):
            directory = scratch / "run"
            ended = each.run(signals, directory)
            assert each.start is not None
            if ended.output["decisions"] != count:
                raise RuntimeError(f"{each.name} made {ended.output['decisions']} decisions of {count}")
            each.seconds.append(ended.output["seconds"])
            each.cpu_s.append(ended.cpu_s - each.start.cpu_s)
            each.size_bytes = each.recorded_bytes(directory)
            if number == 0:
                expected = _compare(each, directory / "data", expected)
            shutil.rmtree(directory)
    report.notes.append(
        f"Checked: all {len(expected)} decisions of each are the same, result, count and sum, to the last bit."
    )


def _compare(
    who: Contestant, data: Path, expected: dict[str, tuple[str, int, float, str]]
) -> dict[str, tuple[str, int, float, str]]:
    """What it decided, signal by signal; `RuntimeError` with the first difference to who ran before."""
    if who.name.startswith("FLO"):
        results = ("review", "review", "approve")
        found = {
            id: (row["key"], row["count_10m"], row["sum_10m"], results[row["exit"]])
            for id, row in recorded_decisions(data, "score")
        }
    else:
        found = {id: (card, count, total, result) for id, card, count, total, result in read_decisions(data)}
    for id, decision in expected.items():
        if found.get(id) != decision:
            raise RuntimeError(f"{who.name} decided {id} as {found.get(id)}, others as {decision}")
    return found


def _tell(field_of: list[Contestant], count: int, rounds: int, report: Report) -> None:
    base = field_of[0]
    rows = []
    for each in field_of:
        seconds, cpu_s = statistics.median(each.seconds), statistics.median(each.cpu_s)
        rates = [count / one for one in each.seconds]
        ratio = median_ratio(rates, [count / one for one in base.seconds])
        assert each.start is not None
        start_s = each.start.wall_s - each.start.output["seconds"]
        rows.append(
            [
                each.name, f"{count / seconds:,.0f}", f"{min(rates):,.0f}-{max(rates):,.0f}", f"{ratio:.2f}",
                f"{cpu_s / count * 1e6:.1f}", f"{each.size_bytes / count:.0f}", f"{start_s:.2f}",
            ]
        )  # fmt: skip
        report.figures[each.name] = {
            "signals_per_s": count / seconds, "ratio": ratio, "cpu_us_per_signal": cpu_s / count * 1e6,
            "bytes_per_decision": each.size_bytes / count, "start_s": start_s, "seconds": each.seconds,
        }  # fmt: skip
    head = ["", "signals/s", "range", "ratio", "CPU µs/signal", "bytes/decision", "start and stop s"]
    report.tables.append(table(head, rows))
    ratios = {each.name: report.figures[each.name]["ratio"] for each in field_of}
    report.targets += [
        Target("one worker / by hand", ratios["FLO, 1 worker"], ONE_WORKER_MIN, at_least=True),
        Target("two workers / by hand", ratios["FLO, 2 workers"], TWO_WORKERS_MIN, at_least=True),
    ]
    report.notes += [
        f"{count} transactions, {rounds} rounds in turn, medians; ratios are medians of each round's own.",
        "Times are of deciding and recording; starting and stopping stand beside them. `by hand` keeps no signals and "
        "takes repeats; `by hand, whole` refuses repeats and keeps signals, as FLO does. FLO's two workers are two "
        "processes that decide and one that reads and routes.",
    ]
