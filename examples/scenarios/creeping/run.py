"""A scorer that takes a little longer each time: every run succeeds, until somebody looks; or it is found on the way.

    python examples/scenarios/creeping/run.py        # or: flo demo creeping

The scorer is a real server whose work scatters like real work, and grows by a few parts in a thousand with each request
once the baseline is learned. What a dashboard of successes sees is told beside what FLO finds. Eight seconds stand for
the week that a baseline takes.
"""

from __future__ import annotations

import argparse
import random
import sys
import threading
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from oncall import OnCall, row
from stage import copied, running, say
from watched import Server, commands, event, findings, send, told

HERE = Path(__file__).resolve().parent
SCORER = "http://127.0.0.1:8762/"
BASE_S = 0.1
RATE_S = 0.05
STEADY_S = 14.0
BATCHES = 5
GROWTH_A_REQUEST = 0.001
RATIO_MAX = 3.0


class Scorer:
    """Takes about 100 ms; `creep` makes it take longer from then on, request by request."""

    def __init__(self) -> None:
        self.creeping = False
        self.ratio = 1.0
        self._random = random.Random(7)
        self._lock = threading.Lock()
        self.server = Server(self._handle)

    def _handle(self, path: str, body: Any) -> tuple[int, Any]:
        with self._lock:
            if self.creeping:
                self.ratio += GROWTH_A_REQUEST
            work_s = BASE_S * self.ratio * self._random.lognormvariate(0.0, 0.25)
        time.sleep(work_s)
        return 200, {"scored": True}


def run(given: argparse.Namespace, home: Path) -> dict[str, Any]:
    scorer = Scorer()
    problems: list[str] = []
    report: dict[str, Any] = {"problems": problems, "found_ratio": None}
    on_call = OnCall()
    try:
        bundle = on_call.over(copied(HERE / "bundle", home / "bundle", {SCORER: scorer.server.url + "/"}))
        with running(bundle, home / "data") as flo:
            say(f"1. {STEADY_S:g} s of steady, noisy work")
            began_s, batch, asked_s = time.monotonic(), 0, 0.0
            false_alarms: list[dict[str, Any]] = []
            while scorer.ratio < RATIO_MAX:
                send(flo, [event("batch.ready", {"batch": f"b{batch + each}"}) for each in range(BATCHES)])
                batch += BATCHES
                time.sleep(RATE_S)
                now_s = time.monotonic()
                if not scorer.creeping and now_s - began_s > STEADY_S:
                    false_alarms = findings(flo, "flo.cycle.slowing")
                    say(f"   {batch} batches, {len(false_alarms)} false alarms")
                    say("2. From here on each batch takes a little longer than the one before")
                    scorer.creeping, creeping_s, cause_s = True, now_s, time.time()
                if scorer.creeping and now_s - asked_s > 0.2:
                    asked_s = now_s
                    if found := findings(flo, "flo.cycle.slowing"):
                        report["found_ratio"] = round(scorer.ratio, 2)
                        report["found_after_s"] = round(now_s - creeping_s, 1)
                        report["detail"] = found[0]["detail"]
                        say(f"   {found[0]['detail']}")
                        break
            report["page"] = on_call.paged(flo, "flo.cycle.slowing", cause_s, problems)
            statuses = {each["status"] for each in commands(flo, "score")} - {"pending", "attempted"}
            report |= {"batches": batch, "statuses": sorted(statuses), "false_alarms": len(false_alarms)}
        if false_alarms:
            problems.append(f"steady work was called slowing: {false_alarms[0]['detail']}")
        if report["found_ratio"] is None or report["found_ratio"] >= 2.0:
            problems.append(f"found at {report['found_ratio']} times the baseline, not before it had doubled")
        return report
    finally:
        on_call.close()
        scorer.server.close()


def tell(report: Mapping[str, Any]) -> str:
    batches = f"{report['batches']} batches"
    return f"""
creeping: a cycle that takes a little longer each time

                     without the watchdog          with it
  {batches:<18} {", ".join(report["statuses"]):<29} found at {report["found_ratio"]} times the baseline
  found              nothing                       flo.cycle.slowing, after {report.get("found_after_s")} s of creeping
{row(report["page"])}
  false alarms       -                             {report["false_alarms"]} in {STEADY_S:g} s of steady, noisy work"""


if __name__ == "__main__":
    sys.exit(told("creeping", __doc__.partition("\n")[0], run, tell))
