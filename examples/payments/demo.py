"""Drive the example against a running FLO, and print what happened.

    PAYMENTS_HOME=demo-data python demo.py --prepare   # store and first network; then start FLO
    PAYMENTS_HOME=demo-data python demo.py --to http://127.0.0.1:8750

FLO and the driver must be given the same `PAYMENTS_HOME`. A run offers `--rate` transactions a second for
`--seconds`; the mix of fraud shifts after 35 % of them. Two of the events are broken on purpose: they show
as dead letters.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import os
import sys
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec
import uvloop
from gateway import EVENT, Gateway
from models import Models
from report import Report
from store import Store
from traffic import Plan, Traffic
from training import prepare
from wire import Pool

HERE = Path(__file__).resolve().parent
SHIFT_AT = 0.35
PROGRESS_EVERY_S = 5.0
DAY_S = 86_400
LIST_MAX = 500
READY_PATIENCE_S = 15.0


@dataclass(frozen=True)
class Options:
    to: str = "http://127.0.0.1:8750"
    home: Path = HERE / "demo-data"
    seconds: float = 60.0
    rate_per_s: float = 833.0
    seed: int = 7
    cards: int = 20_000
    connections: int = 48
    profiles_port: int | None = 8760  # None: somebody else serves them
    token: str | None = None
    broken: int = 2


def plan_of(options: Options, now_s: float) -> Plan:
    """The run's traffic. It begins at the midnight (UTC) two days ago, so that equal seeds see equal hours
    and event time does not run ahead of the clock; the source is new, so that a second run is not taken for
    a repeat of the first."""
    midnight_s = int(now_s) // DAY_S * DAY_S - 2 * DAY_S
    plan = Plan(
        seed=options.seed,
        cards=options.cards,
        start_ns=midnight_s * 1_000_000_000,
        source=f"gateway/{int(now_s):x}",
    )
    count = int(options.seconds * options.rate_per_s)
    return replace(plan, shift_ns=Traffic(plan).time_after(int(count * SHIFT_AT)))


async def drive(options: Options, plan: Plan | None = None) -> Report:
    """One run: serves profiles, offers the traffic, collects the figures. `OSError` where FLO is not there.

    Expects the store and the first network of `prepare` under `options.home`. Ends what it started, also
    when cancelled.
    """
    plan = plan or plan_of(options, time.time())
    count = int(options.seconds * options.rate_per_s)
    models = Models(options.home / "models")
    base = models.alias()
    pool = Pool(options.to, options.connections, options.token)
    began = datetime.now(UTC).isoformat().replace("+00:00", "Z")
    async with _profiles(options):
        await _wait_until_ready(pool, options.to)
        gateway = Gateway(pool, Traffic(plan), Store(options.home / "store"), models, options.rate_per_s)
        watch = asyncio.create_task(_progress(gateway, count))
        breaking = asyncio.create_task(_send_broken(pool, plan, options))
        try:
            report = await gateway.run(count)
        finally:
            watch.cancel()
            breaking.cancel()
            await asyncio.gather(watch, breaking, return_exceptions=True)
        await _collect(pool, report, models, base.version if base else None, began)
        await pool.close()
    return report


@contextlib.asynccontextmanager
async def _profiles(options: Options) -> AsyncIterator[None]:
    """The profile service, as a process of its own."""
    if options.profiles_port is None:
        yield
        return
    given = {"--port": options.profiles_port, "--seed": options.seed, "--cards": options.cards}
    arguments = [str(word) for pair in given.items() for word in pair]
    process = await asyncio.create_subprocess_exec(
        sys.executable, str(HERE / "profiles.py"), *arguments, stdout=asyncio.subprocess.PIPE
    )
    try:
        assert process.stdout is not None
        if not await process.stdout.readline():
            raise OSError(f"the profile service did not start: is port {options.profiles_port} taken?")
        yield
    finally:
        if process.returncode is None:
            process.terminate()
        await process.wait()


async def _wait_until_ready(pool: Pool, url: str) -> None:
    last = "no answer"
    for _ in range(int(READY_PATIENCE_S / 0.25)):
        try:
            answer = await pool.get("/readyz", timeout_s=2.0)
            if answer.status == 200:
                return
            last = f"{answer.status}: {answer.body[:200]!r}"
        except OSError as error:
            last = str(error)
        await asyncio.sleep(0.25)
    raise OSError(f"no FLO is ready at {url} ({last}): start one with `flo run {HERE}`")


async def _send_broken(pool: Pool, plan: Plan, options: Options) -> None:
    """Events of a terminal gone wrong, spread over the run: a negative amount, which breaks the contract."""
    for number in range(options.broken):
        await asyncio.sleep(options.seconds / (options.broken + 1))
        data = {"tx_id": f"broken-{number}", "card": "c000001", "amount": -1}
        event = {
            "specversion": "1.0",
            "id": f"broken-{number}",
            "source": plan.source,
            "type": "tx.authorized",
            "data": data,
        }
        await pool.post("/v1/signals", msgspec.json.encode(event), EVENT)


async def _progress(gateway: Gateway, count: int) -> None:
    """A line every few seconds, on stderr."""
    started_s = time.monotonic()
    while True:
        await asyncio.sleep(PROGRESS_EVERY_S)
        report = gateway.report
        recent = sorted(report.latencies_ms[-2000:]) or [0.0]
        print(
            f"{time.monotonic() - started_s:5.0f} s  {report.results.total():>7,} of {count:,} decided   "
            f"p99 {recent[int((len(recent) - 1) * 0.99)]:.1f} ms   networks swapped {len(report.networks)}",
            file=sys.stderr,
            flush=True,
        )


async def _collect(pool: Pool, report: Report, models: Models, base: str | None, began: str) -> None:
    """What FLO itself says of the run, and what became of the networks."""
    swapped = {note["version"]: note["swapped_at_s"] for note in report.networks}
    report.networks = [
        note | {"swapped_at_s": swapped.get(note["version"])} if note["version"] != base else note
        for note in models.versions()
    ]
    recent = f"since={began}&limit={LIST_MAX}"
    for letter in await _list(pool, report, "dead_letters", f"/v1/dead-letters?{recent}"):
        report.dead_letters[str(letter.get("reason", "?"))] += 1
    for loop in ("payments-retrain", "payments-swap"):
        found = await _list(pool, report, "commands", f"/v1/commands?loop={loop}&{recent}")
        for command in found:
            report.commands[f"{loop} {command.get('status', '?')}"] += 1


async def _list(pool: Pool, report: Report, plural: str, path: str) -> list[dict[str, Any]]:
    answer = await pool.get(path)
    if answer.status != 200:
        report.notes.append(f"GET {path} answered {answer.status}: {answer.body[:200]!r}")
        return []
    return list(msgspec.json.decode(answer.body)[plural])


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description="Drive the payments example against a running FLO.")
    parser.add_argument("--to", default=Options.to, help="FLO's URL")
    parser.add_argument("--home", type=Path, default=Path(os.environ.get("PAYMENTS_HOME") or Options.home))
    parser.add_argument("--seconds", type=float, default=Options.seconds)
    parser.add_argument("--rate", type=float, default=Options.rate_per_s, help="transactions a second")
    parser.add_argument("--seed", type=int, default=Options.seed)
    parser.add_argument("--cards", type=int, default=Options.cards)
    parser.add_argument("--connections", type=int, default=Options.connections)
    parser.add_argument("--profiles-port", type=int, default=8760, help="0: do not serve them")
    parser.add_argument("--prepare", action="store_true", help="only make the store and the first network")
    parser.add_argument("--json", action="store_true", help="print the report as JSON")
    given = parser.parse_args(arguments)
    if given.seconds <= 0 or given.rate <= 0:
        parser.error("--seconds and --rate must be above 0")
    options = Options(
        to=given.to,
        home=given.home,
        seconds=given.seconds,
        rate_per_s=given.rate,
        seed=given.seed,
        cards=given.cards,
        connections=given.connections,
        profiles_port=given.profiles_port or None,
        token=os.environ.get("FLO_TOKEN"),
    )
    plan = plan_of(options, time.time())
    if given.prepare or Models(options.home / "models").alias() is None:
        note = prepare(options.home, plan)
        print(f"trained the first network on {note['rows']:,} rows, in {options.home}", file=sys.stderr)
        if given.prepare:
            return 0
    try:
        report = uvloop.run(drive(options, plan))
    except OSError as error:
        print(f"demo: {error}", file=sys.stderr)
        return 1
    print(msgspec.json.encode(report.as_json()).decode() if given.json else report.text())
    return 0


if __name__ == "__main__":
    sys.exit(main())
