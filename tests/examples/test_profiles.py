from __future__ import annotations

import asyncio
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import msgspec
import pytest
from population import Population
from profiles import TokenBucket
from wire import Pool


@asynccontextmanager
async def _service(payments: Path, *options: str) -> AsyncIterator[tuple[Pool, asyncio.subprocess.Process]]:
    command = [str(payments / "profiles.py"), "--port", "0", "--cards", "500", *options]
    process = await asyncio.create_subprocess_exec(
        sys.executable, *command, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE
    )
    line = (await process.stdout.readline()).decode()
    pool = Pool(line.split()[-1], 8)
    try:
        yield pool, process
    finally:
        await pool.close()
        if process.returncode is None:
            process.send_signal(signal.SIGTERM)
        _, errors = await asyncio.wait_for(process.communicate(), 10)
        assert (process.returncode, errors) == (0, b"")


async def test_a_profile_is_what_the_traffics_card_is(payments: Path) -> None:
    async with _service(payments, "--seed", "3") as (pool, _):
        answer = await pool.get("/profiles/c000017")
        assert answer.status == 200
        assert msgspec.json.decode(answer.body) == Population(3, 500).profile(17)


@pytest.mark.parametrize(
    "path", ["/profiles/c000500", "/profiles/x", "/profiles/", "/", "/profiles/c000001/more"]
)
async def test_what_it_does_not_know_is_a_404(payments: Path, path: str) -> None:
    async with _service(payments) as (pool, _):
        assert (await pool.get(path)).status == 404


async def test_it_only_answers_get(payments: Path) -> None:
    async with _service(payments) as (pool, _):
        assert (await pool.post("/profiles/c000001", b"{}", "application/json")).status == 405


async def test_above_its_rate_it_says_when_to_come_back(payments: Path) -> None:
    async with _service(payments, "--rate", "0.5") as (pool, _):
        answers = [await pool.get("/profiles/c000001") for _ in range(4)]
        assert [answer.status for answer in answers] == [200, 429, 429, 429]
        assert answers[1].header("Retry-After") == "2"
        health = msgspec.json.decode((await pool.get("/healthz")).body)
        assert health == {"served": 1, "refused": 3}


async def test_sigterm_lets_answers_under_way_be_given(payments: Path) -> None:
    async with _service(payments, "--latency-ms", "200") as (pool, process):
        asked = [asyncio.create_task(pool.get(f"/profiles/c00000{n}")) for n in range(5)]
        while msgspec.json.decode((await pool.get("/healthz")).body)["served"] + len(asked) < 5:
            await asyncio.sleep(0.01)
        await asyncio.sleep(0.05)
        process.send_signal(signal.SIGTERM)
        assert [(await task).status for task in asked] == [200] * 5
        await asyncio.wait_for(process.wait(), 10)  # a second SIGTERM, while it ends, would end it otherwise


def test_a_bucket_lets_through_its_rate_and_one_burst() -> None:
    bucket = TokenBucket(rate_per_s=100.0, capacity=10.0)
    taken = sum(bucket.take(step / 1000.0) == 0.0 for step in range(10_000))
    assert taken == pytest.approx(10 + 10 * 100, abs=2)


def test_a_bucket_says_how_long_to_wait() -> None:
    bucket = TokenBucket(rate_per_s=4.0, capacity=1.0)
    assert bucket.take(0.0) == 0.0
    assert bucket.take(0.0) == pytest.approx(0.25)
    assert bucket.take(0.25) == 0.0


def test_a_clock_that_steps_back_gives_no_tokens() -> None:
    bucket = TokenBucket(rate_per_s=1.0, capacity=1.0)
    assert bucket.take(100.0) == 0.0
    assert bucket.take(50.0) > 0.0
    assert bucket.take(50.5) > 0.0
