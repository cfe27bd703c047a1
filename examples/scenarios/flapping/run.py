"""Two rules of a scaler that undo each other: a service goes up and down for ever, or a finding freezes it.

    python examples/scenarios/flapping/run.py        # or: flo demo flapping

The service is a real server whose load for each replica is what its replicas make of it, so that each command causes the
next one. First without a loop that acts on the finding, then with it.
"""

from __future__ import annotations

import argparse
import shutil
import sys
import threading
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from oncall import OnCall, row, told_after
from stage import copied, running, say, wait_until
from watched import Server, event, findings, send, told

HERE = Path(__file__).resolve().parent
SERVICE = "http://127.0.0.1:8762/"
LOAD = 130.0


class Service:
    """Two replicas have 65 each, which is too much, three 43, which is too little."""

    def __init__(self) -> None:
        self.replicas = 2
        self.changes = 0
        self.asked = 0
        self.frozen = ""
        self._lock = threading.Lock()
        self.server = Server(self._handle)

    def _handle(self, path: str, body: Any) -> tuple[int, Any]:
        arguments = body["data"]["arguments"]
        with self._lock:
            if arguments["action"] == "freeze":
                self.frozen = arguments["why"]
            elif not self.frozen:
                self.replicas = max(1, self.replicas + arguments["by"])
                self.changes += 1
            self.asked += arguments["action"] == "scale"
        return 200, {"replicas": self.replicas}

    def per_replica(self) -> float:
        return LOAD / self.replicas


def scaled(
    bundle: Path, data: Path, service: Service, given: argparse.Namespace, problems: list[str]
) -> dict[str, Any]:
    """Measure the load so often, each time when the last change is done; the page that the finding caused."""
    with OnCall() as on_call, running(on_call.over(bundle), data) as flo:
        began_s = time.time()
        for number in range(1, given.measured + 1):
            send(flo, [event("load.measured", {"service": "shop", "per_replica": service.per_replica()})])
            wait_until(lambda number=number: service.asked >= number, 30, "the change that was commanded")
            time.sleep(0.1)
        if not findings(flo, "flo.loop.flapping"):
            problems.append(f"{data.name}: the flapping was not found")
        return on_call.paged(flo, "flo.loop.flapping", began_s, problems)


def run(given: argparse.Namespace, home: Path) -> dict[str, Any]:
    problems: list[str] = []
    report: dict[str, Any] = {"problems": problems, "measured": given.measured}
    for name in ("unguarded", "guarded"):
        service = Service()
        try:
            bundle = copied(HERE / "bundle", home / name, {SERVICE: service.server.url + "/"})
            if name == "guarded":
                shutil.copy(HERE / "guard.yaml", bundle / "loops" / "calm.yaml")
            say(f"{'With' if name == 'guarded' else 'Without'} a loop that acts on the finding")
            page = scaled(bundle, home / f"{name}-data", service, given, problems)
        finally:
            service.server.close()
        say(f"   {service.changes} changes" + (f", then frozen: {service.frozen}" if service.frozen else ""))
        report[name] = {"changes": service.changes, "frozen": service.frozen, "page": page}
    if not report["guarded"]["frozen"]:
        problems.append("the finding froze nothing")
    if report["guarded"]["changes"] >= report["unguarded"]["changes"]:
        problems.append("as many changes with the guard as without it")
    return report


def tell(report: Mapping[str, Any]) -> str:
    return f"""
flapping: two rules that undo each other, the load measured {report["measured"]} times

                     without a loop that acts      with it
  changes            {report["unguarded"]["changes"]:<29} {report["guarded"]["changes"]}, then none
  what was done      nothing                       the service is frozen until a person looks
{row(report["guarded"]["page"], alone=told_after(report["unguarded"]["page"]))}"""


def options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--measured", type=int, default=60, help="how often the load is measured in each run")


if __name__ == "__main__":
    sys.exit(told("flapping", __doc__.partition("\n")[0], run, tell, options))
