"""A loop as one Python function.

All expressions, state updates and rules of a loop are fused into one function, because the calls between small
functions cost more than the work in them: 100 rules as 100 functions take five times as long as one fused function.
The source is plain enough to read: `flo check --code LOOP` prints it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

from flo.core.contract import Contract
from flo.core.errors import Problem
from flo.core.expression import (
    DURATION,
    STRING,
    TIMESTAMP,
    Checked,
    CheckedTemplate,
    Emitter,
    FunctionDecl,
    Type,
    compile_expression,
    emit_template,
    syntax,
)
from flo.core.loop.checking import CheckedLoop, check_loop
from flo.core.loop.definition import LoopDefinition, RuleDefinition
from flo.core.loop.program import Calls, CompiledAction, LoopProgram
from flo.core.loop.source import LoopSource
from flo.core.mask import NO_MASK, Mask

BUILT_IN = "flo"
"""The engine of what FLO does itself: `emit` and `review`."""

TIMES: Mapping[str, Type] = {"timestamp": TIMESTAMP, "duration": DURATION}


def compile_loop(
    definition: LoopDefinition,
    contract: Contract | None,
    functions: Mapping[str, FunctionDecl],
    *,
    revision: str,
    on_call: str | None = None,
    mask: Mask = NO_MASK,
) -> tuple[LoopProgram | None, list[Problem]]:
    """Check and compile. All problems at once, or a program.

    `on_call` is the engine that a bare `page` goes to; `mask` all that is masked of the signals this loop meets, by
    itself or by another loop that listens to them too.
    """
    calls = Calls()
    recorded = {
        name: replace(declared, function=calls.wrap(declared.function))
        for name, declared in functions.items()
    }
    checked, problems = check_loop(definition, contract, recorded, mask)
    if checked is None:
        return None, problems
    return _program(checked, calls, revision, on_call), []


def _program(loop: CheckedLoop, calls: Calls, revision: str, on_call: str | None) -> LoopProgram:
    writer = LoopSource(loop, calls, revision)
    source = writer.source()
    namespace: dict[str, Any] = {"__builtins__": SAFE_BUILTINS, **writer.constants}
    exec(compile(source, f"<loop {loop.definition.name} {revision}>", "exec"), namespace)
    return LoopProgram(
        definition=loop.definition,
        revision=revision,
        contract=loop.contract,
        plan=loop.plan,
        shared_plan=loop.shared_plan,
        rules=writer.rules,
        state_columns=writer.state_columns,
        time_columns=_time_columns(loop, writer.state_columns),
        actions={rule.id: tuple(_actions(loop, rule, on_call)) for rule in writer.rules},
        conditions=loop.conditions,
        source=source,
        decide=namespace["decide"],
        decide_run=namespace.get("decide_run"),
        fold=namespace["fold"],
        refold=namespace["refold"],
        redecide=namespace["redecide"],
        key_of=namespace["key_of"],
        calls=calls,
        uses_functions=writer.uses_functions,
        uses_context=any(reference[0] == "context" for reference in writer.references),
        needs=dict(loop.definition.needs),
        key_field=_field(loop.key),
        where_equals=None if loop.where is None else _equality(loop.where),
        mask=loop.mask,
        masked_contract=loop.mask.relaxed(loop.contract),
    )


def _time_columns(loop: CheckedLoop, columns: tuple[str, ...]) -> Mapping[str, Type]:
    """Columns that are numbers in the row and text for people."""
    found = {}
    for plan in (loop.plan, loop.shared_plan):
        for name, field in plan.fields.items():
            kinds = {f"{name}.{part}": kind for part, (_, kind) in field.fields.items()} or {name: field.type}
            found.update({column: TIMES[kind] for column, kind in kinds.items() if kind in TIMES})
    return {column: kind for column, kind in found.items() if column in columns}


def _actions(loop: CheckedLoop, rule: RuleDefinition, on_call: str | None) -> list[CompiledAction]:
    return [
        CompiledAction(
            rule=rule.id,
            n=n,
            engine=_engine(action.definition.engine, action.definition.verb, on_call),
            definition=action.definition,
            expect_where=None if action.expect_where is None else compile_expression(action.expect_where),
            on_silent=tuple(
                (_engine(silent.engine, silent.verb, on_call), silent.verb, _renderer(template))
                for silent, template in action.on_silent
            ),
        )
        for n, action in enumerate(loop.actions.get(rule.id, []))
    ]


def _engine(engine: str | None, verb: str, on_call: str | None) -> str:
    if engine is not None:
        return engine
    return on_call or BUILT_IN if verb == "page" else BUILT_IN


SAFE_BUILTINS = {
    function.__name__: function
    for function in (
        len,
        dict,
        min,
        max,
        float,
        int,
        abs,
        bool,
        str,
        isinstance,
        type,
        range,
        list,
        tuple,
        enumerate,
        sum,
        sorted,
        set,
        reversed,
        zip,
        KeyError,
        IndexError,
        TypeError,
        ValueError,
        OverflowError,
        ZeroDivisionError,
        AttributeError,
        StopIteration,
    )
}
"""All that generated code may call by its builtin name: no import, no attribute access by name, no files."""


def _field(key: Checked | None) -> str | None:
    """The field, where a key is `data.field` and surely a text."""
    root = None if key is None or key.type != STRING or key.fallible else key.expression.root
    if (
        isinstance(root, syntax.Select)
        and isinstance(root.operand, syntax.Name)
        and root.operand.name == "data"
    ):
        return root.field
    return None


def _equality(where: Checked) -> tuple[str, str] | None:
    """`data.field == "constant"`, where all of `where` can only be true with it and `data.field` is always there."""
    root = where.expression.root
    parts = root.operands if isinstance(root, syntax.Logic) and root.operator == "&&" else (root,)
    if where.fallible:
        return None
    for part in parts:
        if isinstance(part, syntax.Binary) and part.operator == "==":
            for field, constant in ((part.left, part.right), (part.right, part.left)):
                if (
                    isinstance(field, syntax.Select)
                    and isinstance(field.operand, syntax.Name)
                    and field.operand.name == "data"
                    and isinstance(constant, syntax.Literal)
                    and isinstance(constant.value, str)
                ):
                    return field.field, constant.value
    return None


def _renderer(template: CheckedTemplate | None) -> Callable[[Mapping[str, Any]], Any]:
    """Arguments that are rendered later, from the command's own record."""
    if template is None:
        return lambda bindings: {}
    emitter = Emitter()
    emitter.line("command = bindings['command']")
    emitter.line(f"return {emit_template(emitter, template)}")
    namespace: dict[str, Any] = {"__builtins__": SAFE_BUILTINS, **emitter.constants}
    exec(compile("\n".join(["def render(bindings):", *emitter.lines]), "<on_silent>", "exec"), namespace)
    render: Callable[[Mapping[str, Any]], Any] = namespace["render"]
    return render
