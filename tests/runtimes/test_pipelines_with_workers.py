"""Pipelines over worker processes, and what a data directory says of them while FLO is down."""

from __future__ import annotations

import asyncio
import json
import os
import signal
from collections import Counter
from pathlib import Path
from typing import Any

from tests.sim.test_paused_pipelines import LENIENT, files, made

from flo.core.errors import UnavailableError
from flo.ports.service import DeadLetterOrder
from flo.runtimes.embedded import open_reader, start_runtime
from flo.runtimes.embedded.runtime import EmbeddedRuntime
from flo.runtimes.embedded.workers.remote_shard import RemoteShard

WORKERS = 2
CARDS = [f"card-{n}" for n in range(40)]


def write(directory: Path, content: dict[str, bytes]) -> Path:
    for name, text in content.items():
        (directory / name).parent.mkdir(parents=True, exist_ok=True)
        (directory / name).write_bytes(text)
    return directory


async def until(runtime: EmbeddedRuntime, status: str) -> dict[str, Any]:
    async with asyncio.timeout(60):
        while (row := (await runtime.pipelines())[0])["status"] != status:
            await asyncio.sleep(0.01)
    return row


async def send(runtime: EmbeddedRuntime, first: int, many: int) -> None:
    """As a sender does: again, until it is taken."""
    raws = [made(n, CARDS[n % len(CARDS)]) for n in range(first, first + many)]
    async with asyncio.timeout(60):
        while True:
            try:
                await runtime.ingest(raws)
                return
            except UnavailableError:
                await asyncio.sleep(0.05)


async def test_an_operator_pauses_every_worker_and_a_worker_that_died_comes_back_paused(
    tmp_path: Path,
) -> None:
    bundle = write(tmp_path / "bundle", files())
    runtime = await start_runtime(bundle=bundle, data=tmp_path / "data", workers=WORKERS)
    try:
        await send(runtime, 0, 200)
        row = await runtime.pause("cards", "a test")
        assert (row["status"], row["changed"]) == ("paused", True)
        await send(runtime, 200, 400)
        port = runtime._ports[1]
        assert isinstance(port, RemoteShard)
        assert port._process is not None
        os.kill(port._process.pid, signal.SIGKILL)
        await send(runtime, 600, 400)
        assert (await until(runtime, "paused"))["parked"] == 800
        commands = (await runtime.commands({}, 10, None)).items
        assert Counter(each["verb"] for each in commands) == {"pause": 1}
        await runtime.resume("cards", "done")
        await until(runtime, "running")
        decided = (await runtime.decisions({"loop": "pay"}, 2_000, None)).items
        assert Counter(each["signal"]["id"] for each in decided) == Counter(f"p{n}" for n in range(1_000))
        for card in CARDS:
            of_card = [int(each["signal"]["id"][1:]) for each in decided if each["key"] == card]
            assert of_card == sorted(of_card, reverse=True)
    finally:
        await runtime.stop()


async def test_a_breaker_that_opens_in_one_worker_pauses_the_others_and_pages_once(tmp_path: Path) -> None:
    bundle = write(tmp_path / "bundle", files())
    runtime = await start_runtime(bundle=bundle, data=tmp_path / "data", workers=WORKERS)
    try:
        bad = [made(n, CARDS[0], "much") for n in range(5)]  # one key: one worker's
        await runtime.ingest(bad)
        async with asyncio.timeout(20):
            while not all(len(port.reconciler.pauses) for port in runtime._ports):
                await asyncio.sleep(0.005)
        await send(runtime, 100, 80)
        assert (await until(runtime, "paused"))["parked"] == 80
        verbs = Counter(each["verb"] for each in (await runtime.commands({}, 10, None)).items)
        assert verbs == {"page": 1, "pause": 1}
        await runtime.put_bundle({**files(), **LENIENT}, "")
        await runtime.resume("cards", "done")
        await until(runtime, "running")
        answer = await runtime.replay_dead_letters(DeadLetterOrder(note="done"))
        assert answer["matched"] == 5
    finally:
        await runtime.stop()


async def test_a_data_directory_says_what_is_paused_while_flo_is_down(tmp_path: Path) -> None:
    bundle = write(tmp_path / "bundle", files())
    runtime = await start_runtime(bundle=bundle, data=tmp_path / "data")
    await runtime.pause("cards", "a test")
    await send(runtime, 0, 50)
    await runtime.stop()
    reader = open_reader(tmp_path / "data")
    (row,) = await reader.pipelines()
    assert (row["status"], row["parked"], row["why"]) == ("paused", 50, "a test")
    first = (await reader.loops())[0]
    assert (first["status"], first["parked"]) == ("paused", 50)
    assert json.dumps(first)
