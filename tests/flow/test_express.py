"""The express way comes to what the general way comes to: the same receipts, the same bytes, the same state."""

from __future__ import annotations

import json
import random
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.flow.looping import T0, Rig, S, bundle, event

from flo.core.record import Group
from flo.core.signal import encode_signal, text_from_time
from flo.flow.step import Submission

STRICT = {
    "type": "object",
    "properties": {
        "card": {"type": "string", "minLength": 1},
        "amount": {"type": "number", "minimum": 0},
        "n": {"type": "integer"},
        "tags": {"type": "array", "items": {"type": "string"}},
        "place": {"type": "object", "properties": {"country": {"type": "string"}}},
        "kind": {"enum": ["a", "b"]},
    },
    "required": ["card"],
    "additionalProperties": False,
}
FREE = {"type": "object", "properties": {"card": {"type": "string"}, "any": True}, "required": ["card"]}
FLO = "engines: {stub: {kind: stub}}\n"
LOOPS = (
    """
    on: tx
    contract: strict/1
    key: data.card
    state:
      n: {count: true, over: 10s}
      sum: {sum: data.amount, over: 10s}
      last: {last: data.n}
    rules:
      - {id: many, when: state.n >= 3, result: many, then: [{do: stub.call, with: {card: '${data.card}'}}]}
      - {id: broken, when: data.n / (data.n - 7) > 3}
      - {id: once, when: data.amount > 50.0, once_within: 5s}
    otherwise: ok
    """,
    """
    on: [open, both]
    contract: tx/1
    key: data.card
    where: data.ok != false
    consistency: relaxed
    state: {mean: {mean: data.amount, over: 5s}}
    match: all
    rules:
      - {id: high, when: state.mean > 10.0}
      - {id: low, when: state.mean <= 10.0, mode: shadow}
    """,
    "on: whole\ncontract: strict/1\nkey: data.card\nrules: [{id: one, when: size(data) > 1}]\notherwise: ok\n",
    "on: free\ncontract: free/1\nkey: data.card\notherwise: ok\n",
    "on: both\ncontract: tx/1\nkey: string(data.n)\notherwise: ok\n",
    "on: fresh\ncontract: strict/1\nkey: data.card\nfresh: {data: 1m}\n"
    "state: {all: {count: true, over: 1h, shared: true}}\n"
    "rules: [{id: go, when: state.all > 2, then: [{do: stub.call, expect: {signal: waited, within: 1m}}]}]\n",
    "on: waited\ncontract: strict/1\nkey: data.card\notherwise: ok\n",
    "on: linked\ncontract: strict/1\nkey: data.card\nrules: [{id: far, when: context.hops > 1}]\notherwise: ok\n",
)


def rig() -> Rig:
    return Rig(bundle(*LOOPS, flo=FLO, strict_1=STRICT, free_1=FREE))


def offer(rig: Rig, raws: list[bytes], *, express: bool) -> list[tuple[str, str, str]]:
    """Signals in one batch, by the express way where it takes them, or all by the general way."""
    receipts: list[Any] = []

    def run(group: Group) -> None:
        submission = Submission(raws, lambda result: None, detailed=not express)
        receipts.extend(rig.step.run([submission], group)[0])

    rig._group(run)
    return [(each.status, each.reason, each.detail) for each in receipts]


def assert_same(batches: list[list[bytes]]) -> tuple[Rig, Rig]:
    express, general = rig(), rig()
    for number, batch in enumerate(batches):
        express.now = general.now = float(number)
        assert offer(express, batch, express=True) == offer(general, batch, express=False)
    assert [block.payload for block in express.view.blocks] == [
        block.payload for block in general.view.blocks
    ]
    assert express.states() == general.states()
    assert express.reconciler.snapshot() == general.reconciler.snapshot()
    assert marks_of(express) == marks_of(general)
    assert express.step.counts == general.step.counts
    assert express.restarted().states() == express.states()
    return express, general


def marks_of(rig: Rig) -> dict[str, set[str]]:
    return {source: ids for source, ids in rig.step.marks.hot.items() if ids}


TYPES = ("tx", "open", "whole", "free", "both", "fresh", "waited", "linked", "unheard")
AWKWARD = (
    "2026-01-01t00:00:01z", "2026-01-01T00:00:01.5+01:00", "2026-01-01T00:00:60Z", "2026-01-01", "",
    "2026-01-01T00:00:01.123456789Z", "2026-01-01T00:00:01.1234567890Z", "1500-01-01T00:00:00Z",
)  # fmt: skip


