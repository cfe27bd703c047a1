"""Fifty writers on one counter: a contended row that loses updates or stands in line, or a shared count that does neither.

    python examples/scenarios/state_storm/run.py        # or: flo demo state-storm

The row is a real one, in SQLite, and the writers are fifty threads with a connection each. First they read, add one and
write, as the story did; then inside of a transaction, where they wait for each other and try again. Then fifty writers send
to a real FLO with two workers, each of which counts on its own; what the other has counted is added when it is read.
Last, what FLO cannot spread: a key that takes most of a loop's traffic, whose worker does the work of all. Two loops get
the same traffic, one of them over all its keys alike.
"""

from __future__ import annotations

import argparse
import random
import sqlite3
import statistics
import sys
import threading
import time
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from oncall import OnCall, row
from stage import RunningFlo, copied, running, say
from watched import event, findings, send, told

HERE = Path(__file__).resolve().parent
WRITERS = 50
KEYS = 100
HOT_KEY, HOT_SHARE = "k7", 0.7
BATCH, BATCH_EVERY_S = 20, 0.1
HOT_S = 45.0
"""Four times the watchdog's window of ten seconds, and a little more: a key must be hot for three."""


class Row:
    """One counter in SQLite."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.retries = 0
        self._lock = threading.Lock()
        with sqlite3.connect(path) as connection:
            connection.execute("PRAGMA journal_mode=WAL")
            connection.execute("CREATE TABLE counter (n INTEGER)")
            connection.execute("INSERT INTO counter VALUES (0)")
        connection.close()

    def value(self) -> int:
        connection = sqlite3.connect(self.path)
        try:
            return int(connection.execute("SELECT n FROM counter").fetchone()[0])
        finally:
            connection.close()

    def tried(self, work: Callable[[], None]) -> None:
        while True:
            try:
                work()
                return
            except sqlite3.OperationalError:  # the row is somebody else's
                with self._lock:
                    self.retries += 1
                time.sleep(0.001)

    def add_unsafely(self, count: int) -> None:
        connection = sqlite3.connect(self.path, timeout=0, isolation_level=None)

        def add() -> None:
            (n,) = connection.execute("SELECT n FROM counter").fetchone()
            connection.execute("UPDATE counter SET n = ?", (n + 1,))

        for _ in range(count):
            self.tried(add)
        connection.close()

    def add_in_a_transaction(self, count: int) -> None:
        connection = sqlite3.connect(self.path, timeout=0, isolation_level=None)

        def add() -> None:
            connection.execute("BEGIN IMMEDIATE")
            connection.execute("UPDATE counter SET n = n + 1")
            connection.execute("COMMIT")

        for _ in range(count):
            self.tried(add)
        connection.close()


def counted(row: Row, write: Callable[[int], None], count: int) -> dict[str, Any]:
    with ThreadPoolExecutor(WRITERS) as pool:
        list(pool.map(write, [count] * WRITERS))
    return {"lost": WRITERS * count - row.value(), "retries": row.retries, "connections": WRITERS}


def shared(flo: RunningFlo, count: int, problems: list[str]) -> dict[str, Any]:
    def write(writer: int) -> int:
        return sum(
            send(flo, [event("counted", {"key": f"k{writer}-{number}"}, id=f"{writer}-{number}")])["accepted"]
            for number in range(count)
        )

    ages_s: list[float] = []
    over = threading.Event()

    def look() -> None:
        while not over.is_set():
            ages_s.append(flo.get("/v1/loops/count")["shared_staleness_s"])
            time.sleep(0.02)

    looker = threading.Thread(target=look)
    looker.start()
    try:
        with ThreadPoolExecutor(WRITERS) as pool:
            accepted = sum(pool.map(write, range(WRITERS)))
    finally:
        over.set()
        looker.join()
    refused = int(flo.metric('flo_http_requests_total{method="POST",route="/v1/signals",status="429"}'))
    asked = 0

    def seen() -> int:
        """What a rule reads now; asking is counted too."""
        nonlocal asked
        asked += 1
        send(flo, [event("counted", {"key": f"look-{asked}"}, id=f"look-{asked}")])
        (newest,) = flo.get(f"/v1/decisions?loop=count&key=look-{asked}")["decisions"]
        return int(flo.get(f"/v1/decisions/{newest['decision_id']}")["state"]["everything"])

    read = seen()
    total = WRITERS * count
    began_s = time.monotonic()
    while (whole := seen()) < total + asked and time.monotonic() - began_s < 20:
        time.sleep(0.05)
    settled_s = time.monotonic() - began_s
    if whole != total + asked:
        problems.append(f"the count is {whole}, {total + asked} were counted")
    if accepted != total:
        problems.append(f"{accepted} of {total} were taken")
    return {
        "lost": total + asked - whole,
        "retries": refused,
        "read_at_once": read,
        "settled_s": round(settled_s, 2),
        "staleness_s": round(statistics.median(ages_s), 2),
        "staleness_s_max": round(max(ages_s), 2),
        "looks": len(ages_s),
    }


def hot(flo: RunningFlo, on_call: OnCall, problems: list[str]) -> dict[str, Any]:
    """The same number of signals to both loops, in batches; one of them has a hot key."""
    chosen = random.Random(17)
    began_s, due_s, sent = time.time(), time.monotonic(), 0
    end_s = due_s + HOT_S
    while due_s < end_s and time.monotonic() < end_s:
        keys = [f"k{chosen.randrange(KEYS)}" for _ in range(BATCH)]
        warm = [HOT_KEY if chosen.random() < HOT_SHARE else key for key in keys]
        sold = {"sold.evenly": keys, "sold.unevenly": warm}
        send(flo, [event(type, {"key": key}) for type in sold for key in sold[type]])
        sent += BATCH
        due_s += BATCH_EVERY_S
        time.sleep(max(0.0, due_s - time.monotonic()))
    found = {each["subject"]: each for each in findings(flo, "flo.state.storm")}
    if "even" in found:
        problems.append(f"a false alarm: {found['even']['detail']}")
    if "uneven" not in found:
        problems.append("the hot key was not found")
        return {"sent": sent, "figures": {}, "page": None}
    figures = found["uneven"]["figures"]
    if figures["key"] != HOT_KEY or abs(figures["share"] - HOT_SHARE) > 0.1:
        problems.append(f"found {figures}, the hot key is {HOT_KEY} with {HOT_SHARE:.0%}")
    say(f"   {found['uneven']['detail']}")
    page = on_call.paged(flo, "flo.state.storm", began_s, problems, "uneven")
    return {"sent": sent, "figures": figures, "page": page}


def run(given: argparse.Namespace, home: Path) -> dict[str, Any]:
    problems: list[str] = []
    count = given.count
    say(f"1. {WRITERS} writers, {count} each, on a row: read, add, write")
    unsafe = Row(home / "unsafe.db")
    report: dict[str, Any] = {
        "writers": WRITERS,
        "count": count,
        "unsafe": counted(unsafe, unsafe.add_unsafely, count),
    }
    say("2. The same in transactions")
    safe = Row(home / "safe.db")
    report["safe"] = counted(safe, safe.add_in_a_transaction, count)
    say("3. A shared count of FLO, two workers")
    with OnCall() as on_call:
        bundle = on_call.over(copied(HERE / "bundle", home / "bundle", {}))
        with running(bundle, home / "data", workers=2) as flo:
            report["flo"] = shared(flo, count, problems)
            say(f"4. Two loops of {KEYS} keys for {HOT_S:g} s; one key of one of them takes {HOT_SHARE:.0%}")
            report["hot"] = hot(flo, on_call, problems)
    return {**report, "problems": problems}


def tell(report: Mapping[str, Any]) -> str:
    rows = "".join(
        f"  {what:<18} {report['unsafe'][key]!s:<18} {report['safe'][key]!s:<18} {report['flo'][key]}\n"
        for what, key in (("lost updates", "lost"), ("retries", "retries"))
    )
    hot = report["hot"]
    figures = hot["figures"]
    found = (
        f"{figures['key']!r}, {figures['share']:.0%} of {figures['rate_per_s']:.0f} a second"
        if figures
        else "nothing"
    )
    page = hot["page"]
    return f"""
state-storm: {report["writers"]} writers, {report["count"]} each, on one counter

                     a row              in transactions    a shared count
{rows}  connections        {WRITERS:<18} {WRITERS:<18} 0
  staleness          -                  -                  {report["flo"]["staleness_s"]:.2f} s while they write, \
{report["flo"]["staleness_s_max"]:.2f} s at most ({report["flo"]["looks"]} looks)

                     a loop of even keys           a loop with a hot key
  signals            {hot["sent"]:<29} {hot["sent"]}
  found              {"nothing":<29} {found}
{"" if page is None else row(page, alone="nobody")}"""


def options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--count", type=int, default=40, help="how often each writer writes")


if __name__ == "__main__":
    sys.exit(told("state-storm", __doc__.partition("\n")[0], run, tell, options))
