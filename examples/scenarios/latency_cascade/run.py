"""One rate-limited enrichment service behind many callers: seconds of waiting and a storm of retries, or neither.

    python examples/scenarios/latency_cascade/run.py        # or: flo demo latency-cascade

The service is a real server with four places. In its bad hour each request holds its place fifteen times as long, and
whoever finds none waits. First callers without a guard: each asks for itself, waits half a second, tries again, three
times. Then FLO: identical fetches are one, answers are used again, places are bounded, and what misses 100 ms is missing.
The same payments are sent as fast as they are decided; and good hours and bad ones take turns while a loop that needs
nothing is timed, from a process of its own and at a constant rate.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import time
import urllib.request
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE), str(HERE.parent)]

from hours import (  # noqa: E402
    BAD_S,
    GOOD_S,
    LOGINS_PER_S,
    PAYMENTS_PER_S,
    SERVICE,
    SETTLE_S,
    Service,
    cards,
    measure,
    quantile,
)
from oncall import OnCall, row  # noqa: E402
from stage import RunningFlo, copied, running, say, wait_for  # noqa: E402
from watched import decide, event, findings, told  # noqa: E402

CALLERS = 32
RETRY_AFTER_S, TRIES = 0.5, 3
AMPLIFIED_MAX = 1.1
P99_RATIO_AIM = 1.1
SLOW = "flo.dependency.slow"


def asked_alone(url: str, card: str) -> float:
    """A caller without a guard: the seconds until it has an answer, or gives up."""
    began_s = time.perf_counter()
    for _ in range(TRIES):
        try:
            with urllib.request.urlopen(f"{url}/{card}", timeout=RETRY_AFTER_S) as answer:
                answer.read()
            break
        except OSError:
            continue
    return time.perf_counter() - began_s


def unguarded(service: Service, payments: list[str], took_s: float) -> dict[str, Any]:
    service.turn(took_s)
    with ThreadPoolExecutor(CALLERS) as pool:
        took = list(pool.map(lambda card: asked_alone(service.url, card), payments))
    return _figures(took, service.turn(GOOD_S))


def guarded(flo: RunningFlo, service: Service, payments: list[str], took_s: float) -> dict[str, Any]:
    time.sleep(SETTLE_S)  # what is cached is no help
    service.turn(took_s)
    with ThreadPoolExecutor(CALLERS) as pool:
        took = list(pool.map(lambda card: decide(flo, event("payment", {"card": card})), payments))
    return _figures(took, service.turn(GOOD_S))


def _figures(took: list[float], requests: int) -> dict[str, Any]:
    return {
        "median_ms": round(1000 * statistics.median(took), 1),
        "p99_ms": round(1000 * quantile(took, 0.99), 1),
        "requests": requests,
    }


def beside(
    flo: RunningFlo,
    service: Service,
    home: Path,
    on_call: OnCall,
    given: argparse.Namespace,
    problems: list[str],
) -> dict[str, Any]:
    """Hours by turns: what the other loop notices, and what is found of the service."""
    bad_since_s = 0.0

    def after(hour: str, round: int) -> None:
        nonlocal bad_since_s
        if (hour, round) == ("good", 0):
            problems.extend(f"a false alarm: {each['detail']}" for each in findings(flo, SLOW))
            bad_since_s = time.time() + SETTLE_S

    def nears_its_timeout() -> list[dict[str, Any]]:
        return [each for each in findings(flo, SLOW) if "idle_timeout_s" in each["figures"]]

    hours = measure(flo, service, home, given.rounds, given.seconds, after)
    found = wait_for(nears_its_timeout, 20, "the finding that p99 nears the idle timeout")[0]
    say(f"   {found['detail']}")
    page = on_call.paged(flo, SLOW, bad_since_s, problems)
    return {"hours": hours, "found": found["detail"], "page": page}


def run(given: argparse.Namespace, home: Path) -> dict[str, Any]:
    problems: list[str] = []
    report: dict[str, Any] = {"problems": problems, "payments": given.payments}
    payments = cards(given.payments)
    service, on_call = Service(), OnCall()
    try:
        say(f"1. Callers without a guard, {given.payments} payments, in a good hour and in a bad one")
        report["alone_good"] = unguarded(service, payments, GOOD_S)
        report["alone_bad"] = unguarded(service, payments, BAD_S)
        service.close()
        service = Service()  # the other one has a queue of requests that nobody waits for any more
        bundle = on_call.over(copied(HERE / "bundle", home / "bundle", {SERVICE: service.url}))
        with running(bundle, home / "data") as flo:
            say(f"2. FLO, good hours and bad ones by turns, {given.seconds:g} s each")
            report |= beside(flo, service, home, on_call, given, problems)
            say("3. FLO, on the same payments as the callers")
            report["flo_good"] = guarded(flo, service, payments, GOOD_S)
            report["flo_bad"] = guarded(flo, service, payments, BAD_S)
            exits = {each["name"]: each for each in flo.get("/v1/loops")["loops"]}
            report["decided"] = exits["enriched"]["decisions"]
    finally:
        on_call.close()
        service.close()
    report["sent"] = 2 * given.payments + report["hours"]["payments"]
    if report["decided"] != report["sent"]:
        problems.append(f"{report['decided']} payments decided of {report['sent']}")
    report["amplified"] = round(report["flo_bad"]["requests"] / report["flo_good"]["requests"], 2)
    if report["amplified"] > AMPLIFIED_MAX:
        problems.append(f"{report['amplified']} times the requests of a good hour")
    return report


def tell(report: Mapping[str, Any]) -> str:
    hours = report["hours"]
    rows = "".join(
        f"  {what:<18} {report['alone_good'][key]!s:>8} {report['alone_bad'][key]!s:>9}           "
        f"{report['flo_good'][key]!s:>8} {report['flo_bad'][key]!s:>9}\n"
        for what, key in (("median, ms", "median_ms"), ("p99, ms", "p99_ms"), ("requests", "requests"))
    )
    plain = "".join(
        f"  {'other loop, ' + what:<18} {'-':>8} {'-':>9}           "
        f"{hours['good'][key]!s:>8} {hours['bad'][key]!s:>9}\n"
        for what, key in (("median", "median_ms"), ("p99", "p99_ms"))
    )
    return f"""
latency-cascade: {report["payments"]} payments in each hour, a service with four places

                     without a guard               with FLO
                         good  bad hour               good  bad hour
{rows}{plain}
  other loop         -                             p99 in bad hours {hours["ratio_by_round"]:.2f} times that of good ones \
(aim: at most {P99_RATIO_AIM:g})
                                                   {hours["logins"]} decisions, {LOGINS_PER_S} a second beside \
{PAYMENTS_PER_S} payments; `flo bench cascade` for longer
  found              nothing                       {SLOW}: {report["found"]}
{row(report["page"])}"""


def options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--payments", type=int, default=1_000, help="how many payments in each hour")
    parser.add_argument("--rounds", type=int, default=4, help="pairs of a good hour and a bad one")
    parser.add_argument("--seconds", type=float, default=5.0, help="how long each of these hours is")


if __name__ == "__main__":
    sys.exit(told("latency-cascade", __doc__.partition("\n")[0], run, tell, options))
