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
from pathlib import Path
from statistics import median
from typing import Any
from urllib.request import urlopen

HERE = Path(__file__).parent
sys.path[:0] = [str(HERE), str(HERE.parent)]

from plan import BRANCHES, CALLS, FORGOTTEN, HIDDEN, ROOT, behind  # noqa: E402
from serving import Flo, Programs, programs, wait_for  # noqa: E402

STALL_S = 0.4
"""What six hours are here."""


def start_pipeline(running: Programs, flo: Flo, *, mended: bool) -> tuple[str, list[int]]:
    """The address of the settlement service, and the processes."""
    calls = dict(CALLS)
    if mended:
        calls["report"] = ("warehouse",)
    addresses: dict[str, str] = {}
    pids = []
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
        started = running.start(str(HERE / "services.py"), flo.url, json.dumps(options))
        pids.append(started.pop("pid"))
        addresses.update(started)
    return addresses[ROOT], pids


def settle(address: str, runs: int) -> list[float]:
    """Run batches, one after the other; how long each took."""
    took = []
    for _ in range(runs):
        began = time.perf_counter()
        with urlopen(address, timeout=60) as response:
            assert json.load(response) == {"status": "ok"}
        took.append(time.perf_counter() - began)
    return took


def phantoms(flo: Flo) -> dict[tuple[str, str], dict[str, Any]]:
    edges = flo.rows("/v1/edges?status=phantom&limit=1000")
    return {
        (edge["from"].removeprefix("service:"), edge["to"].removeprefix("service:")): edge for edge in edges
    }


def serialised(flo: Flo) -> dict[str, Any] | None:
    return next(iter(flo.rows("/v1/watchdogs?type=flo.edge.serialised")), None)


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--runs", type=int, default=16, help="batches before and after (at least 11)")
    parser.add_argument("--json", action="store_true", help="print one JSON document")
    options = parser.parse_args()
    tell = (lambda text: None) if options.json else print
    with programs() as running:
        flo = running.flo(HERE / "bundle")
        tell(f"A settlement pipeline, {len(BRANCHES)} branches declared: {', '.join(BRANCHES)}.")
        address, pids = start_pipeline(running, flo, mended=False)
        before = settle(address, max(11, options.runs))
        before_s = round(median(before), 3)
        tell(
            f"\nWithout FLO's view: {len(before)} batches, all answered ok, {before_s:.2f} s each. Nobody knows why."
        )

        found = wait_for("all hidden edges", lambda: len(phantoms(flo)) >= len(HIDDEN) and phantoms(flo))
        tell(f"\nWith it, from the spans the services send: {len(found)} edges that nobody declared.")
        slow = sorted(found.items(), key=lambda each: -each[1]["evidence"]["traced"]["mean_ms"])
        for (caller, called), edge in slow[:8]:
            seen = edge["evidence"]["traced"]
            tell(
                f"  {caller} -> {called}: {seen['count']} calls since {edge['first_seen'][:19]}, "
                f"{seen['mean_ms']:.0f} ms each, trace {seen['example'][:8]}..."
            )
        tell(f"  ... and {len(slow) - 8} more: flo edges --phantom")
        (caller, stalled), edge = next(each for each in slow if each[0][1] not in CALLS)
        stalled_ms = edge["evidence"]["traced"]["mean_ms"]
        tell(
            f"The slowest with nobody behind it: {stalled}, {stalled_ms:.0f} ms a call, asked for by {caller}."
        )
        finding = wait_for("the serialised branches", lambda: serialised(flo))
        tell(f"\nAnd {finding['detail']}.")
        reviews = flo.rows("/v1/commands?loop=edge-watch&limit=1000")
        tell(f"A rule asked a person to look at each: {len(reviews)} reviews so far.")

        for pid in reversed(pids):
            running.stop(pid)
        address, _ = start_pipeline(running, flo, mended=True)
        after = settle(address, max(11, options.runs))
        after_s = round(median(after), 3)
        tell(f"\nMended ({stalled} is gone, the lock is off): {after_s:.2f} s a batch.")
        wait_for("the end of the finding", lambda: serialised(flo) is None)
        tell("The branches overlap again, and the finding is over.")
    outcome = {
        "declared": len(BRANCHES),
        "hidden": len(HIDDEN),
        "named": sorted(f"{caller} -> {called}" for caller, called in found),
        "all_named": set(found) == set(HIDDEN),
        "counts": sorted({edge["count"] for edge in found.values()}),
        "stalled": stalled,
        "stalled_ms": stalled_ms,
        "serialised": finding["figures"],
        "reviews": len(reviews),
        "before_s": before_s,
        "after_s": after_s,
    }
    if options.json:
        print(json.dumps(outcome, indent=2))
    return 0 if outcome["all_named"] and after_s < before_s else 1


if __name__ == "__main__":
    sys.exit(main())
