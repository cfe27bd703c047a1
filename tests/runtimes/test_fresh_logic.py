"""Yesterday's logic on today's data: the outcome is `stale`, the decision says so, a watchdog finds it."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
from tests.flow.looping import S, bundle, event

from flo.core.loop.program import UNKNOWN_NS
from flo.core.signal import encode_signal, text_from_time
from flo.flow.views.record import redecide
from flo.runtimes.embedded.entry import start_runtime
from flo.runtimes.simulated.simulation import Simulation

DAY = 86_400 * S
FLO = "engines: {stub: {kind: stub}}\n"
SCORE = """
on: tx
key: data.card
ttl: 60d
fresh: {logic: 1d}
%s
rules: [{id: a, when: 'true', then: [{do: stub.call}]}]
"""
SWAP = """
on: trained
key: data.card
ttl: 60d
rules: [{id: swap, when: 'true', then: [{do: stub.swap, target: 'model:${data.card}', with: {alias: live}}]}]
"""

Story = Callable[[Simulation], Awaitable[None]]


def played(story: Story, reads: str = "") -> None:
    async def scenario() -> None:
        simulation = Simulation(bundle(SCORE % reads, SWAP, flo=FLO).definition.files)
        await simulation.start()
        await story(simulation)
        await simulation.stop()

    asyncio.run(scenario())


_count = 0


async def outcome(simulation: Simulation, *, age_ns: int = 0) -> tuple[str, dict[str, Any]]:
    """Send a signal whose data is so old; what became of its command, and its decision."""
    global _count
    _count += 1
    raw = encode_signal(
        id=f"x{_count}",
        source="test",
        type="tx",
        time_ns=simulation.clock.now_ns() - age_ns,
        data={"card": "x"},
    )
    await simulation.runtime.ingest([raw])
    await simulation.settle()
    (command, *_) = (await simulation.runtime.commands({"loop": "l0"}, 1, None)).items
    return command["status"], await simulation.runtime.decision(command["decision_id"])


async def swapped(simulation: Simulation, model: str) -> None:
    await simulation.runtime.ingest([event({"card": model}, type="trained")])
    await simulation.settle()


def findings(simulation: Simulation) -> set[str]:
    watch = simulation.runtime.watching.watch
    watch.check(simulation.clock.now_ns())
    return {
        posted.finding.subject for posted in watch.board.posted() if posted.finding.type == "flo.logic.skewed"
    }


def test_a_revision_older_than_its_data_ends_stale_until_it_is_changed() -> None:
    async def story(simulation: Simulation) -> None:
        status, decision = await outcome(simulation)
        assert (status, decision.get("skewed")) == ("succeeded", None)
        await simulation.advance(2 * DAY)
        status, decision = await outcome(simulation)
        assert status == "stale"
        assert decision["skewed"] == pytest.approx(2 * DAY, abs=DAY / 10)
        assert findings(simulation) == {"l0"}
        explained = await simulation.runtime.explain(decision["decision_id"])
        assert "logic 2 d older than the data" in explained["text"].replace("2d", "2 d")
        again = redecide(simulation.bundle.programs["l0"], decision)
        assert again == decision, "the record alone decides to the same"
        files = dict(simulation.bundle.definition.files)
        files["loops/l0.yaml"] += b"about: newer\n"
        await simulation.runtime.put_bundle(files, "newer")
        assert (await outcome(simulation))[0] == "succeeded"

    played(story)


def test_old_data_meets_logic_that_is_newer_than_it() -> None:
    async def story(simulation: Simulation) -> None:
        await simulation.advance(3 * DAY)
        assert (await outcome(simulation, age_ns=5 * DAY // 2))[0] == "succeeded", (
            "half a day after the revision"
        )
        assert (await outcome(simulation, age_ns=DAY))[0] == "stale"

    played(story)


def test_a_restart_knows_how_old_the_logic_is(tmp_path: Path) -> None:
    async def story(simulation: Simulation) -> None:
        await outcome(simulation)
        await simulation.advance(2 * DAY)
        await simulation.runtime.checkpoint()
        await simulation.crash(power_cut=True)
        await simulation.start()
        assert (await outcome(simulation))[0] == "stale"
        await simulation.stop()
        await simulation.start()
        assert (await outcome(simulation))[0] == "stale"

    played(story)


def test_a_model_that_is_read_tells_the_age_by_its_last_swap() -> None:
    async def story(simulation: Simulation) -> None:
        await simulation.advance(2 * DAY)
        assert (await outcome(simulation))[0] == "stale", (
            "of no model's version is anything known: the revision's age"
        )
        await swapped(simulation, "velocity")
        assert (await outcome(simulation))[0] == "succeeded"
        await swapped(simulation, "unrelated")
        await simulation.advance(2 * DAY)
        await swapped(simulation, "unrelated")
        status, decision = await outcome(simulation)
        assert (status, decision["skewed"] > DAY) == ("stale", True)
        await simulation.crash()
        await simulation.start()
        assert (await outcome(simulation))[0] == "stale"
        simulation.runtime.tell_models({"model:velocity": simulation.clock.now_ns() - S})
        assert (await outcome(simulation))[0] == "succeeded", "lineage told of a newer version"

    played(story, "reads: ['model:velocity', 'dataset:profiles']")


def test_the_oldest_of_several_models_decides() -> None:
    async def story(simulation: Simulation) -> None:
        await swapped(simulation, "a")
        await simulation.advance(2 * DAY)
        await swapped(simulation, "b")
        assert (await outcome(simulation))[0] == "stale"
        await swapped(simulation, "a")
        assert (await outcome(simulation))[0] == "succeeded"

    played(story, "reads: ['model:a', 'model:b']")


async def test_every_worker_is_told_of_a_swap(tmp_path: Path) -> None:
    for name, content in bundle(SCORE % "reads: 'model:m'", SWAP, flo=FLO).definition.files.items():
        path = tmp_path / "bundle" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    runtime = await start_runtime(bundle=tmp_path / "bundle", data=tmp_path / "data", workers=2)
    try:
        future = text_from_time(runtime._clock.now_ns() + 2 * DAY)
        async with asyncio.timeout(30):
            await runtime.ingest([event({"card": "m"}, type="trained")])
            while "model:m" not in runtime._models:
                await asyncio.sleep(0.01)
            signals = [
                b'{"specversion":"1.0","type":"tx","source":"s","id":"%d","time":"%s","data":{"card":"c%d"}}'
                % (number, future.encode(), number)
                for number in range(40)
            ]
            await runtime.ingest(signals)
            runtime.tell_models({"model:m": runtime._clock.now_ns() + 2 * DAY})
            await runtime.ingest([each.replace(b'"id":"', b'"id":"again') for each in signals])
            while (
                await runtime.commands({"loop": "l0", "status": "succeeded"}, 100, None)
            ).items.__len__() < 40:
                await asyncio.sleep(0.05)
        stale = (await runtime.commands({"loop": "l0", "status": "stale"}, 100, None)).items
        assert len(stale) == 40
        assert {row["decision_id"].split("-")[0] for row in stale} == {"0", "1"}
        assert "skewed" in await runtime.decision(stale[0]["decision_id"])
    finally:
        await runtime.stop()


def test_logic_of_unknown_age_is_never_stale() -> None:
    program = bundle(SCORE % "", flo=FLO).programs["l0"]
    assert program.new_cells().logic_ns == UNKNOWN_NS
