"""The source of a loop's function: where, key, state, rules and commands, put together as text.

    decide     where ▸ key ▸ inputs of the state ▸ update ▸ read ▸ rules, first that acts returns
    decide_run the same for a run of signals that bring nothing but their data, so that they share what a call costs
    fold       the same up to the update: how recovery turns recorded signals back into state
    refold     the update alone, on the inputs a record holds: recovery where the signal itself is masked
    redecide   the rules alone, on the state a record says they read
    key_of     where and key: what is fetched before deciding is fetched for it, and shards are chosen by it

Inputs are evaluated before anything is changed, and an update cannot fail, so a failing expression leaves either the
whole change of state or none of it.
"""

from __future__ import annotations

import re
from typing import Any

from flo.core.expression import (
    BOOL,
    STRING,
    Checked,
    CheckedTemplate,
    Emitter,
)
from flo.core.loop.checking import CheckedLoop
from flo.core.loop.program import EXIT_ERROR, KEY_CHARS_MAX, Calls
from flo.core.loop.rule_source import RuleSource, at, emitted
from flo.core.loop.support import NAMES, failed, failed_masked


class LoopSource:
    """Puts the source of one loop together, top to bottom; `constants` is what its names mean."""

    def __init__(self, loop: CheckedLoop, calls: Calls, revision: str) -> None:
        self.loop = loop
        self.definition = loop.definition
        self.revision = revision
        # sorted() is stable: equal priorities stay as written
        self.rules = tuple(
            sorted(
                (rule for rule in self.definition.rules if rule.mode != "off"),
                key=lambda rule: -rule.priority,
            )
        )
        self.once = [rule for rule in self.rules if rule.once_within_ns is not None]
        self.references = self._references()
        self.state_columns, self.state_locals = self._state_columns()
        self.uses_functions = self._calls_functions()
        self.records_inputs = bool(loop.mask.paths)
        self.is_plain = not (
            self.definition.needs
            or loop.mask.paths
            or any(reference == ("data",) or reference[0] == "context" for reference in self.references)
        )
        self.emitter = Emitter()
        self._rule_source = RuleSource(loop, self.rules, self.once, self.emitter, self._leave)
        self._in_run = False  # whether what is written stands in `decide_run`
        self._own_constants = self._names(calls)

    @property
    def constants(self) -> dict[str, Any]:
        """Everything the source calls by name; complete once `source` was called."""
        return {**self.emitter.constants, **self._own_constants}

    def _names(self, calls: Calls) -> dict[str, Any]:
        loop = self.loop
        names: dict[str, Any] = {
            **NAMES,
            "failed": failed_masked if loop.mask.paths else failed,
            "calls": calls,
            "loop_name": self.definition.name,
            "loop_owner": self.definition.owner,
            **loop.plan.constants,
            **(loop.shared_plan.constants if loop.shared_plan.fields else {}),
        }
        if loop.contract is not None:
            names["as_json"] = loop.contract.as_json
        return names

    # -- what is needed -----------------------------------------------------------------------------------

    def _expressions(self) -> list[Checked | CheckedTemplate]:
        found: list[Checked | CheckedTemplate | None] = [
            self.loop.where,
            self.loop.key,
            *self.loop.inputs.values(),
        ]
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
                for part, (local, _) in field.fields.items():
                    if ("state", name, part) in self.references:
                        columns[f"{name}.{part}"] = local
                if field.local and ("state", name) in self.references:
                    columns[name] = field.local
        for index, rule in enumerate(self.once):
            columns[f"once:{rule.id}"] = f"once_{index}"
        return tuple(columns), tuple(columns.values())

    def _calls_functions(self) -> bool:
        """Whether any expression names one of the bundle's functions; to say yes too often costs a list, no more."""
        names = "|".join(map(re.escape, self.loop.functions))
        if not names:
            return False
        rules = self.definition.rules
        texts = [rule.when.text for rule in rules]
        texts += [repr(action.arguments) + repr(action.target) for rule in rules for action in rule.then]
        return re.search(rf"\b({names})\s*\(", "\n".join(texts)) is not None

    def _prologue(self, indent: int) -> list[str]:
        """What only some loops need."""
        if ("data",) not in self.references:
            return []
        whole = (
            "as_json(signal.data)" if self.loop.contract is not None and self.loop.contract.fast else "data"
        )
        return [at(indent, f"whole_data = {whole}")]

    # -- the parts ----------------------------------------------------------------------------------------

    def _where_and_key(self, indent: int) -> list[str]:
        lines: list[str] = []
        if self.loop.where is not None:
            before, code = emitted(self.emitter, indent, self.loop.where)
            guard = code if self.loop.where.type == BOOL else f"as_bool({code})"
            leave = "continue" if self._in_run else "return None"
            lines += [*before, at(indent, f"if not ({guard}):"), at(indent + 1, leave)]
        assert self.loop.key is not None
        before, code = emitted(self.emitter, indent, self.loop.key)
        lines += before
        text = code if self.loop.key.type == STRING else f"key_text({code})"
        lines.append(at(indent, f"key = {text}"))
        lines.append(at(indent, f"if not key or len(key) > {KEY_CHARS_MAX}:"))
        lines.append(at(indent + 1, "raise bad_key(key)"))
        return lines

    def _before_state(self, indent: int) -> list[str]:
        """where, key and the inputs of the state: all that may fail before anything changes."""
        lines = self._where_and_key(indent)
        for state in self.definition.state:
            before, code = emitted(
                self.emitter, indent, self.loop.inputs[state.name], boxed=state.name in self.loop.converted
            )
            if state.name in self.loop.converted:
                code = f"as_state({code}, {state.name!r})"
            lines += [*before, at(indent, f"i_{state.name} = {code}")]
        return lines

    def _update(self, indent: int) -> list[str]:
        """The change of state; it checks its values first, and cannot fail after."""
        inputs = {state.name: f"i_{state.name}" for state in self.definition.state}
        lines = [at(indent, "cell = cells[key]")]
        if self.loop.plan.fields:
            lines += self.loop.plan.emit_update(inputs, cell="cell", offset=1 + len(self.once), indent=indent)
        if self.loop.shared_plan.fields:
            lines += [at(indent, "shared = cells.shared"), at(indent, "others = cells.others")]
            lines += self.loop.shared_plan.emit_update(
                inputs, cell="shared", offset=0, late="all_late", others="others", indent=indent
            )
        lines.append(at(indent, "cell[0] = seq = cell[0] + 1"))
        return lines

    def _read(self, indent: int) -> list[str]:
        names = {
            reference[1] for reference in self.references if reference[0] == "state" and len(reference) > 1
        }
        lines: list[str] = []
        for plan in (self.loop.plan, self.loop.shared_plan):
            wanted = [name for name in plan.fields if name in names]
            if wanted:
                lines += plan.emit_read(wanted, indent=indent)
        return lines

    def _memory(self, indent: int) -> list[str]:
        return [at(indent, f"once_{index} = cell[{1 + index}]") for index in range(len(self.once))]

    def _row(self, exit: str) -> str:
        inputs = "None"
        if self.definition.needs or self.uses_functions or self.records_inputs:
            need = "need" if self.definition.needs else "None"
            results = "calls.results" if self.uses_functions else "None"
            inputs = f"({need}, {results}, {'measured' if self.records_inputs else 'None'})"
        return f"({', '.join(['row', 'key', 'seq', exit, *self.state_locals, inputs, 'extra'])})"

    def _leave(self, indent: int, exit: str) -> list[str]:
        """The decision is made, by the rules."""
        return self._leave_with(indent, self._row(exit))

    def _leave_with(self, indent: int, row: str) -> list[str]:
        if not self._in_run:
            return [at(indent, f"return {row}")]
        return [
            at(indent, f"decision = {row}"),
            at(indent, "if extra is not None:"),
            at(indent + 1, "decision = unusual(signal, t, decision, len(rows))"),
            at(indent, "append(decision)"),
            at(indent, "continue"),
        ]

    # -- the functions ------------------------------------------------------------------------------------

    def source(self) -> str:
        about = f"# loop {self.definition.name}, revision {self.revision}\n"
        return about + "\n\n".join("\n".join(lines) for lines in self._functions()) + "\n"

    def _functions(self) -> list[list[str]]:
        run = [self._decide_run()] if self.is_plain else []
        return [self._decide(), *run, self._fold(), self._refold(), self._redecide(), self._key_of()]

    def _failed(self, indent: int, seq: str, applied: bool) -> list[str]:
        """A failure before the rules: the decision says so, and has read nothing."""
        inputs = "(None, None, measured)" if applied and self.records_inputs else "None"
        row = ", ".join(
            ["row", "key", seq, str(EXIT_ERROR), *["None"] * len(self.state_locals), inputs, "extra"]
        )
        return [
            at(indent, "except (EvaluationError, StateError) as error:"),
            at(indent + 1, f"extra = failed(extra, error, None, {applied})"),
            *self._leave_with(indent + 1, f"({row})"),
        ]

    def _decide(self) -> list[str]:
        return ["def decide(signal, data, t, now, context, need, cells, row):", *self._decision(1)]

    def _decide_run(self) -> list[str]:
        self._in_run = True
        lines = [
            "def decide_run(signals, times, now, cells, row, rows, unusual):",
            "    append = rows.append",
            "    for row, signal, t in zip(range(row, row + len(signals)), signals, times):",
            "        data = signal.data",
            *self._decision(2),
        ]
        self._in_run = False
        return lines

    def _decision(self, indent: int) -> list[str]:
        lines = [at(indent, "extra = None"), at(indent, "key = ''")]
        if self.uses_functions:
            lines.append(at(indent, "calls.results = []"))
        inner = indent + 1
        lines += [
            at(indent, "try:"),
            *self._prologue(inner),
            *self._before_state(inner),
            *self._measured(inner),
            *self._update(inner),
            *self._failed(indent, "0", False),
        ]
        if read := self._read(inner):
            lines += [at(indent, "try:"), *read, *self._failed(indent, "seq", True)]
        lines += self._memory(indent)
        if self.loop.plan.sliding:
            lines += [at(indent, "if late:"), at(inner, "extra = {'late': True}")]
        return [*lines, *self._stale(indent), *self._rule_source.lines(indent, live=True)]

    def _key_of(self) -> list[str]:
        """The key alone; None where `where` is false, '' where there is no telling."""
        lines = ["def key_of(signal, data, t, now, context):", "    try:"]
        lines += [*self._prologue(2), *self._where_and_key(2), "        return key"]
        return [*lines, "    except EvaluationError:", "        return ''"]

    def _stale(self, indent: int) -> list[str]:
        """`fresh`: a decision on older data, or by older logic than the data wants, is marked, and its success is not
        called success."""
        lines: list[str] = []
        for limit, age, mark in (
            (self.definition.fresh_data_ns, "now - t", "stale"),
            (self.definition.fresh_logic_ns, "t - cells.logic_ns", "skewed"),
        ):
            if limit is not None:
                lines.append(at(indent, f"if {age} > {limit}:"))
                lines.append(at(indent + 1, f"extra = {{**(extra or {{}}), {mark!r}: {age}}}"))
        return lines

    def _fold(self) -> list[str]:
        lines = ["def fold(signal, data, t, now, context, need, cells, row):", "    key = ''"]
        lines += ["    try:", *self._prologue(2), *self._before_state(2), *self._update(2)]
        return [*lines, "    except (EvaluationError, StateError):", "        return None", "    return cell"]

    def _measured(self, indent: int) -> list[str]:
        """What the state was given, for the record: of a masked signal it could not be found out again."""
        if not self.records_inputs:
            return []
        values = "".join(f"i_{state.name}, " for state in self.definition.state)
        return [at(indent, f"measured = ({values})")]

    def _refold(self) -> list[str]:
        lines = ["def refold(t, now, key, measured, cells):"]
        if self.definition.state:
            lines.append(
                f"    ({', '.join(f'i_{state.name}' for state in self.definition.state)},) = measured"
            )
        return [*lines, *self._update(1), "    return cell"]

    def _redecide(self) -> list[str]:
        names = ["signal", "data", "t", "now", "context", "need", "row", "key", "seq", "state", "extra"]
        if self.loop.mask.paths:
            names.append("recorded")
        lines = [f"def redecide({', '.join(names)}):"]
        if self.records_inputs:
            lines.append("    measured = None")
        if self.uses_functions:
            lines.append("    calls.results = []")
        if self.state_locals:
            lines.append(f"    ({', '.join(self.state_locals)},) = state")
        lines += self._prologue(1)
        return [*lines, *self._rule_source.lines(1, live=False)]
