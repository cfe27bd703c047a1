"""State by key against the oracle: every kind, several windows, any order of signals."""

from __future__ import annotations

import math
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from flo.core.state import StatePlan

from .oracle import Definition, Oracle
from .running import code_of, new_cell, plan_of, step_of

KINDS = {
    "n": Definition("count", "true"),
    "conditions": Definition("count", "cond"),
    "total": Definition("sum", "amount"),
    "units": Definition("sum", "units"),
    "mean": Definition("mean", "amount"),
    "mean_units": Definition("mean", "units"),
    "low": Definition("min", "amount"),
    "high": Definition("max", "amount"),
    "high_units": Definition("max", "units"),
    "std": Definition("std", "amount"),
    "std_units": Definition("std", "units"),
    "share": Definition("share", "cond"),
    "ewma": Definition("ewma", "amount", half_life=7),
    "last": Definition("last", "device"),
    "last_amount": Definition("last", "amount"),
    "median": Definition("quantile", "amount", q=0.5),
    "high_quantile": Definition("quantile", "amount", q=0.9),
    "devices": Definition("distinct", "device"),
}
OVERS = (5, 20, None)
EVERYTHING = {
    f"{name}_{'ever' if over is None else over}": kind._replace(over=over)
    for over in OVERS
    for name, kind in KINDS.items()
}

amounts = st.one_of(
    st.integers(-100_000, 100_000).map(lambda cents: cents / 100),
    st.floats(-1e3, 1e3),
    st.sampled_from([0.0, 1e-20, -1e-20, 5e-324, 4e-15, 1e15, -1e15, 1e200, -1e200, 0.1, 1 / 3, 2.0**-48]),
)
values = st.fixed_dictionaries(
    {
        "cond": st.booleans(),
        "amount": amounts,
        "units": st.integers(-(2**40), 2**40),
        "device": st.sampled_from("abcde"),
    }
)
steps = st.one_of(st.integers(-12, 12), st.sampled_from([0, 0, 1, 1, 2, 3, -25, 40]))
signals = st.lists(st.tuples(steps, values), max_size=60)


def times_of(drawn: list[tuple[int, Any]]) -> list[tuple[int, Any]]:
    """Signals around a clock that goes on with what goes on: late, early, equal."""
    now, timed = 1000, []
    for step, value in drawn:
        timed.append((now + step, value))
        now = max(now, now + min(step, 15))
    return timed


def assert_reads(definitions: dict[str, Definition], read: dict[str, Any], expected: dict[str, Any]) -> None:
    for name, definition in definitions.items():
        got, wanted = read[name], expected[name]
        if definition.kind == "std":
            assert abs(got - wanted) <= math.ulp(wanted), (name, got, wanted)
        elif definition.kind == "ewma":
            assert abs(got - wanted[0]) <= 1e-12 * wanted[1] + 1e-320, (name, got, wanted)
        else:
            assert got == wanted, (name, got, wanted)
            assert not wanted or type(got) is type(wanted), (name, got, wanted)


def run(plan: StatePlan, definitions: dict[str, Definition], timed: list[tuple[int, Any]]) -> None:
    step, cell, oracle = step_of(plan), new_cell(plan), Oracle(definitions)
    for t, value in timed:
        late, read = step(cell, t, value)
        expected_late, expected = oracle.receive(t, value)
        assert late == expected_late
        assert_reads(definitions, read, expected)


@given(signals)
@settings(max_examples=80, deadline=None, print_blob=True)
def test_every_kind_in_several_windows_reads_what_a_list_of_all_signals_gives(drawn: list[Any]) -> None:
    run(EVERY_PLAN, EVERYTHING, times_of(drawn))


EVERY_PLAN = plan_of(EVERYTHING)


@given(signals, st.data())
@settings(max_examples=35, deadline=None, print_blob=True)
def test_storing_and_reading_back_at_any_moment_changes_nothing(
    drawn: list[Any], data: st.DataObject
) -> None:
    step, cell, oracle = step_of(EVERY_PLAN), new_cell(EVERY_PLAN), Oracle(EVERYTHING)
    for t, value in times_of(drawn):
        if data.draw(st.booleans()):
            cell[2:] = EVERY_PLAN.decode(EVERY_PLAN.encode(cell[2:]))
        late, read = step(cell, t, value)
        expected_late, expected = oracle.receive(t, value)
        assert late == expected_late
        assert_reads(EVERYTHING, read, expected)


@given(signals, st.integers(-60, 60))
@settings(max_examples=35, deadline=None, print_blob=True)
def test_a_read_without_a_signal_is_the_window_at_its_time(drawn: list[Any], ahead: int) -> None:
    step, cell, oracle = step_of(EVERY_PLAN), new_cell(EVERY_PLAN), Oracle(EVERYTHING)
    newest = 0
    for t, value in times_of(drawn):
        step(cell, t, value)
        oracle.receive(t, value)
        newest = max(newest, t)
    moment = newest + max(ahead, -4)
    read = EVERY_PLAN.read(cell[2:], moment)
    for name, definition in EVERYTHING.items():
        try:
            expected = oracle.read(definition, moment)
        except (ZeroDivisionError, ValueError, IndexError, StopIteration):
            assert read[name] is None
            continue
        assert_reads({name: definition}, {name: read[name]}, {name: expected})


@given(signals)
@settings(max_examples=30, deadline=None, print_blob=True)
def test_the_order_of_arrival_changes_nothing_since_ever_and_nothing_but_equal_times(
    drawn: list[Any],
) -> None:
    ever = {name: d for name, d in EVERYTHING.items() if d.over is None and d.kind not in ("last", "ewma")}
    plan = plan_of(ever)
    step, forward, backward = step_of(plan), new_cell(plan), new_cell(plan)
    read = turned = None
    timed = times_of(drawn)
    for t, value in timed:
        _, read = step(forward, t, value)
    for t, value in reversed(timed):
        _, turned = step(backward, t, value)
    assert read == turned


@pytest.mark.parametrize("direction", [1, -1])
def test_steadily_falling_and_rising_values_keep_their_extremes(direction: int) -> None:
    definitions = {"low": Definition("min", "amount", 50), "high": Definition("max", "amount", 50)}
    timed = [(1000 + k, {"amount": float(direction * k)}) for k in range(500)]
    run(plan_of(definitions), definitions, timed)


def test_a_sum_does_not_drift_when_a_huge_value_passes_through_the_window() -> None:
    definitions = {"total": Definition("sum", "amount", 3)}
    step, cell = step_of(plan_of(definitions)), new_cell(plan_of(definitions))
    for t, amount in enumerate([0.1, 1e200, 1e-300, 0.2, 0.3]):
        _, read = step(cell, t, {"amount": amount})
    assert read["total"] == math.fsum([1e-300, 0.2, 0.3])


def test_printed_code_of_a_count_and_a_sum_calls_nothing_on_the_way_of_signals_in_order() -> None:
    code = code_of(
        plan_of({"n": Definition("count", "true", 600), "total": Definition("sum", "amount", 600)})
    )
    assert "# over 600ns: n, total" in code
    in_order = code[code.index("if t >= cell[2]") : code.index("while")]
    assert "state_" not in in_order
