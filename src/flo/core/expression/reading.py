"""Reading: names, fields and items, and when a record is used whole."""

from __future__ import annotations

from flo.core.expression import syntax
from flo.core.expression.scope import Scope
from flo.core.expression.syntax import Node
from flo.core.expression.typed import At, Constant, Fail, FieldRead, HasField, KeyRead, Read, Typed, Whole
from flo.core.expression.types import (
    BOOL,
    DYN,
    INT,
    NUMERIC,
    STRING,
    TYPE,
    Field,
    Item,
    ListOf,
    MapOf,
    Record,
    Variable,
    assignable,
    comparable,
    erased,
    holds_record,
)
from flo.core.expression.values import CEL_TYPES

_TYPE_CONSTANTS = frozenset(
    {"bool", "int", "uint", "double", "string", "bytes", "list", "map", "null_type", "type"}
)


def name_of(scope: Scope, node: syntax.Name) -> Typed | None:
    """What a name means: a macro's variable, a variable of the environment, a type; None if nothing."""
    slot = None if node.absolute else scope.slot(node.name)
    if slot is not None:
        return slot
    variable = scope.environment.variables.get(node.name)
    if variable is not None:
        return _read(scope, node, node.name, variable)
    if node.name in _TYPE_CONSTANTS:
        return Constant(node, TYPE, False, CEL_TYPES[node.name])
    return None


def _read(scope: Scope, node: Node, name: str, variable: Variable) -> Typed:
    if not isinstance(variable.type, Record):
        scope.references.add((name,))
    return Read(node, variable.type, False, name, variable.code or name)


def qualified(scope: Scope, node: syntax.Select) -> Typed | None:
    """A variable whose name has dots in it (`a.b.c`), if the environment has one; the longest name wins."""
    dotted = _dotted(node)
    if dotted is None:
        return None
    name, first = dotted
    if not first.absolute and scope.slot(first.name) is not None:
        return None
    variable = scope.environment.variables.get(name)
    if variable is not None:
        return _read(scope, node, name, variable)
    if name in ("google.protobuf.Timestamp", "google.protobuf.Duration"):
        return Constant(node, TYPE, False, CEL_TYPES[name])
    return None


def _dotted(node: Node) -> tuple[str, syntax.Name] | None:
    if isinstance(node, syntax.Name):
        return node.name, node
    if isinstance(node, syntax.Select) and not node.quoted:
        below = _dotted(node.operand)
        if below is not None:
            return f"{below[0]}.{node.field}", below[1]
    return None


def path_of(node: Typed) -> tuple[str, ...] | None:
    """The path of what is read from a variable, if that is what a node does."""
    match node:
        case Read(name=name):
            return (name,)
        case FieldRead(owner=owner, name=name):
            below = path_of(owner)
            return None if below is None else (*below, name)
        case KeyRead(owner=owner, key=key):
            below = path_of(owner)
            return None if below is None else (*below, key)
    return None


def _refer(scope: Scope, owner: Typed, name: str) -> None:
    path = path_of(owner)
    if path is not None:
        scope.references.discard(path)
        scope.references.add((*path, name))


def field_of(scope: Scope, node: Node, owner: Typed, name: str) -> Typed:
    """`owner.name`."""
    kind = owner.type
    if isinstance(kind, Record):
        found = kind.fields.get(name)
        if found is None and not kind.open:
            return scope.unknown(node, f"{kind.name} has no field {name}", name, kind.fields, "no_such_field")
        _refer(scope, owner, name)
        if found is None:
            return KeyRead(node, DYN, True, owner, name)
        return FieldRead(node, found.type, owner.fallible or not found.required, owner, name, found)
    if isinstance(kind, MapOf):
        if not assignable(kind.key, STRING):
            return scope.problem(
                node, f"the keys of {kind} are not strings: {name} is never one", f"write [{name}]"
            )
        _refer(scope, owner, name)
        return KeyRead(node, kind.value, True, owner, name)
    if kind == DYN:
        if not isinstance(owner, Fail):
            _refer(scope, owner, name)
        return KeyRead(node, DYN, True, owner, name)
    return scope.problem(node, f"{kind} has no fields, so no {name}", scope.method_hint(name))


def has_field(scope: Scope, node: syntax.Has, owner: Typed, name: str) -> Typed:
    """`has(owner.name)`."""
    kind = owner.type
    if isinstance(kind, Record):
        found = kind.fields.get(name)
        if found is None and not kind.open:
            return scope.unknown(node, f"{kind.name} has no field {name}", name, kind.fields, "no_such_field")
        _refer(scope, owner, name)
        return HasField(node, BOOL, owner.fallible, owner, name, found or Field(DYN, False, Item(name)))
    if isinstance(kind, MapOf) or kind == DYN:
        if not isinstance(owner, Fail):
            _refer(scope, owner, name)
        return HasField(node, BOOL, owner.fallible or kind == DYN, owner, name, None)
    return scope.problem(node, f"{kind} has no fields, so no {name}")


def item_of(scope: Scope, node: syntax.Index, owner: Typed, index: Typed) -> Typed:
    """`owner[index]`."""
    kind = owner.type
    if isinstance(index, Constant) and isinstance(index.value, str) and not isinstance(kind, ListOf):
        return field_of(scope, node, owner, index.value)
    if isinstance(kind, Record):
        owner = whole(scope, owner)
        kind = owner.type
    if isinstance(kind, ListOf):
        if index.type != INT and index.type != DYN and not scope.lenient:
            return scope.problem(node, f"the index of a list is int, this is {index.type}")
        return At(node, kind.element, True, owner, index)
    if isinstance(kind, MapOf):
        if not scope.lenient and not comparable(index.type, kind.key):
            numbers = index.type in NUMERIC and kind.key in NUMERIC
            if not numbers:
                return scope.problem(node, f"the keys of {kind} are {kind.key}, this is {index.type}")
        return At(node, kind.value, True, owner, index)
    if kind == DYN:
        return At(node, DYN, True, owner, index)
    hint = "use charAt(i)" if kind == STRING else None
    return scope.problem(node, f"{kind} has no elements", hint)


def whole(scope: Scope, node: Typed) -> Typed:
    """The node as a value of its own: records in it become maps."""
    if not isinstance(node.type, Record | ListOf | MapOf):
        return node
    path = path_of(node) if isinstance(node.type, Record) else None
    if path is not None and len(path) == 1:
        scope.references.add(path)
    kind = erased(node.type)
    if isinstance(node, Read):
        variable = scope.environment.variables[node.name]
        if variable.whole is not None:
            return Whole(node.syntax, kind, node.fallible, node, variable.whole)
        if isinstance(node.type, Record) and not node.type.mapping:
            fields = ", ".join(list(node.type.fields)[:3])
            return scope.problem(
                node.syntax,
                f"{node.name} cannot be used as one value",
                f"use its fields: {fields}" if fields else None,
            )
    if holds_record(node.type):
        return Whole(node.syntax, kind, node.fallible, node, None)
    return node
