"""Writing comparisons: `==`, `!=`, `<`, `<=`, `>`, `>=`, `in`."""

from __future__ import annotations

from typing import Final

from flo.core.expression import operators
from flo.core.expression.emission.writing import Writing
from flo.core.expression.typed import Compare, Constant, MakeList, Typed
from flo.core.expression.types import (
    BOOL,
    BYTES,
    DURATION,
    DYN,
    INT,
    NULL,
    NUMERIC,
    STRING,
    TIMESTAMP,
    UINT,
    ListOf,
    MapOf,
    Type,
)

_EXACT: Final = frozenset({STRING, BYTES, INT, UINT, BOOL, TIMESTAMP, DURATION})
"""Types whose lists Python compares as CEL does. A double may be NaN, which Python finds equal to the same
NaN.
"""


class ComparisonWriter(Writing):
    """Comparisons: plain Python where types are known, the run-time's functions where they are not."""

    def compare(self, node: Compare) -> str:
        if node.operator == "in":
            return self.membership(node)
        if node.operator in ("==", "!="):
            return self.equality(node)
        left, right = self.code(node.left), self.code(node.right)
        if node.left.type == DYN and node.right.type == DYN:
            left, right = self.named(left), self.named(right)
            self.frame.line(self.call(operators.check_order, left, right, self.place(node)))
        return f"({left} {node.operator} {right})"

    def equality(self, node: Compare) -> str:
        left, right = node.left, node.right
        if right.type == DYN and left.type != DYN:
            left, right = right, left
        negated = node.operator == "!="
        if left.type == DYN:
            return self.dynamic_equality(left, right, negated)
        plain = left.type in NUMERIC and right.type in NUMERIC
        plain = plain or (left.type == right.type and (left.type != DYN) and not _nested(left.type))
        plain = plain or (
            left.type == right.type and isinstance(left.type, ListOf) and left.type.element in _EXACT
        )
        if plain:
            return f"({self.code(left)} {node.operator} {self.code(right)})"
        return self.helper_equality(left, right, negated)

    def dynamic_equality(self, left: Typed, right: Typed, negated: bool) -> str:
        """`left` is of unknown type. Python's `==` is CEL's where the right side is text, and `is` for null,
        bool.
        """
        kind = right.type
        sign = "!=" if negated else "=="
        if kind in (STRING, BYTES):
            return f"({self.code(left)} {sign} {self.code(right)})"
        if isinstance(right, Constant) and (kind in (NULL, BOOL)):
            return f"({self.local(left)} {'is not' if negated else 'is'} {right.value})"
        if isinstance(right, Constant) and kind in NUMERIC:
            name = self.atom(left)
            numbers = self.frame.runtime("number_types")
            if negated:
                return f"({name} != {self.code(right)} or type({name}) not in {numbers})"
            return f"({name} == {self.code(right)} and type({name}) in {numbers})"
        return self.helper_equality(left, right, negated)

    def helper_equality(self, left: Typed, right: Typed, negated: bool) -> str:
        text = f"{self.frame.runtime('cel_equals')}({self.boxed(left)}, {self.boxed(right)})"
        return f"(not {text})" if negated else text

    def membership(self, node: Compare) -> str:
        left, right = node.left, node.right
        if isinstance(right, MakeList):
            constants = self.constant_members(left.type, right)
            kind_of_members = right.items[0].type if right.items else DYN
            if constants is not None:
                if left.type != DYN or kind_of_members == STRING:
                    return f"({self.code(left)} in {constants})"
                name = self.local(left)
                return f"({name} in {constants} and type({name}) in {self.frame.runtime('number_types')})"
        kind = right.type
        if isinstance(kind, ListOf):
            if left.type == kind.element and kind.element in _EXACT:
                return f"({self.code(left)} in {self.code(right)})"
            return f"{self.frame.runtime('cel_contains')}({self.boxed(left)}, {self.boxed(right)})"
        if isinstance(kind, MapOf):
            if left.type in (STRING, INT, UINT):
                return f"({self.code(left)} in {self.code(right)})"
            return self.call(operators.in_map, self.boxed(left), self.boxed(right))
        return self.call(operators.is_in, self.boxed(left), self.boxed(right), self.place(node))

    def constant_members(self, kind: Type, members: MakeList) -> str | None:
        """A set (or tuple) of constants, if `in` means the same on it. Python folds it at compile time."""
        if not members.items or not all(isinstance(each, Constant) for each in members.items):
            return None
        texts = ", ".join(self.code(each) for each in members.items)
        kinds = {each.type for each in members.items}
        if kind == DYN and (kinds == {STRING} or kinds <= NUMERIC):
            return f"({texts},)"
        if (kinds == {STRING} and kind == STRING) or (kind in NUMERIC and kinds <= NUMERIC):
            return "{" + texts + "}"
        return None


def _nested(kind: Type) -> bool:
    return isinstance(kind, ListOf | MapOf)
