"""Running a plan as a loop's compiler does: its update and its read in one generated function."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from flo.core.loop.definition import ExpressionText, Place, StateDefinition
from flo.core.state import StatePlan, plan_state

from .oracle import Definition

PLACE = Place("loops/test.yaml", 1, 1)
TYPES = {
    "true": "bool",
    "cond": "bool",
    "amount": "double",
    "units": "int",
    "device": "string",
    "anything": "dyn",
}


def definition(name: str, kind: str, text: str, over_ns: int | None = None, **more: Any) -> StateDefinition:
    return StateDefinition(name, kind, ExpressionText(text, PLACE), PLACE, over_ns, **more)


def plan_of(definitions: dict[str, Definition], *, shared: bool = False) -> StatePlan:
    made = [
        definition(
            name,
            d.kind,
            d.text,
            d.over,
            q=d.q if d.kind == "quantile" else None,
            half_life_ns=d.half_life if d.kind == "ewma" else None,
            shared=shared,
        )
        for name, d in definitions.items()
    ]
    return plan_state(made, {name: TYPES[d.text] for name, d in definitions.items()})


def code_of(plan: StatePlan) -> str:
    inputs = {
        d.name: "True" if d.expression.text == "true" else f"data[{d.expression.text!r}]"
        for d in plan.definitions
    }
    lines = ["def step(cell, t, data, others=None):"]
    lines += plan.emit_update(inputs, others="others")
    lines += plan.emit_read([d.name for d in plan.definitions])
    read = []
    for name, field in plan.fields.items():
        parts = ", ".join(f"{part!r}: {local}" for part, (local, _) in field.fields.items())
        read.append(f"{name!r}: " + (f"{{{parts}}}" if field.type == "record" else field.local))
    return "\n".join([*lines, f"    return late, {{{', '.join(read)}}}"])


def step_of(plan: StatePlan) -> Callable[..., tuple[bool, dict[str, Any]]]:
    scope = dict(plan.constants)
    exec(code_of(plan), scope)
    return scope["step"]  # type: ignore[no-any-return]


def new_cell(plan: StatePlan) -> list[Any]:
    return [0, 0, *plan.new_slots()]
