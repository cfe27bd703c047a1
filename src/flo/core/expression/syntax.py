"""The syntax tree of an expression: frozen nodes, each knowing the slice of text it was read from.

Macros (`has`, `all`, `exists`, ...) are nodes of their own rather than expansions, so that messages, costs
and the emitted code speak of what was written.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal as OneOf

from flo.core.expression.errors import Place

EXPRESSION_LENGTH_MAX = 32_768
"""Characters. A rule is a line or two; what is longer is generated, and belongs in data."""

EXPRESSION_NODES_MAX = 10_000
"""Nodes of the tree: room for a list of some thousand constants."""

EXPRESSION_DEPTH_MAX = 64
"""Levels. CEL asks for at least 32; Python allows 200 open brackets and, by default, 1,000 frames, of which
parser, checker and emitter need up to 8 a level.
"""

OPERAND_FRAMES_MAX = 2 * EXPRESSION_DEPTH_MAX + 32
"""Operators waiting for their right side while the parser is at its deepest: bounds its stack."""


@dataclass(frozen=True, slots=True)
class Node:
    """Any part of an expression: `text[start:end]` is what it was read from."""

    start: int
    end: int


@dataclass(frozen=True, slots=True)
class Literal(Node):
    """A constant: None, bool, int, UInt, float, str or bytes."""

    value: object


@dataclass(frozen=True, slots=True)
class Name(Node):
    """A name. `absolute` (written `.name`) looks past the variables of macros."""

    name: str
    absolute: bool = False


@dataclass(frozen=True, slots=True)
class Select(Node):
    """`operand.field`; `quoted` where the field was written in backticks."""

    operand: Node
    field: str
    quoted: bool = False


@dataclass(frozen=True, slots=True)
class Has(Node):
    """`has(operand.field)`: whether the field is there."""

    select: Select


@dataclass(frozen=True, slots=True)
class Index(Node):
    """`operand[index]`."""

    operand: Node
    index: Node


@dataclass(frozen=True, slots=True)
class Call(Node):
    """`function(arguments)` or `target.function(arguments)`."""

    function: str
    target: Node | None
    arguments: tuple[Node, ...]


@dataclass(frozen=True, slots=True)
class ListLiteral(Node):
    """`[a, b]`."""

    items: tuple[Node, ...]


@dataclass(frozen=True, slots=True)
class MapLiteral(Node):
    """`{key: value}`."""

    entries: tuple[tuple[Node, Node], ...]


@dataclass(frozen=True, slots=True)
class Unary(Node):
    """`-operand` or `!operand`."""

    operator: OneOf["-", "!"]
    operand: Node


@dataclass(frozen=True, slots=True)
class Binary(Node):
    """`left operator right`, for all binary operators but `&&` and `||`."""

    operator: str
    left: Node
    right: Node


@dataclass(frozen=True, slots=True)
class Logic(Node):
    """`a && b && c` or `a || b || c`, flat however many there are."""

    operator: OneOf["&&", "||"]
    operands: tuple[Node, ...]


@dataclass(frozen=True, slots=True)
class Conditional(Node):
    """`condition ? then : otherwise`."""

    condition: Node
    then: Node
    otherwise: Node


MacroKind = OneOf["all", "exists", "exists_one", "map", "filter", "transform_map"]


@dataclass(frozen=True, slots=True)
class Comprehension(Node):
    """`target.kind(variables, ...)`. Two variables: index and value of a list, key and value of a map."""

    kind: MacroKind
    target: Node
    variables: tuple[str, ...]
    condition: Node | None
    body: Node


@dataclass(frozen=True, slots=True)
class Bind(Node):
    """`cel.bind(name, value, body)`."""

    name: str
    value: Node
    body: Node


@dataclass(frozen=True, slots=True)
class Expression:
    """A parsed expression: its text and its tree."""

    text: str
    root: Node

    def place(self, node: Node) -> Place:
        """Where `node` stands in the text."""
        line, column = position(self.text, node.start)
        return Place(self.text[node.start : node.end], line, column)


def position(text: str, offset: int) -> tuple[int, int]:
    """Line and column of an offset, both from 1."""
    return text.count("\n", 0, offset) + 1, offset - text.rfind("\n", 0, offset)


def children(node: Node) -> Iterator[Node]:
    """The direct parts of a node, in the order they were written."""
    match node:
        case Select(operand=operand) | Unary(operand=operand):
            yield operand
        case Has(select=select):
            yield select
        case Index(operand=operand, index=index):
            yield operand
            yield index
        case Call(target=target, arguments=arguments):
            if target is not None:
                yield target
            yield from arguments
        case ListLiteral(items=items):
            yield from items
        case MapLiteral(entries=entries):
            for key, value in entries:
                yield key
                yield value
        case Binary(left=left, right=right):
            yield left
            yield right
        case Logic(operands=operands):
            yield from operands
        case Conditional(condition=condition, then=then, otherwise=otherwise):
            yield condition
            yield then
            yield otherwise
        case Comprehension(target=target, condition=condition, body=body):
            yield target
            if condition is not None:
                yield condition
            yield body
        case Bind(value=value, body=body):
            yield value
            yield body
