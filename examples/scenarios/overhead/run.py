"""Jobs of 200 ms behind a scheduler that looks every half a second: mostly waiting, found with the figure.

    python examples/scenarios/overhead/run.py        # or: flo demo overhead

Both engines are real servers that do the same work and report how long they worked (`run_s`). One of them starts jobs
only when its scheduler comes round, one at a time, as many a workflow engine does; the other one at once.
"""

from __future__ import annotations

import argparse
import sys
import threading
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from oncall import OnCall, row
from stage import copied, running, say, wait_until
from watched import Server, commands, event, findings, send, told

HERE = Path(__file__).resolve().parent
WORK_S = 0.2
ROUND_S = 0.5
ARRIVAL_S = 0.3
"""Jobs come a little faster than the scheduler comes round, so that it matters in no way when exactly they come."""
JOBS = 24


def work() -> dict[str, float]:
    began_s = time.perf_counter()
    time.sleep(WORK_S)
    return {"run_s": time.perf_counter() - began_s}


class Scheduler:
    """Starts one job each time it comes round, and that is every half a second."""

    def __init__(self) -> None:
        self._turn = threading.Lock()
        self.server = Server(self._handle)

    def _handle(self, path: str, body: Any) -> tuple[int, Any]:
        with self._turn:
            time.sleep(ROUND_S - time.time() % ROUND_S)
            return 200, work()


def run(given: argparse.Namespace, home: Path) -> dict[str, Any]:
    scheduler, direct = Scheduler(), Server(lambda path, body: (200, work()))
    problems: list[str] = []
    report: dict[str, Any] = {"problems": problems, "found": None}
    on_call = OnCall()
    try:
        addresses = {
            "http://127.0.0.1:8762/": scheduler.server.url + "/",
            "http://127.0.0.1:8763/": direct.url + "/",
        }
        bundle = on_call.over(copied(HERE / "bundle", home / "bundle", addresses))
        with running(bundle, home / "data") as flo:
            began_s = time.time()
            say(f"{JOBS} jobs of {WORK_S * 1000:.0f} ms by each of two engines")
            for job in range(JOBS):
                send(flo, [event(f"job.{engine}", {"job": f"j{job}"}) for engine in ("scheduler", "direct")])
                time.sleep(ARRIVAL_S)
            for loop in ("by-scheduler", "by-itself"):
                wait_until(
                    lambda loop=loop: (
                        sum(each["status"] == "succeeded" for each in commands(flo, loop)) == JOBS
                    ),
                    60,
                    f"the jobs of {loop}",
                )
            time.sleep(2.0)  # the watch comes round once a second
            found = {each["subject"]: each for each in findings(flo, "flo.overhead.high")}
            if "scheduled" in found:
                report["found"] = found["scheduled"]["figures"]
                say(f"   {found['scheduled']['detail']}")
            report["page"] = on_call.paged(flo, "flo.overhead.high", began_s, problems, "scheduled")
        if report["found"] is None:
            problems.append("the overhead of the scheduler was not found")
        if "direct" in found:
            problems.append(f"a false alarm: {found['direct']['detail']}")
        return report
    finally:
        on_call.close()
        scheduler.server.close()
        direct.close()


def tell(report: Mapping[str, Any]) -> str:
    figures = report["found"] or {}
    return f"""
overhead: the same {JOBS} jobs by two engines

                     by a scheduler                directly
  every job          succeeded                     succeeded
  found              {figures.get("overhead_share", 0):.0%} orchestration             nothing
                     {figures.get("worked_s")} s of work, {figures.get("waited_s")} s of waiting
{row(report["page"])}"""


if __name__ == "__main__":
    sys.exit(told("overhead", __doc__.partition("\n")[0], run, tell))
