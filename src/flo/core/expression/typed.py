"""A checked expression: the tree the emitter writes down, every node with its type and whether it can fail.

A node that cannot fail has no effect and may be evaluated at any time, or twice, or not at all.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal as OneOf

from flo.core.expression.functions import Function, Overload
from flo.core.expression.syntax import MacroKind, Node
from flo.core.expression.types import Field, Type


@dataclass(frozen=True, slots=True, eq=False)
class Typed:
    """Any node: the syntax it came from, its type, whether evaluating it can raise EvaluationError."""

    syntax: Node
    type: Type
    fallible: bool


@dataclass(frozen=True, slots=True, eq=False)
class Constant(Typed):
    """A value known now."""

    value: object


@dataclass(frozen=True, slots=True, eq=False)
class Read(Typed):
    """A variable of the environment, read by `code`."""

    name: str
    code: str


@dataclass(frozen=True, slots=True, eq=False)
class Slot(Typed):
    """The variable of a macro; `number` is unique within the expression."""

    name: str
    number: int


@dataclass(frozen=True, slots=True, eq=False)
class FieldRead(Typed):
    """A declared field of a record."""

    owner: Typed
    name: str
    field: Field


@dataclass(frozen=True, slots=True, eq=False)
class KeyRead(Typed):
    """`owner.key` or `owner["key"]` on a map or on what is not known."""

    owner: Typed
    key: str


@dataclass(frozen=True, slots=True, eq=False)
class HasField(Typed):
    """`has(owner.name)`; `field` where it is declared."""

    owner: Typed
    name: str
    field: Field | None


@dataclass(frozen=True, slots=True, eq=False)
class At(Typed):
    """`owner[index]`."""

    owner: Typed
    index: Typed


@dataclass(frozen=True, slots=True, eq=False)
class Whole(Typed):
    """A record, or what holds records, as plain maps and lists; `code` where the environment gives it."""

    operand: Typed
    code: str | None


@dataclass(frozen=True, slots=True, eq=False)
class Guard(Typed):
    """An operand of unknown type that must turn out to be of this one. `number`: any numeric type will do."""

    operand: Typed
    number: bool = False


@dataclass(frozen=True, slots=True, eq=False)
class Invoke(Typed):
    """A call. `overload` None: which one is found out at run time."""

    function: Function
    overload: Overload | None
    arguments: tuple[Typed, ...]


@dataclass(frozen=True, slots=True, eq=False)
class Compare(Typed):
    """`==`, `!=`, `<`, `<=`, `>`, `>=` or `in`."""

    operator: str
    left: Typed
    right: Typed


@dataclass(frozen=True, slots=True, eq=False)
class Combine(Typed):
    """`&&` or `||` of operands that are bool or guarded."""

    operator: OneOf["&&", "||"]
    operands: tuple[Typed, ...]


@dataclass(frozen=True, slots=True, eq=False)
class Negate(Typed):
    """`!operand`."""

    operand: Typed


@dataclass(frozen=True, slots=True, eq=False)
class Choose(Typed):
    """`condition ? then : otherwise`."""

    condition: Typed
    then: Typed
    otherwise: Typed


@dataclass(frozen=True, slots=True, eq=False)
class MakeList(Typed):
    """A list of its items."""

    items: tuple[Typed, ...]


@dataclass(frozen=True, slots=True, eq=False)
class MakeMap(Typed):
    """A map of its entries; `plain` where all keys are known, valid and distinct."""

    entries: tuple[tuple[Typed, Typed], ...]
    plain: bool


@dataclass(frozen=True, slots=True, eq=False)
class Loop(Typed):
    """A macro that walks over a list or map."""

    kind: MacroKind
    target: Typed
    slots: tuple[Slot, ...]
    condition: Typed | None
    body: Typed


@dataclass(frozen=True, slots=True, eq=False)
class Let(Typed):
    """`cel.bind`: a value with a name."""

    slot: Slot
    value: Typed
    body: Typed


@dataclass(frozen=True, slots=True, eq=False)
class Fail(Typed):
    """What can only fail (an unknown name in an expression checked leniently)."""

    code: str
    message: str


def parts(node: Typed) -> Iterator[Typed]:
    """The direct parts of a node."""
    match node:
        case FieldRead(owner=owner) | KeyRead(owner=owner) | HasField(owner=owner):
            yield owner
        case At(owner=owner, index=index):
            yield owner
            yield index
        case Whole(operand=operand) | Guard(operand=operand) | Negate(operand=operand):
            yield operand
        case Invoke(arguments=arguments):
            yield from arguments
        case Compare(left=left, right=right):
            yield left
            yield right
        case Combine(operands=operands):
            yield from operands
        case Choose(condition=condition, then=then, otherwise=otherwise):
            yield condition
            yield then
            yield otherwise
        case MakeList(items=items):
            yield from items
        case MakeMap(entries=entries):
            for key, value in entries:
                yield key
                yield value
        case Loop(target=target, condition=condition, body=body):
            yield target
            if condition is not None:
                yield condition
            yield body
        case Let(value=value, body=body):
            yield value
            yield body
