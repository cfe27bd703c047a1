"""What watching costs: W1 with all watchdogs and with none, and their memory with 10,000 loops and a million keys."""

from __future__ import annotations

import dataclasses
import gc
import shutil
import statistics
import tempfile
import time
import tracemalloc
from pathlib import Path

from bench.processes import measured, run_file_command
from bench.report import Options, Report, Target, median_ratio, table
from bench.transactions import transactions_file
from bench.w1 import BUNDLE, ROUNDS, ROUNDS_QUICK, SIGNALS, SIGNALS_QUICK
from flo.core.bundle.tables import WATCHDOG_TABLES
from flo.core.command import Command
from flo.core.loop.definition import BundleDefinition
from flo.core.record import CommandIssued, IterationClosed
from flo.engines.registry import engine_kinds
from flo.flow.digest import Digest, LoopDigest
from flo.flow.reload import load_bundle
from flo.flow.watchdogs.watch import Watch
from flo.stores.bundle_functions import load_functions

ABOUT = "what all watchdogs cost: W1 with them and without, and their memory"

WITH_ALL_MIN = 0.95
MEMORY_MB_MAX = 200.0

LOOPS = 10_000
KEYS = 1_000_000
START_NS = 1_767_225_600_000_000_000
S = 1_000_000_000
LEARN_NS = 7 * 86_400 * S


def run(options: Options) -> Report:
    """Both bundles in turn, then the memory."""
    count = options.signals or (SIGNALS_QUICK if options.quick else SIGNALS)
    rounds = options.rounds or (ROUNDS_QUICK if options.quick else ROUNDS)
    report = Report("watchdogs", ABOUT, options.seed)
    _race(report, transactions_file(count, options.seed), count, rounds)
    _memory(report)
    return report


def _race(report: Report, signals: Path, count: int, rounds: int) -> None:
    seconds: dict[str, list[float]] = {"all on": [], "all off": []}
    cpu_s: dict[str, list[float]] = {"all on": [], "all off": []}
    with tempfile.TemporaryDirectory(prefix="flo-bench-") as scratch:
        bundles = {"all on": BUNDLE, "all off": Path(scratch) / "off"}
        shutil.copytree(BUNDLE, bundles["all off"])
        with (bundles["all off"] / "flo.yaml").open("a") as file:
            file.write("\nwatchdogs:\n" + "".join(f"  {type}: off\n" for type in WATCHDOG_TABLES))
        for number in range(rounds):
            for name in ("all on", "all off") if number % 2 == 0 else ("all off", "all on"):
                data = Path(scratch) / "data"
                ended = measured(run_file_command(bundles[name], signals, data, 1))
                if ended.output["decisions"] != count:
                    raise RuntimeError(f"{name}: {ended.output['decisions']} decisions of {count}")
                seconds[name].append(ended.output["seconds"])
                cpu_s[name].append(ended.cpu_s)
                shutil.rmtree(data)
    ratio = median_ratio([1 / each for each in seconds["all on"]], [1 / each for each in seconds["all off"]])
    cpu_ratio = median_ratio(cpu_s["all on"], cpu_s["all off"])
    rows = [
        [
            name,
            f"{count / statistics.median(seconds[name]):,.0f}",
            f"{statistics.median(cpu_s[name]) / count * 1e6:.1f}",
        ]
        for name in seconds
    ]
    report.tables.append(table(["watchdogs", "signals/s", "CPU µs/signal"], rows))
    report.figures["w1"] = {"ratio": ratio, "cpu_ratio": cpu_ratio, "seconds": seconds, "cpu_s": cpu_s}
    report.targets.append(Target("throughput, all on / all off", ratio, WITH_ALL_MIN, at_least=True))
    report.notes.append(
        f"{count} transactions, {rounds} rounds in turn; CPU with them / without: {cpu_ratio:.3f}."
    )


def _definition() -> BundleDefinition:
    files = {"flo.yaml": b"", "loops/l.yaml": b"loop: l\non: a\nkey: data.k\n"}
    one = load_bundle(files, engine_kinds(), lambda source: load_functions(source, None)).definition
    loops = {
        f"loop-{number}": dataclasses.replace(one.loops["l"], name=f"loop-{number}")
        for number in range(LOOPS)
    }
    return dataclasses.replace(one, loops=loops)


def _memory(report: Report) -> None:
    definition = _definition()
    gc.collect()
    tracemalloc.start()
    watch = Watch()
    watch.turn_to(definition)
    names = list(definition.loops)
    checks_s = []
    for step in range(KEYS // 200):
        at_ns = START_NS + step * (LEARN_NS * 3 // 2) // (KEYS // 200)
        of = [names[(step * 10 + place) % LOOPS] for place in range(10)]
        shown = [
            [("0-1-0-0", f"key-{step * 200 + place * 20 + each}", 1, 0) for each in range(20)]
            for place in range(10)
        ]
        loops = [LoopDigest(loop, {0: 20}, rows, [(2, 5 * S)]) for loop, rows in zip(of, shown, strict=True)]
        events = [event for loop in of for event in _iteration(loop, step, at_ns)]
        watch.observe([Digest(0, step + 1, at_ns, loops, events)])
        if step % 50 == 0:
            began_s = time.perf_counter()
            watch.check(at_ns)
            checks_s.append(time.perf_counter() - began_s)
    gc.collect()
    held, peak = (each / 1e6 for each in tracemalloc.get_traced_memory())
    snapshot_mb = len(watch.snapshot()) / 1e6
    tracemalloc.stop()
    report.tables.append(
        table(
            ["loops", "keys", "MB held", "MB at most", "MB of snapshot", "longest look, ms"],
            [
                [
                    f"{LOOPS:,}",
                    f"{KEYS:,}",
                    f"{held:.0f}",
                    f"{peak:.0f}",
                    f"{snapshot_mb:.0f}",
                    f"{max(checks_s) * 1e3:.0f}",
                ]
            ],
        )
    )
    report.figures["memory"] = {
        "held_mb": held,
        "peak_mb": peak,
        "snapshot_mb": snapshot_mb,
        "look_s": max(checks_s),
    }
    report.targets.append(
        Target("MB with 10,000 loops and a million keys", held, MEMORY_MB_MAX, at_least=False)
    )
    report.notes.append("Memory by tracemalloc, which slows the looks several times over.")


def _iteration(loop: str, seq: int, at_ns: int) -> list[CommandIssued | IterationClosed]:
    command = Command(
        key=f"{loop}/k/{seq}/r/0", loop=loop, loop_key="k", seq=seq, rule="r", n=0, engine="e", verb="call",
        arguments={"n": seq}, decision_id="0-1-0-0", root="r", hops=0, born_ns=at_ns, deadline_ns=at_ns + S,
        issued_ns=at_ns, revision="x",
    )  # fmt: skip
    ended = IterationClosed(loop=loop, key="k", seq=seq, status="closed", at_ns=at_ns + S)
    return [CommandIssued(command=command), ended]
