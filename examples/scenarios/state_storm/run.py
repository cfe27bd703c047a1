"""Fifty writers on one counter: a contended row that loses updates or stands in line, or a shared count that does neither.

    python examples/scenarios/state_storm/run.py        # or: flo demo state-storm

The row is a real one, in SQLite, and the writers are fifty threads with a connection each. First they read, add one and
write, as the story did; then inside of a transaction, where they wait for each other and try again. Then fifty writers send
to a real FLO with two workers, each of which counts on its own; what the other has counted is added when it is read.
"""

from __future__ import annotations

import argparse
import sqlite3
import sys
import threading
import time
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from stage import RunningFlo, running, say
from watched import event, send, told

HERE = Path(__file__).resolve().parent
WRITERS = 50


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

    with ThreadPoolExecutor(WRITERS) as pool:
        accepted = sum(pool.map(write, range(WRITERS)))
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
    staleness_s = flo.get("/v1/loops/count")["shared_staleness_s"]
    if whole != total + asked:
        problems.append(f"the count is {whole}, {total + asked} were counted")
    if accepted != total:
        problems.append(f"{accepted} of {total} were taken")
    return {
        "lost": total + asked - whole,
        "retries": refused,
        "read_at_once": read,
        "settled_s": round(settled_s, 2),
        "staleness_s": staleness_s,
    }


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
    with running(HERE / "bundle", home / "data", workers=2) as flo:
        report["flo"] = shared(flo, count, problems)
    return {**report, "problems": problems}


def tell(report: Mapping[str, Any]) -> str:
    rows = "".join(
        f"  {what:<18} {report['unsafe'][key]!s:<18} {report['safe'][key]!s:<18} {report['flo'][key]}\n"
        for what, key in (("lost updates", "lost"), ("retries", "retries"))
    )
    return f"""
state-storm: {report["writers"]} writers, {report["count"]} each, on one counter

                     a row              in transactions    a shared count
{rows}  connections        {WRITERS:<18} {WRITERS:<18} 0
  staleness          -                  -                  {report["flo"]["staleness_s"]} s at most"""


def options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--count", type=int, default=40, help="how often each writer writes")


if __name__ == "__main__":
    sys.exit(told("state-storm", __doc__.partition("\n")[0], run, tell, options))
