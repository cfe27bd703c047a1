"""From syntax to typed tree: names, fields, functions and types are settled here, every problem found in one
go.

What passes cannot meet an unknown name or a wrong static type when it runs. What depends on the data
(`dyn` values, absent optional fields, overflow) is marked fallible; everything else is known to have a
value.
"""

from __future__ import annotations

from typing import Final

from flo.core.expression import syntax, typed
from flo.core.expression.calls import invoke
from flo.core.expression.checked import Checked
from flo.core.expression.cost import EXPRESSION_COST_MAX, cost_of
from flo.core.expression.emission.frame import NestedTooDeep
from flo.core.expression.emitter import Emitter
from flo.core.expression.errors import ExpressionProblem
from flo.core.expression.parser import RESERVED
from flo.core.expression.reading import field_of, has_field, item_of, name_of, qualified, whole
from flo.core.expression.scope import Environment, Scope
from flo.core.expression.standard import OPERATORS
from flo.core.expression.syntax import Expression, Node
from flo.core.expression.typed import Constant, Slot, Typed
from flo.core.expression.types import (
    BOOL,
    BYTES,
    DOUBLE,
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
    assignable,
    comparable,
    erased,
    joined,
)
from flo.core.expression.values import UInt

_ORDERED: Final = frozenset({BOOL, INT, UINT, DOUBLE, STRING, BYTES, TIMESTAMP, DURATION})
_KEYS: Final = frozenset({BOOL, INT, UINT, STRING, DYN})
_LITERALS: Final[dict[type, Type]] = {
    type(None): NULL,
    bool: BOOL,
    int: INT,
    UInt: UINT,
    float: DOUBLE,
    str: STRING,
    bytes: BYTES,
}


def check(
    expression: Expression, environment: Environment, expect: Type | None = None, *, lenient: bool = False
) -> tuple[Checked | None, list[ExpressionProblem]]:
    """Fits an expression to an environment: (checked, []) or (None, every problem found).

    `expect` is the type it must have; `dyn` passes and is then checked when it runs. `lenient` turns what
    is wrong into failures at run time, as CEL does without a type check; only tests want that.
    """
    scope = Scope(expression, environment, lenient)
    checker = _Checker(scope)
    root = checker.value(expression.root)
    if expect is not None and not scope.problems:
        root = checker.expected(root, expect)
    cost = cost_of(root)
    if cost > EXPRESSION_COST_MAX:
        message = f"the expression may take {cost:,} steps; at most {EXPRESSION_COST_MAX:,} are allowed"
        scope.problem(expression.root, message, "walk over fewer or shorter lists")
    if scope.problems:
        return None, sorted(scope.problems, key=lambda each: (each.line, each.column))
    checked = Checked(expression, environment, root, cost, scope.loops, frozenset(scope.references))
    try:
        Emitter().expression(checked)
    except NestedTooDeep as error:
        place = expression.place(error.node.syntax)
        hint = "split it into several rules or state values"
        return None, [
            ExpressionProblem(
                "too many loops and fallible parts inside each other", place.line, place.column, hint
            )
        ]
    return checked, []


