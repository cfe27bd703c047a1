"""An expression evaluated part by part, for explanations: what each reference, comparison and operator came
to.

Works on recorded JSON: bindings are by the names of the environment's variables, records are dicts,
timestamps and durations may be text. Nothing here is on the way of a signal.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from flo.core.expression import syntax
from flo.core.expression.checked import Checked
from flo.core.expression.checker import check
from flo.core.expression.compiler import Compiled, compile_expression
from flo.core.expression.conversions import to_cel
from flo.core.expression.errors import EvaluationError
from flo.core.expression.scope import Environment
from flo.core.expression.syntax import Expression, Node
from flo.core.expression.types import (
    BYTES,
    DOUBLE,
    DURATION,
    TIMESTAMP,
    UINT,
    Field,
    ListOf,
    MapOf,
    Record,
    Recorded,
    Type,
    Variable,
)

_CONVERTED = (TIMESTAMP, DURATION, BYTES, UINT, DOUBLE)


@dataclass(frozen=True, slots=True)
class Traced:
    """A part of an expression and what it came to: a value, or the error that stands for it."""

    text: str
    value: object
    error: EvaluationError | None
    children: tuple[Traced, ...]


def trace(checked: Checked, bindings: Mapping[str, Any]) -> Traced:
    """Every interesting part of an expression with its value. For many evaluations keep a Tracer."""
    return Tracer(checked)(bindings)


class Tracer:
    """An expression prepared for tracing. Every part is evaluated, also what `&&` or `||` would skip."""

    def __init__(self, checked: Checked) -> None:
        self.environment = recorded(checked.environment)
        self.expression = checked.expression
        self.variables = {
            name: variable
            for name, variable in self.environment.variables.items()
            if variable.code is not None
        }
        self.root = self._prepare(checked.expression.root)

    def __call__(self, bindings: Mapping[str, Any]) -> Traced:
        """The values of all parts for these bindings. A name without a binding is an error only where it is
        read.
        """
        values: dict[str, Any] = {}
        for name, variable in self.variables.items():
            if name in bindings:
                values[str(variable.code)] = _bound(bindings[name], variable.type)
        return self.root.evaluate(values)

    def _prepare(self, node: Node) -> _Part:
        expression = Expression(self.expression.text, node)
        checked, problems = check(expression, self.environment, lenient=True)
        compiled = None if checked is None else compile_expression(checked)
        children = tuple(self._prepare(each) for each in _interesting(node))
        return _Part(
            expression.text[node.start : node.end], compiled, children, "; ".join(map(str, problems))
        )


@dataclass(frozen=True, slots=True)
class _Part:
    text: str
    compiled: Compiled | None
    children: tuple[_Part, ...]
    problem: str

    def evaluate(self, values: Mapping[str, Any]) -> Traced:
        children = tuple(each.evaluate(values) for each in self.children)
        if self.compiled is None:
            return Traced(self.text, None, EvaluationError("no_such_name", self.problem), children)
        try:
            return Traced(self.text, self.compiled(values), None, children)
        except EvaluationError as error:
            return Traced(self.text, None, error, children)
        except KeyError as missing:
            unbound = EvaluationError("no_such_name", f"the record has no binding for {missing.args[0][2:]}")
            return Traced(self.text, None, unbound, children)


def recorded(environment: Environment) -> Environment:
    """The environment as it reads recorded JSON: every record a dict, every field perhaps absent."""
    variables = {
        name: Variable(_recorded_type(variable.type), code="v_" + name.replace(".", "__"))
        for name, variable in environment.variables.items()
    }
    return Environment(variables, environment.declarations.values())


def _recorded_type(kind: Type) -> Type:
    if isinstance(kind, Record):
        fields = {
            name: Field(_recorded_type(field.type), required=False, access=Recorded(name))
            for name, field in kind.fields.items()
        }
        return Record(kind.name, fields, kind.open, mapping=True)
    if isinstance(kind, ListOf):
        return ListOf(_recorded_type(kind.element))
    if isinstance(kind, MapOf):
        return MapOf(kind.key, _recorded_type(kind.value))
    return kind


def _bound(value: Any, kind: Type) -> Any:
    return to_cel(value, kind) if kind in _CONVERTED else value


def _interesting(node: Node) -> list[Node]:
    """The parts of a node worth a line of their own. What is inside a macro has no single value."""
    if isinstance(node, syntax.Has) or _is_path(node):
        return []
    if isinstance(node, syntax.Comprehension):
        inside = [node.target]
    elif isinstance(node, syntax.Bind):
        inside = [node.value]
    else:
        inside = list(syntax.children(node))
    return [each for each in inside if _varies(each)]


def _varies(node: Node) -> bool:
    """Whether a node reads anything; what does not is in the text already."""
    if isinstance(node, syntax.Name):
        return node.name not in ("math", "strings")
    return any(_varies(each) for each in syntax.children(node))


def _is_path(node: Node) -> bool:
    if isinstance(node, syntax.Select):
        return _is_path(node.operand)
    if isinstance(node, syntax.Index):
        return _is_path(node.operand) and isinstance(node.index, syntax.Literal)
    return isinstance(node, syntax.Name)
