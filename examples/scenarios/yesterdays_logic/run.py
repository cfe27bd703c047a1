"""Rules of yesterday on data of today: every order is called a success, or stale, until the logic is as new as the data.

    python examples/scenarios/yesterdays_logic/run.py        # or: flo demo yesterdays-logic

One FLO runs the same loop twice, without `fresh.logic` and with it, on the same orders. The daily change of the rules
does not come, time passes for real (three seconds stand for the day), and then `flo apply` brings it.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from oncall import OnCall, row
from stage import RunningFlo, copied, flo, running, say, wait_until
from watched import Server, commands, event, findings, send, told

HERE = Path(__file__).resolve().parent
DESK = "http://127.0.0.1:8762/"
LOOPS = ("unguarded", "guarded")
ORDERS = 20


def orders(running_flo: RunningFlo, day: str) -> dict[str, dict[str, int]]:
    """Send a day's orders; what became of their commands, by loop."""
    send(running_flo, [event("order.placed", {"order": f"{day}-{number}"}) for number in range(ORDERS)])

    def ended(loop: str) -> Counter[str]:
        return Counter(each["status"] for each in commands(running_flo, loop) if each["key"].startswith(day))

    def over() -> bool:
        return all(sum(ended(loop)[each] for each in ("succeeded", "stale")) == ORDERS for loop in LOOPS)

    wait_until(over, 20, f"the orders of {day}")
    return {loop: dict(ended(loop)) for loop in LOOPS}


def run(given: argparse.Namespace, home: Path) -> dict[str, Any]:
    desk = Server(lambda path, body: (200, {"priced": True}))
    problems: list[str] = []
    on_call = OnCall()
    try:
        bundle = on_call.over(copied(HERE / "bundle", home / "bundle", {DESK: desk.url + "/"}))
        with running(bundle, home / "data") as running_flo:
            say("1. Today's logic on today's data")
            today = orders(running_flo, "today")
            say("2. The change of the rules does not come")
            time.sleep(4.0)
            cause_s = time.time()
            tomorrow = orders(running_flo, "tomorrow")
            wait_until(lambda: bool(findings(running_flo, "flo.logic.skewed")), 10, "the finding")
            (finding,) = findings(running_flo, "flo.logic.skewed")
            say(f"   {finding['detail']}")
            page = on_call.paged(running_flo, "flo.logic.skewed", cause_s, problems)
            say("3. It comes: flo apply")
            path = bundle / "loops" / "guarded.yaml"
            path.write_text(
                path.read_text(encoding="utf-8").replace("price: 10", "price: 11"), encoding="utf-8"
            )
            flo("apply", bundle, "--to", running_flo.url, "--note", "today's table")
            mended = orders(running_flo, "mended")
            wait_until(lambda: not findings(running_flo, "flo.logic.skewed"), 20, "the finding over")
    finally:
        on_call.close()
        desk.close()
    for day, found, wanted in (
        ("today", today, "succeeded"), ("tomorrow", tomorrow, "stale"), ("mended", mended, "succeeded")
    ):  # fmt: skip
        if found["guarded"] != {wanted: ORDERS}:
            problems.append(f"{day}: {found['guarded']}, all should be {wanted}")
    return {
        "today": today,
        "tomorrow": tomorrow,
        "mended": mended,
        "found": finding["figures"],
        "page": page,
        "problems": problems,
    }


def tell(report: Mapping[str, Any]) -> str:
    def ended(outcomes: Mapping[str, int]) -> str:
        return ", ".join(f"{count} {outcome}" for outcome, count in outcomes.items())

    rows = "".join(
        f"  {day:<18} {ended(report[day]['unguarded']):<29} {ended(report[day]['guarded'])}\n"
        for day in ("today", "tomorrow", "mended")
    )
    skew_s = report["found"]["skew_s"]
    return f"""
yesterdays-logic: {ORDERS} orders a day

                     without fresh.logic           with it
{rows}  found              nothing                       flo.logic.skewed: {skew_s:.1f} s older than its data
{row(report["page"])}"""


if __name__ == "__main__":
    sys.exit(told("yesterdays-logic", __doc__.partition("\n")[0], run, tell))
