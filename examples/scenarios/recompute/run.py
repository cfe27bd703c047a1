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
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
sys.path[:0] = [str(HERE), str(HERE.parent)]

from bundles import JOBS, bundle  # noqa: E402
from serving import Flo, programs, wait_for  # noqa: E402

ROWS = 30_000


def write_bundle(home: Path, files: dict[str, str]) -> Path:
    for name, text in files.items():
        path = home / "bundle" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return home / "bundle"


def land(flo: Flo, home: Path, day: int) -> None:
    """A day's transactions arrive: a file, and a signal that says so."""
    randomness = random.Random(day)
    source = home / f"tx-{day}.csv"
    rows = (f"card-{randomness.randrange(500)},{randomness.expovariate(0.02):.2f}\n" for _ in range(ROWS))
    source.write_text("".join(rows))
    data = {"day": f"day-{day}", "source": str(source), "features": str(home / f"features-{day}.csv")}
    event = {"specversion": "1.0", "id": f"tx-{day}", "source": "/lake", "type": "tx.landed", "data": data}
    flo.ask("POST", "/v1/signals", event, "application/cloudevents+json")


def settled(flo: Flo, count: int) -> list[dict[str, Any]]:
    """The jobs' commands once so many have succeeded."""
    rows = [row for row in flo.rows("/v1/commands?verb=call&limit=1000") if row["status"] == "succeeded"]
    return rows if len(rows) >= count else []


def computations(commands: list[dict[str, Any]]) -> int:
    return sum(command["arguments"]["compute"] is True for command in commands)


def finding_of(flo: Flo) -> dict[str, Any] | None:
    return next(iter(flo.rows("/v1/watchdogs?type=flo.data.recomputed")), None)


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--days", type=int, default=4, help="days of data before and after")
    parser.add_argument("--json", action="store_true", help="print one JSON document")
    options = parser.parse_args()
    tell = (lambda text: None) if options.json else print
    days: int = max(1, options.days)
    with programs() as running:
        placeholders = dict.fromkeys(JOBS, "http://127.0.0.1:9/")
        flo = running.flo(write_bundle(running.home, bundle(placeholders, shared=False)))
        addresses = {name: running.start(str(HERE / "job.py"), name, flo.url)["url"] for name in JOBS}
        flo.ask("PUT", "/v1/bundle", {"files": bundle(addresses, shared=False), "note": "where the jobs are"})

        for day in range(days):
            land(flo, running.home, day)
        commands = wait_for("the jobs", lambda: settled(flo, days * len(JOBS)), 120)
        before = computations(commands)
        tell(f"Without FLO's view: {days} days landed, {len(commands)} jobs ran, every one succeeded.")

        def complete() -> dict[str, Any] | None:
            found = finding_of(flo)
            return found if found and found["figures"]["recomputations"] >= days * (len(JOBS) - 1) else None

        finding = wait_for("the finding", complete)
        figures = finding["figures"]
        tell(f"\nWith it: {finding['detail']}.")
        for job, line in sorted(figures["by"].items()):
            tell(
                f"  {job}: {line['computations']} computations, {line['seconds']:.2f} s, as in run {line['example']}"
            )
        reviews = wait_for("the review", lambda: flo.rows("/v1/commands?loop=waste-watch"))
        tell(f"A rule asked a person to look: {reviews[0]['arguments']['about'][:60]}...")

        flo.ask(
            "PUT",
            "/v1/bundle",
            {"files": bundle(addresses, shared=True), "note": "one loop makes the features"},
        )
        tell(
            f"\nA bundle is applied: {JOBS[0]} makes the features and feeds {' and '.join(JOBS[1:])}. Nothing restarts."
        )
        for day in range(days, 2 * days):
            land(flo, running.home, day)
        commands = wait_for("the jobs", lambda: settled(flo, 2 * days * len(JOBS)), 120)
        after = computations(commands) - before
        later = finding_of(flo)
        again = (later or finding)["figures"]["recomputations"] - figures["recomputations"]
        tell(
            f"{days} more days: the features were computed {after} times instead of {before}; {again} of them again."
        )
        fed = flo.rows("/v1/edges?evidence=context&limit=100")
        for edge in fed:
            tell(f"  {edge['from']} -> {edge['to']}: {edge['status']}, {edge['count']} times")
        phantoms = [row["subject"] for row in flo.rows("/v1/watchdogs?type=flo.edge.phantom")]
    outcome = {
        "days": days,
        "computations_before": before,
        "computations_after": after,
        "recomputations": figures["recomputations"],
        "recomputations_after": again,
        "wasted_s": figures["wasted_s"],
        "by": sorted(figures["by"]),
        "reviews": len(reviews),
        "phantoms": phantoms,
        "fed": {f"{edge['from']} -> {edge['to']}": edge["status"] for edge in fed},
    }
    if options.json:
        print(json.dumps(outcome, indent=2))
    return 0 if (before, after, again) == (days * len(JOBS), days, 0) else 1


if __name__ == "__main__":
    sys.exit(main())
