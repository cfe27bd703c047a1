"""Writes that fail, and rows that should not be: the same payments to a careless store and to FLO.

What fails is a real write: the process gets a limit on the size of its files (RLIMIT_FSIZE, as a quota or `ulimit -f`
sets it) while it runs, and every write of it is refused by the kernel with EFBIG. FLO is then killed, not stopped, so that
nothing can be written at the end; what is left is read from its data directory.
"""

from __future__ import annotations

import contextlib
import json
import resource
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections import Counter
from collections.abc import Iterator, Mapping
from datetime import datetime
from pathlib import Path
from typing import Any

from stage import FLO, Program, RunningFlo, running, wait_until
from watched import event, send

HERE = Path(__file__).resolve().parent
PAYMENTS = 40
EVERY_S = 0.01
HEALED_WITHIN_S = 30.0

Payment = Mapping[str, Any]

BROKEN: dict[str, dict[str, Any]] = {
    "no card": {"data": {}},
    "an empty card": {"data": {"card": ""}},
    "a card that is null": {"data": {"card": None}},
    "no data": {"data": None},
    "a time that is none": {"time": "yesterday"},
    "a time that cannot be": {"time": "2026-13-45T00:00:00Z"},
    "a number for a time": {"time": 20260105},
    "a parent that is a number": {"floparent": 7},
    "a birth that is none": {"floroot": "r", "floborn": "never"},
    "hops that are none": {"floroot": "r", "flohops": "many"},
    "no id": {"id": ""},
    "no source": {"source": ""},
}
"""What a row cannot be made of: a payment with this in place of what should be there."""


def payment(name: str, **wrong: Any) -> dict[str, Any]:
    return event("payment", **{"data": {"card": f"card-{name}"}, "id": name, **wrong})


def post(url: str, payment: Payment) -> str:
    """Send one; "" where it was acknowledged, else what was said."""
    headers = {"Content-Type": "application/cloudevents+json"}
    request = urllib.request.Request(url, json.dumps(payment).encode(), headers)
    try:
        with urllib.request.urlopen(request, timeout=30) as answer:
            answer.read()
            return ""
    except urllib.error.HTTPError as error:
        return f"{error.code} {json.load(error)['detail']}"


@contextlib.contextmanager
def no_writes(process: subprocess.Popen[bytes]) -> Iterator[None]:
    """No file of this process can grow, until the block ends."""
    before = resource.prlimit(process.pid, resource.RLIMIT_FSIZE, (0, resource.RLIM_INFINITY))
    try:
        yield
    finally:
        resource.prlimit(process.pid, resource.RLIMIT_FSIZE, before)


def offered(url: str, name: str, refused: dict[str, str]) -> list[str]:
    """So many payments, one after the other; those acknowledged. `refused` has what was said of the others."""
    acknowledged = []
    for number in range(PAYMENTS):
        one = payment(f"{name}-{number}")
        said = post(url, one)
        if said:
            refused[one["id"]] = said
        else:
            acknowledged.append(one["id"])
        time.sleep(EVERY_S)
    return acknowledged


def careless(home: Path) -> dict[str, Any]:
    """What became of it all in the store of the story."""
    rows = home / "rows.ndjson"
    store = Program(str(HERE / "careless.py"), str(rows))
    url, refused = store.said["url"], dict[str, str]()
    try:
        acknowledged = offered(url, "before", refused)
        with no_writes(store.process):
            acknowledged += offered(url, "while", refused)
        acknowledged += offered(url, "after", refused)
        for name, wrong in BROKEN.items():
            post(url, payment(name, **wrong))
    finally:
        store.stop()
    kept = [json.loads(line) for line in rows.read_bytes().splitlines()]
    ids = {row["id"] for row in kept}
    return {
        "acknowledged": len(acknowledged),
        "lost": sum(each not in ids for each in acknowledged),
        "errors": len(refused),
        "orphans": sum(row["id"] in ("", *BROKEN) for row in kept),
    }


def careful(bundle: Path, data: Path, problems: list[str]) -> dict[str, Any]:
    """And in FLO."""
    with running(bundle, data) as flo:
        report = _fail_and_heal(flo, problems)
        _offer_broken(flo, report, problems)
        flo.process.kill()
        flo.process.wait()
    with running(bundle, data) as flo:  # recovers, and stops in order: its state is written out
        report["keys"] = int(flo.metric("flo_state_keys"))
    _look_for_each(data, report, problems)
    return {name: value for name, value in report.items() if name != "acknowledged_ids"}


