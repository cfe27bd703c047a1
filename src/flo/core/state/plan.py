"""The plan of a loop's state: its slots, the code that updates and reads them, their stored form.

A plan is either of state by key or of state shared across keys; a loop that has both has two plans, whose locals and
helpers do not collide (those of shared state begin with `all_`).
"""

from __future__ import annotations

import zlib
from array import array
from collections.abc import Callable, Collection, Mapping, Sequence
from functools import cached_property, partial
from typing import Any

from flo.core.loop.definition import StateDefinition
from flo.core.state import codec, entries, exact, late, migrate, shared, sketches
from flo.core.state.emit import EverCode, WindowCode, check_values
from flo.core.state.figures import ever_figures, figures_at
from flo.core.state.late import newest_of
from flo.core.state.layout import (
    ENTRIES_MAX,
    MISSING,
    NEVER,
    Window,
    check,
    duration_label,
    lay_out,
    roles_of,
)
from flo.core.state.panes import PANES, SKETCH_PANES, Panes
from flo.core.state.read import FieldPlan, field_plan, read_lines

HELPERS: Mapping[str, object] = {
    "state_whole": exact.whole,
    "state_exact": exact.exact,
    "state_number": exact.number,
    "state_scalar": exact.scalar,
    "state_refuse_condition": exact.refuse_condition,
    "state_refuse_magnitude": exact.refuse_magnitude,
    "state_refuse_int": exact.refuse_int,
    "state_deviation": exact.standard_deviation,
    "state_min": entries.lowest,
    "state_max": entries.highest,
    "state_insert": entries.insert,
    "state_remove": entries.remove,
    "state_tally": entries.tally,
    "state_forget": entries.forget,
    "state_decayed": entries.decayed,
    "state_delta": entries.delta,
    "state_differ": entries.differ,
    "state_observe": sketches.observe,
    "state_observe_distinct": sketches.observe_distinct,
    "state_quantile": sketches.quantile,
}


