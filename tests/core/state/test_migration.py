"""Keeping state across bundles: what stays defined stays; what is new begins."""

from __future__ import annotations

import random
import struct
from array import array
from typing import Any

import pytest

from flo.core.state import StateError, codec

from .oracle import Definition, Oracle
from .running import new_cell, plan_of, step_of
from .test_hot_keys import drawn
from .test_windows import EVERYTHING, assert_reads


@pytest.mark.parametrize("seed", range(8))
@pytest.mark.parametrize("shared", [False, True])
def test_definitions_that_stay_keep_their_state_through_changes_of_bundle(seed: int, shared: bool) -> None:
    print("seed", seed)
    random_ = random.Random(seed)
    names = list(EVERYTHING)
    kept = set(random_.sample(names, 20))

    def bundle() -> dict[str, Definition]:
        chosen = kept | set(random_.sample(names, 15))
        return {name: EVERYTHING[name] for name in sorted(chosen, key=lambda _: random_.random())}

    definitions = bundle()
    plan = plan_of(definitions, shared=shared)
    step, cell, oracle = step_of(plan), new_cell(plan), Oracle(EVERYTHING)
    now = 1000
    for at in range(150):
        if at % 25 == 24:
            old, definitions = plan, bundle()
            plan = plan_of(definitions, shared=shared)
            cell[2:] = plan.migrate(old, old.decode(old.encode(cell[2:])))
            cell[2:] = plan.decode(plan.encode(cell[2:]))
            step = step_of(plan)
        now += random_.choice([0, 1, 1, 2, 7])
        t, value = now - random_.choice([0, 0, 0, 3, 9, 30]), drawn(random_)
        _, read = step(cell, t, value)
        _, expected = oracle.receive(t, value)
        stayed = {name: EVERYTHING[name] for name in kept}
        assert_reads(stayed, read, expected)


def test_a_new_definition_counts_from_its_first_signal_and_is_exact_after_one_window() -> None:
    before = {"n": Definition("count", "true", 10)}
    after = {**before, **{name: d._replace(over=10) for name, d in EVERYTHING.items() if d.over == 20}}
    old, plan = plan_of(before), plan_of(after)
    cell, step, oracle = new_cell(old), step_of(old), Oracle(after)
    random_ = random.Random(5)
    for t in range(100, 120):
        value = drawn(random_)
        step(cell, t, value)
        oracle.receive(t, value)
    cell[2:] = plan.migrate(old, cell[2:])
    step = step_of(plan)
    first = drawn(random_)
    _, read = step(cell, 120, first)
    _, expected = oracle.receive(120, first)
    assert read["n"] == expected["n"] == 10
    assert read["total_20"] == read["mean_20"] == read["low_20"] == first["amount"]
    for t in range(121, 180):
        value, moment = drawn(random_), t - random_.choice([0, 0, 2])
        _, read = step(cell, moment, value)
        _, expected = oracle.receive(moment, value)
        assert read["n"] == expected["n"]
        if t > 132:
            assert_reads(after, read, expected)


def test_a_new_column_is_as_compact_as_the_others_once_every_entry_has_its_value() -> None:
    old = plan_of({"n": Definition("count", "true", 10)})
    plan = plan_of({"n": Definition("count", "true", 10), "total": Definition("sum", "amount", 10)})
    cell, total = new_cell(old), plan.windows[0].columns[0]
    step_of(old)(cell, 100, {"amount": 1.0})
    cell[2:] = plan.migrate(old, cell[2:])
    at = 2 + plan.windows[0].slot + total.index
    kinds = []
    for t in range(101, 140):
        step_of(plan)(cell, t, {"amount": 1.0})
        cell[2:] = plan.decode(plan.encode(cell[2:]))
        kinds.append(type(cell[at]))
    assert kinds[0] is list
    assert kinds[-1] is array


