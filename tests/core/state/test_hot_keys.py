"""Keys with more signals than a window keeps, and long streams: bounded, and exact to a pane's resolution."""

from __future__ import annotations

import random
import sys
from typing import Any

import pytest

from flo.core.state import late as late_module
from flo.core.state.emit import ENTRIES_MAX
from flo.core.state.panes import Panes

from .oracle import Definition, Oracle
from .running import code_of, new_cell, plan_of, step_of
from .test_windows import EVERY_PLAN, EVERYTHING, assert_reads

SEEDS = [1, 2]


def drawn(random_: random.Random) -> dict[str, Any]:
    return {
        "cond": random_.random() < 0.3,
        "amount": round(random_.expovariate(0.01), 2),
        "units": random_.randrange(1000),
        "device": f"d{random_.randrange(40)}",
    }


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("jitter", [0, 3, 30])
def test_long_streams_stay_exact_through_trimming(seed: int, jitter: int) -> None:
    print("seed", seed)
    random_ = random.Random(seed)
    definitions = {name: d._replace(over=d.over and d.over * 2) for name, d in EVERYTHING.items() if d.over}
    plan = plan_of(definitions)
    step, cell, oracle = step_of(plan), new_cell(plan), Oracle(definitions)
    now = 10_000
    for _ in range(220):
        now += random_.choice([0, 0, 1, 1, 1, 2, 30 if random_.random() < 0.1 else 1])
        t, value = now - random_.randint(0, jitter), drawn(random_)
        late, read = step(cell, t, value)
        expected_late, expected = oracle.receive(t, value)
        assert late == expected_late
        assert_reads(definitions, read, expected)


def test_a_million_signals_of_one_key_take_bounded_memory() -> None:
    definitions = {"n": Definition("count", "true", 10**6), "total": Definition("sum", "amount", 10**6)}
    plan = plan_of(definitions)
    step, cell = step_of(plan), new_cell(plan)
    largest = 0
    for at in range(1_000_000):
        _, read = step(cell, at, {"amount": 1.0})
        if at % 1000 == 0:
            largest = max(largest, plan.size(cell[2:]))
    assert largest <= ENTRIES_MAX + 1
    assert plan.size(cell[2:]) <= plan.size_max
    assert isinstance(cell[4], Panes)
    assert read == {"n": 1_000_000, "total": 1_000_000.0}
    assert len(plan.encode(cell[2:])) < 100_000


def hot(monkeypatch: pytest.MonkeyPatch, entries_max: int, definitions: dict[str, Definition]) -> Any:
    """A plan whose windows go over to panes after few entries."""
    monkeypatch.setattr(late_module, "ENTRIES_MAX", entries_max)
    monkeypatch.setattr("flo.core.state.emit.ENTRIES_MAX", entries_max)
    plan = plan_of(definitions)
    assert f"> {entries_max}:" in code_of(plan)
    return plan


@pytest.mark.parametrize("seed", SEEDS)
def test_a_window_that_went_over_to_panes_reads_whole_panes(
    monkeypatch: pytest.MonkeyPatch, seed: int
) -> None:
    print("seed", seed)
    random_ = random.Random(seed)
    definitions = {
        name: d._replace(over=360 * 10)
        for name, d in EVERYTHING.items()
        if d.over == 5 and d.kind not in ("quantile", "distinct")
    }
    plan = hot(monkeypatch, 20, definitions)
    step, cell, oracle = step_of(plan), new_cell(plan), Oracle(definitions, panes=360)
    now = 36_000_000
    went_over = False
    for _ in range(250):
        now += random_.choice([0, 1, 15, 60])
        value = drawn(random_)
        _, read = step(cell, now, value)
        _, expected = oracle.receive(now, value)
        went_over |= isinstance(cell[2 + plan.windows[0].slot], Panes)
        if went_over:
            assert_reads(definitions, read, expected)
        if random_.random() < 0.02:
            cell[2:] = plan.decode(plan.encode(cell[2:]))
    assert went_over


def test_a_hot_key_that_falls_quiet_is_exact_again(monkeypatch: pytest.MonkeyPatch) -> None:
    definitions = {name: d for name, d in EVERYTHING.items() if d.over != 5}
    plan = hot(monkeypatch, 20, definitions)
    step, cell, oracle = step_of(plan), new_cell(plan), Oracle(definitions)
    random_ = random.Random(7)
    for at in range(50):
        value = drawn(random_)
        step(cell, 1000 + at // 10, value)
        oracle.receive(1000 + at // 10, value)
    assert any(isinstance(slot, Panes) for slot in cell)
    for at in range(10):
        value = drawn(random_)
        _, read = step(cell, 5000 + at, value)
        _, expected = oracle.receive(5000 + at, value)
        assert_reads(definitions, read, expected)
    assert not any(isinstance(slot, Panes) for slot in cell)


def test_a_key_of_one_signal_is_small() -> None:
    plan = plan_of({"n": Definition("count", "true", 600), "total": Definition("sum", "amount", 600)})
    step, cell = step_of(plan), new_cell(plan)
    step(cell, 1000, {"amount": 12.5})
    assert len(plan.encode(cell[2:])) < 40
    assert EVERY_PLAN.size(EVERY_PLAN.new_slots()) == 0


def test_an_entry_takes_eight_bytes_for_its_time_and_each_double() -> None:
    """Most of what a signal costs, once much state is held, is waiting for memory: see `layout`."""
    plan = plan_of(
        {
            "n": Definition("count", "true", 10**6),
            "total": Definition("sum", "amount", 10**6),
            "dyn": Definition("sum", "anything", 10**6),
        }
    )
    step, cell = step_of(plan), new_cell(plan)
    for at in range(10_000):
        step(cell, at, {"amount": at / 3, "anything": at})
    times, amounts, anything = cell[4:7]
    assert sys.getsizeof(times) + sys.getsizeof(amounts) + sys.getsizeof(anything) < 3 * 9 * 10_000
    assert plan.read(cell[2:], 9_999)["dyn"] == sum(range(10_000))


@pytest.mark.parametrize("seed", SEEDS)
def test_a_hot_key_that_cools_down_is_exact_again_after_two_windows(
    monkeypatch: pytest.MonkeyPatch, seed: int
) -> None:
    print("seed", seed)
    random_ = random.Random(seed)
    definitions = {name: d for name, d in EVERYTHING.items() if d.over == 20}
    plan = hot(monkeypatch, 40, definitions)
    step, cell, oracle = step_of(plan), new_cell(plan), Oracle(definitions)
    for at in range(300):
        t = 1000 + at // 10 if at < 100 else 1000 + 4 * (at - 90) - random_.randint(0, 9)
        value = drawn(random_)
        late, read = step(cell, t, value)
        expected_late, expected = oracle.receive(t, value)
        assert late == expected_late
        if at > 150:
            assert_reads(definitions, read, expected)
        if at == 99:
            assert any(isinstance(slot, Panes) for slot in cell)
