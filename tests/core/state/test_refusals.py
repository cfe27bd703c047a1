"""What state refuses, and that a refusal changes nothing."""

from __future__ import annotations

import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flo.core.errors import BundleError, InputError
from flo.core.state import StateError, plan_state
from flo.core.state.exact import UNSCALE, exact, scaled_sum, standard_deviation

from .oracle import Definition
from .running import definition, new_cell, plan_of, step_of

finite = st.floats(-1e250, 1e250, exclude_min=True, exclude_max=True)


@given(st.lists(finite, max_size=20))
def test_scaled_sums_are_what_fsum_gives(values: list[float]) -> None:
    assert float(scaled_sum(values)) * UNSCALE == math.fsum(values)


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf, 1e250, -1e300])
@pytest.mark.parametrize("kind", ["sum", "mean", "std", "min", "max", "ewma", "quantile"])
def test_a_value_that_is_not_finite_is_refused_before_anything_changes(kind: str, bad: float) -> None:
    definitions = {
        "n": Definition("count", "true", 10),
        "ever": Definition("count", "true"),
        "bad": Definition(kind, "amount", 10, q=0.5),
    }
    plan = plan_of(definitions)
    step, cell = step_of(plan), new_cell(plan)
    step(cell, 100, {"amount": 1.0})
    before = plan.encode(cell[2:])
    with pytest.raises(StateError, match="state bad: cannot measure"):
        step(cell, 101, {"amount": bad})
    assert plan.encode(cell[2:]) == before


@pytest.mark.parametrize(
    ("kind", "bad"),
    [
        ("sum", "text"),
        ("sum", True),
        ("sum", None),
        ("count", 1),
        ("share", "x"),
        ("distinct", [1]),
        ("distinct", {}),
    ],
)
def test_a_value_of_unknown_type_is_checked_when_it_comes(kind: str, bad: Any) -> None:
    plan = plan_of({"thing": Definition(kind, "anything", 10), "n": Definition("count", "true", 10)})
    step, cell = step_of(plan), new_cell(plan)
    before = plan.encode(cell[2:])
    with pytest.raises(StateError, match="state thing: "):
        step(cell, 101, {"anything": bad})
    assert plan.encode(cell[2:]) == before


def test_values_of_unknown_type_are_told_apart_as_the_expression_language_does() -> None:
    plan = plan_of({"things": Definition("distinct", "anything", 100)})
    step, cell = step_of(plan), new_cell(plan)
    for value in (1, 1.0, True, "1", b"1"):
        _, read = step(cell, 10, {"anything": value})
    assert read["things"] == 4
    plan = plan_of({"last": Definition("last", "anything")})
    step, cell = step_of(plan), new_cell(plan)
    _, read = step(cell, 11, {"anything": [1, {"a": 2}]})
    _, read = step(cell, 12, {"anything": [1.0, {"a": 2}]})
    assert read["last"]["changed"] is False


def test_a_sum_of_integers_beyond_64_bits_is_an_error_when_read() -> None:
    plan = plan_of({"total": Definition("sum", "units", 100)})
    step, cell = step_of(plan), new_cell(plan)
    step(cell, 10, {"units": 2**63 - 1})
    with pytest.raises(StateError, match="beyond 64 bits"):
        step(cell, 11, {"units": 1})
    _, read = step(cell, 11, {"units": -1})
    assert read["total"] == 2**63 - 1


def test_a_plan_names_every_problem_of_its_definitions_and_where_it_stands() -> None:
    bad = [
        definition("a", "sum", "data.name", 10),
        definition("b", "quantile", "data.x", 10, q=1.5),
        definition("c", "ewma", "data.x"),
        definition("d", "count", "data.x"),
        definition("e", "median", "data.x"),
        definition("f", "sum", "data.x", 0),
    ]
    types = {"a": "string", "b": "double", "c": "double", "d": "double", "e": "double", "f": "double"}
    with pytest.raises(BundleError) as caught:
        plan_state(bad, types)
    assert [p.message.split(":")[0] for p in caught.value.problems] == [f"state {name}" for name in "abcdef"]
    assert all(p.file == "loops/test.yaml" for p in caught.value.problems)


def test_a_state_error_is_an_input_error() -> None:
    assert issubclass(StateError, InputError)


def test_standard_deviation_of_nearly_equal_values_does_not_cancel() -> None:
    values = [1e9 + k * 1e-6 for k in range(5)]
    units = [exact(v, "x") for v in values]
    got = standard_deviation(5, sum(units), sum(u * u for u in units), 100)
    spread = [v - values[2] for v in values]
    mean = math.fsum(spread) / 5
    assert got == pytest.approx(math.sqrt(math.fsum((s - mean) ** 2 for s in spread) / 5), rel=1e-9)
