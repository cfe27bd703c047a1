"""A compiled loop: the generated functions, and the tables that give their results a meaning."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import msgspec

from flo.core.contract import Contract
from flo.core.expression import Checked, EvaluationError
from flo.core.loop.definition import ActionDefinition, LoopDefinition, RuleDefinition
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


class Cells(dict[str, list[Any]]):
    """The state of one loop by key. A key not in memory comes from the last checkpoint, or begins empty.

    `cold` holds what the checkpoint had, still encoded: a million keys are loaded in seconds because only the touched
    ones are decoded.
    """

    __slots__ = ("cold", "plan_new", "plan_decode", "shared")

    def __init__(self, new: Callable[[], list[Any]], decode: Callable[[bytes], list[Any]]) -> None:
        super().__init__()
        self.cold: dict[str, bytes] = {}
        self.plan_new = new
        self.plan_decode = decode
        self.shared: list[Any] = []

    def __missing__(self, key: str) -> list[Any]:
        encoded = self.cold.pop(key, None)
        cell = self.plan_new() if encoded is None else self.plan_decode(encoded)
        self[key] = cell
        return cell


class Calls:
    """The results of a bundle's own functions, recorded while deciding, played back while deciding again.

    A function may read a model file or a table: its result is an input of the decision, so the record keeps it.
    """

    __slots__ = ("results", "playback")

    def __init__(self) -> None:
        self.results: list[Any] = []
        self.playback: list[Any] | None = None

    def wrap(self, name: str, function: Callable[..., Any]) -> Callable[..., Any]:
        def call(*arguments: Any) -> Any:
            if self.playback is not None:
                result = self.playback.pop(0)
            else:
                try:
                    result = [True, function(*arguments)]
                except Exception as error:  # a bundle's function may raise anything; it becomes the third outcome
                    result = [False, f"{name}() raised {type(error).__name__}: {error}"]
                self.results.append(result)
            if result[0]:
                return result[1]
            raise EvaluationError(result[1], "function")

        return call


@dataclass(slots=True)
class LoopProgram:
    """One loop, compiled. The functions are pure but for the cells they are given; they do no I/O and read no clock.

    decide(signal, data, t, now, context, need, cells, row) -> Row | None   None: `where` says it is not for this loop
    fold(signal, data, t, now, context, need, cells)                        the same change of state, without the rules
    redecide(signal, data, t, now, context, need, row, key, seq, state) -> Row   the rules alone, on recorded state
    """

    definition: LoopDefinition
    revision: str
    contract: Contract | None
    plan: StatePlan
    shared_plan: StatePlan
    rules: tuple[RuleDefinition, ...]  # in the order they are tried
    state_columns: tuple[str, ...]
    actions: Mapping[str, tuple[CompiledAction, ...]]  # by rule id
    conditions: Mapping[str, Checked]  # by rule id, for the trace
    source: str
    decide: Callable[..., Row | None]
    fold: Callable[..., list[Any] | None]
    redecide: Callable[..., Row]
    calls: Calls
    uses_functions: bool
    uses_context: bool
    needs: Mapping[str, str]
    where_equals: tuple[str, str] | None = None  # (data field, constant) every match must have: the router's shortcut

    @property
    def name(self) -> str:
        return self.definition.name

    def new_cells(self) -> Cells:
        offset = self.offset
        head = [0] * offset

        def new() -> list[Any]:
            return head + self.plan.new_slots()

        return Cells(new, self.decode_cell)

    @property
    def offset(self) -> int:
        """Where the state's slots begin in a cell: after the sequence and one slot per rule that remembers its last act."""
        return 1 + sum(rule.once_within_ns is not None for rule in self.rules)

    def encode_cell(self, cell: list[Any]) -> bytes:
        return _encode_cell((cell[: self.offset], self.plan.encode(cell[self.offset :])))

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
