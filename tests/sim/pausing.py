"""A pipeline that can be paused, in a whole FLO on a simulated disk, and what its ledger says of it."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable
from typing import Any

from tests.sim.promises import read_ledger

from flo.runtimes.simulated.simulation import DATA, Simulation

FLO = """
engines:
  hook: {kind: webhook, url: "http://127.0.0.1:9/", allow_private: true, honours_key: true}
  mailer: {kind: webhook, url: "http://127.0.0.1:9/", allow_private: true}
  worker: {kind: python}
pipelines:
  cards: {loops: [pay], jobs: [hook.scoring, worker.report], on_call: hook}
"""
PAY = """
loop: pay
on: pay.made
contract: pay.made/1
key: data.card
ttl: 1d
state: {n: {count: 'true'}}
rules:
  - id: call
    when: data.amount == 7
    then: [{do: hook.call, with: {card: '${data.card}'}}]
  - id: mail
    when: data.amount == 8
    then: [{do: mailer.call, with: {card: '${data.card}'}}]
otherwise: ok
"""
BEFORE = {
    "type": "object",
    "properties": {"card": {"type": "string"}, "amount": {"type": "integer"}},
    "required": ["card", "amount"],
}
AFTER = {**BEFORE, "properties": {**BEFORE["properties"], "amount": {"type": ["integer", "string"]}}}


def files(contract: dict[str, Any] = BEFORE, flo: str = FLO) -> dict[str, bytes]:
    return {
        "flo.yaml": flo.encode(),
        "loops/pay.yaml": PAY.encode(),
        "contracts/pay.made/1.json": json.dumps(contract).encode(),
        "functions.py": b"def report(arguments):\n    return {}\n",
    }


WATCHER = """
loop: watcher
on: flo.breaker.opened
key: data.subject
otherwise: seen
"""
LENIENT = files(
    {
        "type": "object",
        "properties": {
            "card": {"type": "string"},
            "amount": {"type": "integer"},
            "total": {"type": "integer"},
        },
        "required": ["card"],
    }
)
LENIENT["loops/pay.yaml"] = PAY.replace("data.amount ==", "has(data.amount) && data.amount ==").encode()


def made(number: int, card: str = "a", amount: Any = 1, **more: Any) -> bytes:
    data = {"card": card, "amount": amount, **more}
    if amount is None:
        del data["amount"]
    event = {"specversion": "1.0", "id": f"p{number}", "source": "till", "type": "pay.made", "data": data}
    return json.dumps(event).encode()


def played(story: Callable[[Simulation], Awaitable[None]], given: dict[str, bytes] | None = None) -> None:
    async def scenario() -> None:
        simulation = Simulation(given or files())
        await simulation.start()
        await story(simulation)

    asyncio.run(scenario())


async def row(simulation: Simulation, name: str = "cards") -> dict[str, Any]:
    return next(row for row in await simulation.runtime.pipelines() if row["name"] == name)


async def until_running(simulation: Simulation, name: str = "cards") -> None:
    async with asyncio.timeout(20):
        while (await row(simulation, name))["status"] == "draining":
            await simulation.settle()
            await asyncio.sleep(0.001)


def decided_ids(simulation: Simulation, loop: str = "pay") -> list[str]:
    """The ids of the signals that a loop decided, in order."""
    ids: list[str] = []
    for _, group in read_ledger(simulation.disk, str(DATA)).blocks:
        raws = group.raws()
        for section in group.sections:
            if section.loop == loop:
                ids += [json.loads(raws[each[0]])["id"] for each in section.rows()]
    return ids


def events(simulation: Simulation, kind: type[Any]) -> list[Any]:
    written = read_ledger(simulation.disk, str(DATA))
    return [event for _, group in written.blocks for event in group.events() if isinstance(event, kind)]
