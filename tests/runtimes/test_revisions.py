"""Workers that die while the bundle changes: all of them come to the revision in force, by themselves."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest

from flo.core.errors import StorageUnavailable, UnavailableError
from flo.core.signal import encode_signal
from flo.runtimes.embedded.entry import start_runtime
from flo.runtimes.embedded.gateway import shard_of
from flo.runtimes.embedded.runtime import EmbeddedRuntime
from flo.runtimes.embedded.workers.remote_shard import RemoteShard

RETRIES_MAX = 2_000
"""Of something that must become true by itself; one is a hundredth of a second."""


def loop(result: str) -> dict[str, bytes]:
    text = f"loop: score\non: tx\nkey: data.card\nstate: {{n: {{count: true}}}}\notherwise: {result}\n"
    return {"flo.yaml": b"dedupe: 1h\n", "loops/score.yaml": text.encode()}


@pytest.fixture
async def runtime(tmp_path: Path) -> AsyncIterator[EmbeddedRuntime]:
    bundle = tmp_path / "bundle"
    for name, content in loop("before").items():
        (bundle / name).parent.mkdir(parents=True, exist_ok=True)
        (bundle / name).write_bytes(content)
    runtime = await start_runtime(bundle=bundle, data=tmp_path / "data", workers=2)
    yield runtime
    await runtime.stop()


def ports(runtime: EmbeddedRuntime) -> list[RemoteShard]:
    return [port for port in runtime._ports if isinstance(port, RemoteShard)]


def pid(port: RemoteShard) -> int:
    assert port._process is not None
    return port._process.pid


async def becomes(true: Callable[[], bool], what: str) -> None:
    for _ in range(RETRIES_MAX):
        if true():
            return
        await asyncio.sleep(0.01)
    pytest.fail(what)


sent = 0


async def results(runtime: EmbeddedRuntime) -> list[str]:
    """What each shard decides now, of a new signal; a sender sends again until it is taken."""
    global sent
    found = []
    for number in range(2):
        card = next(card for card in map(str, range(100)) if shard_of(card, 2) == number)
        sent += 1
        raw = encode_signal(id=f"t{sent}", source="/t", type="tx", time_ns=10**18, data={"card": card})
        for _ in range(RETRIES_MAX):
            try:
                (decided,) = await runtime.decide(raw)
                break
            except UnavailableError:
                await asyncio.sleep(0.01)
        else:
            pytest.fail(f"shard {number} takes nothing")
        found.append(decided["result"])
    return found


async def test_a_worker_that_dies_while_it_takes_a_bundle_runs_it_when_it_is_back(
    runtime: EmbeddedRuntime,
) -> None:
    first, second = ports(runtime)
    os.kill(pid(second), signal.SIGSTOP)  # it is told, and dies before it has done it
    changing = asyncio.create_task(runtime.put_bundle(loop("after"), "a change"))
    before = first.revision
    await becomes(lambda: first.revision != before, "the first worker did not take the bundle")
    os.kill(pid(second), signal.SIGKILL)
    assert (await changing)["changed"]
    assert await results(runtime) == ["after", "after"]
    assert {first.revision, second.revision} == {runtime.loaded.revision}


async def test_a_worker_that_comes_back_with_another_revision_takes_the_one_in_force(
    runtime: EmbeddedRuntime,
) -> None:
    first, second = ports(runtime)
    bundle = runtime._library.load(loop("after"))
    runtime._library.keep(bundle)
    await second.apply(bundle, "a change whose answer was lost")
    assert await results(runtime) == ["before", "after"]
    died = pid(second)
    os.kill(died, signal.SIGKILL)
    await becomes(lambda: second.problem() is not None, "the death of the worker was not noticed")
    assert await results(runtime) == ["before", "before"]
    assert {first.revision, second.revision} == {runtime.loaded.revision}


async def test_a_bundle_that_no_worker_took_is_not_in_force_in_any(runtime: EmbeddedRuntime) -> None:
    for port in ports(runtime):
        os.kill(pid(port), signal.SIGSTOP)
    changing = asyncio.create_task(runtime.put_bundle(loop("after"), "a change"))
    await becomes(lambda: all(port._waiting for port in ports(runtime)), "they were not told")
    for port in ports(runtime):
        os.kill(pid(port), signal.SIGKILL)
    with pytest.raises(StorageUnavailable):
        await changing
    assert await results(runtime) == ["before", "before"]
    assert (await runtime.put_bundle(loop("after"), "again"))["changed"]
    assert await results(runtime) == ["after", "after"]
