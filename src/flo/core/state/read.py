"""From raw figures to what rules read: the statements, and the types the expressions see."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from flo.core.loop.definition import StateDefinition
from flo.core.state.exact import INT_MAX, INT_MIN, SCALE_BITS, UNSCALE
from flo.core.state.layout import NUMERIC, SCALAR, Window


@dataclass(frozen=True, slots=True)
class FieldPlan:
    """How an expression reaches one definition: a local variable of a type or, for `last`, one for each of its fields.

    Types are CEL's names. `type` is "record" for `last`; `fields` then maps value, previous, changed and (of numbers)
    delta to their local and type, and `local` is empty.
    """

    type: str
    local: str = ""
    fields: Mapping[str, tuple[str, str]] = field(default_factory=dict)


def field_plan(definition: StateDefinition, measured: str) -> FieldPlan:
    """What rules can read of a definition, and in which locals it stands."""
    name, kind = definition.name, definition.kind
    if kind == "last":
        fields = {
            "value": (f"s_{name}_value", measured),
            "previous": (f"s_{name}_previous", measured),
            "changed": (f"s_{name}_changed", "bool"),
        }
        delta = {"uint": "int", "timestamp": "duration"}.get(measured, measured)
        if measured in NUMERIC or delta == "duration":
            fields["delta"] = (f"s_{name}_delta", delta)
        return FieldPlan("record", fields=fields)
    if kind in ("count", "distinct"):
        return FieldPlan("int", f"s_{name}")
    if kind in ("sum", "min", "max"):
        return FieldPlan("double" if measured == "dyn" else measured, f"s_{name}")
    return FieldPlan("double", f"s_{name}")


def read_lines(window: Window, definition: StateDefinition) -> Iterator[str]:
    """Statements that assign the locals of one definition from the raw figures of its window."""
    local = f"s_{definition.name}"
    column = window.measured_by[definition.name]

    def raw(role: str) -> str:
        return window.figure_of(definition, role).local

    match definition.kind:
        case "count":
            yield f"{local} = {raw('true' if column else 'entries')}"
        case "share":
            yield f"{local} = {raw('true')} / {raw('measured')}"
        case "sum" if column and not column.is_scaled:
            lowest, highest = (0, 2**64 - 1) if column.type == "uint" else (INT_MIN, INT_MAX)
            yield f"{local} = {raw('sum')}"
            yield f"if not {lowest} <= {local} <= {highest}:"
            yield f"    state_refuse_int({local}, {definition.name!r})"
        case "sum":
            yield f"{local} = {raw('sum')} * {UNSCALE!r}"
        case "mean" if column and not column.is_scaled:
            yield f"{local} = {raw('sum')} / {raw('measured')}"
        case "mean":
            yield f"{local} = {raw('sum')} * {UNSCALE!r} / {raw('measured')}"
        case "std":
            scale = SCALE_BITS if column and column.is_scaled else 0
            yield f"{local} = state_deviation({raw('measured')}, {raw('sum')}, {raw('square')}, {scale})"
        case "quantile":
            yield f"{local} = float({raw('quantile')})"
        case "last":
            yield from _last_lines(
                definition, local, raw("last"), raw("previous"), column.type if column else "dyn"
            )
        case kind:
            yield f"{local} = {raw(kind)}"


def _last_lines(
    definition: StateDefinition, local: str, last: str, previous: str, measured: str
) -> Iterator[str]:
    yield f"{local}_value = {last}"
    yield f"{local}_previous = {previous}"
    plain = measured in SCALAR and measured != "dyn"
    yield f"{local}_changed = " + (f"{last} != {previous}" if plain else f"state_differ({last}, {previous})")
    match measured:
        case "double":
            yield f"{local}_delta = {last} - {previous}"
        case "int" | "uint" | "timestamp" | "duration":
            yield f"{local}_delta = int({last}) - int({previous})"
            yield f"if not {INT_MIN} <= {local}_delta <= {INT_MAX}:"
            yield f"    state_refuse_int({local}_delta, {definition.name!r})"
        case "dyn":
            yield f"{local}_delta = state_delta({last}, {previous})"
