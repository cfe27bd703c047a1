"""Which overload a call means."""

from __future__ import annotations

from flo.core.expression.errors import EvaluationError
from flo.core.expression.functions import Function, Overload
from flo.core.expression.scope import Scope
from flo.core.expression.strings import pattern_of
from flo.core.expression.syntax import Node
from flo.core.expression.times import check_zone, parse_duration, parse_timestamp
from flo.core.expression.typed import Constant, Guard, Invoke, Typed
from flo.core.expression.types import (
    DOUBLE,
    DURATION,
    DYN,
    INT,
    NUMERIC,
    STRING,
    TIMESTAMP,
    ListOf,
    Type,
    assignable,
    joined,
)


def invoke(
    scope: Scope, node: Node, function: Function, arguments: tuple[Typed, ...], method: bool = False
) -> Typed:
    """The call of a function on arguments, its overload settled as far as the types allow."""
    fallible = any(each.fallible for each in arguments)
    if function.overloads[0].variadic:
        return _variadic(scope, node, function, arguments)
    candidates = [each for each in function.overloads if _fits(each, arguments)]
    if not candidates:
        return scope.problem(node, _mismatch(function, arguments, method), _hint(function, arguments, method))
    constant = _constant(scope, node, function, arguments)
    if constant is not None:
        return constant
    if len(candidates) > 1 and any(each.type == DYN for each in arguments):
        results = {str(each.result): each.result for each in candidates}
        kind: Type = next(iter(results.values())) if len(results) == 1 else DYN
        return Invoke(node, kind, True, function, None, arguments)
    overload = candidates[0]
    given = tuple(_guarded(each, wanted) for each, wanted in zip(arguments, overload.parameters, strict=True))
    fallible = fallible or overload.fallible or any(isinstance(each, Guard) for each in given)
    fallible = fallible and not _never_fails(function, given)
    return Invoke(node, _result(overload, arguments), fallible, function, overload, given)


def _fits(overload: Overload, arguments: tuple[Typed, ...]) -> bool:
    return len(overload.parameters) == len(arguments) and all(
        assignable(given.type, wanted) for given, wanted in zip(arguments, overload.parameters, strict=True)
    )


def _guarded(argument: Typed, wanted: Type) -> Typed:
    if argument.type == DYN and wanted != DYN:
        return Guard(argument.syntax, wanted, True, argument)
    return argument


def _result(overload: Overload, arguments: tuple[Typed, ...]) -> Type:
    if isinstance(overload.result, ListOf) and overload.growth == "sum":
        return joined(*(each.type for each in arguments))
    return overload.result


def _never_fails(function: Function, arguments: tuple[Typed, ...]) -> bool:
    """Division by a constant that is neither 0 nor -1 always has a result; a constant pattern was tried
    already.
    """
    if any(each.fallible for each in arguments):
        return False
    last = arguments[-1]
    if not isinstance(last, Constant):
        return False
    if function.name in ("/", "%"):
        return isinstance(last.value, int) and last.value not in (0, -1)
    return function.name == "matches" or (function.name.startswith("get") and len(arguments) == 2)


def _variadic(scope: Scope, node: Node, function: Function, arguments: tuple[Typed, ...]) -> Typed:
    if not arguments:
        return scope.problem(node, f"{function.name} needs numbers")
    kinds = [each.type for each in arguments]
    if len(kinds) == 1 and isinstance(kinds[0], ListOf):
        kinds = [kinds[0].element]
    if not all(kind in NUMERIC or kind == DYN for kind in kinds) and kinds != [DYN]:
        return scope.problem(node, f"{function.name} needs numbers, not {', '.join(map(str, kinds))}")
    kind = kinds[0] if all(each == kinds[0] for each in kinds) else DYN
    return Invoke(node, kind, True, function, function.overloads[0], arguments)


def _constant(scope: Scope, node: Node, function: Function, arguments: tuple[Typed, ...]) -> Typed | None:
    """Constant times, zones and patterns are read now: what is wrong with them is a problem at load."""
    last = arguments[-1] if arguments else None
    if not isinstance(last, Constant) or not isinstance(last.value, str):
        return None
    try:
        if function.name == "timestamp":
            return Constant(node, TIMESTAMP, False, parse_timestamp(last.value))
        if function.name == "duration":
            return Constant(node, DURATION, False, parse_duration(last.value))
        if function.name == "matches":
            pattern_of(last.value)
        elif function.name.startswith("get") and len(arguments) == 2:
            check_zone(last.value)
    except EvaluationError as error:
        return scope.problem(last.syntax, error.message, code=error.code)
    except ValueError as error:
        return scope.problem(last.syntax, f"bad pattern: {error}", "patterns are RE2 syntax", "bad_argument")
    return None


def _mismatch(function: Function, arguments: tuple[Typed, ...], method: bool) -> str:
    kinds = [str(each.type) for each in arguments]
    if not function.name[0].isalpha():
        return (
            f"{function.name}{kinds[0]} has no meaning"
            if len(kinds) == 1
            else f" {function.name} ".join(kinds)
        )
    if method:
        return f"{kinds[0]} has no function {function.name}({', '.join(kinds[1:])})"
    return f"{function.name} does not take ({', '.join(kinds)})"


def _hint(function: Function, arguments: tuple[Typed, ...], method: bool) -> str | None:
    kinds = [each.type for each in arguments]
    if not function.name[0].isalpha():
        if INT in kinds and DOUBLE in kinds:
            whole = arguments[kinds.index(INT)]
            if isinstance(whole, Constant):
                return f"write {whole.value}.0 instead of {whole.value}"
            return "convert the int: double(x)"
        if STRING in kinds and function.name == "+":
            return "convert the other side: string(x)"
        if set(kinds) <= NUMERIC:
            return "both sides need one type: convert with int(x), uint(x) or double(x)"
        return None
    shapes = [str(each) for each in function.overloads]
    if method:
        shapes = [
            f"{each.parameters[0]}.{function.name}({', '.join(map(str, each.parameters[1:]))})"
            for each in function.overloads
        ]
        return "it is " + " or ".join(shapes[:4])
    return f"it takes {' or '.join(shapes[:6])}"
