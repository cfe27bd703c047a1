"""The payments example, with one command: the profile service, FLO, a minute of traffic, and what came of it.

    python examples/payments/run.py            # or: make demo, or: flo demo

Everything it starts it stops again, also on Ctrl-C. What it leaves in `demo-data/` is for `flo explain` and
`flo loops`; the next run begins anew.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import shutil
import signal
import socket
import sys
import time
from collections.abc import Iterable
from pathlib import Path

import msgspec
import uvloop
from demo import HERE, Options, drive, plan_of
from report import Report
from training import prepare
from wire import Pool

MARKER = ".made-by-the-payments-demo"
PROFILES_PORT = 8760
FLO_PORT = 8750
START_S = 60.0
STOP_S = 30.0


def free_port(wanted: int) -> int:
    """`wanted` if nobody listens there, else one the system has free."""
    for port in (wanted, 0):
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            return int(probe.getsockname()[1])
    raise OSError("no free port on 127.0.0.1")


def fresh_home(home: Path) -> Path:
    """An empty directory; one that an earlier demo made is cleared, any other that holds something is refused."""
    if home.exists() and any(home.iterdir()):
        if not (home / MARKER).exists():
            raise SystemExit(f"demo: {home} holds something that is not a demo's: name another with --data")
        shutil.rmtree(home)
    home.mkdir(parents=True, exist_ok=True)
    (home / MARKER).touch()
    return home


def bundle_for(home: Path, profiles_port: int) -> Path:
    """The example's bundle; a copy of it where the profile service had to take another port."""
    if profiles_port == PROFILES_PORT:
        return HERE
    copy = home / "bundle"
    shutil.copytree(HERE, copy, ignore=shutil.ignore_patterns("__pycache__", "demo-data"))
    text = (copy / "flo.yaml").read_text(encoding="utf-8")
    (copy / "flo.yaml").write_text(text.replace(f":{PROFILES_PORT}/", f":{profiles_port}/"), encoding="utf-8")
    return copy


async def start_flo(
    bundle: Path, home: Path, port: int, workers: int
) -> tuple[asyncio.subprocess.Process, str]:
    """A real `flo run`, and where it listens."""
    command = [sys.executable, "-m", "flo.faces.cli", "run", str(bundle), "--data", str(home / "flo")]
    command += ["--port", str(port), "--workers", str(workers), "--json"]
    environment = {
        **os.environ,
        "PAYMENTS_HOME": str(home / "payments"),
        "FLO_URL": f"http://127.0.0.1:{port}",
    }
    process = await asyncio.create_subprocess_exec(
        *command, env=environment, stdout=asyncio.subprocess.PIPE, start_new_session=True
    )
    assert process.stdout is not None
    try:
        async with asyncio.timeout(START_S):
            announced = await process.stdout.readuntil(b"}")
        return process, str(json.loads(announced)["url"])
    except (TimeoutError, asyncio.IncompleteReadError):
        await stop_flo(process)
        raise OSError("FLO did not start: see what it said above") from None


async def stop_flo(process: asyncio.subprocess.Process) -> None:
    if process.returncode is None:
        process.send_signal(signal.SIGTERM)
        try:
            async with asyncio.timeout(STOP_S):
                await process.wait()
        except TimeoutError:
            process.kill()
            await process.wait()


async def interesting(url: str) -> list[tuple[str, str]]:
    """Decisions worth a look: (what it is, its id)."""
    pool = Pool(url, 1, None)
    found = []
    try:
        for about, query in (
            ("a transaction declined", "loop=payments-score&result=decline"),
            ("why a retraining was commanded", "loop=payments-retrain&rule=missing-fraud"),
            ("why the new network was put in use", "loop=payments-swap"),
        ):
            answer = await pool.get(f"/v1/decisions?{query}&limit=1")
            decisions = msgspec.json.decode(answer.body)["decisions"] if answer.status == 200 else []
            found += [(about, str(decision["decision_id"])) for decision in decisions]
    finally:
        await pool.close()
    return found


async def run(options: Options, home: Path, workers: int) -> tuple[Report, list[tuple[str, str]]]:
    profiles_port = options.profiles_port or PROFILES_PORT
    process, url = await start_flo(bundle_for(home, profiles_port), home, free_port(FLO_PORT), workers)
    try:
        started = Options(**{**vars(options), "to": url})
        report = await drive(started, plan_of(started, time.time()))
        return report, await interesting(url)
    finally:
        await stop_flo(process)


def say(lines: Iterable[str]) -> None:
    for line in lines:
        print(line, file=sys.stderr, flush=True)


def main(arguments: list[str] | None = None) -> int:
    default_seconds = float(os.environ.get("FLO_DEMO_SECONDS") or Options.seconds)
    parser = argparse.ArgumentParser(description="Run the payments example, everything included.")
    parser.add_argument("--data", type=Path, default=Path("demo-data"), help="where to leave what happened")
    parser.add_argument("--seconds", type=float, default=default_seconds)
    parser.add_argument("--rate", type=float, default=Options.rate_per_s, help="transactions a second")
    parser.add_argument("--seed", type=int, default=Options.seed)
    parser.add_argument("--workers", type=int, default=1, help="processes that decide")
    parser.add_argument("--json", action="store_true", help="print the report as JSON")
    given = parser.parse_args(arguments)
    if given.seconds <= 0 or given.rate <= 0:
        parser.error("--seconds and --rate must be above 0")
    home = fresh_home(given.data.resolve())
    options = Options(
        home=home / "payments",
        seconds=given.seconds,
        rate_per_s=given.rate,
        seed=given.seed,
        profiles_port=free_port(PROFILES_PORT),
    )
    note = prepare(options.home, plan_of(options, time.time()))
    say(
        [f"trained the first network on {note['rows']:,} transactions; {given.seconds:g} s of traffic follow"]
    )
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # stop like Ctrl-C: with everything it started
    try:
        report, decisions = uvloop.run(run(options, home, given.workers))
    except (OSError, TimeoutError) as error:
        say([f"demo: {error}"])
        return 1
    except KeyboardInterrupt:
        say(["demo: stopped"])
        return 130
    if given.json:
        print(msgspec.json.encode(report.as_json()).decode())
        return 0
    print(report.text())
    data = os.path.relpath(home / "flo")
    print("\nAsk it why:")
    for about, decision in decisions:
        print(f"  flo explain {decision} --data {data}    # {about}")
    print(f"  flo loops --data {data}")
    print(f"  flo dead list --data {data}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
