"""Templates: text with `${expression}` in it, for the arguments of commands.

A template that is exactly one `${expression}` keeps the type of its value; otherwise values become text.
`$${` is a literal `${`. A structure of dicts and lists may hold templates anywhere but in its keys.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from flo.core.expression.checked import Checked
from flo.core.expression.checker import check
from flo.core.expression.conversions import to_json
from flo.core.expression.emitter import Emitter
from flo.core.expression.errors import ExpressionProblem, ExpressionSyntaxError
from flo.core.expression.lexer import failure, next_token
from flo.core.expression.parser import parse
from flo.core.expression.scope import Environment
from flo.core.expression.strings import text_of
from flo.core.expression.syntax import EXPRESSION_LENGTH_MAX, Expression, position
from flo.core.expression.times import duration_text, timestamp_text
from flo.core.expression.types import BOOL, DURATION, INT, NULL, STRING, TIMESTAMP, UINT

TEMPLATE_DEPTH_MAX = 32
"""Levels of dicts and lists inside each other."""

Path = tuple[str | int, ...]
"""Where in a structure something stands: keys and positions from the top."""


@dataclass(frozen=True, slots=True)
class Hole:
    """One `${expression}` of a template; `line` and `column` (from 1) are those of the expression in the
    template.
    """

    expression: Expression
    line: int
    column: int


@dataclass(frozen=True, slots=True)
class Template:
    """The parts of a template in order: literal text, and expressions."""

    text: str
    parts: tuple[str | Hole, ...]

    @property
    def constant(self) -> bool:
        return not any(isinstance(each, Hole) for each in self.parts)


def parse_template(text: str) -> Template:
    """Splits a template into its parts. Raises ExpressionSyntaxError, placed within the whole template."""
    if len(text) > EXPRESSION_LENGTH_MAX:
        message = f"the template has {len(text):,} characters; at most {EXPRESSION_LENGTH_MAX:,} are allowed"
        raise ExpressionSyntaxError(message, 1, 1)
    parts: list[str | Hole] = []
    literal = ""
    offset = 0
    while (found := text.find("${", offset)) >= 0:
        if found > offset and text[found - 1] == "$":
            literal += text[offset : found - 1] + "${"
            offset = found + 2
            continue
        literal += text[offset:found]
        if literal:
            parts.append(literal)
            literal = ""
        end = _closing(text, found + 2)
        parts.append(_hole(text, found + 2, end))
        offset = end + 1
    literal += text[offset:]
    if literal or not parts:
        parts.append(literal)
    return Template(text, tuple(parts))


def _closing(text: str, start: int) -> int:
    """The offset of the brace that closes an expression; braces in strings and maps do not."""
    depth = 0
    offset = start
    while True:
        token = next_token(text, offset)
        if token.kind == "end":
            raise failure(text, start - 2, "${ without its closing }", "write $${ for a literal ${")
        if token.kind == "sign" and token.value == "{":
            depth += 1
        elif token.kind == "sign" and token.value == "}":
            if depth == 0:
                return token.start
            depth -= 1
        offset = token.end


def _hole(text: str, start: int, end: int) -> Hole:
    line, column = position(text, start)
    try:
        return Hole(parse(text[start:end]), line, column)
    except ExpressionSyntaxError as error:
        place = _moved(error.problem(), line, column)
        raise ExpressionSyntaxError(place.message, place.line, place.column, place.hint) from None


def _moved(problem: ExpressionProblem, line: int, column: int) -> ExpressionProblem:
    """A problem of an expression as one of the template around it."""
    across = problem.column + column - 1 if problem.line == 1 else problem.column
    return ExpressionProblem(problem.message, problem.line + line - 1, across, problem.hint)


@dataclass(frozen=True, slots=True, eq=False)
class CheckedTemplate:
    """A template or a structure of them that fits its environment.

    `parts` is what is emitted: a constant, a dict, a list, or a tuple of texts and checked expressions.
    """

    parts: object
    fallible: bool
    references: frozenset[tuple[str, ...]]
    cost: int


def check_template(
    value: object, environment: Environment
) -> tuple[CheckedTemplate | None, list[tuple[Path, ExpressionProblem]]]:
    """Fits a JSON-like structure of templates to an environment: (checked, []) or (None, every problem and
    where).
    """
    checker = _TemplateChecker(environment)
    parts = checker.structure(value, ())
    if checker.problems:
        return None, checker.problems
    found = checker.found
    references = frozenset[tuple[str, ...]]().union(*(each.references for each in found))
    return CheckedTemplate(
        parts, any(each.fallible for each in found), references, sum(each.cost for each in found)
    ), []


class _TemplateChecker:
    def __init__(self, environment: Environment) -> None:
        self.environment = environment
        self.problems: list[tuple[Path, ExpressionProblem]] = []
        self.found: list[Checked] = []

    def structure(self, value: object, path: Path) -> object:
        if len(path) > TEMPLATE_DEPTH_MAX:
            self.problems.append(
                (path, ExpressionProblem(f"nested more than {TEMPLATE_DEPTH_MAX} levels deep", 1, 1))
            )
            return None
        if isinstance(value, Mapping):
            return {str(key): self.structure(each, (*path, str(key))) for key, each in value.items()}
        if isinstance(value, list | tuple):
            return [self.structure(each, (*path, index)) for index, each in enumerate(value)]
        return self.template(value, path) if isinstance(value, str) else value

    def template(self, text: str, path: Path) -> object:
        try:
            template = parse_template(text)
        except ExpressionSyntaxError as error:
            self.problems.append((path, error.problem()))
            return None
        if template.constant:
            return "".join(each for each in template.parts if isinstance(each, str))
        return tuple(each if isinstance(each, str) else self.hole(each, path) for each in template.parts)

    def hole(self, hole: Hole, path: Path) -> Checked | None:
        checked, problems = check(hole.expression, self.environment)
        self.problems += [(path, _moved(each, hole.line, hole.column)) for each in problems]
        if checked is not None:
            self.found.append(checked)
        return checked


def emit_template(emitter: Emitter, checked: CheckedTemplate) -> str:
    """Python for the JSON value of a template, valid after the lines this adds: timestamps are text and so
    on.
    """
    return _emit(emitter, checked.parts)


def _emit(emitter: Emitter, parts: object) -> str:
    if isinstance(parts, dict):
        return "{" + ", ".join([f"{key!a}: {_emit(emitter, each)}" for key, each in parts.items()]) + "}"
    if isinstance(parts, list):
        return "[" + ", ".join([_emit(emitter, each) for each in parts]) + "]"
    if not isinstance(parts, tuple):
        if parts is None or isinstance(parts, bool | str) or type(parts) is int:
            return ascii(parts)
        return emitter.constant(to_json(parts))
    if len(parts) == 1:
        return _value(emitter, parts[0])
    texts = [ascii(each) if isinstance(each, str) else _text(emitter, each) for each in parts]
    return f"''.join(({', '.join(texts)}))"


def _value(emitter: Emitter, checked: Checked) -> str:
    """An expression as JSON."""
    kind = checked.type
    if kind in (STRING, INT, BOOL, NULL):
        return emitter.expression(checked)
    if kind == UINT:
        return f"int({emitter.expression(checked)})"
    if kind == TIMESTAMP:
        return f"{emitter.function(timestamp_text)}({emitter.expression(checked)})"
    if kind == DURATION:
        return f"{emitter.function(duration_text)}({emitter.expression(checked)})"
    return f"{emitter.function(to_json)}({emitter.expression(checked, boxed=True)})"


def _text(emitter: Emitter, checked: Checked) -> str:
    """An expression as part of a longer text."""
    if checked.type == STRING:
        return emitter.expression(checked)
    if checked.type == INT:
        return f"str({emitter.expression(checked)})"
    return f"{emitter.function(text_of)}({emitter.expression(checked, boxed=True)})"
