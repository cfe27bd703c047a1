"""A compiled loop: the generated functions, and the tables that give their results a meaning."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import msgspec
import numpy

from flo.core.contract import Contract
from flo.core.expression import Checked, Type
from flo.core.loop.definition import ActionDefinition, LoopDefinition, RuleDefinition
from flo.core.mask import Mask
from flo.core.state import StatePlan

Row = tuple[Any, ...]
"""One decision: (signal row, key, seq, exit, *state columns, inputs, extra); see `flo.core.record.group`."""

EXIT_ERROR = -1
"""The exit of a decision whose expression failed; `extra["error"]` says which, why, and whether state holds the signal."""

KEY_CHARS_MAX = 512
"""Keys live in memory, a million of them: an unbounded one is a mistake in the key expression."""


@dataclass(frozen=True, slots=True)
class CompiledAction:
    """An action of a rule. `arguments` of on_silent actions are rendered when needed, from the command's own record."""

    rule: str
    n: int
    engine: str
    definition: ActionDefinition
    expect_where: Callable[[Mapping[str, Any]], Any] | None = None
    on_silent: tuple[tuple[str, str, Callable[[Mapping[str, Any]], Any]], ...] = ()  # engine, verb, arguments


UNKNOWN_NS = 1 << 62
"""The age of logic that nobody knows the age of: newer than any data, so that nothing is called stale by it."""


class Cells(dict[str, list[Any]]):
    """The state of one loop by key. A key not in memory comes from the last checkpoint, or begins empty.

    `cold` holds what the checkpoint had, still encoded: a million keys are loaded in seconds because only the touched
    ones are decoded. `logic_ns`: when what the loop decides by was made, for `fresh.logic`.
    """

    __slots__ = ("cold", "converting", "logic_ns", "others", "plan_decode", "plan_new", "shared")

    def __init__(self, new: Callable[[], list[Any]], decode: Callable[[bytes], list[Any]]) -> None:
        super().__init__()
        self.cold: dict[str, bytes] = {}
        self.plan_new = new
        self.plan_decode = decode
        self.shared: list[Any] = []
        self.others: list[Any] | None = None  # the other partitions' shared state, merged
        self.logic_ns = UNKNOWN_NS
        self.converting = False  # cold cells are still encoded as an earlier bundle laid them out

    def __missing__(self, key: str) -> list[Any]:
        encoded = self.cold.pop(key, None)
        cell = self.plan_new() if encoded is None else self.plan_decode(encoded)
        self[key] = cell
        return cell


NOT_CALLED = "it was not called when this was decided"
"""What a trace finds of a function behind an operand that had settled the matter already."""


class Calls(threading.local):
    """The results of a bundle's own functions, recorded while deciding, played back while deciding again.

    A function may read a model file or a table: its result is an input of the decision, so the record keeps it.
    Explanations decide again on threads of their own while signals are decided: each thread has its own record.
    """

    def __init__(self) -> None:
        self.results: list[Any] = []
        self.playback: list[Any] | None = None
        self.heard: dict[tuple[int, str], list[Any]] = {}  # what was played back, by function and arguments
        self.only_heard = False  # for traces, which evaluate parts in any order

    def wrap(self, function: Callable[..., Any]) -> Callable[..., Any]:
        def call(*arguments: Any) -> Any:
            if self.only_heard:
                unheard = [False, NOT_CALLED]
                result = self.heard.get((id(function), repr(arguments)), unheard)
            elif self.playback is not None:
                result = (
                    self.playback.pop(0) if self.playback else [False, "the record holds no result of it"]
                )
                self.heard[id(function), repr(arguments)] = result
            else:
                result = _called(function, arguments)
            self.results.append(result)
            if result[0]:
                return result[1]
            raise FunctionFailed(result[1])

        return call


class FunctionFailed(Exception):
    """A bundle's function raised, or returned what no record can hold; the same on playback."""


_PLAIN = (float, bool, type(None))


def _called(function: Callable[..., Any], arguments: tuple[Any, ...]) -> list[Any]:
    """[worked, result or what went wrong]: what the record keeps of a call."""
    try:
        value = function(*arguments)
        if type(value) not in _PLAIN:
            value = _as_recorded(value)
        return [True, value]
    except (Exception, SystemExit) as error:  # a function may raise anything; it becomes the third outcome
        return [False, f"{type(error).__name__}: {error}".encode(errors="replace").decode()]


def _as_recorded(value: Any) -> Any:
    """A result as its record will read: deciding sees just that, so that deciding again sees the same.

    Raises what the encoder raises for what no record can hold: integers beyond 64 bits, objects, broken text.
    """
    recorded = _decode_result(_encode_result(value))
    level = [recorded]
    while level:
        if any(type(key) is not str for each in level if type(each) is dict for key in each):
            raise TypeError("the result holds a map with keys that are not text, which no record can hold")
        level = [child for each in level for child in _children(each)]
    return recorded


def _children(value: Any) -> Iterable[Any]:
    if type(value) is dict:
        return value.values()
    return value if type(value) is list else ()


def _plain_number(value: Any) -> Any:
    """What a model answers with: numpy's numbers and arrays."""
    if isinstance(value, numpy.generic | numpy.ndarray):
        return value.tolist()
    raise TypeError(f"a {type(value).__name__} is nothing that a record can hold")


