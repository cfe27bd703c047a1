"""How long FLO takes to be ready again on a directory with a million keys: after a stop, and after a kill."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from bench.machine import TREE
from bench.processes import measured
from bench.report import Options, Report, Target, table
from flo.runtimes.embedded.checkpointer import KEY_REPLAY_NS, REPLAY_NS_MAX, SIGNAL_REPLAY_NS
from flo.runtimes.embedded.entry import start_runtime
from flo.runtimes.embedded.runtime import EmbeddedRuntime

ABOUT = "seconds until ready on a directory with a million keys"
BUNDLE = TREE / "bench" / "bundles" / "w1"
KEYS = 1_000_000
KEYS_QUICK = 100_000
BATCH = 1_000
TAIL = REPLAY_NS_MAX // (SIGNAL_REPLAY_NS + KEY_REPLAY_NS)
"""Signals after the last checkpoint when FLO is killed: about what it takes before it makes the next one."""

READY_S_MAX = 5.0


def signals(first: int, count: int, keys: int) -> Iterator[list[bytes]]:
    """Batches of transactions, each of the next card."""
    for start in range(first, first + count, BATCH):
        yield [
            (
                f'{{"specversion":"1.0","id":"tx-{row}","source":"/terminals/{row % 400}","type":"tx.authorized",'
                f'"time":"2026-01-05T{8 + row // 3_600_000:02d}:{row // 60_000 % 60:02d}:{row // 1000 % 60:02d}Z",'
                f'"data":{{"card":"card-{row % keys:07d}","amount":{row % 900 / 4},"country":"DE","home":"FR"}}}}'
            ).encode()
            for row in range(start, min(start + BATCH, first + count))
        ]


async def _feed(runtime: EmbeddedRuntime, batches: Iterator[list[bytes]]) -> None:
    waiting: list[asyncio.Task[object]] = []
    for batch in batches:
        waiting.append(asyncio.ensure_future(runtime.ingest(batch)))
        await asyncio.sleep(0)
        if len(waiting) >= 8:
            await waiting.pop(0)
    await asyncio.gather(*waiting)


async def _fill(data: Path, keys: int) -> None:
    """Every key once, then a good end: all of it is in a checkpoint."""
    runtime = await start_runtime(bundle=BUNDLE, data=data)
    await _feed(runtime, signals(0, keys, keys))
    await runtime.stop()


async def _add_and_die(data: Path, keys: int) -> None:
    """More signals, none of them in a checkpoint, and no end at all."""
    runtime = await start_runtime(bundle=BUNDLE, data=data)
    await _feed(runtime, signals(keys, min(TAIL, keys), keys))
    print("{}", flush=True)
    os._exit(0)


async def _restart(data: Path) -> None:
    """Start, touch one key to see that it is there, say how long it took, and vanish without a trace."""
    began = time.perf_counter()
    runtime = await start_runtime(bundle=BUNDLE, data=data)
    ready_s = time.perf_counter() - began
    keys = (await runtime.loop("score"))["keys"]
    print(json.dumps({"ready_s": ready_s, "keys": keys}), flush=True)
    os._exit(0)


def run(options: Options) -> Report:
    keys = options.signals or (KEYS_QUICK if options.quick else KEYS)
    data = Path(tempfile.mkdtemp(prefix="flo-restart-"))
    report = Report("restart", ABOUT, options.seed)
    rows = []
    try:
        measured(["-m", "bench.restart", "fill", str(data), str(keys)])
        for what in ("after a stop", "after a kill"):
            if what == "after a kill":
                measured(["-m", "bench.restart", "die", str(data), str(keys)])
            ended = measured(["-m", "bench.restart", "restart", str(data), str(keys)])
            assert ended.output["keys"] == keys, ended.output
            rows.append([what, f"{ended.output['ready_s']:.2f}", f"{ended.wall_s:.2f}"])
            report.figures[what.replace(" ", "_")] = ended.output | {"process_s": ended.wall_s}
            report.targets.append(
                Target(f"ready with {keys:,} keys {what}", ended.wall_s, READY_S_MAX, at_least=False)
            )
    finally:
        shutil.rmtree(data, ignore_errors=True)
    report.tables.append(table(["", "ready s", "with the start of the process s"], rows))
    report.notes.append(f"After a kill {min(TAIL, keys):,} signals behind the last checkpoint are replayed.")
    return report


def main(arguments: list[str]) -> None:
    """What `run` has processes of their own do."""
    what, data, keys = arguments[0], Path(arguments[1]), int(arguments[2])
    if what == "fill":
        asyncio.run(_fill(data, keys))
        print("{}")
    elif what == "die":
        asyncio.run(_add_and_die(data, keys))
    else:
        asyncio.run(_restart(data))


if __name__ == "__main__":
    main(sys.argv[1:])