class StatePlan:
    """What `plan_state` makes. The cell's slots from `offset` on belong to the plan."""

    def __init__(self, definitions: Sequence[StateDefinition], input_types: Mapping[str, str]) -> None:
        check(definitions, input_types)
        self.definitions = tuple(definitions)
        self.types = {d.name: input_types.get(d.name, "dyn") for d in definitions}
        self.is_shared = any(d.shared for d in definitions)
        self.prefix = "all_" if self.is_shared else ""
        self.windows = lay_out(definitions, self.types, self.prefix, counted=self.is_shared)
        self.sliding = tuple(window for window in self.windows if window.over_ns is not None)
        self.fields: dict[str, FieldPlan] = {d.name: field_plan(d, self.types[d.name]) for d in definitions}
        self.constants: dict[str, object] = {**HELPERS, **self._bound()}
        self.fingerprint = zlib.crc32("\n".join(map(self.signature, self.types)).encode())

    def _bound(self) -> dict[str, object]:
        if self.is_shared:
            return {f"{self.prefix}state_step": partial(shared.step, self.windows)}
        return {
            "state_late": partial(late.step, self.sliding),
            "state_overflow": partial(late.overflow, self.sliding),
            "state_trim": partial(late.trim_window, self.sliding),
        }

    def new_slots(self) -> list[Any]:
        """The slots of a key, or of a loop, that no signal has met."""
        return self._new_slots()

    @cached_property
    def _new_slots(self) -> Callable[[], list[Any]]:
        if self.is_shared:
            return lambda: [NEVER, None, *map(Panes, self.windows)]
        blank = [NEVER, None]
        for window in self.windows:
            blank += late.blank(window)
        text = ", ".join("INF" if v == INF else "-INF" if v == -INF else repr(v) for v in blank)
        made: Callable[[], list[Any]] = eval(f"lambda: [{text}]", {"INF": INF, "array": array})
        return made

    def emit_update(
        self,
        inputs: Mapping[str, str],
        *,
        cell: str = "cell",
        offset: int = 2,
        t: str = "t",
        late: str = "late",
        others: str = "None",
        indent: int = 1,
    ) -> list[str]:
        """Statements that take the signal at `t` in, `inputs` giving the expression of each definition's value.

        All values are checked first: a StateError comes before anything has changed, and nothing fails after. Sets the
        local `late`, and the raw figures that `emit_read` reads. Of shared state, `others` names a local that holds the
        slots `merge` made of the other partitions, or None. Each definition's expression is evaluated at most once.
        """
        lines = list(check_values(self.windows, inputs))
        if self.is_shared:
            lines += self._shared_lines(cell, offset, t, late, others)
        else:
            lines += self._keyed_lines(cell, offset, t, late)
        return ["    " * indent + line for line in lines]

    def _shared_lines(self, cell: str, offset: int, t: str, late: str, others: str) -> list[str]:
        locals_ = [figure.local for window in self.windows for figure in window.figures]
        values = "".join(f", {column.local}" for window in self.windows for column in window.columns)
        return [
            f"{', '.join([late, *locals_])} = {self.prefix}state_step({cell}, {offset}, {others}, {t}{values})"
        ]

    def _keyed_lines(self, cell: str, offset: int, t: str, late: str) -> list[str]:
        lines = [f"{late} = False"]
        for window in self.windows:
            if window.over_ns is None:
                lines += EverCode(window, cell, offset, t, self.prefix).lines()
        if not self.sliding:
            return lines
        lines += [f"if {t} >= {cell}[{offset}]:", f"    {cell}[{offset}] = {t}"]
        for window in self.sliding:
            lines += ["    " + line for line in WindowCode(window, cell, offset, t, self.prefix).lines()]
        locals_ = [figure.local for window in self.sliding for figure in window.figures]
        values = "".join(f", {column.local}" for window in self.sliding for column in window.columns)
        lines += ["else:", f"    {', '.join([late, *locals_])} = state_late({cell}, {offset}, {t}{values})"]
        return lines

    def emit_read(self, names: Collection[str], *, indent: int = 1) -> list[str]:
        """Statements, to follow `emit_update`, that assign the locals `fields` names for these definitions.

        A sum of integers beyond 64 bits is a StateError here: the state has taken the signal in by then.
        """
        lines: list[str] = []
        for window in self.windows:
            for definition in window.definitions:
                if definition.name in names:
                    lines += read_lines(window, definition)
        return ["    " * indent + line for line in lines]

    def read(self, slots: list[Any], t: int, others: list[Any] | None = None) -> dict[str, Any]:
        """What rules would read at event time `t`, without a signal: for timers, the console, other partitions.

        A `last` reads as a dict of its fields. None where nothing was measured; counts and sums are then 0. Changes
        nothing that matters.
        """
        values: dict[str, Any] = {}
        for window in self.windows:
            raw = self._raw(window, slots, t, others)
            for definition in window.definitions:
                values[definition.name] = self._read_one(window, definition, raw)
        return values

    def _raw(self, window: Window, slots: list[Any], t: int, others: list[Any] | None) -> dict[str, Any]:
        if self.is_shared:
            told = shared.figures(self.windows.index(window), slots, 0, others, t)
        elif window.over_ns is None:
            told = ever_figures(window, slots, 0)
        else:
            told = figures_at(window, slots, 0, t)
        return {figure.local: value for figure, value in zip(window.figures, told, strict=True)}

    def _read_one(self, window: Window, definition: StateDefinition, raw: dict[str, Any]) -> Any:
        needed = [raw[window.figure_of(definition, role).local] for role in roles_of(definition)]
        if MISSING in needed or (definition.kind in ("mean", "std", "share") and not needed[0]):
            return None
        scope = dict(raw)
        exec("\n".join(read_lines(window, definition)), dict(self.constants), scope)
        plan = self.fields[definition.name]
        if plan.type == "record":
            return {name: scope[local] for name, (local, _) in plan.fields.items()}
        return scope[plan.local]

    def encode(self, slots: list[Any]) -> bytes:
        """The slots as bytes, for a checkpoint; they name the plan they belong to."""
        return codec.encode(self.windows, self.is_shared, self.fingerprint, slots)

    def decode(self, data: bytes) -> list[Any]:
        """The slots that `encode` was given. StateError where the bytes are another plan's or another version's."""
        return codec.decode(self.windows, self.is_shared, self.fingerprint, data)

    def migrate(self, old_plan: StatePlan, old_slots: list[Any]) -> list[Any]:
        """The slots of a key under this plan: definitions whose signature stays keep their state, the rest begins.

        `old_slots` must not be used afterwards. A plan by key and a shared one have nothing in common.
        """
        if old_plan.is_shared != self.is_shared:
            return self.new_slots()
        return migrate.migrate(old_plan.windows, self.windows, self.is_shared, old_slots)

    def merge(self, partitions: Sequence[bytes]) -> list[Any]:
        """Of shared state: the slots of several partitions together, to be read as the `others` of one more."""
        merged = self.new_slots()
        for data in partitions:
            for panes, theirs in zip(merged[2:], self.decode(data)[2:], strict=True):
                panes.merge(theirs)
        return merged

    def size(self, slots: list[Any]) -> int:
        """How many entries and panes the slots hold: at most `size_max`."""
        held = [slots[2 + at] if self.is_shared else slots[w.slot] for at, w in enumerate(self._bounded)]
        return sum(h.size() if isinstance(h, Panes) else len(h) for h in held)

    @cached_property
    def _bounded(self) -> tuple[Window, ...]:
        return self.windows if self.is_shared else self.sliding

    @property
    def size_max(self) -> int:
        """What `size` never exceeds: four times ENTRIES_MAX a window by key, four times its panes a shared one."""
        each = 4 * (PANES + SKETCH_PANES) if self.is_shared else 4 * ENTRIES_MAX
        return each * len(self._bounded)

    def expire(self, slots: list[Any], t: int) -> bool:
        """True when nothing in the slots can matter to signals later than `t`: the key may be forgotten.

        Never of state since ever, which ends only with the retention of state.
        """
        lengths = [window.over_ns for window in self.windows]
        if None in lengths:
            return False
        if self.is_shared:
            return all(p.newest <= t - p.window.over_ns for p in slots[2:])
        return newest_of(slots, 0) <= t - max((ns for ns in lengths if ns is not None), default=0)

    def signature(self, name: str) -> str:
        """What a definition is, whatever it is called: state is kept across bundles where this stays the same."""
        d = next(d for d in self.definitions if d.name == name)
        parts = [d.kind, d.expression.text.strip(), self.types[name], duration_label(d.over_ns)]
        parts += [f"q={d.q}"] * (d.q is not None) + [f"half_life={d.half_life_ns}"] * (
            d.half_life_ns is not None
        )
        return " ".join([*parts, *["shared"] * d.shared])


INF = float("inf")


def plan_state(definitions: Sequence[StateDefinition], input_types: Mapping[str, str]) -> StatePlan:
    """Plan the state of a loop: all definitions by key, or all shared. BundleError names what cannot be planned.

    `input_types` gives the CEL type of each definition's expression: bool, int, uint, double, string, bytes,
    timestamp, duration or dyn; others for `last` alone.
    """
    return StatePlan(definitions, input_types)
