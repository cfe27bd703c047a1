"""The list of commands says of each what it is now, on whichever page it stands, also after it was sent again."""

from __future__ import annotations

from typing import Any

from tests.sim.pausing import files, made

from flo.engines.stub import StubEngine, accepts, rejects
from flo.ports.service import DeadLetterOrder
from flo.runtimes.simulated.simulation import Simulation


async def rows(simulation: Simulation, **query: str) -> list[tuple[str, str]]:
    """Read a page of one at a time."""
    found: list[tuple[str, str]] = []
    cursor = None
    while True:
        page = await simulation.runtime.commands(query, 1, cursor)
        found += [(each["command_key"], each["status"]) for each in page.items]
        if (cursor := page.next) is None:
            return found


async def test_an_outcome_is_known_on_every_page() -> None:
    simulation = Simulation(files())
    await simulation.start()
    for number, card in enumerate("abc"):
        await simulation.runtime.ingest([made(number, card, 7)])
    await simulation.settle()
    expected = [(f"pay/{card}/1/call/0", "succeeded") for card in "cba"]
    assert await rows(simulation) == expected
    assert await rows(simulation, status="succeeded") == expected
    assert await rows(simulation, status="pending") == []
    await simulation.stop()


async def test_a_command_that_was_sent_again_has_one_row_with_what_it_is_now() -> None:
    simulation = Simulation(files())
    await simulation.start()
    hook: Any = simulation.engines["hook"]
    assert isinstance(hook, StubEngine)
    hook.script(rejects("no such job"))
    await simulation.runtime.ingest([made(1, "a", 7)])
    await simulation.settle()
    assert await rows(simulation) == [("pay/a/1/call/0", "failed")]
    hook.script(accepts(600 * 1_000_000_000))
    await simulation.runtime.replay_dead_letters(DeadLetterOrder(note="the job is there now"))
    await simulation.settle()
    assert await rows(simulation) == [("pay/a/1/call/0", "answered")]
    await simulation.runtime.ingest([made(2, "b", 7)])
    await simulation.settle()
    assert (await rows(simulation))[-1] == ("pay/a/1/call/0", "answered")
    exported = list(simulation.runtime.every("commands", {}))
    assert [(each["command_key"], each["status"]) for each in exported] == await rows(simulation)
    await simulation.advance(1_000 * 1_000_000_000)
    assert await rows(simulation) == [("pay/b/1/call/0", "succeeded"), ("pay/a/1/call/0", "succeeded")]
    await simulation.stop()
