"""Whatever bytes are offered, each gets its answer and nothing breaks: the shard goes on, and its ledger can be read."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.sim.promises import read_ledger, reopen

from flo.core.record import CommandIssued, CommandOutcome, DeadLetter
from flo.engines.stub import Behaviour
from flo.flow.views.record import decision_record, record_bytes, redecide
from flo.ports.engine import Answer, Status
from flo.ports.service import Receipt
from flo.runtimes.simulated.simulation import DATA, Simulation

CURIOUS = b"""
loop: curious
on: x
key: data.k
ttl: 1d
fresh: {data: 1m}
state:
  n: {count: true, over: 10m}
  total: {sum: data.v}
  seen: {last: data.w}
  high: {max: data.v}
  all: {count: true, over: 1h, shared: true}
rules:
  - id: repeat
    when: state.n >= 1
    once_within: 1m
    then:
      - do: hook.call
        with: {w: '${data.w}', all: '${data}', when: '${signal.time}'}
      - do: emit
        with: {type: again, data: '${data}'}
otherwise: ok
"""
STRICT = b"""
loop: NAME
on: x
contract: x/1
key: data.k
state:
  total: {sum: data.v}
rules:
  - id: always
    when: state.total > 0
    then: [{do: hook.call, with: {all: '${data}'}}]
