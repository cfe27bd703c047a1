"""A replica whose writes fail without a word: last week's scores are served for hours, or named at the first one.

    python examples/scenarios/orphan_state/run.py        # or: flo demo orphan-state

The store is a real server over real files: it writes each score to two places and swallows the error of the second, as the
one in the story did, and reads from them by turns. Then the directory through which the second is written is lost. Every
answer is still a 200, every decision still made. `version: version` on the dependency is all that FLO is told.
"""

from __future__ import annotations

import argparse
import contextlib
import itertools
import json
import sys
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from stage import copied, running, say, wait_until
from watched import Server, decide, event, findings, told

HERE = Path(__file__).resolve().parent
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


def run(given: argparse.Namespace, home: Path) -> dict[str, Any]:
    problems: list[str] = []
    (home / "store").mkdir()
    store = Store(home / "store")
    try:
        bundle = copied(HERE / "bundle", home / "bundle", {STORE: store.server.url})
        with running(bundle, home / "data") as flo:

            def week() -> None:
                for number in range(3 * CARDS):
                    decide(flo, event("payment", {"card": f"c{number % CARDS}"}))

            say("1. Two weeks in which both places are written")
            for version in (1, 2):
                store.write(version)
                week()
            early = findings(flo, "flo.state.stale_read")
            say("2. The directory through which the second place is written is lost; nobody is told")
            store.incoming.rmdir()
            store.write(3)
            before = len(store.served)
            week()
            wait_until(lambda: bool(findings(flo, "flo.state.stale_read")), 30, "the finding")
            (found,) = findings(flo, "flo.state.stale_read")
            say(f"   {found['detail']}")
        stale = sum(version < 3 for version in store.served[before:])
        if early:
            problems.append(f"a false alarm: {early[0]['detail']}")
        if not stale:
            problems.append("nothing stale was served: the cause did not come about")
        return {"decisions": 3 * CARDS, "stale": stale, "found": found["figures"], "problems": problems}
    finally:
        store.server.close()


def tell(report: Mapping[str, Any]) -> str:
    return f"""
orphan-state: {report["decisions"]} decisions after a write that failed without a word

                     without `version`             with it
  decided            {report["decisions"]:<29} {report["decisions"]}
  on old scores      {report["stale"]:<29} {report["found"]["stale_reads"]} of them older than one seen before
  who was told       nobody                        flo.state.stale_read"""


if __name__ == "__main__":
    sys.exit(told("orphan-state", __doc__.partition("\n")[0], run, tell))
