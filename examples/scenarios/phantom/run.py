"""27 hidden steps behind 3 declared branches; a forgotten exporter stalls them all, and the branches wait for each other.

    python examples/scenarios/phantom/run.py          # or: flo demo phantom

A settlement pipeline of 31 services in five processes, each with its own HTTP server, runs a number of batches. Three
branches are declared. First what its owner sees, then what FLO sees in the spans the services send anyway; then both
faults are mended, and the time that was lost is measured again.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path
from statistics import median
from typing import Any
from urllib.request import urlopen

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE), str(HERE.parent)]

from oncall import by_what, explained  # noqa: E402
from plan import BRANCHES, CALLS, FORGOTTEN, HIDDEN, ROOT, behind  # noqa: E402
from stage import Program, RunningFlo, running, say, wait_for, wait_until  # noqa: E402
from watched import commands, findings, since, told  # noqa: E402

STALL_S = 0.4
"""What six hours are here."""

RUNS_MIN = 11
"""Batches: the watchdog asks for ten traces before it calls branches serialised."""

SHOWN = 8


def start_pipeline(flo: RunningFlo, started: ExitStack, *, mended: bool) -> str:
    """The address of the settlement service; the processes end with `started`."""
    calls = dict(CALLS)
    if mended:
        calls["report"] = ("warehouse",)
    addresses: dict[str, str] = {}
    # A lock around the client's calls, left from a day of debugging: they go one after another.
    at_once = 100 if mended else 1
    plans: list[dict[str, Any]] = [] if mended else [{"names": [FORGOTTEN], "stall_s": STALL_S}]
    plans += [{"names": behind(branch)} for branch in BRANCHES]
    plans += [{"names": [ROOT], "at_once": at_once, "beside": True}]
    for plan in plans:
        options = {
            "calls": calls,
            "addresses": addresses,
            "stall_s": 0,
            "at_once": 100,
            "beside": False,
            **plan,
        }
        program = Program(str(HERE / "services.py"), flo.url, json.dumps(options))
        started.callback(program.stop)
        addresses.update(program.said)
    return addresses[ROOT]


def settle(address: str, runs: int) -> float:
    """Run batches, one after the other; the seconds of a usual one."""
    took = []
    for _ in range(runs):
        began = time.perf_counter()
        with urlopen(address, timeout=60) as response:
            assert json.load(response) == {"status": "ok"}
        took.append(time.perf_counter() - began)
    return round(median(took), 3)


def phantoms(flo: RunningFlo) -> dict[tuple[str, str], dict[str, Any]]:
    edges = flo.rows("/v1/edges?status=phantom")
    return {
        (edge["from"].removeprefix("service:"), edge["to"].removeprefix("service:")): edge for edge in edges
    }


def seen(flo: RunningFlo, runs: int, problems: list[str]) -> dict[str, Any]:
    """The pipeline as it has grown: what its owner sees, what FLO sees, and who is asked to look."""
    with ExitStack() as started:
        address = start_pipeline(flo, started, mended=False)
        began_s = time.time()
        before_s = settle(address, runs)
        say(f"   {runs} batches, all answered ok, {before_s:.2f} s each; nobody knows why")
        say("2. What the spans say that the services send anyway")
        found = wait_for(lambda: len(phantoms(flo)) >= len(HIDDEN) and phantoms(flo), 60, "all hidden edges")
        stalled, stalled_ms = _tell_edges(found)
        finding = wait_for(lambda: findings(flo, "flo.edge.serialised"), 60, "the serialised branches")[0]
        say(f"   {finding['detail']}")
        edge = next(each for each in findings(flo, "flo.edge.phantom") if stalled in each["subject"])
        reviews = wait_for(lambda: _all_reviewed(flo), 60, "a review of each")
        review = next(row for row in reviews if row["key"] == edge["subject"])
    return {
        "named": sorted(f"{caller} -> {called}" for caller, called in found),
        "all_named": set(found) == set(HIDDEN),
        "counts": sorted({edge["count"] for edge in found.values()}),
        "stalled": stalled,
        "stalled_ms": stalled_ms,
        "serialised": finding["figures"],
        "before_s": before_s,
        "reviews": len(reviews),
        "reviewed_after_s": since(began_s, review["issued"]),
        "explained": explained(flo, review, "flo.edge.phantom", problems),
    }


def _all_reviewed(flo: RunningFlo) -> list[dict[str, Any]]:
    """One for each edge, and one for the branches."""
    rows = commands(flo, "edge-watch")
    return rows if len(rows) > len(HIDDEN) else []


def _tell_edges(found: Mapping[tuple[str, str], Mapping[str, Any]]) -> tuple[str, float]:
    """The slowest step with nobody behind it, and how slow."""
    slow = sorted(found.items(), key=lambda each: -each[1]["evidence"]["traced"]["mean_ms"])
    say(f"   {len(found)} edges that nobody declared; the slowest:")
    for (caller, called), edge in slow[:SHOWN]:
        traced = edge["evidence"]["traced"]
        say(
            f"   {caller + ' -> ' + called:<26} {traced['count']} calls since {edge['first_seen'][:19]}, "
            f"{traced['mean_ms']:.0f} ms each, trace {traced['example'][:8]}..."
        )
    say(f"   ... and {len(slow) - SHOWN} more: flo edges --phantom")
    (caller, stalled), edge = next(each for each in slow if each[0][1] not in CALLS)
    stalled_ms = edge["evidence"]["traced"]["mean_ms"]
    say(f"   the slowest with nobody behind it: {stalled}, {stalled_ms:.0f} ms a call, asked for by {caller}")
    return stalled, stalled_ms


def run(given: argparse.Namespace, home: Path) -> dict[str, Any]:
    problems: list[str] = []
    runs = max(RUNS_MIN, given.runs)
    with running(HERE / "bundle", home / "data") as flo:
        say(f"1. A settlement pipeline, {len(BRANCHES)} branches declared: {', '.join(BRANCHES)}")
        report = seen(flo, runs, problems)
        say(f"3. Mended: {report['stalled']} is gone, the lock is off")
        with ExitStack() as started:
            report["after_s"] = settle(start_pipeline(flo, started, mended=True), runs)
            wait_until(lambda: not findings(flo, "flo.edge.serialised"), 60, "the end of the finding")
        say(f"   {report['after_s']:.2f} s a batch; the branches overlap again, and the finding is over")
    if not report["all_named"]:
        problems.append(f"not the hidden edges, but {', '.join(report['named'])}")
    if report["after_s"] >= report["before_s"]:
        problems.append(f"a batch takes {report['after_s']} s after it was mended")
    return {
        "runs": runs,
        "declared": len(BRANCHES),
        "hidden": len(HIDDEN),
        **report,
        "problems": problems,
    }


def tell(report: Mapping[str, Any]) -> str:
    slow = f"{report['before_s']:.2f} s, nobody knows why"
    return f"""
phantom: {report["runs"]} batches through {report["declared"]} declared branches

                     without FLO's view            with it
  edges known        {report["declared"]:<29} {len(report["named"])} more, named with first seen, count and a trace
  a batch            {slow:<29} {report["after_s"]:.2f} s, mended
  found              nothing                       {report["stalled"]}, {report["stalled_ms"]:.0f} ms a call
                                                   {len(report["serialised"]["branches"])} branches one after another, \
{report["serialised"]["lost_ms_per_trace"]:.0f} ms lost a batch
  who was asked      nobody                        a person, by {report["reviews"]} reviews, the stalled one's after \
{report["reviewed_after_s"]:.1f} s
  explained          -                             {by_what(report)}"""


def options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--runs", type=int, default=16, help=f"batches before and after (at least {RUNS_MIN})"
    )


if __name__ == "__main__":
    sys.exit(told("phantom", __doc__.partition("\n")[0], run, tell, options))
