"""Every status of an iteration and every outcome of a command, reached by the whole runtime on simulated time."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

from tests.flow.looping import S, at, bundle, event

from flo.engines.stub import accepts, answers, loses_answer, rejects, run_fails, unavailable
from flo.ports.engine import Answer, Status
from flo.runtimes.simulated.simulation import Simulation

MINUTE = 60 * S
FLO = "engines: {stub: {kind: stub, backoff: 1s}, risky: {kind: stub, key_class: neither}, pager: {kind: stub}}\n"
FLO += "pipelines: {p: {loops: [l0], on_call: pager}}\n"

Story = Callable[[Simulation], Awaitable[None]]


def played(action: str, story: Story, *more_loops: str, head: str = "") -> None:
    """Play a story on one loop with one rule that always issues `action`."""
    loop = f"on: tx\nkey: data.card\n{head}rules: [{{id: a, when: 'true', then: [{action}]}}]\n"

    async def scenario() -> None:
        simulation = Simulation(bundle(loop, *more_loops, flo=FLO).definition.files)
        await simulation.start()
        await story(simulation)
        await simulation.stop()

    asyncio.run(scenario())


async def send(simulation: Simulation, card: str = "x", **about: Any) -> None:
    await simulation.runtime.ingest([event({"card": card}, **about)])
    await simulation.settle()


async def iterations(simulation: Simulation, loop: str = "l0") -> list[tuple[int | None, str]]:
    page = await simulation.runtime.iterations({"loop": loop}, 50, None)
    return [(each["seq"], each["status"]) for each in page.items]


async def outcomes(simulation: Simulation) -> dict[str, str]:
    page = await simulation.runtime.commands({}, 50, None)
    return {each["command_key"]: each["status"] for each in page.items}


async def dead(simulation: Simulation) -> list[str]:
    page = await simulation.runtime.dead_letters({}, 50, None)
    return [each["reason"] for each in page.items]


def test_open_until_the_engine_has_answered_then_closed() -> None:
    async def story(simulation: Simulation) -> None:
        simulation.engines["stub"].script(answers(latency_ns=5 * S))
        await send(simulation)
        assert await iterations(simulation) == [(1, "open")]
        await simulation.advance(6 * S)
        assert await iterations(simulation) == [(1, "closed")]
        assert await outcomes(simulation) == {"l0/x/1/a/0": "succeeded"}
        assert simulation.engines["stub"].effects == ["l0/x/1/a/0"]

    played("{do: stub.call}", story)


def test_awaiting_until_the_expected_signal_comes_then_closed() -> None:
    async def story(simulation: Simulation) -> None:
        simulation.engines["stub"].script(answers(result={"run_id": 7}))
        await send(simulation)
        await simulation.advance(S)
        assert await iterations(simulation) == [(1, "awaiting")]
        await simulation.runtime.ingest([event({"run": 6}, type="done"), event({"run": 7}, type="done")])
        await simulation.settle()
        assert await iterations(simulation) == [(1, "closed")]
        assert await dead(simulation) == []

    played(
        "{do: stub.trigger, expect: {signal: done, where: 'data.run == command.run_id', within: 1m}}", story
    )


def test_silent_where_success_was_reported_and_nothing_came() -> None:
    async def story(simulation: Simulation) -> None:
        await send(simulation)
        await simulation.advance(59 * S)
        assert await iterations(simulation) == [(1, "awaiting")]
        await simulation.advance(2 * S)
        assert (1, "silent") in await iterations(simulation)
        assert (await outcomes(simulation))["l0/x/1/a/0"] == "silent"
        assert await dead(simulation) == ["silent"]
        (page,) = simulation.engines["pager"].sends
        assert (page.verb, page.arguments) == ("page", {"summary": "l0/x/1/a/0 wrote nothing"})

    action = (
        "{do: stub.trigger, expect: {signal: done, within: 1m},"
        " on_silent: [{do: page, with: {summary: '${command.key} wrote nothing'}}]}"
    )
    played(action, story)


def test_stale_where_the_data_was_old() -> None:
    async def story(simulation: Simulation) -> None:
        await send(simulation, at=-61)
        await simulation.advance(S)
        assert await iterations(simulation) == [(1, "stale")]
        assert await outcomes(simulation) == {"l0/x/1/a/0": "stale"}

    played("{do: stub.call}", story, head="fresh: {data: 1m}\n")


def test_failed_where_the_run_failed_or_the_engine_said_no() -> None:
    async def story(simulation: Simulation) -> None:
        simulation.engines["stub"].script(
            accepts(S, Answer(status=Status.FAILED, detail="exit 1")), rejects()
        )
        await send(simulation)
        await send(simulation, card="y")
        await simulation.advance(MINUTE)
        assert await iterations(simulation) == [(1, "failed"), (1, "failed")]
        assert set((await outcomes(simulation)).values()) == {"failed"}
        assert "rejected" in await dead(simulation)

    played("{do: stub.call, attempts: 1}", story)


def test_attempts_are_of_the_whole_command_and_end_as_exhausted() -> None:
    async def story(simulation: Simulation) -> None:
        simulation.engines["stub"].plan = lambda command, nth: run_fails()
        await send(simulation)
        await simulation.advance(30 * MINUTE)
        assert len(simulation.engines["stub"].sends) == 3
        assert {command.key for command in simulation.engines["stub"].sends} == {"l0/x/1/a/0"}
        assert await iterations(simulation) == [(1, "failed")]
        assert await dead(simulation) == ["exhausted"]

    played("{do: stub.call, attempts: 3}", story)


def test_tolerated_where_the_failure_does_not_block() -> None:
    async def story(simulation: Simulation) -> None:
        simulation.engines["stub"].script(rejects())
        await send(simulation)
        await simulation.advance(S)
        assert await iterations(simulation) == [(1, "tolerated")]
        assert await outcomes(simulation) == {"l0/x/1/a/0": "tolerated"}

    played("{do: stub.call, blocking: false, attempts: 1}", story)


def test_expired_where_the_deadline_passed_before_the_engine_could_be_reached() -> None:
    async def story(simulation: Simulation) -> None:
        simulation.engines["stub"].plan = lambda command, nth: unavailable(reached=False)
        await send(simulation)
        await simulation.advance(5 * MINUTE)
        assert await outcomes(simulation) == {"l0/x/1/a/0": "expired"}
        assert await iterations(simulation) == [(1, "killed")]
        assert simulation.engines["stub"].effects == []
        sent = len(simulation.engines["stub"].sends)
        await simulation.advance(5 * MINUTE)
        assert len(simulation.engines["stub"].sends) == sent  # no command ever again

    played("{do: stub.call}", story, head="ttl: 30s\n")


def test_parked_where_nobody_can_say_whether_it_was_done() -> None:
    async def story(simulation: Simulation) -> None:
        simulation.engines["risky"].script(loses_answer())
        await send(simulation)
        await simulation.advance(MINUTE)
        assert await iterations(simulation) == [(1, "parked")]
        assert await dead(simulation) == ["unknown-fate"]
        await simulation.crash()
        await simulation.start()
        await simulation.advance(10 * MINUTE)
        assert len(simulation.engines["risky"].sends) == 1  # never blindly resent

    played("{do: risky.call}", story)


def test_killed_by_ttl_by_hops_and_by_a_person() -> None:
    async def story(simulation: Simulation) -> None:
        await send(simulation, floroot="r", floborn=at(-31))
        await send(simulation, floroot="r", floborn=at(0), flohops=9)
        simulation.engines["stub"].script(accepts(20 * S))
        await send(simulation)
        answer = await simulation.runtime.kill("l0", "x", "it was me")
        assert answer["commands"] == ["l0/x/1/a/0"]
        await simulation.settle()
        assert await iterations(simulation) == [(1, "killed"), (None, "killed"), (None, "killed")]
        details = [each["detail"] for each in (await simulation.runtime.iterations({}, 9, None)).items]
        assert details[0] == "killed: it was me"
        assert details[1].startswith("hops: 9 hops")
        assert details[2].startswith("ttl: 1.000 s")
        await simulation.advance(MINUTE)
        assert await outcomes(simulation) == {"l0/x/1/a/0": "expired"}

    played("{do: stub.call}", story, head="ttl: 30s\n")


LISTENER = (
    "on: again\nkey: data.card\nhops: 3\n"
    "rules: [{id: on, when: 'true', then: [{do: emit, with: {type: again, data: {card: '${data.card}'}}}]}]\n"
)


def test_emit_closes_a_loop_and_its_hops_are_counted_until_it_dies() -> None:
    async def story(simulation: Simulation) -> None:
        await send(simulation, id="first")
        await simulation.advance(S)
        found = (await simulation.runtime.decisions({"loop": "l1"}, 50, None)).items
        records = [await simulation.runtime.decision(each["decision_id"]) for each in reversed(found)]
        assert [each["hops"] for each in records] == [1, 2, 3]
        assert {each["root"] for each in records} == {"test#first"}
        parents = [each["parent"] for each in records]
        first = (await simulation.runtime.decisions({"loop": "l0"}, 1, None)).items[0]["decision_id"]
        assert parents == [first, records[0]["decision_id"], records[1]["decision_id"]]
        assert [status for _, status in await iterations(simulation, "l1")].count("killed") == 1
        text = (await simulation.runtime.explain(records[2]["decision_id"]))["text"]
        assert "Came from    test#first, 3 hops" in text
        assert text.count("←") == 3

    played("{do: emit, with: {type: again, data: {card: '${data.card}'}}}", story, LISTENER)


def test_a_new_root_begins_again_with_a_parent_and_no_hops() -> None:
    async def story(simulation: Simulation) -> None:
        await send(simulation, floroot="old", floborn=at(0), flohops=7)
        await simulation.advance(S)
        found = (await simulation.runtime.decisions({"loop": "l1"}, 50, None)).items
        record = await simulation.runtime.decision(found[-1]["decision_id"])
        assert record["hops"] == 0
        assert record["root"] == "flo/l0#l0/x/1/a/0"
        assert record["parent"] is not None

    played("{do: emit, root: new, with: {type: again, data: {card: '${data.card}'}}}", story, LISTENER)


def test_a_late_answer_of_an_older_sequence_is_fenced() -> None:
    async def story(simulation: Simulation) -> None:
        simulation.engines["stub"].script(answers(Status.FAILED, latency_ns=10 * S), answers())
        await send(simulation)
        await send(simulation)
        await simulation.advance(S)
        assert (2, "closed") in await iterations(simulation)
        await simulation.advance(MINUTE)
        page = await simulation.runtime.commands({}, 50, None)
        first = next(each for each in page.items if each["command_key"] == "l0/x/1/a/0")
        assert first["detail"].startswith("fenced: sequence 2 has closed since")
        assert (1, "failed") not in await iterations(simulation)

    played("{do: stub.call, attempts: 1}", story)


def test_what_an_engine_answers_beyond_64_bits_does_not_break_the_shard() -> None:
    async def story(simulation: Simulation) -> None:
        simulation.engines["stub"].script(answers(result={"n": 2**70}), answers(result={"s": "\ud800"}))
        await send(simulation)
        await send(simulation)
        await simulation.advance(S)
        assert simulation.runtime.ready() == (True, "ready")
        assert set((await outcomes(simulation)).values()) == {"succeeded"}

    played("{do: stub.call}", story)
