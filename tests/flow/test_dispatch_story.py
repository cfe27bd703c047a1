"""Any weather, any class, any crash: what holds of every command whatever happens to it."""

from __future__ import annotations

import asyncio
import random
from collections import Counter

from hypothesis import given, settings
from hypothesis import strategies as st
from tests.flow.dispatching import MS, Bench, S, make_command

from flo.core.record.event import Attempted, CommandOutcome
from flo.engines import stub
from flo.ports.engine import KeyClass, Status

WEATHER = (
    "fine",
    "fails",
    "rejects",
    "unavailable",
    "refused",
    "run fails",
    "lost",
    "lost undone",
    "slow",
    "accepted",
    "hangs",
)


def behaviour(kind: str, rng: random.Random) -> stub.Behaviour:
    latency_ns = rng.randrange(0, 3 * S)
    return {
        "fine": stub.answers(latency_ns=latency_ns),
        "fails": stub.answers(Status.FAILED, latency_ns=latency_ns),
        "rejects": stub.rejects(),
        "unavailable": stub.unavailable(retry_after_s=rng.choice((None, 0.5, 3.0))),
        "refused": stub.unavailable(reached=False),
        "run fails": stub.run_fails(),
        "lost": stub.loses_answer(),
        "lost undone": stub.loses_answer(done=False),
        "slow": stub.answers(latency_ns=20 * S),
        "accepted": stub.accepts(rng.randrange(0, 60 * S)),
        "hangs": stub.hangs(),
    }[kind]


@given(
    key_class=st.sampled_from(KeyClass),
    seed=st.integers(0, 1 << 32),
    weather=st.lists(st.sampled_from(WEATHER), min_size=1, max_size=6),
    crashes_ms=st.lists(st.integers(0, 4_000), max_size=3),
    replace=st.booleans(),
)
@settings(max_examples=120, print_blob=True, deadline=None)
def test_every_command_ends_once_and_happens_at_most_once_as_its_class_says(
    key_class: KeyClass, seed: int, weather: list[str], crashes_ms: list[int], replace: bool
) -> None:
    asyncio.run(story(key_class, seed, weather, crashes_ms, replace))


async def story(
    key_class: KeyClass, seed: int, weather: list[str], crashes_ms: list[int], replace: bool
) -> None:
    rng = random.Random(seed)
    bench = Bench(key_class, seed=seed, concurrency=rng.choice((1, 3, 8)), timeout_s=5.0)
    bench.engine.plan = lambda command, nth: behaviour(rng.choice(weather), rng)
    horizon_ns = 200 * S
    commands = [
        make_command(
            n,
            attempts_max=rng.choice((1, 3)),
            blocking=rng.random() < 0.8,
            deadline_ns=bench.clock.now_ns() + rng.choice((S, 10 * S, horizon_ns)),
        )
        for n in range(8)
    ]
    await bench.run(*commands, for_ns=0)
    for crash_ms in crashes_ms:
        await bench.clock.advance(crash_ms * MS)
        if replace and rng.random() < 0.5:
            await bench.dispatcher.change({"stub": (bench.engine, bench.definition)})
        else:
            await bench.dispatcher.stop(grace_s=0.0)
            bench.dispatcher = bench.make()
            bench.dispatcher.resume(bench.ledger.pending(commands))
            await bench.dispatcher.start()
    await bench.clock.advance(horizon_ns)
    bench.engine.plan = lambda command, nth: stub.answers()
    await bench.clock.advance(4_000 * S)  # past the hour after which nothing is uncertain any more
    awaiting = {key for key, run in bench.engine.runs.items() if run.answer.status is not Status.UNKNOWN}
    outcomes, dead = bench.ledger.outcomes(), dict(bench.ledger.dead())
    for command in commands:
        ended = command.key in outcomes or command.key in dead
        # An engine of class NEITHER that accepted cannot be asked: its end comes by a signal.
        assert ended or (key_class is KeyClass.NEITHER and command.key in awaiting), command.key
        if command.key in outcomes and outcomes[command.key].outcome == "succeeded":
            assert command.key in bench.engine.effects
    effects = Counter(bench.engine.effects)
    assert max(effects.values(), default=0) <= 1, "something was done twice"
    sent_at = [
        (at, command) for at, command in zip(bench.engine.send_times_ns, bench.engine.sends, strict=True)
    ]
    assert all(at < command.deadline_ns for at, command in sent_at), "sent after its deadline"
    for event in bench.ledger.events:
        if isinstance(event, CommandOutcome) and event.outcome == "expired":
            assert key_class is not KeyClass.NEITHER or effects[event.command_key] == 0, (
                "done, yet called expired"
            )
    if key_class is KeyClass.NEITHER:
        attempts = Counter(event.command_key for event in bench.ledger.events if isinstance(event, Attempted))
        assert all(attempts[command.key] >= 1 for command in bench.engine.sends), (
            "sent before it was written down"
        )
    await bench.dispatcher.stop(grace_s=0.0)