class _Checker:
    def __init__(self, scope: Scope) -> None:
        self.scope = scope

    def expected(self, root: Typed, expect: Type) -> Typed:
        if not assignable(root.type, expect):
            return self.scope.problem(
                root.syntax, f"the expression is {erased(root.type)}; {expect} is needed here"
            )
        return self.guarded(root, expect) if root.type == DYN and expect != DYN else root

    def guarded(self, node: Typed, kind: Type) -> Typed:
        """The node as one of a type it may have."""
        if node.type != DYN:
            return node
        return typed.Guard(node.syntax, kind, True, node)

    def value(self, node: Node) -> Typed:
        """The typed form of a node that is used as a value: records become maps."""
        return whole(self.scope, self.node(node))

    def node(self, node: Node) -> Typed:
        """The typed form of a node; records stay records, for what selects from them."""
        match node:
            case syntax.Literal(value=value):
                return Constant(node, _LITERALS[type(value)], False, value)
            case syntax.Name():
                return self.name(node)
            case syntax.Select():
                found = qualified(self.scope, node)
                return found or field_of(self.scope, node, self.node(node.operand), node.field)
            case syntax.Has(select=select):
                return has_field(self.scope, node, self.node(select.operand), select.field)
            case syntax.Index():
                return item_of(self.scope, node, self.node(node.operand), self.value(node.index))
            case syntax.Call():
                return self.call(node)
            case syntax.Unary():
                return self.unary(node)
            case syntax.Binary():
                return self.binary(node)
            case syntax.Logic():
                operands = tuple(self.truth(self.value(each), node.operator) for each in node.operands)
                return typed.Combine(
                    node, BOOL, any(each.fallible for each in operands), node.operator, operands
                )
            case syntax.Conditional():
                return self.conditional(node)
            case syntax.ListLiteral():
                return self.list_literal(node)
            case syntax.MapLiteral():
                return self.map_literal(node)
            case syntax.Comprehension():
                return self.comprehension(node)
            case syntax.Bind():
                return self.bind(node)
        raise AssertionError(f"no rule for {type(node).__name__}")

    def name(self, node: syntax.Name) -> Typed:
        found = name_of(self.scope, node)
        if found is not None:
            return found
        if node.name in RESERVED:
            return self.scope.problem(node, f"{node.name} is a reserved word", code="no_such_name")
        names = [*self.scope.environment.variables, *(slot.name for slot in self.scope.slots)]
        return self.scope.unknown(node, f"unknown name {node.name}", node.name, names)

    # -- operators

    def truth(self, node: Typed, operator: str) -> Typed:
        if node.type == BOOL:
            return node
        if node.type == DYN:
            return self.guarded(node, BOOL)
        return self.scope.problem(
            node.syntax, f"`{operator}` needs bool, this is {node.type}", _truth_hint(node.type)
        )

    def unary(self, node: syntax.Unary) -> Typed:
        operand = self.value(node.operand)
        if node.operator == "!":
            operand = self.truth(operand, "!")
            return typed.Negate(node, BOOL, operand.fallible, operand)
        return invoke(self.scope, node, OPERATORS["negate"], (operand,))

    def binary(self, node: syntax.Binary) -> Typed:
        left, right = self.value(node.left), self.value(node.right)
        if node.operator in OPERATORS:
            return invoke(self.scope, node, OPERATORS[node.operator], (left, right))
        if node.operator == "in":
            return self.membership(node, left, right)
        if node.operator in ("==", "!="):
            if not self.scope.lenient and not comparable(left.type, right.type):
                message = f"{left.type} {node.operator} {right.type} is never {_never(node.operator)}"
                return self.scope.problem(node, message, _equality_hint(left.type, right.type))
            return typed.Compare(node, BOOL, left.fallible or right.fallible, node.operator, left, right)
        return self.ordering(node, left, right)

    def ordering(self, node: syntax.Binary, left: Typed, right: Typed) -> Typed:
        kinds = {left.type, right.type}
        if kinds <= NUMERIC or (len(kinds) == 1 and kinds <= _ORDERED):
            return typed.Compare(node, BOOL, left.fallible or right.fallible, node.operator, left, right)
        known = (kinds - {DYN}) or {DYN}
        if DYN in kinds and known <= _ORDERED | {DYN}:
            if known != {DYN}:
                kind = known.pop()
                left, right = (self.same_order(each, kind) for each in (left, right))
            return typed.Compare(node, BOOL, True, node.operator, left, right)
        message = f"{left.type} {node.operator} {right.type} has no meaning"
        hint = None
        if STRING in kinds and kinds & NUMERIC:
            hint = "convert the string: double(x)"
        return self.scope.problem(node, message, hint)

    def same_order(self, node: Typed, kind: Type) -> Typed:
        if node.type != DYN:
            return node
        return typed.Guard(node.syntax, kind, True, node, number=kind in NUMERIC)

    def membership(self, node: syntax.Binary, left: Typed, right: Typed) -> Typed:
        kind = right.type
        fallible = left.fallible or right.fallible
        inside = kind.element if isinstance(kind, ListOf) else kind.key if isinstance(kind, MapOf) else DYN
        if not (kind == DYN or isinstance(kind, ListOf | MapOf)):
            hint = "for text write text.contains(part)" if kind == STRING else None
            return self.scope.problem(node, f"`in` needs a list or a map on its right, this is {kind}", hint)
        if not self.scope.lenient and not comparable(left.type, inside):
            return self.scope.problem(node, f"{left.type} is never in {kind}")
        return typed.Compare(node, BOOL, fallible or kind == DYN, "in", left, right)

    def conditional(self, node: syntax.Conditional) -> Typed:
        condition = self.truth(self.value(node.condition), "?")
        then, otherwise = self.value(node.then), self.value(node.otherwise)
        kind = joined(then.type, otherwise.type)
        related = assignable(then.type, otherwise.type) or NULL in (then.type, otherwise.type)
        if not self.scope.lenient and not related:
            message = f"the arms of `? :` are {then.type} and {otherwise.type}"
            self.scope.problem(node, message, "give both one type, or wrap one: dyn(...)")
        fallible = condition.fallible or then.fallible or otherwise.fallible
        return typed.Choose(node, kind, fallible, condition, then, otherwise)

    # -- literals

    def list_literal(self, node: syntax.ListLiteral) -> Typed:
        items = tuple(self.value(each) for each in node.items)
        element: Type = items[0].type if items else DYN
        for each in items[1:]:
            element = joined(element, each.type)
        return typed.MakeList(node, ListOf(element), any(each.fallible for each in items), items)

    def map_literal(self, node: syntax.MapLiteral) -> Typed:
        entries = tuple((self.value(key), self.value(value)) for key, value in node.entries)
        if not entries:
            return typed.MakeMap(node, MapOf(DYN, DYN), False, (), True)
        key_type, value_type = entries[0][0].type, entries[0][1].type
        seen: set[object] = set()
        plain = True
        for key, value in entries:
            key_type, value_type = joined(key_type, key.type), joined(value_type, value.type)
            if key.type not in _KEYS and not self.scope.lenient:
                self.scope.problem(
                    key.syntax, f"{key.type} is no key of a map: only bool, int, uint and string are"
                )
            if not isinstance(key, Constant) or key.type not in _KEYS:
                plain = False
                continue
            constant = (isinstance(key.value, bool), key.value)
            if constant in seen:
                self.scope.problem(key.syntax, "this key is there twice", code="duplicate_key")
                plain = False
            seen.add(constant)
        fallible = not plain or any(each.fallible for entry in entries for each in entry)
        return typed.MakeMap(node, MapOf(key_type, value_type), fallible, entries, plain)

    # -- calls and macros

    def call(self, node: syntax.Call) -> Typed:
        arguments = tuple(self.value(each) for each in node.arguments)
        name = node.function
        scope = self.scope
        if node.target is None:
            function = scope.function(name)
            if function is not None:
                return invoke(scope, node, function, arguments)
            return scope.unknown(node, f"unknown function {name}", name, scope.function_names())
        if isinstance(node.target, syntax.Name) and scope.slot(node.target.name) is None:
            function = scope.function(f"{node.target.name}.{name}")
            if function is not None:
                return invoke(scope, node, function, arguments)
        method = scope.method(name)
        if method is None:
            return scope.unknown_method(node, name)
        return invoke(scope, node, method, (self.value(node.target), *arguments), method=True)

    def comprehension(self, node: syntax.Comprehension) -> Typed:
        scope = self.scope
        scope.loops = True
        target = self.node(node.target)
        if not isinstance(target.type, ListOf):
            target = whole(scope, target)
        kind = target.type
        if isinstance(kind, ListOf):
            kinds: tuple[Type, ...] = (INT, kind.element) if len(node.variables) == 2 else (kind.element,)
        elif isinstance(kind, MapOf):
            kinds = (kind.key, kind.value)[: len(node.variables)]
        elif kind == DYN:
            kinds = (DYN, DYN)[: len(node.variables)]
        else:
            return scope.problem(node, f"`{node.kind}` walks over a list or a map, this is {kind}")
        slots = tuple(scope.open_slot(node, *each) for each in zip(node.variables, kinds, strict=True))
        condition = None if node.condition is None else self.truth(self.value(node.condition), node.kind)
        body = self.value(node.body)
        if node.kind not in ("map", "transform_map"):
            body = self.truth(body, node.kind)
        scope.close_slots(slots)
        result = _loop_type(node.kind, slots, target.type, body.type)
        # A walk can run out of its step budget, unless the list is written out.
        fallible = (
            body.fallible or target.fallible or not isinstance(target, typed.MakeList) or len(scope.slots) > 0
        )
        fallible = fallible or (condition is not None and condition.fallible)
        return typed.Loop(node, result, fallible, node.kind, target, slots, condition, body)

    def bind(self, node: syntax.Bind) -> Typed:
        value = self.value(node.value)
        slot = self.scope.open_slot(node, node.name, value.type)
        body = self.value(node.body)
        self.scope.close_slots((slot,))
        return typed.Let(node, body.type, value.fallible or body.fallible, slot, value, body)


def _loop_type(kind: syntax.MacroKind, slots: tuple[Slot, ...], target: Type, body: Type) -> Type:
    if kind == "map":
        return ListOf(body)
    if kind == "filter":
        return ListOf(slots[0].type)
    if kind == "transform_map":
        return MapOf(slots[0].type, body)
    return BOOL


def _truth_hint(kind: Type) -> str | None:
    if kind in NUMERIC:
        return "compare it: x != 0"
    return 'compare it: x == "..."' if kind == STRING else None


def _never(operator: str) -> str:
    return "true" if operator == "==" else "false"


def _equality_hint(left: Type, right: Type) -> str | None:
    kinds = {left, right}
    if NULL in kinds:
        return "it is never null; has(x) asks whether an optional field is there"
    if STRING in kinds and kinds & NUMERIC:
        return "put the constant in quotes, or convert: double(x)"
    return "wrap one side in dyn(...) if the data may really hold it"
