"""Workers that die under a running FLO, and what the FLO before them does meanwhile."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from flo.core.errors import StorageUnavailable, UsageError
from flo.core.record import CommandOutcome
from flo.core.signal import encode_signal
from flo.runtimes.embedded.entry import start_runtime
from flo.runtimes.embedded.gateway import shard_of
from flo.runtimes.embedded.runtime import EmbeddedRuntime
from flo.runtimes.embedded.workers.remote_shard import RemoteShard

LOOP = """
loop: score
on: tx
key: data.card
state:
  everyone: {count: true, over: 1d, shared: true}
rules:
  - id: seen
    when: state.everyone > 0
    then: [{do: hook.call, with: {n: '${state.everyone}'}}]
otherwise: approve
"""
FLO = """
engines:
  hook: {kind: stub, run: 1h}
"""
RETRIES_MAX = 2_000
"""Of something that must become true by itself; one is a hundredth of a second."""


def write(tmp_path: Path) -> dict[str, Path]:
    bundle = tmp_path / "bundle"
    (bundle / "loops").mkdir(parents=True)
    (bundle / "flo.yaml").write_text(FLO)
    (bundle / "loops" / "score.yaml").write_text(LOOP)
    return {"bundle": bundle, "data": tmp_path / "data"}


@pytest.fixture
async def runtime(tmp_path: Path) -> AsyncIterator[EmbeddedRuntime]:
    runtime = await start_runtime(**write(tmp_path), workers=2)
    yield runtime
    await runtime.stop()


def payment(id: str, card: str) -> bytes:
    return encode_signal(id=id, source="/t", type="tx", time_ns=10**18, data={"card": card})


def card_of(shard: int) -> str:
    return next(card for card in map(str, range(100)) if shard_of(card, 2) == shard)


def port_of(runtime: EmbeddedRuntime, number: int) -> RemoteShard:
    port = runtime._ports[number]
    assert isinstance(port, RemoteShard)
    return port


async def killed(port: RemoteShard) -> None:
    """On return the worker is dead and FLO knows it."""
    assert port._process is not None
    port._process.kill()
    for _ in range(RETRIES_MAX):
        if port.problem() is not None:
            return
        await asyncio.sleep(0.001)
    pytest.fail("the death of a worker was not noticed")


async def ready(runtime: EmbeddedRuntime) -> None:
    for _ in range(RETRIES_MAX):
        if runtime.ready()[0]:
            return
        await asyncio.sleep(0.01)
    pytest.fail(f"not ready again: {runtime.ready()[1]}")


async def test_a_second_flo_on_the_directory_is_refused_by_name(
    runtime: EmbeddedRuntime, tmp_path: Path
) -> None:
    with pytest.raises(UsageError, match="is in use by process"):
        await start_runtime(bundle=tmp_path / "bundle", data=tmp_path / "data", workers=2)


async def test_whoever_asks_a_dead_worker_is_told_at_once_and_the_others_go_on(
    runtime: EmbeddedRuntime,
) -> None:
    port = port_of(runtime, 0)
    await killed(port)
    with pytest.raises(StorageUnavailable):
        await runtime.ingest([payment("a", card_of(0))])
    with pytest.raises(StorageUnavailable):
        await port.learned(
            [CommandOutcome(command_key="no/such/1/command/0", outcome="succeeded", at_ns=0, attempts=1)]
        )
    with pytest.raises(StorageUnavailable):
        await port.kill("score", None, "a test")
    assert [receipt.status for receipt in await runtime.ingest([payment("b", card_of(1))])] == ["accepted"]
    await ready(runtime)
    assert [receipt.status for receipt in await runtime.ingest([payment("a", card_of(0))])] == ["accepted"]


async def test_a_worker_that_comes_back_knows_what_the_others_counted(runtime: EmbeddedRuntime) -> None:
    await runtime.ingest([payment(f"other-{number}", card_of(1)) for number in range(5)])
    await killed(port_of(runtime, 0))
    await ready(runtime)
    for number in range(RETRIES_MAX):
        (record,) = await runtime.decide(payment(f"mine-{number}", card_of(0)))
        if record["state"]["everyone"] == 5 + number + 1:
            return
        await asyncio.sleep(0.01)
    pytest.fail("the part of the shared count that the other worker holds was never told")


async def test_what_an_engine_said_while_the_worker_was_away_is_recorded_and_not_sent_again(
    runtime: EmbeddedRuntime,
) -> None:
    (record,) = await runtime.decide(payment("a", card_of(0)))
    (command,) = record["commands"]
    dispatcher = runtime._engines.dispatcher
    assert dispatcher is not None
    for _ in range(RETRIES_MAX):
        if dispatcher.stats()["hook"].awaiting:
            break
        await asyncio.sleep(0.01)
    await killed(port_of(runtime, 0))
    event = CommandOutcome(
        command_key=command["key"], outcome="succeeded", at_ns=1, attempts=1, detail="said to nobody"
    )
    dispatcher._recorder.later(event)
    dispatcher.forget(command["key"])  # as dispatch does once it has handed an end over
    await ready(runtime)
    for _ in range(RETRIES_MAX):
        page = await runtime.commands({"status": "succeeded"}, 10, None)
        if page.items:
            break
        await asyncio.sleep(0.01)
    (ended,) = page.items
    assert (ended["command_key"], ended["attempts"]) == (command["key"], 1)
    assert dispatcher.stats()["hook"].sent == 1


async def test_a_stop_while_a_worker_is_being_started_again_ends_it(tmp_path: Path) -> None:
    runtime = await start_runtime(**write(tmp_path), workers=2)
    port = port_of(runtime, 0)
    first = port._process
    await killed(port)
    for _ in range(RETRIES_MAX):
        if port._process is not first:
            break
        await asyncio.sleep(0.001)
    await runtime.stop()
    assert port._process is not None
    assert port._process is not first
    assert port._process.returncode is not None
