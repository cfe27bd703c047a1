"""What all writers share: atoms, boxes, guards, places."""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Final

from flo.core.expression.checked import Checked
from flo.core.expression.conversions import record_value
from flo.core.expression.emission.frame import LINE_LENGTH_SOFT, Frame
from flo.core.expression.typed import Constant, Slot, Typed
from flo.core.expression.types import (
    BOOL,
    BYTES,
    DOUBLE,
    DURATION,
    INT,
    NULL,
    STRING,
    TIMESTAMP,
    TYPE,
    UINT,
    ListOf,
    MapOf,
    Type,
    holds_record,
)

_ATOM: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]*|\d+|\"[^\"\\]*\"|'[^'\\]*'")
_BRACKETS_SOFT: Final = 40

_BOXES: Final[dict[Type, str]] = {UINT: "UInt", TIMESTAMP: "Timestamp", DURATION: "Duration"}
_GUARDS: Final[dict[Type, str]] = {
    INT: "int",
    UINT: "UInt",
    DOUBLE: "float",
    STRING: "str",
    BYTES: "bytes",
    TIMESTAMP: "Timestamp",
    DURATION: "Duration",
    TYPE: "CelType",
}


class Writing(ABC):
    """A writer in a frame. `code` gives Python that is valid right after the lines it added to the frame."""

    def __init__(self, frame: Frame, checked: Checked) -> None:
        self.frame = frame
        self.expression = checked.expression
        self.slots: dict[int, str] = {}
        self.budget: str | None = None
        self.walks = 0  # loops around the present node that draw on the budget

    @abstractmethod
    def code(self, node: Typed) -> str:
        """Python for the value of a node."""

    def atom(self, node: Typed) -> str:
        """As `code`, but a name or constant, which may be used more than once."""
        return self.named(self.code(node))

    def named(self, text: str) -> str:
        """A name for a piece of code, unless it is one already."""
        if _ATOM.fullmatch(text):
            return text
        name = self.frame.temporary()
        self.frame.line(f"{name} = {text}")
        return name

    def local(self, node: Typed) -> str:
        """As `code`, but always a local name: Python warns where a constant is subscripted or compared by
        `is`.
        """
        text = self.code(node)
        return (
            text
            if text.isidentifier() and text not in ("None", "True", "False")
            else self.frame.assigned(text)
        )

    def short(self, text: str) -> str:
        """The code itself, or a name for it where it has so many brackets that Python might refuse it."""
        if (
            len(text) > LINE_LENGTH_SOFT
            and text.count("(") + text.count("[") + text.count("{") > _BRACKETS_SOFT
        ):
            return self.named(text)
        return text

    def boxed(self, node: Typed) -> str:
        """As `code`, for a place where the static type is forgotten: the value carries its own type."""
        return self.box(self.code(node), node)

    def box(self, text: str, node: Typed) -> str:
        kind = node.type
        if kind in _BOXES:
            if isinstance(node, Constant):
                return self.frame.constant(node.value)
            if isinstance(node, Slot):
                return text
            return f"{self.frame.runtime(_BOXES[kind])}({text})"
        if isinstance(kind, ListOf | MapOf) and holds_record(kind):
            return f"{self.frame.function(record_value)}({text})"
        return text

    def place(self, node: Typed) -> str:
        """The name of the place of a node, for errors."""
        return self.frame.place(self.expression.place(node.syntax))

    def call(self, function: Callable[..., object], *arguments: str) -> str:
        """A call of a Python function of ours."""
        return f"{self.frame.function(function)}({', '.join(arguments)})"

    def fail(self, condition: str, error: str) -> None:
        """A statement that raises `error` if `condition` holds."""
        name, _, rest = error.partition("(")
        self.frame.runtime(name)
        self.frame.line(f"if {condition}:")
        self.frame.line(f"    raise {name}({rest}")

    def unless(self, text: str, kind: Type) -> tuple[str, str]:
        """The condition under which a value is not of a type, and what to call that type."""
        if kind == BOOL:
            return f"{text} is not True and {text} is not False", "bool"
        if kind == NULL:
            return f"{text} is not None", "null"
        if isinstance(kind, ListOf):
            return f"type({text}) not in {self.frame.runtime('list_types')}", "a list"
        if isinstance(kind, MapOf):
            return f"not isinstance({text}, dict)", "a map"
        name = _GUARDS[kind]
        if name[0].isupper():
            self.frame.runtime(name)
        return f"type({text}) is not {name}", str(kind)
