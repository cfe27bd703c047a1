"""The frame generated code is written into: lines, indentation, temporaries, constants.

Nothing of an expression's text reaches the source except through `ascii` of a vetted constant: every name
is of our own making.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Final

import msgspec

from flo.core.expression import operators
from flo.core.expression.errors import EvaluationError, Place
from flo.core.expression.typed import Typed
from flo.core.expression.values import LISTS, NUMBERS, CelType, Duration, Timestamp, UInt, contains, equals

BLOCKS_MAX: Final = 12
"""Loops and try blocks of one expression inside each other. Python takes 20 in a function; the rest is the
caller's.
"""

INDENT_MAX: Final = 60
"""Levels one expression may indent. Python takes 100."""

LINE_LENGTH_SOFT: Final = 400
"""Characters after which a part is given a name of its own, so that brackets never pile up to Python's limit
of 200.
"""

_RUNTIME: Final[dict[str, object]] = {
    "EvaluationError": EvaluationError,
    "UNSET": msgspec.UNSET,
    "UInt": UInt,
    "Timestamp": Timestamp,
    "Duration": Duration,
    "CelType": CelType,
    "list_types": LISTS,
    "number_types": NUMBERS,
    "cel_equals": equals,
    "cel_contains": contains,
    "overflow": operators.overflow,
    "wrong_type": operators.wrong_type,
    "no_such_field": operators.no_such_field,
    "not_selectable": operators.not_selectable,
    "no_such_index": operators.no_such_index,
    "out_of_budget": operators.out_of_budget,
}


class NestedTooDeep(Exception):
    """More blocks inside each other than Python takes. The checker turns it into a problem."""

    def __init__(self, node: Typed) -> None:
        super().__init__()
        self.node = node


class Frame:
    """Lines, names and constants of one Python function."""

    def __init__(self, indent: int = 1, prefix: str = "x_") -> None:
        self.lines: list[str] = []
        self.constants: dict[str, object] = {}
        self.level = indent
        self.prefix = prefix
        self._count = 0
        self._places: dict[Place, str] = {}
        self._named: dict[int, str] = {}
        self._shared: dict[object, str] = {}
        self.blocks = 0
        self.base_level = indent

    def line(self, text: str) -> None:
        """Adds one statement at the present indentation."""
        self.lines.append("    " * self.level + text)

    @contextmanager
    def block(self, header: str) -> Iterator[None]:
        """Adds `header` (`if x:`, `try:`), and indents what is added within."""
        self.line(header)
        self.level += 1
        start = len(self.lines)
        try:
            yield
        finally:
            if len(self.lines) == start:
                self.line("pass")
            self.level -= 1

    def temporary(self, hint: str = "") -> str:
        """A local name that nothing else uses."""
        self._count += 1
        return f"{self.prefix}{self._count}{'_' + hint if hint else ''}"

    def constant(self, value: object, hint: str = "k") -> str:
        """A global name for an object; the same name for the same object."""
        name = self._named.get(id(value))
        if name is None:
            self._count += 1
            name = f"{hint}_{self._count}"
            self._named[id(value)] = name
            self.constants[name] = value
        return name

    def runtime(self, name: str) -> str:
        """One of the run-time's own names, made available."""
        self.constants[name] = _RUNTIME[name]
        return name

    def shared(self, key: object, value: object, hint: str) -> str:
        """A global name for an object; the same name whenever the key is the same."""
        if key not in self._shared:
            self._shared[key] = self.constant(value, hint)
        return self._shared[key]

    def assigned(self, text: str) -> str:
        """A new temporary that holds the value of some code."""
        name = self.temporary()
        self.line(f"{name} = {text}")
        return name

    def function(self, call: Callable[..., object]) -> str:
        """The name a Python function of the table is called by."""
        name = "cel_" + getattr(call, "__name__", "call")
        if not name.isidentifier() or self.constants.get(name, call) is not call:
            return self.constant(call, "call")
        self.constants[name] = call
        return name

    def place(self, place: Place) -> str:
        """The name of a place in an expression."""
        name = self._places.get(place)
        if name is None:
            self._count += 1
            name = self._places[place] = f"at_{self._count}"
            self.constants[name] = place
        return name

    @contextmanager
    def capture(self, deeper: int = 0) -> Iterator[list[str]]:
        """Collects what is added within, `deeper` levels further in, instead of adding it."""
        kept, self.lines = self.lines, []
        self.level += deeper
        try:
            yield self.lines
        finally:
            self.lines = kept
            self.level -= deeper

    @contextmanager
    def nested(self, header: str, node: Typed) -> Iterator[None]:
        """A loop or try block of an expression, counted against BLOCKS_MAX."""
        self.blocks += 1
        if self.blocks > BLOCKS_MAX or self.level - self.base_level > INDENT_MAX:
            raise NestedTooDeep(node)
        with self.block(header):
            yield
        self.blocks -= 1
