"""A write that fails without a word: lost rows, orphans and last week's scores; or an error at once, and a name for each.

    python examples/scenarios/orphan_state/run.py        # or: flo demo orphan-state

First rows: the same payments go to a store that swallows the error of a failing write, and to FLO, while the kernel
refuses every write of either; and payments of which no row can be made. Then reads: a real server over real files writes
each score to two places, swallows the error of the second, and reads from them by turns. The directory through which the
second is written is lost; every answer is still a 200, every decision still made. `version: version` on the dependency is
all that FLO is told.
"""

from __future__ import annotations

import argparse
import contextlib
import itertools
import json
import sys
import threading
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE), str(HERE.parent)]

from oncall import OnCall, row  # noqa: E402
from rows import BROKEN, careful, careless  # noqa: E402
from stage import copied, running, say, wait_until  # noqa: E402
from watched import Server, decide, event, findings, told  # noqa: E402

STORE = "http://127.0.0.1:8762"
CARDS = 21


class Store:
    """Two places, by turns. A write that fails at the second is forgotten."""

    def __init__(self, home: Path) -> None:
        self.places = (home / "first", home / "second")
        self.incoming = home / "incoming"
        for place in (*self.places, self.incoming):
            place.mkdir()
        self.served: list[int] = []
        self._turns = itertools.count()
        self._lock = threading.Lock()
        self.server = Server(self._handle)

    def write(self, version: int) -> None:
        """To a new file each, which then takes the place of the old one; the second place has a directory for those."""
        for card in range(CARDS):
            score = json.dumps({"score": card * version % 10, "version": version})
            (self.places[0] / f"c{card}").write_text(score)
            with contextlib.suppress(OSError):
                new = self.incoming / f"c{card}"
                new.write_text(score)
                new.replace(self.places[1] / new.name)

    def _handle(self, path: str, body: Any) -> tuple[int, Any]:
        with self._lock:
            place = self.places[next(self._turns) % 2]
        card = path.rpartition("/")[2]
        with contextlib.suppress(OSError):
            answer = json.loads((place / card).read_text())
            with self._lock:
                self.served.append(answer["version"])
            return 200, answer
        return 404, {}


def stale(bundle: Path, home: Path, store: Store, on_call: OnCall, problems: list[str]) -> dict[str, Any]:
    """Two weeks that are written to both places, and one that is not."""
    with running(bundle, home / "data") as flo:

        def week() -> None:
            for number in range(3 * CARDS):
                decide(flo, event("payment", {"card": f"c{number % CARDS}"}))

        for version in (1, 2):
            store.write(version)
            week()
        early = findings(flo, "flo.state.stale_read")
        say("4. The directory through which the second place is written is lost; nobody is told")
        lost_s = time.time()
        store.incoming.rmdir()
        store.write(3)
        before = len(store.served)
        week()
        wait_until(lambda: bool(findings(flo, "flo.state.stale_read")), 30, "the finding")
        (found,) = findings(flo, "flo.state.stale_read")
        say(f"   {found['detail']}")
        page = on_call.paged(flo, "flo.state.stale_read", lost_s, problems)
    served = sum(version < 3 for version in store.served[before:])
    if early:
        problems.append(f"a false alarm: {early[0]['detail']}")
    if not served:
        problems.append("nothing stale was served: the cause did not come about")
    return {"decisions": 3 * CARDS, "stale": served, "found": found["figures"], "page": page}


def run(given: argparse.Namespace, home: Path) -> dict[str, Any]:
    problems: list[str] = []
    (home / "store").mkdir()
    store = Store(home / "store")
    on_call = OnCall()
    try:
        bundle = on_call.over(copied(HERE / "bundle", home / "bundle", {STORE: store.server.url}))
        say("1. Payments to a store that swallows errors; the kernel refuses its writes for a while")
        alone = careless(home)
        say(
            f"   {alone['acknowledged']} acknowledged, {alone['lost']} of them lost, {alone['orphans']} orphans kept"
        )
        say("2. The same to FLO, which is killed at the end")
        rows = careful(bundle, home / "rows", problems)
        say(f"   {rows['said']}")
        for name, why in {**rows["refused"], **rows["dead_letters"]}.items():
            say(f"   {name}: {why}")
        say("3. Two weeks of scores, written to both places")
        return {
            "careless": alone,
            "rows": rows,
            **stale(bundle, home, store, on_call, problems),
            "problems": problems,
        }
    finally:
        on_call.close()
        store.server.close()


def tell(report: Mapping[str, Any]) -> str:
    alone, rows = report["careless"], report["rows"]
    refused, letters = len(rows["refused"]), len(rows["dead_letters"])
    return f"""
orphan-state: writes that the kernel refuses, {len(BROKEN)} payments of which no row can be made, a replica left behind

                     a store that says nothing     FLO
  failed writes      {"all answered 200":<29} {rows["errors"]} answered 503, the first in {rows["refused_after_ms"]:.0f} ms
  acknowledged       {alone["acknowledged"]:<29} {rows["acknowledged"]}, what was refused sent again
  of these lost      {alone["lost"]:<29} {rows["lost"]}, {rows["twice"]} decided twice; FLO was killed and started again
  well again         {"-":<29} by itself, {rows["healed_s"]:.1f} s after the disk; /readyz said 503 till then
  no row possible    {f"{alone['orphans']} kept":<29} {refused} refused, {letters} dead letters, each with its reason
  rows of state      {"-":<29} {rows["rows"]}, {rows["orphans"]} without a decision behind them

                     without `version`             with it
  decided            {report["decisions"]:<29} {report["decisions"]}
  on old scores      {report["stale"]:<29} {report["found"]["stale_reads"]} of them older than one seen before
  found              nothing                       flo.state.stale_read
{row(report["page"])}"""


if __name__ == "__main__":
    sys.exit(told("orphan-state", __doc__.partition("\n")[0], run, tell))
