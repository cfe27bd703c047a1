"""Whole periods leave when their time is over, on a simulated clock and disk."""

from __future__ import annotations

import json

import pytest

from flo.ports.service import NotFound
from flo.runtimes.embedded.local_shard import LocalShard
from flo.runtimes.embedded.retention import Retention
from flo.runtimes.simulated.simulation import Simulation

HOUR = 3600 * 1_000_000_000
LOOP = b"""loop: all
on: t
key: data.k
state:
  n: {count: true}
rules:
  - {id: third, when: state.n >= 3}
otherwise: ok
"""


def bundle(ledger: str, dedupe: str) -> dict[str, bytes]:
    return {
        "flo.yaml": f"dedupe: {dedupe}\nretention: {{ledger: {ledger}}}\n".encode(),
        "loops/all.yaml": LOOP,
    }


def event(id: int, key: str = "k") -> bytes:
    head = {"specversion": "1.0", "id": str(id), "source": "s", "type": "t"}
    return json.dumps({**head, "data": {"k": key}}).encode()


async def decide(simulation: Simulation, id: int) -> str:
    (decided,) = await simulation.runtime.decide(event(id))
    return str(decided["decision_id"])


async def drop(simulation: Simulation) -> list[str]:
    """What the retention task does once a minute, after two whole checkpoints."""
    (port,) = simulation.runtime._ports
    assert isinstance(port, LocalShard)
    await port._opened.checkpointer.take(base=True)
    await port._opened.checkpointer.take(base=True)
    return await Retention(port.shard, port._opened.store, lambda: port.book.definition).drop_periods()


async def test_a_decision_of_a_dropped_period_is_clearly_not_found_and_later_ones_stay() -> None:
    simulation = Simulation(bundle("3h", "1h"), seed=3)
    await simulation.start()
    ids = []
    for number in range(6):
        ids.append(await decide(simulation, number))
        await simulation.advance(HOUR)
    assert len(await drop(simulation)) == 3
    for gone in ids[:3]:
        with pytest.raises(NotFound, match=rf"decision {gone}: .*dropped by retention"):
            await simulation.runtime.decision(gone)
        with pytest.raises(NotFound, match="dropped by retention"):
            await simulation.runtime.explain(gone)
    assert [(await simulation.runtime.decision(id))["seq"] for id in ids[3:]] == [4, 5, 6]
    page = await simulation.runtime.decisions({}, 100, None)
    assert [item["decision_id"] for item in page.items] == ids[:2:-1]
    await simulation.stop()


async def test_the_state_outlives_the_decisions_it_came_from_and_the_next_start() -> None:
    simulation = Simulation(bundle("3h", "1h"), seed=4)
    await simulation.start()
    for number in range(6):
        await decide(simulation, number)
        await simulation.advance(HOUR)
    assert await drop(simulation)
    await simulation.crash(power_cut=True)
    await simulation.start()
    record = await simulation.runtime.decision(await decide(simulation, 6))
    assert (record["seq"], record["state"]["n"], record["rule"]) == (7, 7, "third")
    await simulation.stop()


async def test_what_de_duplication_needs_is_kept_however_short_the_retention() -> None:
    simulation = Simulation(bundle("1h", "6h"), seed=5)
    await simulation.start()
    for number in range(4):
        await decide(simulation, number)
        await simulation.advance(HOUR)
    assert await drop(simulation) == []
    await simulation.crash()
    await simulation.start()
    (receipt,) = await simulation.runtime.ingest([event(0)])
    assert receipt.status == "duplicate"
    await simulation.stop()


async def test_nothing_goes_that_a_restart_would_replay() -> None:
    simulation = Simulation(bundle("1h", "1h"), seed=6)
    await simulation.start()
    for number in range(4):
        await decide(simulation, number)
        await simulation.advance(HOUR)
    (port,) = simulation.runtime._ports
    assert isinstance(port, LocalShard)
    retention = Retention(port.shard, port._opened.store, lambda: port.book.definition)
    assert await retention.drop_periods() == []  # no checkpoint yet
    assert await drop(simulation)
    await simulation.stop()


async def test_what_is_parked_stays_however_old_and_is_decided_when_its_pipeline_resumes() -> None:
    files = bundle("3h", "1h")
    files["flo.yaml"] += b"pipelines: {p: {loops: [all]}}\n"
    simulation = Simulation(files, seed=3)
    await simulation.start()
    await decide(simulation, 0)
    await simulation.advance(HOUR)
    await simulation.runtime.pause("p", "a test")
    await simulation.runtime.ingest([event(1)])
    for number in range(2, 9):
        await simulation.advance(HOUR)
        await simulation.runtime.ingest([event(number)])
    assert len(await drop(simulation)) == 1  # the one before the pause
    await simulation.runtime.resume("p", "a test")
    for _ in range(200):
        await simulation.settle()
        if (await simulation.runtime.pipelines())[0]["status"] == "running":
            break
    decided = (await simulation.runtime.decisions({}, 100, None)).items
    assert [each["signal"]["id"] for each in decided] == [str(n) for n in range(8, 0, -1)]
    assert len(await drop(simulation)) > 1
    await simulation.stop()
