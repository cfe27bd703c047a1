"""A loop as one Python function.

All expressions, state updates and rules of a loop are fused into one function, because the calls between small
functions cost more than the work in them: 100 rules as 100 functions take five times as long as one fused function.
The source is plain enough to read: `flo check --code LOOP` prints it.

    decide     where ▸ key ▸ inputs of the state ▸ update ▸ read ▸ rules, first that acts returns
    fold       the same up to the update: how recovery turns recorded signals back into state
    redecide   the rules alone, on the state a record says they read

Inputs are evaluated before anything is changed, and an update cannot fail, so a failing expression leaves either the
whole change of state or none of it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from flo.core.contract import Contract
from flo.core.errors import Problem
from flo.core.expression import (
    Checked,
    Emitter,
    EvaluationError,
    FunctionDecl,
    Template,
    Timestamp,
    compile_expression,
    compile_template,
)
from flo.core.loop.checking import CONDITIONS, NUMERIC, CheckedAction, CheckedLoop, check_loop
from flo.core.loop.definition import LoopDefinition, RuleDefinition
from flo.core.loop.program import EXIT_ERROR, KEY_CHARS_MAX, Calls, CompiledAction, LoopProgram
from flo.core.loop.support import as_bool, as_number, bad_key, as_scalar, error_detail, key_text, unbool

BUILT_IN = "flo"
"""The engine of what FLO does itself: `emit` and `review`."""


def compile_loop(
    definition: LoopDefinition,
    contract: Contract | None,
    functions: Mapping[str, FunctionDecl],
    *,
    revision: str,
    on_call: str | None = None,
) -> tuple[LoopProgram | None, list[Problem]]:
    """Check and compile. `on_call` is the engine that a bare `page` goes to. All problems at once, or a program."""
    calls = Calls()
    recorded = {
        name: FunctionDecl(name, decl.parameters, decl.result, calls.wrap(name, decl.callable))
        for name, decl in functions.items()
    }
    checked, problems = check_loop(definition, contract, recorded)
    if checked is None:
        return None, problems
    return _Assembly(checked, calls, revision, on_call).program(), []


class _Assembly:
    """Puts the source together, top to bottom."""

    def __init__(self, loop: CheckedLoop, calls: Calls, revision: str, on_call: str | None) -> None:
        self.loop = loop
        self.definition = loop.definition
        self.calls = calls
        self.revision = revision
        self.on_call = on_call
        # sorted() is stable: equal priorities stay as written
        self.rules = tuple(
            sorted((rule for rule in self.definition.rules if rule.mode != "off"), key=lambda rule: -rule.priority)
        )
        self.once = [rule for rule in self.rules if rule.once_within_ns is not None]
        self.references = self._references()
        self.state_columns, self.state_locals = self._state_columns()
        self.uses_functions = any(reference[0] == "()" for reference in self.references)
        self.constants: dict[str, Any] = {
            "EvaluationError": EvaluationError,
            "Timestamp": Timestamp,
            "as_bool": as_bool,
            "as_number": as_number,
            "as_scalar": as_scalar,
            "bad_key": bad_key,
            "error_detail": error_detail,
            "key_text": key_text,
            "unbool": unbool,
            "calls": calls,
            "loop_name": self.definition.name,
            "loop_owner": self.definition.owner,
            **loop.plan.constants,
            **loop.shared_plan.constants,
        }
        if loop.contract is not None:
            self.constants["as_json"] = loop.contract.as_json

    # -- what is needed -----------------------------------------------------------------------------------

    def _expressions(self) -> list[Checked | Template]:
        found: list[Checked | Template | None] = [self.loop.where, self.loop.key, *self.loop.inputs.values()]
        found += self.loop.conditions.values()
        for actions in self.loop.actions.values():
            for action in actions:
                found += [action.arguments, action.target]
        return [expression for expression in found if expression is not None]

    def _references(self) -> frozenset[tuple[str, ...]]:
        return frozenset().union(*(expression.references for expression in self._expressions()))

    def _state_columns(self) -> tuple[tuple[str, ...], tuple[str, ...]]:
        """The state the rules read, plus the memory of rules that act at most once in a while: name and local variable."""
        columns: dict[str, str] = {}
        for plan in (self.loop.plan, self.loop.shared_plan):
            for name, field in plan.fields.items():
                if field.parts:
                    for part, (_, local) in field.parts.items():
                        if ("state", name, part) in self.references:
                            columns[f"{name}.{part}"] = local
                elif ("state", name) in self.references:
                    columns[name] = f"s_{name}"
        for index, rule in enumerate(self.once):
            columns[f"once:{rule.id}"] = f"once_{index}"
        return tuple(columns), tuple(columns.values())

    def _prologue(self, indent: int) -> list[str]:
        """Locals that expressions ask for by name, only those."""
        wanted = {
            ("signal", "time"): "signal_time = Timestamp(t)",
            ("context", "root"): "context_root = context.root",
            ("context", "hops"): "context_hops = context.hops",
            ("context", "born"): "context_born = Timestamp(context.born_ns)",
            ("context", "deadline"): "context_deadline = Timestamp(context.deadline_ns)",
            ("data",): "whole_data = as_json(signal.data)" if self.loop.contract is not None else "whole_data = data",
        }
        lines = [line for reference, line in wanted.items() if reference in self.references]
        if ("now",) in self.references or ("signal", "received") in self.references:
            lines.append("now_time = Timestamp(now)")
        return [_at(indent, line) for line in lines]

    # -- the parts ----------------------------------------------------------------------------------------

    def _emit(self, indent: int, expression: Checked) -> tuple[list[str], str]:
        emitter = Emitter(indent=indent)
        code = emitter.expression(expression)
        self.constants.update(emitter.constants)
        return emitter.lines, code

    def _before_state(self, indent: int) -> list[str]:
        """where, key and the inputs of the state: all that may fail before anything changes."""
        lines: list[str] = []
        if self.loop.where is not None:
            before, code = self._emit(indent, self.loop.where)
            guard = code if self.loop.where.type.name == "bool" else f"as_bool({code})"
            lines += [*before, _at(indent, f"if not ({guard}):"), _at(indent + 1, "return None")]
        assert self.loop.key is not None
        before, code = self._emit(indent, self.loop.key)
        lines += before
        text = code if self.loop.key.type.name == "string" else f"key_text({code})"
        lines.append(_at(indent, f"key = {text}"))
        lines.append(_at(indent, f"if not key or len(key) > {KEY_CHARS_MAX}:"))
        lines.append(_at(indent + 1, "raise bad_key(key)"))
        for state in self.definition.state:
            checked = self.loop.inputs[state.name]
            before, code = self._emit(indent, checked)
            if state.kind in CONDITIONS and checked.type.name != "bool":
                code = f"as_bool({code})"
            elif state.kind in NUMERIC and not _is_plain(checked, code):
                code = f"as_number({code})"
            elif state.kind in ("last", "distinct") and checked.type.name == "dyn":
                code = f"as_scalar({code})"
            lines += [*before, _at(indent, f"i_{state.name} = {code}")]
        return lines

    def _update(self, indent: int) -> list[str]:
        offset = 1 + len(self.once)
        own = [state.name for state in self.definition.state if not state.shared]
        shared = [state.name for state in self.definition.state if state.shared]
        lines = [_at(indent, "cell = cells[key]")]
        if own:
            inputs = {name: f"i_{name}" for name in own}
            lines += self.loop.plan.emit_update(inputs, cell="cell", offset=offset, t="t", indent=indent)
        if shared:
            inputs = {name: f"i_{name}" for name in shared}
            lines.append(_at(indent, "shared = cells.shared"))
            lines += self.loop.shared_plan.emit_update(inputs, cell="shared", offset=0, t="t", indent=indent)
        lines.append(_at(indent, "cell[0] = seq = cell[0] + 1"))
        return lines

    def _read(self, indent: int) -> list[str]:
        names = {reference[1] for reference in self.references if reference[0] == "state" and len(reference) > 1}
        offset = 1 + len(self.once)
        lines: list[str] = []
        own = [name for name in self.loop.plan.fields if name in names]
        shared = [name for name in self.loop.shared_plan.fields if name in names]
        if own:
            lines += self.loop.plan.emit_read(own, cell="cell", offset=offset, t="t", indent=indent)
        if shared:
            lines += self.loop.shared_plan.emit_read(shared, cell="shared", offset=0, t="t", indent=indent)
        lines += [_at(indent, f"once_{index} = cell[{1 + index}]") for index in range(len(self.once))]
        return lines

    def _rules(self, indent: int, *, live: bool) -> list[str]:
        """The rules in their order. `live`: they also keep their memory; deciding again must not."""
        lines = [_at(indent, "try:")]
        inner = indent + 1
        match_all = self.definition.match == "all"
        if match_all:
            lines.append(_at(inner, f"exit = {len(self.rules)}"))
        for index, rule in enumerate(self.rules):
            lines += self._rule(inner, index, rule, live=live, match_all=match_all)
        end = "exit" if match_all else str(len(self.rules))
        lines.append(_at(inner, f"return {self._row(end)}"))
        lines.append(_at(indent, "except EvaluationError as error:"))
        lines.append(_at(inner, "extra = {'error': error_detail(error, rule), 'applied': True}"))
        lines.append(_at(inner, f"return {self._row(str(EXIT_ERROR))}"))
        return lines

    def _rule(self, indent: int, index: int, rule: RuleDefinition, *, live: bool, match_all: bool) -> list[str]:
        checked = self.loop.conditions[rule.id]
        before, code = self._emit(indent, checked)
        condition = code if checked.type.name == "bool" else f"as_bool({code})"
        lines = [_at(indent, f"# {'shadow ' if rule.mode == 'shadow' else ''}rule {rule.id!r}")]
        actions = self.loop.actions.get(rule.id, [])
        if checked.fallible or any(action.arguments or action.target for action in actions):
            lines.append(_at(indent, f"rule = {rule.id!r}"))
        lines += before
        if rule.mode == "shadow":
            lines.append(_at(indent, f"if {condition}:"))
            lines.append(_at(indent + 1, f"extra = {{**(extra or {{}}), {f'suppressed:{rule.id}'!r}: 'shadow'}}"))
            return lines
        inner = indent + 1
        lines.append(_at(indent, f"if {condition}:"))
        if rule.once_within_ns is not None:
            slot = self.once.index(rule)
            lines.append(_at(inner, f"if once_{slot} and t - once_{slot} < {rule.once_within_ns}:"))
            lines.append(_at(inner + 1, f"extra = {{**(extra or {{}}), {f'suppressed:{rule.id}'!r}: 'once_within'}}"))
            lines.append(_at(inner, "else:"))
            inner += 1
            if live:
                lines.append(_at(inner, f"cell[{1 + slot}] = t"))
        lines += self._act(inner, index, actions)
        if match_all:
            lines.append(_at(inner, f"fired = {(index,)} if extra is None else (*extra.get('fired', ()), {index})"))
            lines.append(_at(inner, "extra = {**(extra or {}), 'fired': fired}"))
            lines.append(_at(inner, f"exit = min(exit, {index})"))
        else:
            lines.append(_at(inner, f"return {self._row(str(index))}"))
        return lines

    def _act(self, indent: int, index: int, actions: list[CheckedAction]) -> list[str]:
        """Render the arguments of a rule's commands; the flow makes commands of them."""
        if not actions:
            return []
        lines: list[str] = []
        rendered = []
        for n, action in enumerate(actions):
            emitter = Emitter(indent=indent)
            arguments = "{}" if action.arguments is None else emitter.template(action.arguments)
            target = "None" if action.target is None else emitter.template(action.target)
            self.constants.update(emitter.constants)
            lines += emitter.lines
            rendered.append(f"({index}, {n}, {arguments}, {target})")
        lines.append(_at(indent, "extra = {} if extra is None else dict(extra)"))
        lines.append(_at(indent, f"extra.setdefault('commands', []).extend([{', '.join(rendered)}])"))
        return lines

    def _row(self, exit: str) -> str:
        inputs = "None"
        if self.definition.needs or self.uses_functions:
            need = "need" if self.definition.needs else "None"
            inputs = f"({need}, calls.results)"
        return f"({', '.join(['row', 'key', 'seq', exit, *self.state_locals, inputs, 'extra'])})"

    # -- the functions ------------------------------------------------------------------------------------

    def source(self) -> str:
        about = f"# loop {self.definition.name}, revision {self.revision}\n"
        return about + "\n\n".join("\n".join(lines) for lines in (self._decide(), self._fold(), self._redecide())) + "\n"

    def _failed_before(self, indent: int) -> list[str]:
        nothing = ", ".join(["None"] * len(self.state_locals))
        row = f"(row, key, 0, {EXIT_ERROR}, {nothing + ', ' if nothing else ''}None, extra)"
        return [
            _at(indent, "except EvaluationError as error:"),
            _at(indent + 1, "extra = {'error': error_detail(error, None), 'applied': False}"),
            _at(indent + 1, f"return {row}"),
        ]

    def _decide(self) -> list[str]:
        lines = ["def decide(signal, data, t, now, context, need, cells, row):", "    extra = None", "    key = ''"]
        if self.uses_functions:
            lines.append("    calls.results = []")
        lines += ["    try:", *self._prologue(2), *self._before_state(2), *self._failed_before(1)]
        late = self.loop.plan.may_be_late or self.loop.shared_plan.may_be_late
        if late:
            lines.append("    late = False")
        lines += [*self._update(1), *self._read(1)]
        if late:
            lines += ["    if late:", "        extra = {'late': True}"]
        lines += self._stale(1)
        return [*lines, *self._rules(1, live=True)]

    def _stale(self, indent: int) -> list[str]:
        """`fresh.data`: a decision on older data is marked, and its success is not called success."""
        limit = self.definition.fresh_data_ns
        if limit is None:
            return []
        return [
            _at(indent, f"if now - t > {limit}:"),
            _at(indent + 1, "extra = {**(extra or {}), 'stale': now - t}"),
        ]

    def _fold(self) -> list[str]:
        lines = ["def fold(signal, data, t, now, context, need, cells, row):", "    key = ''"]
        lines += ["    try:", *self._prologue(2), *self._before_state(2)]
        lines += ["    except EvaluationError:", "        return None", "    late = False", *self._update(1)]
        return [*lines, "    return cell"]

    def _redecide(self) -> list[str]:
        names = ["signal", "data", "t", "now", "context", "need", "row", "key", "seq", "state", "extra"]
        lines = [f"def redecide({', '.join(names)}):"]
        if self.uses_functions:
            lines.append("    calls.results = []")
        if self.state_locals:
            lines.append(f"    ({', '.join(self.state_locals)},) = state")
        lines += self._prologue(1)
        return [*lines, *self._rules(1, live=False)]

    def program(self) -> LoopProgram:
        source = self.source()
        namespace: dict[str, Any] = {"__builtins__": SAFE_BUILTINS, **self.constants}
        exec(compile(source, f"<loop {self.definition.name} {self.revision}>", "exec"), namespace)
        contract = self.loop.contract
        return LoopProgram(
            definition=self.definition,
            revision=self.revision,
            contract=contract,
            plan=self.loop.plan,
            shared_plan=self.loop.shared_plan,
            rules=self.rules,
            state_columns=self.state_columns,
            actions={rule.id: tuple(self._actions(rule)) for rule in self.rules},
            conditions=self.loop.conditions,
            source=source,
            decide=namespace["decide"],
            fold=namespace["fold"],
            redecide=namespace["redecide"],
            calls=self.calls,
            uses_functions=self.uses_functions,
            uses_context=any(reference[0] == "context" for reference in self.references),
            needs=dict(self.definition.needs),
        )

    def _actions(self, rule: RuleDefinition) -> list[CompiledAction]:
        return [
            CompiledAction(
                rule=rule.id,
                n=n,
                engine=self._engine(action.definition.engine, action.definition.verb),
                definition=action.definition,
                expect_where=None if action.expect_where is None else compile_expression(action.expect_where),
                on_silent=tuple(
                    (self._engine(silent.engine, silent.verb), silent.verb, _renderer(template))
                    for silent, template in action.on_silent
                ),
            )
            for n, action in enumerate(self.loop.actions.get(rule.id, []))
        ]

    def _engine(self, engine: str | None, verb: str) -> str:
        if engine is not None:
            return engine
        return self.on_call or BUILT_IN if verb == "page" else BUILT_IN


SAFE_BUILTINS = {
    name: __builtins__[name] if isinstance(__builtins__, dict) else getattr(__builtins__, name)
    for name in ("len", "dict", "min", "max", "float", "int", "abs", "bool", "str", "isinstance", "type", "range", "None", "True", "False", "list", "tuple", "KeyError", "IndexError", "TypeError", "ValueError", "OverflowError", "ZeroDivisionError")
    if name not in ("None", "True", "False")
}
"""All that generated code may call by its builtin name: no import, no attribute access by name, no files."""


def _renderer(template: Template | None) -> Callable[[Mapping[str, Any]], Any]:
    if template is None:
        return lambda bindings: {}
    return compile_template(template)


def _is_plain(checked: Checked, code: str) -> bool:
    """A number straight from validated data or a literal: finite by construction, no check needed."""
    return checked.type.name in ("int", "double") and not checked.fallible and "(" not in code


def _at(indent: int, line: str) -> str:
    return "    " * indent + line
