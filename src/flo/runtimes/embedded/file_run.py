"""`flo run DIR --input FILE`: decide a file of signals and stop."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import uvloop

from flo.core.errors import Overloaded, UsageError
from flo.core.signal import SIGNAL_BYTES_MAX
from flo.ports.service import ACCEPTED, Receipt
from flo.runtimes.embedded.batches import BATCH_SIGNALS_MAX
from flo.runtimes.embedded.collector import rare_collections
from flo.runtimes.embedded.entry import start_runtime
from flo.runtimes.embedded.runtime import EmbeddedRuntime

Progress = Callable[[int, int], None]

READ_BYTES = 1 << 18
BATCHES_AHEAD = 8
"""Batches offered before the first of them is durable: enough that deciding never waits for a sync, and no more than the
shards take at a time."""

REFUSALS_SHOWN = 10


def run_file(*, bundle: Path, data: Path, workers: int, signals: Path, progress: Progress) -> dict[str, Any]:
    """Decide a file of NDJSON events under a bundle; the summary. Repeatable: what was taken before is a duplicate."""
    if not signals.is_file():
        raise UsageError(
            f"{signals} is not a file: --input takes a file of CloudEvents, one JSON object a line"
        )
    return uvloop.run(_run(bundle, data, workers, signals, progress))


async def _run(bundle: Path, data: Path, workers: int, signals: Path, progress: Progress) -> dict[str, Any]:
    runtime = await start_runtime(bundle=bundle, data=data, workers=workers)
    try:
        with rare_collections():
            return await _feed(runtime, signals, batch_signals(workers), progress)
    finally:
        await runtime.stop()


def batch_signals(workers: int) -> int:
    """Signals offered at once. Divided over workers, whose parts are never quite equal, each part is a group at most."""
    return BATCH_SIGNALS_MAX if workers == 1 else BATCH_SIGNALS_MAX * workers * 4 // 5


async def _feed(runtime: EmbeddedRuntime, signals: Path, size: int, progress: Progress) -> dict[str, Any]:
    began = time.perf_counter()
    summary: dict[str, Any] = {"signals": 0, "accepted": 0, "duplicates": 0, "rejected": 0, "refusals": []}
    total = signals.stat().st_size
    waiting: list[tuple[int, asyncio.Task[list[Receipt]]]] = []
    try:
        for lines, done_bytes in batches(signals, size):
            waiting.append((summary["signals"], asyncio.ensure_future(_offer(runtime, lines))))
            summary["signals"] += len(lines)
            await asyncio.sleep(0)
            if len(waiting) >= BATCHES_AHEAD:
                _count(summary, waiting[0][0], await waiting[0][1])
                del waiting[0]
            progress(done_bytes, total)
        for first, task in waiting:
            _count(summary, first, await task)
    finally:  # after a failure nobody waits for the rest
        for _, task in waiting:
            task.cancel()
        await asyncio.gather(*(task for _, task in waiting), return_exceptions=True)
    decided_s = time.perf_counter() - began
    progress(total, total)
    loops = await runtime.loops()
    summary["decisions"] = sum(loop["decisions"] for loop in loops)
    summary["dead_letters"] = sum(loop["dead_letters"] for loop in loops)
    summary["seconds"] = round(decided_s, 3)
    paused = [row for row in await runtime.pipelines() if row["status"] != "running"]
    if paused:  # their signals are taken, and decided when `flo run` on this data is told to resume them
        summary["parked"] = {row["name"]: row["parked"] for row in paused}
    return summary


async def _offer(runtime: EmbeddedRuntime, lines: list[bytes]) -> list[Receipt]:
    while True:
        try:
            return await runtime.ingest(lines)
        except Overloaded as full:
            await asyncio.sleep(full.retry_after_s)


def _count(summary: dict[str, Any], first: int, receipts: list[Receipt]) -> None:
    accepted = receipts.count(ACCEPTED)  # nearly all of nearly every batch, counted without a look at each
    summary["accepted"] += accepted
    if accepted == len(receipts):
        return
    for place, receipt in enumerate(receipts):
        if receipt is ACCEPTED or receipt == ACCEPTED:
            continue
        if receipt.status == "accepted":
            summary["accepted"] += 1
        elif receipt.status == "duplicate":
            summary["duplicates"] += 1
        else:
            summary["rejected"] += 1
            if len(summary["refusals"]) < REFUSALS_SHOWN:
                refusal = {"signal": first + place + 1, "reason": receipt.reason, "detail": receipt.detail}
                summary["refusals"].append(refusal)


def batches(path: Path, size: int = BATCH_SIGNALS_MAX) -> Iterator[tuple[list[bytes], int]]:
    """Lines of a file, many at a time, with the bytes read so far. Memory: two reads and the longest line."""
    done = 0
    rest = b""
    pending: list[bytes] = []
    with path.open("rb") as file:
        while chunk := file.read(READ_BYTES):
            done += len(chunk)
            lines = (rest + chunk).split(b"\n")
            rest = lines.pop()
            if len(rest) > SIGNAL_BYTES_MAX + READ_BYTES:
                raise UsageError(
                    f"{path}: a line longer than {SIGNAL_BYTES_MAX} bytes; one event a line is expected"
                )
            pending += filter(bytes.strip, lines)  # a line of white space is no event
            full = len(pending) - len(pending) % size
            for start in range(0, full, size):
                yield pending[start : start + size], done
            pending = pending[full:]
    if rest and not rest.isspace():
        pending.append(rest)
    if pending:
        yield pending, done
