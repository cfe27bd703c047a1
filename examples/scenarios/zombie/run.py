"""A settlement loop whose bank answers 200 and books nothing: it settles for ever, or stops at its TTL and hops.

    python examples/scenarios/zombie/run.py        # or: flo demo zombie

The bank is a real server that answers 200 and does nothing. First a loop without a guard runs against it, as one ran for
47 days. Then FLO runs the same loop twice, once with few hops and once with a short TTL: each try whose booking does not
show is `silent`, and starts the next one, until the context dies. After that FLO is restarted, with the wall clock set
back by a day, and the zombies' last words come once more.
"""

from __future__ import annotations

import argparse
import sys
import threading
import time
import urllib.request
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import stage
from oncall import OnCall, row
from stage import RunningFlo, copied, running, say, wait_until
from watched import Server, commands, event, findings, send, told

HERE = Path(__file__).resolve().parent
BANK = "http://127.0.0.1:8762"
WAYS = ("hops", "ttl")
HOPS_MAX = 4
STORY_DAYS = 47


class Bank:
    """Answers 200 to every settlement, and books none."""

    def __init__(self) -> None:
        self.asked: Counter[str] = Counter()
        self._lock = threading.Lock()
        self.server = Server(self._handle)

    def _handle(self, path: str, body: Any) -> tuple[int, Any]:
        with self._lock:
            self.asked[body["data"]["loop"] if "data" in body else "unguarded"] += 1
        return 200, {"status": "settled"}


def unguarded(bank: Bank, seconds: float) -> None:
    """What the loop was before: ask, see that nothing is booked, ask again."""
    end_s = time.monotonic() + seconds
    while time.monotonic() < end_s:
        request = urllib.request.Request(
            bank.server.url + "/settle", b'{"account": "a"}', {"Content-Type": "application/json"}
        )
        with urllib.request.urlopen(request, timeout=10) as answer:
            answer.read()
        time.sleep(0.05)  # a settlement that is not booked is due again


def is_over(flo: RunningFlo, ways: Mapping[str, int]) -> bool:
    loops = {each["name"]: each for each in flo.get("/v1/loops")["loops"]}
    return all(loops[f"settle-{way}"]["killed"] >= count for way, count in ways.items())


def run(given: argparse.Namespace, home: Path) -> dict[str, Any]:
    bank = Bank()
    problems: list[str] = []
    on_call = OnCall()
    try:
        say(f"1. Without a guard, for {given.seconds:g} s")
        unguarded(bank, given.seconds)
        alone = bank.asked["unguarded"]
        say(f"   {alone} settlements asked for, {alone} times 200, none booked, nobody knows")
        say("2. With FLO")
        bundle = on_call.over(copied(HERE / "bundle", home / "bundle", {BANK: bank.server.url}))
        with running(bundle, home / "data") as flo:
            due_s = time.time()
            for way in WAYS:
                send(flo, [event(f"settlement.due.{way}", {"account": "a"})])
            wait_until(lambda: is_over(flo, dict.fromkeys(WAYS, 1)), 60, "every context dead")
            report = _seen(flo, bank, problems)
            contexts = [_context(flo, way) for way in WAYS]
            pages = {
                name: on_call.paged(flo, f"flo.{name}", due_s, problems)
                for name in ("command.silent", "iteration.killed")
            }
        say("3. FLO is restarted with its wall clock set back by a day, and the zombies come again")
        before = dict(bank.asked)
        stage.FLO[:] = [str(HERE / "set_back.py")]
        with running(bundle, home / "data") as flo:
            for way, last in zip(WAYS, contexts, strict=True):
                send(flo, [event(f"settlement.retry.{way}", {"account": "a"}, **last)])
            wait_until(lambda: is_over(flo, dict.fromkeys(WAYS, 1)), 30, "every zombie dead again")
            time.sleep(1.0)  # a command would have reached the bank by then
        report["asked_after_restart"] = sum(bank.asked.values()) - sum(before.values())
        if report["asked_after_restart"]:
            problems.append(f"the bank was asked {report['asked_after_restart']} times by dead contexts")
        return {
            "unguarded": alone,
            "unguarded_s": given.seconds,
            **report,
            "page": pages["command.silent"],
            "page_of_the_end": pages["iteration.killed"],
            "problems": problems,
        }
    finally:
        on_call.close()
        bank.server.close()


def _context(flo: RunningFlo, way: str) -> dict[str, Any]:
    """The context of a loop's last decision, one hop on: what its next signal would carry."""
    (newest,) = flo.get(f"/v1/decisions?loop=settle-{way}&limit=1")["decisions"]
    record = flo.get(f"/v1/decisions/{newest['decision_id']}")
    return {"floroot": record["root"], "floborn": record["timing"]["born"], "flohops": record["hops"] + 1}


def _seen(flo: RunningFlo, bank: Bank, problems: list[str]) -> dict[str, Any]:
    wait_until(lambda: len(findings(flo, "flo.iteration.killed")) == 2, 10, "both zombies on the board")
    report: dict[str, Any] = {}
    for way in WAYS:
        loop = f"settle-{way}"
        statuses = Counter(each["status"] for each in commands(flo, loop) if each["verb"] == "call")
        (killed,) = flo.get(f"/v1/watchdogs?type=flo.iteration.killed&loop={loop}")["watchdogs"]
        report[way] = {"asked": bank.asked[loop], "silent": statuses["silent"], "figures": killed["figures"]}
        if set(statuses) != {"silent"}:
            problems.append(f"{loop}: commands ended as {dict(statuses)}, all should be silent")
        if way not in killed["figures"]:
            problems.append(f"{loop} died of {killed['figures']}, not of its {way}")
        say(f"   {killed['detail']}")
    if report["hops"]["asked"] != HOPS_MAX + 1:
        problems.append(f"{report['hops']['asked']} settlements within {HOPS_MAX} hops")
    for finding in findings(flo, "flo.command.silent"):
        say(f"   {finding['detail']}")
    report["silent_found"] = len(findings(flo, "flo.command.silent"))
    if report["silent_found"] != 2:
        problems.append(f"{report['silent_found']} of 2 loops were found silent")
    return report


def tell(report: Mapping[str, Any]) -> str:
    a_day = report["unguarded"] / report["unguarded_s"] * 86_400
    alone = f"{report['unguarded']} in {report['unguarded_s']:g} s, and on"
    return f"""
zombie: a bank that answers 200 and books nothing

                     without a guard               with it
  settlements        {alone:<29} \
{report["hops"]["asked"]} until its hops were used up, {report["ttl"]["asked"]} until its TTL was over
  in {STORY_DAYS} days         {a_day * STORY_DAYS:<29,.0f} the same
  called             success                       silent, each of them
  found              nothing                       flo.command.silent, flo.iteration.killed
{row(report["page"])}
  after a restart    goes on                       {report["asked_after_restart"]}, the wall clock set back by a day"""


def options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--seconds", type=float, default=3.0, help="how long the loop without a guard runs")


if __name__ == "__main__":
    sys.exit(told("zombie", __doc__.partition("\n")[0], run, tell, options))
