"""What more rules and more loops cost a signal: 100 rules against one, 1,000 loops against one."""

from __future__ import annotations

import shutil
import statistics
import tempfile
from dataclasses import dataclass, field
from pathlib import Path

from bench.bundles_made import many_loops, many_rules
from bench.processes import Ended, measured, run_file_command
from bench.report import Options, Report, Target, median_ratio, table
from bench.transactions import transactions_file

ABOUT = "100 rules against one in a loop; 1,000 loops of which one matches against one"

RULES, LOOPS = 100, 1_000
SIGNALS, ROUNDS = 60_000, 4
SIGNALS_QUICK, ROUNDS_QUICK, LOOPS_QUICK = 20_000, 1, 200

RULES_RATIO_MAX = 3.0
LOOPS_RATIO_MAX = 1.2


@dataclass(slots=True)
class Case:
    """A bundle, and which one it is measured against."""

    name: str
    bundle: Path
    against: str | None = None
    start_s: float = 0.0
    seconds: list[float] = field(default_factory=list)


def run(options: Options) -> Report:
    """Every bundle decides the same file by `flo run --input`, in turn."""
    count = options.signals or (SIGNALS_QUICK if options.quick else SIGNALS)
    rounds = options.rounds or (ROUNDS_QUICK if options.quick else ROUNDS)
    report = Report("rules", ABOUT, options.seed)
    with tempfile.TemporaryDirectory(prefix="flo-bench-") as name:
        scratch = Path(name)
        signals = _with_shop(transactions_file(count, options.seed), scratch / "signals.ndjson")
        nothing = scratch / "nothing.ndjson"
        nothing.touch()
        cases = _cases(scratch, LOOPS_QUICK if options.quick else LOOPS)
        for case in cases:
            ended = _decided(case, nothing, scratch, 0)
            case.start_s = ended.wall_s - ended.output["seconds"]
        for number in range(rounds):
            for case in cases if number % 2 == 0 else reversed(cases):
                ended = _decided(case, signals, scratch, count)
                case.seconds.append(ended.output["seconds"])
    _tell(cases, count, rounds, report)
    return report


def _cases(scratch: Path, loops: int) -> list[Case]:
    return [
        Case("1 rule", many_rules(scratch / "rule", 1)),
        Case(f"{RULES} rules, none fires", many_rules(scratch / "rules", RULES), "1 rule"),
        Case("1 loop, where", many_loops(scratch / "loop", 1, same_type=True)),
        Case(
            f"{loops:,} loops, one type", many_loops(scratch / "one", loops, same_type=True), "1 loop, where"
        ),
        Case(f"{loops:,} loops, own types", many_loops(scratch / "own", loops, same_type=False), "1 rule"),
    ]


def _decided(case: Case, signals: Path, scratch: Path, count: int) -> Ended:
    data = scratch / "data"
    ended = measured(run_file_command(case.bundle, signals, data, 1))
    shutil.rmtree(data)
    if ended.output["decisions"] != count:
        raise RuntimeError(f"{case.name}: {ended.output['decisions']} decisions of {count} signals")
    return ended


def _with_shop(source: Path, target: Path) -> Path:
    """The same transactions, all of the one shop that the first loop decides for."""
    with source.open("rb") as lines, target.open("wb") as file:
        file.writelines(line.replace(b'"home":', b'"shop":"shop-0","home":') for line in lines)
    return target


def _tell(cases: list[Case], count: int, rounds: int, report: Report) -> None:
    by_name = {case.name: case for case in cases}
    rows = []
    for case in cases:
        seconds = statistics.median(case.seconds)
        base = by_name[case.against] if case.against else case
        ratio = median_ratio(case.seconds, base.seconds)
        rows.append(
            [
                case.name,
                f"{seconds / count * 1e6:.1f}",
                f"{ratio:.2f}" if case.against else "",
                f"{case.start_s:.2f}",
            ]
        )
        report.figures[case.name] = {
            "us_per_signal": seconds / count * 1e6,
            "ratio": ratio,
            "start_s": case.start_s,
        }
        if case.against:
            bound = RULES_RATIO_MAX if "rules" in case.name else LOOPS_RATIO_MAX
            report.targets.append(Target(f"{case.name} / {case.against}", ratio, bound, at_least=False))
    head = ["", "µs/signal", "ratio", "start and stop s"]
    report.tables.append(table(head, rows))
    report.notes.append(
        f"{count} signals, {rounds} rounds in turn, one worker, the whole way from file to synced ledger; medians, ratios "
        "of each round's own. Loading a bundle is in `start and stop`, not in the ratio."
    )
