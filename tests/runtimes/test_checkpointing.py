"""Checkpoints are taken without being asked for, and what was taken in is counted."""

from __future__ import annotations

import asyncio
import json

import pytest

from flo.runtimes.embedded import checkpointer
from flo.runtimes.embedded.local_shard import LocalShard
from flo.runtimes.simulated.simulation import Simulation

S = 1_000_000_000
FILES = {
    "flo.yaml": b"",
    "loops/all.yaml": b"loop: all\non: t\nkey: data.k\nstate: {n: {count: true}}\notherwise: ok\n",
}


def event(id: int) -> bytes:
    head = {"specversion": "1.0", "id": str(id), "source": "s", "type": "t"}
    return json.dumps({**head, "data": {"k": "a"}}).encode()


async def started() -> tuple[Simulation, LocalShard]:
    simulation = Simulation(FILES, seed=5)
    await simulation.start()
    (port,) = simulation.runtime._ports
    assert isinstance(port, LocalShard)
    return simulation, port


def last_block(port: LocalShard) -> int:
    return port._opened.checkpointer.last_block


async def checkpointed(port: LocalShard, after: int = 0) -> bool:
    """Whether a later checkpoint comes; the task looks a hundred times a second here."""
    for _ in range(100):
        if last_block(port) > after:
            return True
        await asyncio.sleep(0.01)
    return False


@pytest.fixture(autouse=True)
def _looked_at_often(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(checkpointer, "LOOK_EVERY_S", 0.01)


async def test_a_minute_with_signals_ends_in_a_checkpoint_and_one_without_does_not() -> None:
    simulation, port = await started()
    await simulation.advance(120 * S)
    assert not await checkpointed(port)
    await simulation.runtime.ingest([event(1)])
    assert await checkpointed(port)
    first = last_block(port)
    await simulation.advance(600 * S)
    assert not await checkpointed(port, first)
    await simulation.runtime.ingest([event(2)])
    assert await checkpointed(port, first)
    await simulation.stop()


async def test_many_signals_do_not_wait_for_the_minute(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(checkpointer, "EVERY_SIGNALS", 5)
    simulation, port = await started()
    await simulation.runtime.ingest([event(number) for number in range(4)])
    assert not await checkpointed(port)
    await simulation.runtime.ingest([event(4)])
    assert await checkpointed(port)
    await simulation.stop()


async def test_signals_are_counted_by_what_became_of_them() -> None:
    simulation, _ = await started()
    await simulation.runtime.ingest([event(1), event(2), event(1), b"{"])
    text = (await simulation.runtime.metrics()).decode()
    for status, count in (("accepted", 2), ("duplicate", 1), ("rejected", 1)):
        assert f'flo_signals_total{{status="{status}"}} {count}.0' in text
    await simulation.stop()
