"""The Python statements that update a key's state and leave its raw figures in local variables.

What is emitted is read by people (`flo check --code`): straight code, no call on the path of signals in order but
appending to a column. Nothing here changes the cell before every value has been checked.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from flo.core.state.exact import MAGNITUDE_MAX, PLAIN_MIN
from flo.core.state.layout import ENTRIES_MAX, NEVER, Column, Figure, Window

LOOK_ENTRIES = 16
"""Every so many entries a key looks whether it holds too many, or such as are long out of its window."""

TALLY_ENTRIES = 16
"""Up to this many entries distinct values are counted anew each time; beyond, a tally is kept."""

SMALL, LARGE = f"{PLAIN_MIN:g}", f"{MAGNITUDE_MAX:g}"


def check_values(windows: tuple[Window, ...], inputs: Mapping[str, str]) -> Iterator[str]:
    """Each measured value into its local, checked: StateError here, before anything changes."""
    for window in windows:
        for column in window.columns:
            yield from _check_value(column, inputs[column.name])


def _check_value(column: Column, value: str) -> Iterator[str]:
    x, name = column.local, column.name
    if column.type == "dyn" and column.form in ("number", "scalar"):
        yield f"{x} = state_{column.form}({value}, {name!r})"
    else:
        yield f"{x} = {value}"
    if column.type == "dyn" and column.form == "condition":
        yield f"if {x} is not True and {x} is not False:"
        yield f"    state_refuse_condition({x}, {name!r})"
    if column.is_scaled:
        yield f"if {SMALL} < {x} < {LARGE} or -{LARGE} < {x} < -{SMALL}:"
        yield f"    {column.scaled_local} = state_whole({x} * 2.0**100)"
        yield "else:"
        yield f"    {column.scaled_local} = state_exact({x}, {name!r})"
    elif column.type == "double" and column.form != "any":
        yield f"if not -{LARGE} < {x} < {LARGE}:"
        yield f"    state_refuse_magnitude({x}, {name!r})"


class WindowCode:
    """The statements for one window of entries, the signal being the newest of its key."""

    def __init__(self, window: Window, cell: str, offset: int, t: str, prefix: str) -> None:
        assert window.over_ns is not None
        self.window = window
        self.over_ns = window.over_ns
        self.cell, self.offset, self.t, self.prefix = cell, offset, t, prefix
        self.times = f"{prefix}times_{window.label}"
        self.start = f"{prefix}start_{window.label}"
        self.edge = f"{prefix}edge_{window.label}"
        self.count = window.figures[0].local

    def slot(self, index: int | None) -> str:
        assert index is not None
        return f"{self.cell}[{self.offset + index}]"

    def lines(self) -> Iterator[str]:
        window = self.window
        yield f"# over {window.label}: {', '.join(d.name for d in window.definitions)}"
        yield f"{self.times} = {self.slot(window.slot)}"
        yield f"{self.times}.append({self.t})"
        for column in window.columns:
            yield f"{self.values(column)} = {self.slot(window.slot + column.index)}"
            yield f"{self.values(column)}.append({column.local})"
        yield f"{self.start} = {self.slot(window.start)}"
        yield from self._enter()
        yield f"{self.edge} = {self.t} - {self.over_ns:_}"
        yield f"if {self.times}[{self.start}] <= {self.edge}:"
        yield from ("    " + line for line in self._evict())
        yield from self._keep()
        size = f"{self.prefix}size_{window.label}"
        yield f"{size} = len({self.times})"
        yield f"{self.count} = {size} - {self.start}"
        # one entry a signal: every LOOK_ENTRIES-th signal comes by here, and no other looks at what is old and cold
        yield f"if not {size} % {LOOK_ENTRIES}:"
        yield f"    if {self.start} and {self.times}[0] <= {self.t} - {3 * self.over_ns:_}:"
        yield f"        {self.start} = {self.prefix}state_trim({self.cell}, {self.offset}, {window.slot}, {self.t})"
        yield f"    if {self.count} > {ENTRIES_MAX}:"
        yield f"        {self.prefix}state_overflow({self.cell}, {self.offset}, {window.slot})"
        yield from self._read()

    def values(self, column: Column) -> str:
        return f"{self.prefix}values_{column.name}"

    def oldest(self, column: Column) -> str:
        return f"{self.values(column)}[{self.start}]"

    def _enter(self) -> Iterator[str]:
        for figure, column in _measured(self.window):
            slot, x = figure.slot and self.slot(figure.slot), column.local
            match figure.role:
                case "true":
                    yield f"{figure.local} = {slot} + {x}"
                case "sum":
                    yield f"{figure.local} = {slot} + {column.scaled_local}"
                case "square":
                    yield f"{figure.local} = {slot} + {column.scaled_local} * {column.scaled_local}"
                case "min" | "max":
                    yield f"{figure.local} = {slot}"
                    yield f"if {x} {'<' if figure.role == 'min' else '>'} {figure.local}:"
                    yield f"    {slot} = {figure.local} = {x}"
                case "quantile" if self._is_first(figure):
                    yield f"{self._sorted(column)} = {slot}"
                    yield f"state_insert({self._sorted(column)}, {x})"
                case "distinct":
                    yield f"{self._tally(column)} = {slot}"
                    yield f"if {self._tally(column)} is not None:"
                    yield f"    {self._tally(column)}[{x}] = {self._tally(column)}.get({x}, 0) + 1"

    def _evict(self) -> Iterator[str]:
        window = self.window
        extremes = [f for f, _ in _measured(window) if f.role in ("min", "max")]
        yield from (f"{self._gone(figure)} = False" for figure in extremes)
        yield f"while {self.times}[{self.start}] <= {self.edge}:"
        yield from ("    " + line for line in self._leave())
        yield f"    {self.start} += 1"
        yield f"{self.slot(window.start)} = {self.start}"
        for figure in extremes:
            assert figure.column is not None
            at = [window.slot + figure.column.index, window.start, figure.slot or 0]
            slots = ", ".join(str(self.offset + slot) for slot in at)
            yield f"if {self._gone(figure)}:"
            yield f"    {figure.local} = state_{figure.role}({self.cell}, {slots})"

    def _leave(self) -> Iterator[str]:
        for column in self.window.columns:
            figures = [f for f in self.window.figures if f.column == column]
            if any(f.role in ("sum", "square") for f in figures):
                yield from self._leave_sum(column, figures)
            for figure in figures:
                match figure.role:
                    case "true":
                        yield f"{figure.local} -= {self.oldest(column)}"
                    case "min" | "max":
                        yield f"if {self.oldest(column)} == {figure.local}:"
                        yield f"    {self._gone(figure)} = True"
                    case "quantile" if self._is_first(figure):
                        yield f"state_remove({self._sorted(column)}, {self.oldest(column)})"
                    case "distinct":
                        yield f"if {self._tally(column)} is not None:"
                        yield f"    state_forget({self._tally(column)}, {self.oldest(column)})"

    def _leave_sum(self, column: Column, figures: list[Figure]) -> Iterator[str]:
        old = f"{self.prefix}old"
        yield f"{old} = {self.oldest(column)}"
        if column.is_scaled:
            yield f"if {old} > {SMALL} or {old} < -{SMALL}:"
            yield f"    {old} = state_whole({old} * 2.0**100)"
            yield "else:"
            yield f"    {old} = state_exact({old}, {column.name!r})"
        for figure in figures:
            if figure.role == "sum":
                yield f"{figure.local} -= {old}"
            elif figure.role == "square":
                yield f"{figure.local} -= {old} * {old}"

    def _keep(self) -> Iterator[str]:
        for figure, _ in _measured(self.window):
            if figure.role in ("true", "sum", "square"):
                yield f"{self.slot(figure.slot)} = {figure.local}"

    def _read(self) -> Iterator[str]:
        for figure, column in _measured(self.window):
            match figure.role:
                case "measured":
                    yield f"{figure.local} = {self.count}"
                case "last":
                    yield f"{figure.local} = {column.local}"
                case "previous":
                    yield f"{figure.local} = {self.values(column)}[-2] if {self.count} > 1 else {column.local}"
                case "quantile":
                    yield f"{figure.local} = state_quantile({self._sorted(column)}, {figure.parameter})"
                case "ewma":
                    where = f"{self.times}, {self.values(column)}, {self.start}"
                    yield f"{figure.local} = state_decayed({where}, {self.t}, {figure.parameter:_})"
                case "distinct":
                    yield f"if {self._tally(column)} is not None:"
                    yield f"    {figure.local} = len({self._tally(column)})"
                    yield "else:"
                    yield f"    {figure.local} = len(set({self.values(column)}[{self.start}:]))"
                    yield f"    if {self.count} > {TALLY_ENTRIES}:"
                    yield f"        {self.slot(figure.slot)} = state_tally({self.values(column)}, {self.start})"

    def _is_first(self, figure: Figure) -> bool:
        return (
            next(f for f in self.window.figures if f.role == "quantile" and f.slot == figure.slot) is figure
        )

    def _sorted(self, column: Column) -> str:
        return f"{self.prefix}sorted_{column.name}"

    def _tally(self, column: Column) -> str:
        return f"{self.prefix}tally_{column.name}"

    def _gone(self, figure: Figure) -> str:
        return f"{figure.local}_gone"


class EverCode:
    """The statements for what counts since ever, in whatever order signals come."""

    def __init__(self, window: Window, cell: str, offset: int, t: str, prefix: str) -> None:
        self.window, self.cell, self.offset, self.t, self.prefix = window, cell, offset, t, prefix

    def lines(self) -> Iterator[str]:
        yield f"# since ever: {', '.join(d.name for d in self.window.definitions)}"
        seen: set[int] = set()
        for figure in self.window.figures:
            if figure.slot is not None:
                yield from self._figure(figure, figure.slot not in seen)
                seen.add(figure.slot)

    def _figure(self, figure: Figure, is_first: bool) -> Iterator[str]:
        assert figure.slot is not None
        at = self.offset + figure.slot
        slot = f"{self.cell}[{at}]"
        if figure.column is None:
            yield f"{slot} = {figure.local} = {slot} + 1"
            return
        x, v = figure.column.local, figure.column.scaled_local
        match figure.role:
            case "measured":
                yield f"{slot} = {figure.local} = {slot} + 1"
            case "true":
                yield f"{slot} = {figure.local} = {slot} + {x}"
            case "sum":
                yield f"{slot} = {figure.local} = {slot} + {v}"
            case "square":
                yield f"{slot} = {figure.local} = {slot} + {v} * {v}"
            case "min" | "max":
                yield f"{figure.local} = {slot}"
                yield f"if {x} {'<' if figure.role == 'min' else '>'} {figure.local}:"
                yield f"    {slot} = {figure.local} = {x}"
            case "last":
                yield from self._last(figure, at, x)
            case "ewma":
                yield from self._ewma(figure, at, x)
            case "quantile":
                if is_first:
                    yield f"state_observe({self.cell}, {at}, {x})"
                yield f"{figure.local} = state_quantile({slot}, {figure.parameter})"
            case "distinct":
                yield f"{figure.local} = state_observe_distinct({self.cell}, {at}, {x})"

    def _last(self, figure: Figure, at: int, x: str) -> Iterator[str]:
        cell, t, last = self.cell, self.t, figure.local
        previous = next(
            f for f in self.window.figures if f.role == "previous" and f.column == figure.column
        ).local
        yield f"if {t} >= {cell}[{at}]:"
        yield f"    {previous} = {cell}[{at + 1}] if {cell}[{at}] != {NEVER} else {x}"
        yield f"    {last} = {x}"
        yield f"    {cell}[{at} : {at + 4}] = {t}, {last}, {cell}[{at}], {previous}"
        yield "else:"
        yield f"    if {t} >= {cell}[{at + 2}]:"
        yield f"        {cell}[{at + 2} : {at + 4}] = {t}, {x}"
        yield f"    {last} = {cell}[{at + 1}]"
        yield f"    {previous} = {cell}[{at + 3}]"

    def _ewma(self, figure: Figure, at: int, x: str) -> Iterator[str]:
        cell, t, decay, half_life = self.cell, self.t, f"{self.prefix}decay", f"{figure.parameter:_}"
        yield f"if {t} >= {cell}[{at}]:"
        yield f"    {decay} = 2.0 ** (({cell}[{at}] - {t}) / {half_life})"
        yield f"    {cell}[{at}] = {t}"
        yield f"    {cell}[{at + 1}] = {cell}[{at + 1}] * {decay} + {x}"
        yield f"    {cell}[{at + 2}] = {cell}[{at + 2}] * {decay} + 1.0"
        yield "else:"
        yield f"    {decay} = 2.0 ** (({t} - {cell}[{at}]) / {half_life})"
        yield f"    {cell}[{at + 1}] += {x} * {decay}"
        yield f"    {cell}[{at + 2}] += {decay}"
        yield f"{figure.local} = {cell}[{at + 1}] / {cell}[{at + 2}]"


def _measured(window: Window) -> Iterator[tuple[Figure, Column]]:
    return ((figure, figure.column) for figure in window.figures if figure.column is not None)