_encode_result = msgspec.msgpack.Encoder(enc_hook=_plain_number).encode
_decode_result = msgspec.msgpack.Decoder().decode


@dataclass(slots=True)
class LoopProgram:
    """One loop, compiled. The functions are pure but for the cells they are given; they do no I/O and read no clock.

    decide(signal, data, t, now, context, need, cells, row) -> Row | None   None: `where` says it is not for this loop
    decide_run(signals, times, now, cells, row, rows, unusual)              decides signals whose rows begin at `row`, and
                                   appends; `unusual(signal, t, row, place) -> Row` sees rows with an `extra` first
    fold(signal, data, t, now, context, need, cells)                        the same change of state, without the rules
    refold(t, now, key, measured, cells)                                    the same, from the inputs a record holds
    redecide(signal, data, t, now, context, need, row, key, seq, state, extra) -> Row
                                   the rules alone, on recorded state; with a mask also `recorded`, what a rule came to
    """

    definition: LoopDefinition
    revision: str
    contract: Contract | None
    plan: StatePlan
    shared_plan: StatePlan
    rules: tuple[RuleDefinition, ...]  # in the order they are tried
    state_columns: tuple[str, ...]
    time_columns: Mapping[str, Type]  # those that hold timestamps and durations
    actions: Mapping[str, tuple[CompiledAction, ...]]  # by rule id
    conditions: Mapping[str, Checked]  # by rule id, for the trace
    source: str
    decide: Callable[..., Row | None]
    decide_run: Callable[..., None] | None  # None where signals bring more than data: contexts, needs, masks
    fold: Callable[..., list[Any] | None]
    refold: Callable[..., list[Any]]
    redecide: Callable[..., Row]
    key_of: Callable[
        ..., str | None
    ]  # (signal, data, t, now, context): the key alone; None where it is not for this loop
    calls: Calls
    uses_functions: bool
    uses_context: bool
    needs: Mapping[str, str]
    mask: Mask  # all that is masked of the signals this loop meets
    masked_contract: Contract | None  # the contract as a masked signal keeps it; None where it has none
    key_field: str | None = None  # where the key is just this text field of the data
    where_equals: tuple[str, str] | None = (
        None  # (data field, constant) every match must have: the router's shortcut
    )

    @property
    def name(self) -> str:
        return self.definition.name

    def new_cells(self) -> Cells:
        offset = self.offset
        head = [0] * offset

        def new() -> list[Any]:
            return head + self.plan.new_slots()

        cells = Cells(new, self.decode_cell)
        if self.shared_plan.fields:
            cells.shared = self.shared_plan.new_slots()
        return cells

    def adopt(self, before: LoopProgram, cells: Cells) -> Cells:
        """The cells of this loop under an earlier bundle, as this one reads them.

        State whose definition did not change is kept; the sequence always is. Keys still encoded are converted when
        they are touched, so a change of bundle never waits for a million keys.
        """
        if before.layout == self.layout:
            cells.plan_new = self.new_cells().plan_new
            if not cells.converting:  # else its cold cells are of a layout before this one
                cells.plan_decode = self.decode_cell
            return cells
        adopted = self.new_cells()

        def convert(cell: list[Any]) -> list[Any]:
            return self._converted(before, cell)

        decode_before = cells.plan_decode
        adopted.plan_decode = lambda encoded: convert(decode_before(encoded))
        adopted.cold = cells.cold
        adopted.converting = True
        for key, cell in cells.items():
            adopted[key] = convert(cell)
        if self.shared_plan.fields:
            adopted.shared = self.shared_plan.migrate(before.shared_plan, cells.shared)
        return adopted

    def _converted(self, before: LoopProgram, cell: list[Any]) -> list[Any]:
        acts = dict(zip(before.once_rules, cell[1 : before.offset], strict=True))
        head = [cell[0], *(acts.get(rule, 0) for rule in self.once_rules)]
        return head + self.plan.migrate(before.plan, cell[before.offset :])

    @property
    def layout(self) -> tuple[object, ...]:
        """What two programs must share for their encoded cells to be the same."""
        plans = tuple(
            (state.name, (self.shared_plan if state.shared else self.plan).signature(state.name))
            for state in self.definition.state
        )
        return (self.once_rules, plans)

    @property
    def once_rules(self) -> tuple[str, ...]:
        """Rules that act at most once in a while, in the order of their memory in a cell."""
        return tuple(rule.id for rule in self.rules if rule.once_within_ns is not None)

    @property
    def offset(self) -> int:
        """Where the state's slots begin in a cell: after the sequence and one slot per rule that remembers its last act."""
        return 1 + len(self.once_rules)

    def encode_cell(self, cell: list[Any]) -> bytes:
        return _encode_cell((cell[: self.offset], self.plan.encode(cell[self.offset :])))

    def encode_shared(self, slots: list[Any]) -> bytes:
        return self.shared_plan.encode(slots)

    def decode_cell(self, encoded: bytes) -> list[Any]:
        head, slots = _decode_cell(encoded)
        return [*head, *self.plan.decode(slots)]

    def result(self, exit: int) -> str | None:
        """The decision's result for an exit."""
        if exit == EXIT_ERROR:
            return None
        return self.rules[exit].result if exit < len(self.rules) else self.definition.otherwise


_encode_cell = msgspec.msgpack.Encoder().encode
_decode_cell = msgspec.msgpack.Decoder(tuple[list[int], bytes]).decode
