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


def event(id: int, card: str = "a") -> bytes:
    head = {"specversion": "1.0", "id": str(id), "source": "s", "type": "t"}
    return json.dumps({**head, "data": {"k": card}}).encode()


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


@pytest.mark.parametrize(("cards", "before"), [(1, 8), (100, 3)])
async def test_much_to_replay_does_not_wait_for_the_minute_and_new_keys_are_more(
    monkeypatch: pytest.MonkeyPatch, cards: int, before: int
) -> None:
    for name, value in (("REPLAY_NS_MAX", 100), ("SIGNAL_REPLAY_NS", 10), ("KEY_REPLAY_NS", 15)):
        monkeypatch.setattr(checkpointer, name, value)
    simulation, port = await started()
    await simulation.runtime.ingest([event(number, card=f"c{number % cards}") for number in range(before)])
    assert not await checkpointed(port)
    await simulation.runtime.ingest([event(before, card=f"c{before % cards}")])
    assert await checkpointed(port)
    await simulation.stop()


async def test_signals_are_counted_by_what_became_of_them() -> None:
    simulation, _ = await started()
    await simulation.runtime.ingest([event(1), event(2), event(1), b"{"])
    text = (await simulation.runtime.metrics()).decode()
    for status, count in (("accepted", 2), ("duplicate", 1), ("rejected", 1)):
        assert f'flo_signals_total{{status="{status}"}} {count}.0' in text
    await simulation.stop()
