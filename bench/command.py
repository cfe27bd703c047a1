"""The benchmarks' command line."""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable

from bench import cascade, latency, restart, rules, w1, watchdogs
from bench.machine import Neighbours
from bench.report import Options, Report, machine_text

BENCHES: dict[str, tuple[str, Callable[[Options], Report]]] = {
    "w1": (w1.ABOUT, w1.run),
    "latency": (latency.ABOUT, latency.run),
    "rules": (rules.ABOUT, rules.run),
    "restart": (restart.ABOUT, restart.run),
    "watchdogs": (watchdogs.ABOUT, watchdogs.run),
    "cascade": (cascade.ABOUT, cascade.run),
}


def main(arguments: list[str]) -> int:
    """0: everything asked for was measured (whatever the figures say)."""
    listing = "\n".join(f"  {name:<9} {about}" for name, (about, _) in BENCHES.items())
    parser = argparse.ArgumentParser(
        prog="flo bench",
        description=f"Measures FLO on this machine.\n\n{listing}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("names", nargs="*", metavar="NAME", help="which; default: all")
    parser.add_argument("--quick", action="store_true", help="under 20 s each, and less certain")
    parser.add_argument("--seed", type=int, default=Options().seed)
    parser.add_argument("--rounds", type=int, help="how often everything is repeated, in turn")
    parser.add_argument("--signals", type=int, help="signals in each run")
    parser.add_argument("--profile", action="store_true", help="w1: where the time goes, stage by stage")
    parser.add_argument("--json", action="store_true", help="one JSON object a benchmark")
    asked = parser.parse_args(arguments)
    unknown = [name for name in asked.names if name not in BENCHES]
    if unknown:
        parser.error(f"there is no benchmark {unknown[0]!r}; there are {', '.join(BENCHES)}")
    options = Options(asked.quick, asked.seed, asked.rounds, asked.signals, asked.profile)
    if not asked.json:
        print(machine_text())
    for name in asked.names or BENCHES:
        neighbours = Neighbours()
        report = BENCHES[name][1](options)
        report.notes.append(neighbours.text())
        print(json.dumps(report.as_dict()) if asked.json else f"\n{report.text()}", flush=True)
    return 0