def _fail_and_heal(flo: RunningFlo, problems: list[str]) -> dict[str, Any]:
    url, refused = flo.url + "/v1/signals", dict[str, str]()
    acknowledged = offered(url, "before", refused)
    if refused:
        problems.append(f"refused with a disk that is well: {refused}")
    with no_writes(flo.process):
        began_s = time.perf_counter()
        first = payment("while-first")
        said = post(url, first)
        refused_after_s = time.perf_counter() - began_s
        if not said.startswith("503 ") or "EFBIG" not in said:
            problems.append(f"the first write that failed was answered {said or 'as if it had not'}")
        refused[first["id"]] = said
        acknowledged += offered(url, "while", refused)
        not_ready = _readiness(flo)
        if not_ready is None:
            problems.append("/readyz answers 200 while nothing can be written")
        if any(each.startswith("while") for each in acknowledged):
            problems.append("a payment was acknowledged that could not be written")
    healed_s = wait_until(lambda: _readiness(flo) is None, HEALED_WITHIN_S, "FLO ready again")
    for name in refused:  # as any sender does
        if post(url, payment(name)):
            problems.append(f"{name} is refused after the disk is well again")
        acknowledged.append(name)
    acknowledged += offered(url, "after", {})
    return {
        "acknowledged_ids": acknowledged,
        "acknowledged": len(acknowledged),
        "errors": len(refused),
        "said": said,
        "refused_after_ms": round(1000 * refused_after_s, 1),
        "not_ready": not_ready,
        "healed_s": round(healed_s, 2),
    }


def _readiness(flo: RunningFlo) -> str | None:
    """None where FLO is ready, else why not."""
    try:
        with urllib.request.urlopen(flo.url + "/readyz", timeout=30):
            return None
    except urllib.error.HTTPError as error:
        detail: str = json.load(error)["detail"]
        return detail


def _offer_broken(flo: RunningFlo, report: dict[str, Any], problems: list[str]) -> None:
    """Each is refused at once, or a dead letter, in either case by a name."""
    answer = send(flo, [payment(name, **wrong) for name, wrong in BROKEN.items()])
    names = list(BROKEN)
    report["refused"] = {names[each["index"]]: each["detail"] for each in answer["rejected"]}
    letters = flo.rows("/v1/dead-letters?loop=decide")
    by_decision = {row["decision_id"]: row["detail"] for row in letters}
    decided = {row["signal"]["id"]: row for row in flo.rows("/v1/decisions?loop=decide")}
    report["dead_letters"] = {
        name: by_decision[decided[name]["decision_id"]]
        for name in names
        if name in decided and decided[name]["decision_id"] in by_decision
    }
    for name in names:
        if name not in report["refused"] and name not in report["dead_letters"]:
            problems.append(f"{name} made a row")


def _look_for_each(data: Path, report: dict[str, Any], problems: list[str]) -> None:
    """Every payment by its id, and behind every row of state the decision that wrote it."""
    decisions = [row for row in _exported("decisions", data) if not row.get("error")]
    times = Counter(row["signal"]["id"] for row in decisions)
    acknowledged = report["acknowledged_ids"]
    report["lost"] = sum(not times[each] for each in acknowledged)
    report["twice"] = sum(times[each] > 1 for each in acknowledged)
    behind = {(row["loop"], row["key"], row["seq"]): row["time"] for row in decisions}
    state = _exported("state", data)
    report["rows"] = len(state)
    report["orphans"] = sum((row["loop"], row["key"], row["seq"]) not in behind for row in state)
    for each in behind.values():
        datetime.fromisoformat(each)
    keys = len({(loop, key) for loop, key, _ in behind})
    if not keys == report["keys"] == report["rows"]:
        problems.append(f"{report['keys']} keys counted, {report['rows']} rows of state, {keys} keys decided")
    for name in ("lost", "twice", "orphans"):
        if report[name]:
            problems.append(f"{report[name]} {name}")


def _exported(what: str, data: Path) -> list[dict[str, Any]]:
    command = [sys.executable, *FLO, "export", what, "--data", str(data)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    return [json.loads(line) for line in done.stdout.splitlines()]
