"""State shared across keys: panes of one partition, and several partitions read as one."""

from __future__ import annotations

import random
from typing import Any

import pytest

from flo.core.state.sketches import DISTINCT_RELATIVE_ERROR, QUANTILE_RANK_ERROR

from .oracle import Definition, Oracle
from .running import new_cell, plan_of, step_of
from .test_hot_keys import drawn
from .test_windows import EVERYTHING, KINDS, assert_reads

HOUR = {name: d._replace(over=3600) for name, d in KINDS.items() if d.kind not in ("quantile", "distinct")}
EVER = {name: d for name, d in EVERYTHING.items() if d.over is None}


def stream(seed: int, count: int, jitter: int) -> list[tuple[int, dict[str, Any]]]:
    print("seed", seed)
    random_ = random.Random(seed)
    now, timed = 1_000_000, []
    for _ in range(count):
        now += random_.choice([0, 1, 1, 5, 12, 300 if random_.random() < 0.02 else 1])
        timed.append((now - random_.randint(0, jitter), drawn(random_)))
    return timed


@pytest.mark.parametrize("seed", [1, 2])
@pytest.mark.parametrize("jitter", [0, 4, 400])
def test_a_partition_reads_whole_panes_whatever_the_order(seed: int, jitter: int) -> None:
    plan = plan_of(HOUR, shared=True)
    step, cell, oracle = step_of(plan), new_cell(plan), Oracle(HOUR, panes=360)
    for t, value in stream(seed, 300, jitter):
        late, read = step(cell, t, value)
        expected_late, expected = oracle.receive(t, value)
        assert late == expected_late
        assert_reads(HOUR, read, expected)


@pytest.mark.parametrize("seed", [1, 2])
def test_since_ever_is_shared_exactly_and_survives_being_stored(seed: int) -> None:
    plan = plan_of(EVER, shared=True)
    step, cell, oracle = step_of(plan), new_cell(plan), Oracle(EVER)
    for at, (t, value) in enumerate(stream(seed, 200, 20)):
        if at % 30 == 0:
            cell[2:] = plan.decode(plan.encode(cell[2:]))
        _, read = step(cell, t, value)
        _, expected = oracle.receive(t, value)
        assert_reads(EVER, read, expected)


@pytest.mark.parametrize("seed", [1, 2])
def test_partitions_merged_read_as_if_one_worker_had_seen_every_signal(seed: int) -> None:
    definitions = {**HOUR, **EVER}
    # of signals at one time the newest is another one in each partition: `last` may differ there
    definitions = {name: d for name, d in definitions.items() if d.kind != "last"}
    plan = plan_of(definitions, shared=True)
    step, oracle = step_of(plan), Oracle(definitions, panes=360)
    cells = [new_cell(plan) for _ in range(3)]
    random_ = random.Random(seed)
    for t, value in stream(seed, 200, 0):
        here = random_.randrange(3)
        others = plan.merge([plan.encode(cell[2:]) for at, cell in enumerate(cells) if at != here])
        _, read = step(cells[here], t, value, others)
        _, expected = oracle.receive(t, value)
        assert_reads(definitions, read, expected)
    own = cells[here][2:]
    assert plan.read(own, t, others) == read


@pytest.mark.parametrize("seed", [1, 2])
@pytest.mark.parametrize("over", [24_000, None])
def test_sketches_stay_within_their_stated_errors(seed: int, over: int | None) -> None:
    print("seed", seed)
    definitions = {
        f"q{int(q * 1000)}": Definition("quantile", "amount", over, q=q) for q in (0.01, 0.25, 0.5, 0.9, 0.99)
    } | {"devices": Definition("distinct", "device", over)}
    plan = plan_of(definitions, shared=True)
    step, cell, others = step_of(plan), new_cell(plan), new_cell(plan)
    random_ = random.Random(seed)
    received: list[tuple[int, dict[str, Any]]] = []
    for t in range(1_000_000, 1_040_000):
        value = {"amount": random_.lognormvariate(0, 2), "device": f"d{random_.randrange(5000)}"}
        received.append((t, value))
        step(cell if t % 2 else others, t, value)
    merged = plan.merge([plan.encode(others[2:])])
    read = plan.read(plan.decode(plan.encode(cell[2:])), t, merged)
    window = [v for time, v in received if over is None or time // 1000 > t // 1000 - 24]
    ordered = sorted(v["amount"] for v in window)
    for name, d in definitions.items():
        if d.kind == "quantile":
            rank = sum(v <= read[name] for v in ordered) / len(ordered)
            assert abs(rank - d.q) <= QUANTILE_RANK_ERROR + 0.001, (name, rank)
    distinct = len({v["device"] for v in window})
    assert abs(read["devices"] - distinct) <= 4 * DISTINCT_RELATIVE_ERROR * distinct


def test_shared_state_is_bounded_however_many_signals_come() -> None:
    plan = plan_of({**HOUR, **EVER}, shared=True)
    step, cell = step_of(plan), new_cell(plan)
    for t, value in stream(1, 4000, 0):
        step(cell, t * 7, value)
    assert 0 < plan.size(cell[2:]) <= plan.size_max
    assert len(plan.encode(cell[2:])) < 400_000