"""
CONTRACT = {
    "type": "object",
    "properties": {"k": {"type": "string"}, "v": {"type": "integer"}},
    "required": ["k", "v"],
}
FILES = {
    "flo.yaml": b"engines:\n  hook: {kind: stub}\n",
    "loops/curious.yaml": CURIOUS,
    "loops/strict.yaml": STRICT.replace(b"NAME", b"strict"),
    "loops/stricter.yaml": STRICT.replace(b"NAME", b"stricter"),
    "contracts/x/1.json": json.dumps(CONTRACT).encode(),
}

GOOD = b'{"specversion":"1.0","id":"good","source":"s","type":"x","data":{"k":"good","v":1,"w":1}}'


def event(data: str = '{"k":"a","v":1,"w":1}', **attributes: Any) -> bytes:
    head = {"specversion": "1.0", "id": "1", "source": "s", "type": "x", **attributes}
    return (json.dumps(head)[:-1] + f',"data":{data}}}').encode()


HOSTILE = {
    "an integer beyond 64 bits": event('{"k":"a","v":1,"w":123456789012345678901234567890}'),
    "one that is summed": event('{"k":"a","v":123456789012345678901234567890,"w":1}'),
    "one that is the key": event('{"k":123456789012345678901234567890,"v":1,"w":1}'),
    "one of 5,000 digits": event('{"k":"a","v":1,"w":' + "9" * 5000 + "}"),
    "the smallest integer and one less": event('{"k":"a","v":-9223372036854775808,"w":-9223372036854775809}'),
    "the largest integer of 64 bits": event('{"k":"a","v":18446744073709551615,"w":18446744073709551615}'),
    "a double that is a large whole number": event('{"k":"a","v":1e25,"w":1e25}'),
    "a double beyond doubles": event('{"k":"a","v":1e999,"w":1}'),
    "NaN": event('{"k":"a","v":NaN,"w":1}'),
    "Infinity": event('{"k":"a","v":-Infinity,"w":1}'),
    "half a surrogate pair in the data": event('{"k":"\\ud800","v":1,"w":"\\udfff"}'),
    "half a surrogate pair in the id": event(id="\ud800"),
    "bytes that are no UTF-8": event('{"k":"\x00","v":1,"w":1}').replace(b'"w"', b'"\xff"'),
    "year 1": event(time="0001-01-01T00:00:00Z"),
    "year 9999": event(time="9999-12-31T23:59:59.999999999Z"),
    "year 2300": event(time="2300-01-01T00:00:00Z"),
    "year 2261": event(time="2261-12-31T23:59:59Z"),
    "year 1700": event(time="1700-01-01T00:00:00Z"),
    "the epoch": event(time="1970-01-01T00:00:00Z"),
    "no time": event(time=""),
    "a birth in year 1": event(floroot="r", floborn="0001-01-01T00:00:00Z"),
    "a deadline in year 9999": event(floroot="r", flodeadline="9999-01-01T00:00:00Z"),
    "a sequence beyond 64 bits": event(floroot="r", floseq=10**30),
    "an empty key": event('{"k":"","v":1,"w":1}'),
    "a key that is null": event('{"k":null,"v":1,"w":1}'),
    "a key that is too long": event('{"k":"' + "k" * 600 + '","v":1,"w":1}'),
    "a key with every kind of character": event(json.dumps({"k": "a/b\n\x00'\"é\U0001f600", "v": 1, "w": 1})),
    "no data": b'{"specversion":"1.0","id":"1","source":"s","type":"x"}',
    "data that is null": event("null"),
    "data that is a list": event("[1,2]"),
    "900 lists in lists": event('{"k":"a","v":1,"w":' + "[" * 900 + "]" * 900 + "}"),
    "90,000 lists in lists": event('{"k":"a","v":1,"w":' + "[" * 90_000 + "]" * 90_000 + "}"),
    "100 maps in maps": event('{"k":"a","v":1,"w":' + '{"m":' * 100 + "1" + "}" * 101),
    "a text of a megabyte": event('{"k":"a","v":1,"w":"' + "x" * 1_000_000 + '"}'),
    "more than may be": event('{"k":"a","v":1,"w":"' + "x" * 2_000_000 + '"}'),
    "base64 that hides an integer beyond 64 bits": json.dumps(
        {
            "specversion": "1.0",
            "id": "1",
            "source": "s",
            "type": "x",
            "data_base64": "eyJrIjoiYSIsInYiOjEsInciOjEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIzNDU2Nzg5MH0=",
        }
    ).encode(),
    "what two loops refuse": event('{"k":"a","v":"no number","w":1}'),
    "nothing": b"",
    "a null byte": b"\x00",
    "a number": b"7",
}


def check_receipts(receipts: list[Receipt]) -> None:
    for receipt in receipts:
        assert receipt.status in ("accepted", "duplicate", "rejected")
        assert (receipt.status == "rejected") == bool(receipt.reason)


async def offer_all(raws: list[bytes]) -> Simulation:
    simulation = Simulation(FILES)
    await simulation.start()
    for raw in raws:
        receipts = await asyncio.wait_for(simulation.runtime.ingest([raw, GOOD]), 20)
        check_receipts(receipts)
        assert receipts[1].status in ("accepted", "duplicate")
        again = await asyncio.wait_for(simulation.runtime.ingest([raw]), 20)
        check_receipts(again)
        if receipts[0].status == "accepted":
            assert again[0].status == "duplicate"
        await simulation.settle()
        assert simulation.runtime.ready() == (True, "ready")
    return simulation


async def check_ledger(simulation: Simulation) -> None:
    """It recovers, every record decides itself again to the same bytes, every dead letter names its own signal."""
    await simulation.stop()
    written = read_ledger(simulation.disk, str(DATA))
    for number, group in written.blocks:
        raws = group.raws()
        issued = [each for each in group.events() if isinstance(each, CommandIssued)]
        for section_number, section in enumerate(group.sections):
            program = simulation.bundle.programs[section.loop]
            for row_number, row in enumerate(section.rows()):
                place = (0, number, section_number, row_number)
                record = decision_record(program, group, section, place, row, raws[row[0]], issued)
                assert record_bytes(redecide(program, record)) == record_bytes(record)
        for letter in group.events():
            assert not isinstance(letter, DeadLetter) or letter.signal is None or letter.signal < len(raws)
    reopen(simulation.disk, str(DATA), simulation.bundle).shard.ledger.close()


@pytest.mark.parametrize("what", HOSTILE)
def test_hostile_bytes_get_their_answer_and_break_nothing(what: str) -> None:
    async def scenario() -> None:
        await check_ledger(await offer_all([HOSTILE[what]]))

    asyncio.run(scenario())


_JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.integers(-(2**70), 2**70)
    | st.floats()
    | st.text(st.characters(), max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=5), inner, max_size=4),
    max_leaves=12,
)
_TIMES = st.sampled_from(
    ["2026-01-01T00:00:00Z", "1000-01-01T00:00:00Z", "9999-12-31T23:59:60Z", "x"]
) | st.datetimes().map(lambda when: when.isoformat() + "Z")
_EVENTS = st.fixed_dictionaries(
    {
        "specversion": st.just("1.0"),
        "id": st.text(max_size=4),
        "source": st.sampled_from(["s", "", "t"]),
        "type": st.sampled_from(["x", "x", "x", "again", "y"]),
        "data": st.fixed_dictionaries({"k": _JSON, "v": _JSON, "w": _JSON})
        | st.fixed_dictionaries({"k": st.sampled_from("ab"), "v": st.integers(-5, 5), "w": _JSON})
        | _JSON,
    },
    optional={
        "time": _TIMES,
        "floroot": st.text(max_size=3),
        "floborn": _TIMES,
        "flodeadline": _TIMES,
        "flohops": st.integers(-1, 12) | st.text(max_size=2),
        "floseq": st.integers(),
        "dataschema": st.sampled_from(["x/1", "x/2", "a/x/9", "x/²", "/"]),
        "data_base64": st.text(max_size=8),
        "traceparent": st.text(max_size=8),
    },
).map(lambda head: json.dumps(head).encode())
_OFFERED = st.one_of(
    st.binary(max_size=60), _JSON.map(lambda value: json.dumps(value).encode()), _EVENTS, _EVENTS
)


@given(raws=st.lists(_OFFERED, min_size=1, max_size=12))
@settings(max_examples=60, deadline=None, print_blob=True, suppress_health_check=list(HealthCheck))
def test_any_bytes_get_their_answer_and_break_nothing(raws: list[bytes]) -> None:
    async def scenario() -> None:
        await check_ledger(await offer_all(raws))

    asyncio.run(scenario())


def test_sixty_signals_of_a_megabyte_are_taken_or_refused_openly() -> None:
    async def scenario() -> None:
        simulation = Simulation(FILES)
        await simulation.start()
        raws = [event(json.dumps({"k": "a", "v": 1, "w": str(n) * 900_000}), id=f"n{n}") for n in range(60)]
        check_receipts(await simulation.runtime.ingest(raws))
        assert simulation.runtime.ready() == (True, "ready")
        await simulation.stop()

    asyncio.run(scenario())


@pytest.mark.parametrize(
    "result",
    [10**30, {"deep": json.loads("[" * 500 + "]" * 500)}, "\ud800", "x" * 3_000_000, {"an": object()}],
    ids=["an integer beyond 64 bits", "deep", "half a surrogate pair", "three megabytes", "no JSON"],
)
def test_what_an_engine_answers_cannot_break_the_shard(result: Any) -> None:
    async def scenario() -> None:
        simulation = Simulation(FILES)
        await simulation.start()
        answer = Answer(status=Status.SUCCEEDED, result=result, detail="\ud800", reference="\udfff")
        simulation.engines["hook"].plan = lambda command, nth: Behaviour(answer)
        await simulation.runtime.ingest([GOOD])
        await simulation.settle()
        assert simulation.runtime.ready() == (True, "ready")
        await simulation.stop()
        written = read_ledger(simulation.disk, str(DATA))
        ends: list[CommandOutcome] = [
            end for end in written.outcomes.values() if "/repeat/0" in end.command_key
        ]
        assert ends[0].result is None
        assert "could not be recorded" in ends[0].detail

    asyncio.run(scenario())