def test_stored_state_is_the_same_bytes_whatever_the_order_of_bytes_of_the_machine(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """On the other kind of machine arrays are swapped on their way out and in: twice swapped is as it was."""
    plan = plan_of({"n": Definition("count", "true", 10), "total": Definition("sum", "amount", 10)})
    cell = new_cell(plan)
    step_of(plan)(cell, 100, {"amount": 1.0})
    stored = plan.encode(cell[2:])
    assert struct.pack("<q", 100) in stored
    assert struct.pack("<d", 1.0) in stored
    monkeypatch.setattr(codec, "IS_BIG_ENDIAN", not codec.IS_BIG_ENDIAN)
    swapped = plan.encode(cell[2:])
    assert struct.pack(">q", 100) in swapped
    assert plan.decode(swapped) == cell[2:]


def test_stored_state_of_another_plan_or_version_is_refused_by_name() -> None:
    one, other = (
        plan_of({"n": Definition("count", "true", 10)}),
        plan_of({"n": Definition("count", "true", 11)}),
    )
    stored = one.encode(one.new_slots())
    with pytest.raises(StateError, match="other definitions"):
        other.decode(stored)
    with pytest.raises(StateError, match="version 9"):
        one.decode(stored.replace(b"\x02", b"\x09", 1))


VERSION_1 = bytes.fromhex(
    "9601cea3ab7cab69c09964cb4029000000000000a16167cbbfd0000000000000a16269cb3fb999999999999aa16393646769"
)
VERSION_1_WITH_GAPS = bytes.fromhex(
    "9601ce1bd851e76acd0c21dc001064cb4029000000000000a161c7000167cbbfd0000000000000a162c7000169cb3fb999999999999aa163"
    "c700016acb401c000000000000a164c29864c7000167c7000169c700016acb401c000000000000"
)


def test_stored_state_of_version_1_is_read_and_goes_on_as_it_was() -> None:
    """Written by FLO when windows were lists of entries; the second by a bundle that had just got two new columns."""
    before = {
        "n": Definition("count", "true", 10),
        "total": Definition("sum", "amount", 10),
        "high": Definition("max", "amount", 10),
        "device": Definition("last", "device", 10),
        "days": Definition("count", "true", 1000),
    }
    plan = plan_of(before)
    cell = [0, 0, *plan.decode(VERSION_1)]
    assert step_of(plan)(cell, 104, {"amount": 1.0, "device": "x"}) == (
        False,
        {
            "n": 3,
            "total": 13.25,
            "high": 12.5,
            "device": {"value": "x", "previous": "b", "changed": True},
            "days": 3,
        },
    )
    plan = plan_of(
        {**before, "share": Definition("share", "cond", 10), "low": Definition("min", "amount", 1000)}
    )
    cell = [0, 0, *plan.decode(plan.encode(plan.decode(VERSION_1_WITH_GAPS)))]
    assert step_of(plan)(cell, 107, {"amount": 2.0, "device": "e", "cond": True}) == (
        False,
        {
            "n": 5,
            "total": 21.35,
            "high": 12.5,
            "device": {"value": "e", "previous": "d", "changed": True},
            "days": 5,
            "share": 0.5,
            "low": 2.0,
        },
    )


def test_a_signature_tells_what_is_measured_and_not_what_it_is_called() -> None:
    plan = plan_of({"a": Definition("sum", "amount", 10), "b": Definition("sum", "amount", 10)})
    assert plan.signature("a") == plan.signature("b") == "sum amount double 10ns"


def test_a_key_expires_when_no_window_can_reach_back_to_it() -> None:
    plan = plan_of({"n": Definition("count", "true", 10), "m": Definition("sum", "amount", 50)})
    cell: list[Any] = new_cell(plan)
    step_of(plan)(cell, 100, {"amount": 1.0})
    assert not plan.expire(cell[2:], 149)
    assert plan.expire(cell[2:], 150)
    ever = plan_of({"n": Definition("count", "true")})
    assert not ever.expire(ever.new_slots(), 10**18)
