"""A producer dies and nobody misses it: a dashboard of green, or a loop that is called quiet.

    python examples/scenarios/quiet/run.py        # or: flo demo quiet

Two real producers send to two loops; one of them is killed. Nothing fails: no error, no dead letter, no queue. Fifteen
seconds stand for the eight days that a rhythm takes.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from oncall import OnCall, row
from stage import copied, running, say, wait_until
from watched import findings, told

HERE = Path(__file__).resolve().parent
TYPES = ("order.placed", "report.filed")
STEADY_S = 26.0

PRODUCER = """
import itertools, json, sys, time, urllib.request
url, type = sys.argv[1:]
for number in itertools.count():
    event = {"specversion": "1.0", "type": type, "source": type, "id": str(number), "data": {"key": str(number % 5)}}
    headers = {"Content-Type": "application/cloudevents+json"}
    try:
        urllib.request.urlopen(urllib.request.Request(url, json.dumps(event).encode(), headers), timeout=30).read()
    except OSError:
        break
    time.sleep(0.2)
"""


def run(given: argparse.Namespace, home: Path) -> dict[str, Any]:
    problems: list[str] = []
    with (
        OnCall() as on_call,
        running(on_call.over(copied(HERE / "bundle", home / "bundle", {})), home / "data") as flo,
    ):
        url = flo.url + "/v1/signals"
        producers = [subprocess.Popen([sys.executable, "-c", PRODUCER, url, type]) for type in TYPES]
        try:
            say(f"1. {STEADY_S:g} s of orders and reports")
            time.sleep(STEADY_S)
            early = [each["subject"] for each in findings(flo, "flo.loop.quiet")]
            say("2. The producer of orders is killed")
            producers[0].kill()
            killed_s = time.time()
            took_s = wait_until(lambda: bool(findings(flo, "flo.loop.quiet")), 60, "the finding")
            found = findings(flo, "flo.loop.quiet")
            say(f"   {found[0]['detail']}")
            page = on_call.paged(flo, "flo.loop.quiet", killed_s, problems, "orders")
            loops = {each["name"]: each for each in flo.get("/v1/loops")["loops"]}
            first = flo.get("/v1/loops")["loops"][0]["name"]
        finally:
            for producer in producers:
                producer.kill()
                producer.wait()
    if early:
        problems.append(f"called quiet while they were sending: {early}")
    if [each["subject"] for each in found] != ["orders"]:
        problems.append(f"called quiet: {[each['subject'] for each in found]}, it is orders alone")
    if first != "orders":
        problems.append(f"`flo loops` shows {first} first")
    return {
        "found_after_s": round(took_s, 1),
        "errors": loops["orders"]["errors"],
        "dead_letters": loops["orders"]["dead_letters"],
        "figures": found[0]["figures"],
        "page": page,
        "problems": problems,
    }


def tell(report: Mapping[str, Any]) -> str:
    return f"""
quiet: a producer that dies

                     without the watchdog          with it
  errors             {report["errors"]:<29} {report["errors"]}
  dead letters       {report["dead_letters"]:<29} {report["dead_letters"]}
  found              nothing                       flo.loop.quiet, {report["found_after_s"]} s after it died
{row(report["page"])}"""


if __name__ == "__main__":
    sys.exit(told("quiet", __doc__.partition("\n")[0], run, tell))
