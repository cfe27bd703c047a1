"""One rate-limited enrichment service behind many callers: seconds of waiting and a storm of retries, or neither.

    python examples/scenarios/latency_cascade/run.py        # or: flo demo latency-cascade

The service is a real server with four places. In its bad hour each request holds its place fifteen times as long, and
whoever finds none waits. First callers without a guard: each asks for itself, waits half a second, tries again, three
times. Then FLO, on the same traffic, in a good hour and in a bad one: identical fetches are one, answers are used again,
places are bounded, and what misses 100 ms is missing. Beside it a loop that needs nothing is timed.
"""

from __future__ import annotations

import argparse
import random
import statistics
import sys
import threading
import time
import urllib.request
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from stage import RunningFlo, copied, running, say, wait_until
from watched import Server, decide, event, findings, told

HERE = Path(__file__).resolve().parent
SERVICE = "http://127.0.0.1:8762"
PLACES = 4
GOOD_S, BAD_S = 0.02, 0.3
CARDS = 200
CALLERS = 32
RETRY_AFTER_S, TRIES = 0.5, 3
AMPLIFIED_MAX = 1.1


class Enrichment:
    """Four requests at a time; each takes as long as the hour makes it."""

    def __init__(self) -> None:
        self.requests = 0
        self.took_s = GOOD_S
        self._places = threading.Semaphore(PLACES)
        self._lock = threading.Lock()
        self.server = Server(self._handle)

    def _handle(self, path: str, body: Any) -> tuple[int, Any]:
        with self._lock:
            self.requests += 1
        with self._places:
            time.sleep(self.took_s)
        return 200, {"risk": len(path) % 7}


def payments(count: int) -> list[str]:
    """The cards of the traffic, the same each time: some are seen often, most seldom."""
    chosen = random.Random(11)
    return [f"c{int(CARDS * chosen.random() ** 2)}" for _ in range(count)]


def quantile(seconds: list[float], q: float) -> float:
    return sorted(seconds)[min(len(seconds) - 1, int(q * len(seconds)))]


def asked_alone(service: Enrichment, card: str) -> float:
    """A caller without a guard: the seconds until it has an answer, or gives up."""
    began_s = time.perf_counter()
    for _ in range(TRIES):
        try:
            with urllib.request.urlopen(f"{service.server.url}/{card}", timeout=RETRY_AFTER_S) as answer:
                answer.read()
            break
        except OSError:
            continue
    return time.perf_counter() - began_s


def unguarded(service: Enrichment, cards: list[str]) -> dict[str, Any]:
    before = service.requests
    with ThreadPoolExecutor(CALLERS) as pool:
        took = list(pool.map(lambda card: asked_alone(service, card), cards))
    return _figures(took, service.requests - before)


def guarded(flo: RunningFlo, service: Enrichment, cards: list[str]) -> dict[str, Any]:
    before = service.requests
    plain: list[float] = []
    over = threading.Event()

    def time_the_other_loop() -> None:
        while not over.is_set():
            plain.append(decide(flo, event("login", {"user": f"u{len(plain)}"})))
            time.sleep(0.005)

    timer = threading.Thread(target=time_the_other_loop)
    timer.start()
    with ThreadPoolExecutor(CALLERS) as pool:
        took = list(pool.map(lambda card: decide(flo, event("payment", {"card": card})), cards))
    over.set()
    timer.join()
    return {
        **_figures(took, service.requests - before),
        "plain_p99_ms": round(1000 * quantile(plain, 0.99), 1),
        "plain_median_ms": round(1000 * statistics.median(plain), 1),
    }


def _figures(took: list[float], requests: int) -> dict[str, Any]:
    return {
        "median_ms": round(1000 * statistics.median(took), 1),
        "p99_ms": round(1000 * quantile(took, 0.99), 1),
        "requests": requests,
    }


def run(given: argparse.Namespace, home: Path) -> dict[str, Any]:
    service = Enrichment()
    problems: list[str] = []
    report: dict[str, Any] = {"problems": problems, "payments": given.payments}
    cards = payments(given.payments)
    try:
        say(f"1. Callers without a guard, {given.payments} payments, in a good hour and in a bad one")
        report["alone_good"] = unguarded(service, cards)
        service.took_s = BAD_S
        report["alone_bad"] = unguarded(service, cards)
        say(f"   {report['alone_good']} became {report['alone_bad']}")
        service.server.close()
        service = Enrichment()  # the other one has a queue of requests that nobody waits for any more
        bundle = copied(HERE / "bundle", home / "bundle", {SERVICE: service.server.url})
        say("2. FLO, on the same payments")
        with running(bundle, home / "data") as flo:
            service.took_s = GOOD_S
            report["flo_good"] = guarded(flo, service, cards)
            time.sleep(2.5)  # what is cached is no help in the bad hour
            service.took_s = BAD_S
            report["flo_bad"] = guarded(flo, service, cards)
            say(f"   {report['flo_good']} became {report['flo_bad']}")
            wait_until(lambda: bool(findings(flo, "flo.dependency.slow")), 15, "the finding")
            report["found"] = findings(flo, "flo.dependency.slow")[0]["detail"]
            say(f"   {report['found']}")
            exits = {each["name"]: each for each in flo.get("/v1/loops")["loops"]}
            report["decided"] = exits["enriched"]["decisions"]
    finally:
        service.server.close()
    if report["decided"] != 2 * given.payments:
        problems.append(f"{report['decided']} payments decided of {2 * given.payments}")
    report["amplified"] = round(report["flo_bad"]["requests"] / report["flo_good"]["requests"], 2)
    if report["amplified"] > AMPLIFIED_MAX:
        problems.append(f"{report['amplified']} times the requests of a good hour")
    return report


def tell(report: Mapping[str, Any]) -> str:
    rows = "".join(
        f"  {what:<26} {report['alone_good'][key]!s:>8} {report['alone_bad'][key]!s:>9}      "
        f"{report['flo_good'][key]!s:>8} {report['flo_bad'][key]!s:>9}\n"
        for what, key in (("median, ms", "median_ms"), ("p99, ms", "p99_ms"), ("requests", "requests"))
    )
    plain = "".join(
        f"  {'other loop, ' + what + ', ms':<26} {'':>18}      "
        f"{report['flo_good'][key]!s:>8} {report['flo_bad'][key]!s:>9}\n"
        for what, key in (("median", "plain_median_ms"), ("p99", "plain_p99_ms"))
    )
    return f"""
latency-cascade: {report["payments"]} payments, a service with {PLACES} places

                              without a guard             with FLO
                                 good       bad           good       bad hour
{rows}{plain}
  {report["found"]}"""


def options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--payments", type=int, default=1_000, help="how many payments in each hour")


if __name__ == "__main__":
    sys.exit(told("latency-cascade", __doc__.partition("\n")[0], run, tell, options))
