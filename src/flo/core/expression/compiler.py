"""One expression as a Python function of its own: for filters, tests and explanations. Loops fuse theirs
instead.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from flo.core.expression import typed
from flo.core.expression.checked import Checked
from flo.core.expression.emitter import Emitter
from flo.core.expression.typed import Typed
from flo.core.expression.types import Local

Compiled = Callable[[Mapping[str, Any]], Any]

_IDENTIFIER = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")


def compile_expression(checked: Checked) -> Compiled:
    """A function from bindings to the value of the expression, or EvaluationError.

    Bindings are by the Python names the environment's code uses: `data` for a variable read as `data`, and
    `s_count_10m` for a field that is `Local("s_count_10m")`. Values are boxed: they carry their type.
    """
    return compile_source(*source_of(checked), text=checked.text)


def source_of(checked: Checked, node: Typed | None = None) -> tuple[str, dict[str, object]]:
    """The source of that function and the globals it needs."""
    emitter = Emitter()
    for name in sorted(free_names(checked.root if node is None else node)):
        emitter.line(f"{name} = bindings[{name!a}]")
    code = emitter.expression(checked, boxed=True)
    emitter.line(f"return {code}")
    return "\n".join(["def evaluate(bindings):", *emitter.lines, ""]), emitter.constants


def compile_source(source: str, constants: Mapping[str, object], text: str = "") -> Compiled:
    """Compiles generated source with its constants and nothing else in sight."""
    space: dict[str, Any] = dict(constants)
    shown = text if len(text) <= 60 else text[:60] + "..."
    exec(compile(source, f"<expression {shown!a}>", "exec"), space)
    function: Compiled = space["evaluate"]
    return function


def free_names(node: Typed) -> set[str]:
    """The Python names the code of a node reads."""
    return set(_names(node))


def _names(node: Typed) -> Iterator[str]:
    match node:
        case typed.Read(code=code):
            yield _first(code)
        case typed.Whole(code=str() as code):
            yield _first(code)
            return
        case typed.FieldRead(field=field) | typed.HasField(field=field):
            if field is not None and isinstance(field.access, Local):
                yield field.access.name
                return
    for each in typed.parts(node):
        yield from _names(each)


def _first(code: str) -> str:
    found = _IDENTIFIER.search(code)
    if found is None:
        raise ValueError(f"the environment reads a variable by {code!r}, which names nothing")
    return found.group()
