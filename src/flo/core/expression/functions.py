"""The shape of a function: its overloads, what each costs, whether it can fail, its form in Python."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Literal

from flo.core.expression.conversions import to_cel
from flo.core.expression.errors import EvaluationError, Place
from flo.core.expression.types import (
    BOOL,
    BYTES,
    DOUBLE,
    DURATION,
    DYN,
    INT,
    NULL,
    STRING,
    TIMESTAMP,
    TYPE,
    UINT,
    ListOf,
    MapOf,
    Type,
)
from flo.core.expression.values import (
    DURATION_NS_MAX,
    DURATION_NS_MIN,
    INT_MAX,
    INT_MIN,
    LISTS,
    TIMESTAMP_NS_MAX,
    TIMESTAMP_NS_MIN,
    UINT_MAX,
    CelType,
    Duration,
    Timestamp,
    UInt,
    type_name,
)

Growth = Literal["one", "first", "sum", "product", "assumed"]
"""How large a result is: one unit, as its first argument, as all its arguments together (or multiplied),
unknown.
"""

BOUNDS: dict[Type, tuple[int, int]] = {
    INT: (INT_MIN, INT_MAX),
    UINT: (0, UINT_MAX),
    TIMESTAMP: (TIMESTAMP_NS_MIN, TIMESTAMP_NS_MAX),
    DURATION: (DURATION_NS_MIN, DURATION_NS_MAX),
}

PYTHON_TYPES: dict[Type, type] = {
    BOOL: bool,
    INT: int,
    UINT: UInt,
    DOUBLE: float,
    STRING: str,
    BYTES: bytes,
    NULL: type(None),
    TIMESTAMP: Timestamp,
    DURATION: Duration,
    TYPE: CelType,
}


@dataclass(frozen=True, slots=True)
class Overload:
    """One way to call a function.

    Either `inline`, a Python expression with {0}, {1} ... for the arguments (each used once, or listed in
    `twice`), or `call`, a Python function. A `fallible` call takes the place as its last argument and
    raises EvaluationError. `bounded`: the result must be checked against the range of its type.
    """

    parameters: tuple[Type, ...]
    result: Type
    inline: str | None = None
    call: Callable[..., object] | None = None
    fallible: bool = False
    bounded: bool = False
    scans: bool = False  # cost grows with the size of the arguments
    growth: Growth = "one"
    variadic: bool = False

    def __str__(self) -> str:
        return "(" + ", ".join(map(str, self.parameters)) + ")"


@dataclass(frozen=True, slots=True)
class Function:
    """A name and the ways to call it. Methods are called on their first argument."""

    name: str
    overloads: tuple[Overload, ...]


@dataclass(frozen=True, slots=True)
class FunctionDecl:
    """A Python function that expressions may call by `name`.

    It must be pure, take values of the parameter types (records as dicts) and return one of the result
    type. What it raises becomes an EvaluationError (`function_failed`), and so does a result of another
    type. `cost` is in steps.
    """

    name: str
    parameters: tuple[Type, ...]
    result: Type
    function: Callable[..., object] = field(compare=False)
    cost: int = 10


def accepts(kind: Type, value: object) -> bool:
    """Whether a run-time value is of a type; the elements of lists and maps are not looked at."""
    if kind == DYN:
        return True
    if isinstance(kind, ListOf):
        return type(value) in LISTS
    if isinstance(kind, MapOf):
        return isinstance(value, dict)
    return type(value) is PYTHON_TYPES.get(kind)


def boxed(value: object, kind: Type) -> object:
    """A value of a statically known type as one that carries its type itself."""
    if kind in (UINT, TIMESTAMP, DURATION):
        return PYTHON_TYPES[kind](value)
    return value


class Dispatcher:
    """Picks the overload of a function by the types its arguments have at run time."""

    __slots__ = ("calls", "function")

    def __init__(self, function: Function) -> None:
        self.function = function
        self.calls = [(each, _callable(each)) for each in function.overloads]

    def __call__(self, at: Place, *arguments: object) -> object:
        for overload, call in self.calls:
            if overload.variadic:
                return call(*arguments, at)
            if len(overload.parameters) != len(arguments):
                continue
            if all(map(accepts, overload.parameters, arguments)):
                value = call(*arguments, at) if overload.fallible and overload.call else call(*arguments)
                if overload.bounded:
                    lowest, highest = BOUNDS[overload.result]
                    if not lowest <= value <= highest:  # type: ignore[operator]
                        message = f"the result is out of the range of {overload.result}"
                        raise EvaluationError("overflow", message, at)
                return boxed(value, overload.result)
        given = ", ".join(map(type_name, arguments))
        raise EvaluationError("no_matching_overload", f"{self.function.name} does not take ({given})", at)


def _callable(overload: Overload) -> Callable[..., object]:
    if overload.call is not None:
        return overload.call
    names = [f"a{index}" for index in range(len(overload.parameters))]
    source = f"lambda {', '.join(names)}: {(overload.inline or '').format(*names)}"
    call: Callable[..., object] = eval(source, {})  # our own table's text: nothing of a bundle is in it
    return call


class DeclaredCall:
    """A call of a user's Python function, its failures mapped to EvaluationError."""

    __slots__ = ("declaration",)

    def __init__(self, declaration: FunctionDecl) -> None:
        self.declaration = declaration

    def __call__(self, *arguments: object) -> object:
        *given, at = arguments
        declared = self.declaration
        try:
            value = to_cel(declared.function(*given), declared.result)
        except Exception as error:  # whatever a user's function raises is that function's failure, not ours
            message = f"{declared.name} failed: {type(error).__name__}: {error}"
            raise EvaluationError("function_failed", message, at) from error  # type: ignore[arg-type]
        if not accepts(declared.result, value):
            message = f"{declared.name} returned {type_name(value)}, but declares {declared.result}"
            raise EvaluationError("function_failed", message, at)  # type: ignore[arg-type]
        return value


def declared(declaration: FunctionDecl) -> Function:
    """A user's function in the form of the table."""
    overload = Overload(
        declaration.parameters,
        declaration.result,
        call=DeclaredCall(declaration),
        fallible=True,
        growth="assumed",
    )
    return Function(declaration.name, (overload,))