def one(dice: random.Random, number: int) -> bytes:
    """One signal; most are plain, and every way of not being so comes up."""
    data: dict[str, Any] = {"card": f"c{dice.randrange(4)}"}
    if dice.random() < 0.8:
        data["amount"] = dice.choice((0, 1.5, 99.99, 1e15, 60, 12.34, 10 ** dice.randrange(15, 23)))
    if dice.random() < 0.5:
        data["n"] = dice.choice((1, 7, -5, 2**62, 2**63 - 1, 2**63, 2**64, 10**25, 3.0))
    for field, values in {
        "tags": ([], ["x", "y"], [1], None), "place": ({"country": "DE"}, {}, {"other": 1}, 5),
        "kind": ("a", "c"), "more": (1, "1234567890123456789012", {"deep": [[[1]]]}), "any": (1, [10**30], None),
        "ok": (True, False, 1), "card": ("", None, 5, "x" * 600, "é\u2028"),
    }.items():  # fmt: skip
        if dice.random() < 0.06:
            data[field] = dice.choice(values)
    head: dict[str, Any] = {
        "specversion": "1.0", "id": f"e{number if dice.random() < 0.9 else dice.randrange(number + 1)}",
        "source": f"s{dice.randrange(3)}", "type": dice.choice(TYPES),
        "time": text_from_time(T0 + round((number / 5 - dice.choice((0, 0, 0, 3, 30))) * S)),
    }  # fmt: skip
    for name, values in {
        "datacontenttype": ("application/json", "text/json", 5), "subject": ("x", 5, None), "partitionkey": ("k",),
        "dataschema": ("strict/1", "strict/9", None), "floroot": ("r",), "floparent": ("p",), "flohops": (3, "9", []),
        "floborn": (5,), "traceparent": ("00-1-2-03",), "specversion": ("1.0", "0.3"), "data_base64": ("e30=", None, 1),
        "id": ("", 5, "i" * 2000), "source": ("",), "time": AWKWARD, "type": ("",),
    }.items():  # fmt: skip
        if dice.random() < 0.04:
            head[name] = dice.choice(values)
    if dice.random() < 0.03:
        del head[dice.choice(tuple(head))]
    text = json.dumps({**head, "data": data} if dice.random() < 0.97 else {"data": data, **head})
    if dice.random() < 0.03:  # names that stand twice, and what is no JSON
        text = text[:-1] + dice.choice(
            (', "type": "open"}', f', "data": {json.dumps(data)}}}', ', "id": "twice"}', "", "}}", " ")
        )
    return text.encode()


@settings(max_examples=60, deadline=None)
@given(seed=st.integers(0, 2**32))
def test_both_ways_write_the_same_bytes_for_any_traffic(seed: int) -> None:
    print(f"seed {seed}")
    dice = random.Random(seed)
    signals = [one(dice, number) for number in range(dice.choice((5, 60, 400)))]
    batches = []
    while signals:
        size = dice.choice((1, 7, 250))
        batches.append(signals[:size])
        signals = signals[size:]
    assert_same(batches)


def plain(number: int, **data: Any) -> bytes:
    body = {"card": f"c{number % 3}", "amount": 1.5, "n": 1, **data}
    return event(body, type="tx", id=f"p{number}", at=number / 100)


def test_plain_signals_do_go_the_express_way(monkeypatch: pytest.MonkeyPatch) -> None:
    ours = rig()
    monkeypatch.setattr(
        ours.step, "_general", lambda *arguments: pytest.fail("a plain signal went the general way")
    )
    assert {each[0] for each in offer(ours, [plain(n) for n in range(250)], express=True)} == {"accepted"}


def test_attributes_of_their_own_keep_no_sender_from_it(monkeypatch: pytest.MonkeyPatch) -> None:
    ours = rig()
    raws = [
        encode_signal(
            id=f"x{n}", source="s", type="tx", time_ns=T0, data={"card": "c"}, extensions={"team": "a"}
        )
        for n in range(250)
    ]
    monkeypatch.setattr(ours.step, "_general", lambda *arguments: pytest.fail("it went the general way"))
    assert {each[0] for each in offer(ours, raws, express=True)} == {"accepted"}


@pytest.mark.parametrize("type", ["whole", "free", "both", "waited", "linked", "unheard"])
def test_what_brings_more_than_its_data_never_goes_it(type: str) -> None:
    assert type not in rig().step._express.types


def test_a_repeat_in_the_middle_of_a_run_shifts_nobody() -> None:
    batch = [plain(n) for n in range(120)]
    express, _ = assert_same([[*batch[:50], batch[3], *batch[50:], batch[110]], batch])
    assert express.step.counts["duplicate"] == 122


def test_a_signal_of_a_mebibyte_and_more_is_refused_by_both() -> None:
    huge = plain(1, tags=["x" * (1 << 20)])
    express, _ = assert_same([[plain(0), huge, plain(2)]])
    assert express.step.counts == {"accepted": 2, "duplicate": 0, "rejected": 1, "late": 0}


def test_nothing_commanded_goes_astray_where_runs_are_cut() -> None:
    express, _ = assert_same([[plain(n, n=7 if n % 50 == 0 else 1) for n in range(350)]])
    assert len(express.reconciler.commands) > 300
