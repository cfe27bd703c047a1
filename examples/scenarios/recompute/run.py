"""Three loops that compute the same features of the same data, each for itself; who, how often, and what it costs.

    python examples/scenarios/recompute/run.py        # or: flo demo recompute

Three jobs, each a process of its own, are commanded by three loops and report their runs as OpenLineage. First what
their owners see, then what FLO sees; then a bundle is applied in which one loop makes the features and feeds the others.
"""

from __future__ import annotations

import argparse
import json
import random
import sys
import time
from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE), str(HERE.parent)]

from bundles import JOBS, bundle  # noqa: E402
from oncall import by_what, explained  # noqa: E402
from stage import Program, RunningFlo, running, say, wait_for  # noqa: E402
from watched import commands, event, findings, send, since, told  # noqa: E402

ROWS = 30_000
FOUND = "flo.data.recomputed"


def write_bundle(home: Path, files: Mapping[str, str]) -> Path:
    for name, text in files.items():
        path = home / "bundle" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return home / "bundle"


def put(flo: RunningFlo, files: Mapping[str, str], note: str) -> None:
    """Apply a bundle."""
    flo.ask("PUT", "/v1/bundle", json.dumps({"files": files, "note": note}).encode())


def land(flo: RunningFlo, home: Path, day: int) -> None:
    """A day's transactions arrive: a file, and a signal that says so."""
    randomness = random.Random(day)
    source = home / f"tx-{day}.csv"
    rows = (f"card-{randomness.randrange(500)},{randomness.expovariate(0.02):.2f}\n" for _ in range(ROWS))
    source.write_text("".join(rows))
    data = {"day": f"day-{day}", "source": str(source), "features": str(home / f"features-{day}.csv")}
    send(flo, [event("tx.landed", data, id=f"tx-{day}")])


def settled(flo: RunningFlo, count: int) -> list[dict[str, Any]]:
    """The jobs' commands once so many have succeeded."""
    rows = [row for row in flo.rows("/v1/commands?verb=call") if row["status"] == "succeeded"]
    return rows if len(rows) >= count else []


def computations(commands: list[dict[str, Any]]) -> int:
    return sum(command["arguments"]["compute"] is True for command in commands)


def before(flo: RunningFlo, home: Path, days: int, problems: list[str]) -> dict[str, Any]:
    """Days on which each loop computes for itself; what is found of it, and who is asked to look."""
    landed_s = time.time()
    for day in range(days):
        land(flo, home, day)
    ran = wait_for(lambda: settled(flo, days * len(JOBS)), 120, "the jobs")
    say(f"   {len(ran)} jobs ran, every one succeeded")

    def complete() -> list[dict[str, Any]]:
        return [
            each
            for each in findings(flo, FOUND)
            if each["figures"]["recomputations"] >= days * (len(JOBS) - 1)
        ]

    finding = wait_for(complete, 60, "the finding")[0]
    figures = finding["figures"]
    say(f"   {finding['detail']}")
    for job, line in sorted(figures["by"].items()):
        say(
            f"   {job}: {line['computations']} computations, {line['seconds']:.2f} s, as in run {line['example']}"
        )
    reviews = wait_for(lambda: commands(flo, "waste-watch"), 60, "the review")
    review = reviews[0]
    return {
        "computations_before": computations(ran),
        "recomputations": figures["recomputations"],
        "wasted_s": figures["wasted_s"],
        "by": sorted(figures["by"]),
        "reviews": len(reviews),
        "reviewed_after_s": since(landed_s, review["issued"]),
        "explained": explained(flo, review, FOUND, problems),
    }


def after(flo: RunningFlo, home: Path, days: int, report: Mapping[str, Any]) -> dict[str, Any]:
    """As many days on which one loop feeds the others."""
    for day in range(days, 2 * days):
        land(flo, home, day)
    ran = wait_for(lambda: settled(flo, 2 * days * len(JOBS)), 120, "the jobs")
    (finding,) = findings(flo, FOUND)
    edges = flo.rows("/v1/edges?evidence=context")
    for edge in edges:
        say(f"   {edge['from']} -> {edge['to']}: {edge['status']}, {edge['count']} times")
    return {
        "computations_after": computations(ran) - report["computations_before"],
        "recomputations_after": finding["figures"]["recomputations"] - report["recomputations"],
        "phantoms": [row["subject"] for row in findings(flo, "flo.edge.phantom")],
        "fed": {f"{edge['from']} -> {edge['to']}": edge["status"] for edge in edges},
    }


def run(given: argparse.Namespace, home: Path) -> dict[str, Any]:
    problems: list[str] = []
    days: int = max(1, given.days)
    nowhere = dict.fromkeys(JOBS, "http://127.0.0.1:9/")
    with ExitStack() as started:
        flo = started.enter_context(running(write_bundle(home, bundle(nowhere, shared=False)), home / "data"))
        addresses = {}
        for name in JOBS:
            job = Program(str(HERE / "job.py"), name, flo.url)
            started.callback(job.stop)
            addresses[name] = job.said["url"]
        put(flo, bundle(addresses, shared=False), "where the jobs are")
        say(f"1. {days} days land; each of {len(JOBS)} loops has the features computed")
        report = before(flo, home, days, problems)
        say(f"2. A bundle is applied: {JOBS[0]} makes the features and feeds {' and '.join(JOBS[1:])}")
        put(flo, bundle(addresses, shared=True), "one loop makes the features")
        report |= after(flo, home, days, report)
    for name, wanted in (
        ("computations_before", days * len(JOBS)), ("computations_after", days), ("recomputations_after", 0)
    ):  # fmt: skip
        if report[name] != wanted:
            problems.append(f"{name}: {report[name]}, it should be {wanted}")
    return {"days": days, **report, "problems": problems}


def tell(report: Mapping[str, Any]) -> str:
    wasted = f"{report['wasted_s']:.2f} s of work"
    return f"""
recompute: three loops that need the same features, {report["days"]} days before the change and {report["days"]} after it

                     each for itself               one feeds the others
  computed           {report["computations_before"]:<29} {report["computations_after"]}
  of these again     {report["recomputations"]:<29} {report["recomputations_after"]}
  wasted             {wasted:<29} nothing
  found              {FOUND}
  who computed       {", ".join(report["by"])}
  who was asked      a person, by a review, {report["reviewed_after_s"]:.1f} s after the data landed
  explained          {by_what(report)}"""


def options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--days", type=int, default=4, help="days of data before and after")


if __name__ == "__main__":
    sys.exit(told("recompute", __doc__.partition("\n")[0], run, tell, options))
