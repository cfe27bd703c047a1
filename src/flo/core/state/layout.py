"""Where each figure of a loop's state lives in a key's slots: definitions grouped by window, expressions measured once.

    slots  = [newest, slow, <slots of each window> ..., <slots of what counts since ever> ...]
    window = [times, <values of column 1>, <values of column 2> ..., start, <running figures> ...]

`newest` is the newest event time of the key, or SLOW when some window of the key needs the general code of `late`:
then `slow` is [newest, until]. A window keeps its entries by column, in order of time: an array of their times, and for
each measured column an array of doubles, or a list of what no array holds. `start` is the index of the first entry
within the window. Arrays keep a hot key's entries side by side: what a signal costs once much state is held is memory
waited for, not instructions. A window that went over to panes has them in the place of its times.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from flo.core.errors import BundleError, Problem
from flo.core.loop.definition import STATE_KINDS, StateDefinition

NEVER = -(2**63)
SLOW = 2**63


class Missing:
    """The value of a column that an entry was never measured for, and the figure of what was never measured."""

    def __repr__(self) -> str:
        return "MISSING"


MISSING = Missing()

ENTRIES_MAX = 32_768
"""Entries of one key within one window; beyond, that key's window goes over to panes. Late signals are answered from
entries of up to three window lengths, so a key holds at most three times as many: 8 bytes each for the time and for each
column of doubles, 40 for one of integers, about 60 for one of short strings."""

NUMERIC = ("int", "uint", "double", "dyn")
CONDITION_KINDS = ("count", "share")
FORMS = {"count": "condition", "share": "condition", "distinct": "scalar", "last": "any"}  # else: number
SCALAR = ("bool", "int", "uint", "double", "string", "bytes", "timestamp", "duration", "dyn")
ORDERED = (*NUMERIC, "timestamp", "duration")
UNITS = (
    ("d", 86_400_000_000_000),
    ("h", 3_600_000_000_000),
    ("m", 60_000_000_000),
    ("s", 1_000_000_000),
    ("ms", 1_000_000),
)

ROLES = {
    "mean": ("measured", "sum"),
    "std": ("measured", "sum", "square"),
    "share": ("measured", "true"),
    "count": ("true",),
    "last": ("last", "previous"),
}
"""The raw figures a kind is made of; a kind that is not named is its own figure."""


@dataclass(frozen=True, slots=True)
class Column:
    """One expression measured in a window, under the name of the first definition that measures it."""

    name: str
    type: str
    index: int  # its place behind the times, from 1
    form: str  # what values are checked to be: number | condition | scalar | any
    is_scaled: bool  # doubles that are summed
    local: str  # the variable that holds the value
    scaled_local: str  # the variable that holds what is summed
    measure: tuple[str, str]  # see measure_of

    @property
    def is_double(self) -> bool:
        """Whether every value is a double: typed so, or checked to be a number, which makes a double of it."""
        return self.type == "double" or (self.type == "dyn" and self.form == "number")


@dataclass(frozen=True, slots=True)
class Figure:
    """One raw figure of a window, in the local variable `local`, kept running in the slot `slot` where it has one."""

    role: str  # entries | measured | true | sum | square | min | max | last | previous | ewma | quantile | distinct
    column: Column | None
    local: str
    slot: int | None = None
    parameter: float | int | None = None  # q, or the half-life in ns


@dataclass(frozen=True, slots=True)
class Window:
    """The definitions of one length (None: since ever), their columns and figures, and their slots."""

    over_ns: int | None
    label: str
    definitions: tuple[StateDefinition, ...]
    columns: tuple[Column, ...]
    figures: tuple[Figure, ...]
    slot: int  # of the times; those of the columns follow
    start: int  # the slot of the start index; the running figures follow
    end: int  # the first slot behind the window
    measured_by: Mapping[str, Column | None]  # a definition's name -> its column

    def figure_of(self, definition: StateDefinition, role: str) -> Figure:
        column = self.measured_by[definition.name]
        parameter = parameter_of(definition)
        for figure in self.figures:
            if figure.role == role and figure.column in (column, None) and figure.parameter == parameter:
                return figure
        raise AssertionError(f"state {definition.name}: no figure {role} was laid out")


def is_plain_count(definition: StateDefinition) -> bool:
    """`count: true`, which needs no column: every signal is an entry."""
    return definition.kind == "count" and definition.expression.text.strip() == "true"


def parameter_of(definition: StateDefinition) -> float | int | None:
    if definition.kind == "quantile":
        return definition.q
    return definition.half_life_ns if definition.kind == "ewma" else None


def roles_of(definition: StateDefinition) -> tuple[str, ...]:
    return ("entries",) if is_plain_count(definition) else ROLES.get(definition.kind, (definition.kind,))


def width(over_ns: int | None, role: str) -> int:
    """How many slots a figure takes: a window's extremes keep their peaks; since ever, `last` and `ewma` keep times.

    The quantiles of one column share its sorted values: the first of them has the slot.
    """
    if over_ns is None:
        return {"last": 4, "previous": 0, "ewma": 3}.get(role, 1)
    return {"entries": 0, "measured": 0, "last": 0, "previous": 0, "ewma": 0, "min": 2, "max": 2}.get(role, 1)


def duration_label(ns: int | None) -> str:
    """A length of time as a name in generated code: `10m`, or `ever`."""
    if ns is None:
        return "ever"
    for unit, length in UNITS:
        if ns % length == 0:
            return f"{ns // length}{unit}"
    return f"{ns}ns"


def check(definitions: Sequence[StateDefinition], types: Mapping[str, str]) -> None:
    """BundleError with all that is wrong: types a kind cannot measure, figures that are missing or out of range."""
    problems = [
        Problem(d.place.file, d.place.line, d.place.column, f"state {d.name}: {message}")
        for d in definitions
        for message in faults(d, types.get(d.name, "dyn"))
    ]
    if problems:
        raise BundleError(problems)


def faults(definition: StateDefinition, measured: str) -> Iterator[str]:
    """Everything that is wrong with a definition whose expression yields `measured`."""
    kind = definition.kind
    if kind not in STATE_KINDS:
        yield f"{kind} is no kind of state; it is one of {', '.join(STATE_KINDS)}"
    if not definition.name.isidentifier():
        yield "the name must be an identifier"
    if kind in CONDITION_KINDS and measured not in ("bool", "dyn"):
        yield f"{kind} takes a condition, and the expression yields {measured}"
    if kind in ("sum", "mean", "std", "ewma", "quantile") and measured not in NUMERIC:
        yield f"{kind} takes a number, and the expression yields {measured}"
    if kind in ("min", "max") and measured not in ORDERED:
        yield f"{kind} takes a number, a timestamp or a duration, and the expression yields {measured}"
    if kind == "distinct" and measured not in SCALAR:
        yield f"distinct takes a scalar, and the expression yields {measured}"
    if kind == "quantile" and not (definition.q is not None and 0 <= definition.q <= 1):
        yield f"q is {definition.q}; it must be from 0 to 1"
    if kind == "ewma" and not (definition.half_life_ns or 0) > 0:
        yield "ewma needs a half_life longer than nothing"
    if definition.over_ns is not None and definition.over_ns <= 0:
        yield "over must be longer than nothing"


def lay_out(
    definitions: Sequence[StateDefinition], types: Mapping[str, str], prefix: str, *, counted: bool
) -> tuple[Window, ...]:
    """The windows of these definitions, shortest first, since ever last; slots numbered from 2.

    `counted`: since ever counts its entries too, which panes need.
    """
    by_length: dict[int | None, list[StateDefinition]] = {}
    for definition in definitions:
        by_length.setdefault(definition.over_ns, []).append(definition)
    windows = []
    slot = 2
    for over_ns in sorted(by_length, key=lambda ns: SLOW if ns is None else ns):
        window = _window(over_ns, by_length[over_ns], types, prefix, slot, counted or over_ns is not None)
        slot = window.end
        windows.append(window)
    return tuple(windows)


def measure_of(definition: StateDefinition, types: Mapping[str, str]) -> tuple[str, str]:
    """What makes two definitions of a window measure the same.

    The text, and of values of unknown type what they must be. Where no entries are kept, the kind as well: figures that
    are read together then begin together, also when a later bundle adds one.
    """
    if definition.over_ns is None or definition.shared:
        return definition.expression.text.strip(), definition.kind
    form = FORMS.get(definition.kind, "number")
    return definition.expression.text.strip(), form if types.get(definition.name, "dyn") == "dyn" else ""


def _column(index: int, measuring: list[StateDefinition], types: Mapping[str, str], prefix: str) -> Column:
    name, kinds = measuring[0].name, {d.kind for d in measuring}
    measured = types.get(name, "dyn")
    forms = {FORMS.get(kind, "number") for kind in kinds}
    is_scaled = bool(kinds & {"sum", "mean", "std"}) and measured not in ("int", "uint")
    x = f"{prefix}x_{name}"
    return Column(
        name=name,
        type=measured,
        index=index,
        form=next(form for form in ("number", "condition", "scalar", "any") if form in forms),
        is_scaled=is_scaled,
        local=x,
        scaled_local=f"{prefix}v_{name}" if is_scaled else x,
        measure=measure_of(measuring[0], types),
    )


def _window(
    over_ns: int | None,
    definitions: list[StateDefinition],
    types: Mapping[str, str],
    prefix: str,
    slot: int,
    counted: bool,
) -> Window:
    by_text: dict[tuple[str, str], list[StateDefinition]] = {}
    for definition in definitions:
        if not is_plain_count(definition):
            by_text.setdefault(measure_of(definition, types), []).append(definition)
    columns = [
        _column(index, measuring, types, prefix) for index, measuring in enumerate(by_text.values(), 1)
    ]
    wanted: dict[tuple[str, Column | None, float | int | None], None] = {}
    if counted:
        wanted["entries", None, None] = None
    measured_by: dict[str, Column | None] = {}
    for definition in definitions:
        plain = is_plain_count(definition)
        column = None if plain else columns[list(by_text).index(measure_of(definition, types))]
        measured_by[definition.name] = column
        wanted |= dict.fromkeys((role, column, parameter_of(definition)) for role in roles_of(definition))
    label = duration_label(over_ns)
    figures: list[Figure] = []
    start = slot + 1 + len(columns)
    end = slot if over_ns is None else start + 1
    for role, column, parameter in wanted:
        siblings = [f for f in figures if f.role == role and f.column == column]
        local = f"{prefix}{role}_{column.name if column else label}" + (
            f"_{len(siblings) + 1}" if siblings else ""
        )
        if siblings and role == "quantile":
            figures.append(Figure(role, column, local, siblings[0].slot, parameter))
            continue
        taken = width(over_ns, role)
        figures.append(Figure(role, column, local, end if taken else None, parameter))
        end += taken
    return Window(
        over_ns, label, tuple(definitions), tuple(columns), tuple(figures), slot, start, end, measured_by
    )
