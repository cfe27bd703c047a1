"""Loading a bundle's `functions.py`: the Python functions its rules may call.

This runs the bundle's own code, in this process, with this process's rights: only a bundle directory named at
start, or an administrator, may bring one.
"""

from __future__ import annotations

import hashlib
import inspect
import sys
import types
import typing
from collections.abc import Callable
from pathlib import Path
from typing import Any

from flo.core.errors import Problem
from flo.core.expression.functions import FunctionDecl
from flo.core.expression.types import BOOL, BYTES, DOUBLE, DYN, INT, NULL, STRING, ListOf, MapOf, Type

FILE = "functions.py"
_SIMPLE: dict[Any, Type] = {
    bool: BOOL,
    int: INT,
    float: DOUBLE,
    str: STRING,
    bytes: BYTES,
    list: ListOf(DYN),
    dict: MapOf(STRING, DYN),
    type(None): NULL,
    Any: DYN,
    object: DYN,
}


def load_functions(
    source: bytes, directory: str | Path | None = None
) -> tuple[dict[str, FunctionDecl], list[Problem]]:
    """The functions of a `functions.py` that rules may call, by name; or none, and what is wrong and where.

    A function counts where it is defined in the file itself, its name starts with no `_`, and every parameter
    and the result are annotated with bool, int, float, str, bytes, list[...], dict[str, ...], None or Any (a
    union is Any). Parameters with a default keep it. Functions annotated otherwise, or not at all, are no
    concern of rules: the `python` engine may call them.

    The file is run once, as a module of a private name made of its content, so two revisions never share
    variables. It may import modules that stand beside it in `directory`; those are cached by Python for the
    whole process, so what changes with the bundle belongs into the file itself.
    """
    name = f"_flo_functions_{hashlib.sha256(source).hexdigest()[:16]}"
    place = str(Path(directory) / FILE) if directory is not None else FILE
    module = types.ModuleType(name)
    module.__file__ = place
    if directory is not None and str(directory) not in sys.path:
        sys.path.append(
            str(directory)
        )  # at the end: nothing in a bundle stands in for a module of Python's own
    sys.modules[name] = module  # dataclasses and typing look their module up here
    try:
        exec(compile(source, place, "exec", dont_inherit=True), module.__dict__)
        functions = {
            own: declared
            for own, function in vars(module).items()
            if _is_public(own, function, name) and (declared := _declared(own, function)) is not None
        }
    except (Exception, SystemExit) as error:  # the file is somebody's code: it may raise anything
        del sys.modules[name]
        return {}, [_problem(error, place)]
    return functions, []


def _is_public(name: str, function: object, module: str) -> bool:
    return not name.startswith("_") and inspect.isfunction(function) and function.__module__ == module


def _declared(name: str, function: Callable[..., Any]) -> FunctionDecl | None:
    """The declaration of a function; None where its annotations give a rule nothing to be checked against."""
    if inspect.iscoroutinefunction(function) or inspect.isgeneratorfunction(function):
        return None
    hints = typing.get_type_hints(function)
    parameters: list[Type] = []
    for parameter in inspect.signature(function).parameters.values():
        if parameter.default is not parameter.empty or parameter.kind is parameter.VAR_KEYWORD:
            continue
        kind = _type_of(hints.get(parameter.name, inspect.Parameter.empty))
        if kind is None or parameter.kind not in (parameter.POSITIONAL_ONLY, parameter.POSITIONAL_OR_KEYWORD):
            return None
        parameters.append(kind)
    result = _type_of(hints.get("return", inspect.Parameter.empty))
    return None if result is None else FunctionDecl(name, tuple(parameters), result, function)


def _type_of(annotation: Any) -> Type | None:
    if isinstance(annotation, typing.Hashable) and annotation in _SIMPLE:
        return _SIMPLE[annotation]
    origin, arguments = typing.get_origin(annotation), typing.get_args(annotation)
    if origin in (typing.Union, types.UnionType):
        return DYN if all(_type_of(argument) is not None for argument in arguments) else None
    if origin is list and len(arguments) == 1:
        item = _type_of(arguments[0])
        return None if item is None else ListOf(item)
    if origin is dict and len(arguments) == 2 and arguments[0] is str:
        value = _type_of(arguments[1])
        return None if value is None else MapOf(STRING, value)
    return None


def _problem(error: BaseException, place: str) -> Problem:
    """The error of running the file, at the deepest line of the file itself that led to it."""
    message = " ".join(f"{type(error).__name__}: {error}".split())[:300]
    if isinstance(error, SyntaxError) and error.filename == place:
        return Problem(FILE, error.lineno or 1, max(1, error.offset or 1), f"not Python: {error.msg}")
    line, trace = 1, error.__traceback__
    while trace is not None:
        if trace.tb_frame.f_code.co_filename == place:
            line = trace.tb_lineno
        trace = trace.tb_next
    hint = (
        "install it, or put the module beside functions.py"
        if isinstance(error, ModuleNotFoundError)
        else None
    )
    return Problem(FILE, line, 1, f"running the file failed: {message}", hint)
