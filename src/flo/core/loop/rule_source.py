"""The part of a loop's function that tries its rules, as text."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from flo.core.expression import BOOL, Checked, Emitter, emit_template
from flo.core.loop.checking import CheckedAction, CheckedLoop
from flo.core.loop.definition import RuleDefinition
from flo.core.loop.program import EXIT_ERROR

Leave = Callable[[int, str], list[str]]
"""(indentation, the exit as text) -> the statements by which a decision is made and left."""


class RuleSource:
    """Writes the rules in their order; all that it needs from around it stands in local variables by then."""

    def __init__(
        self,
        loop: CheckedLoop,
        rules: Sequence[RuleDefinition],
        once: Sequence[RuleDefinition],
        emitter: Emitter,
        leave: Leave,
    ) -> None:
        self._loop = loop
        self._rules = rules
        self._once = once
        self._emitter = emitter
        self._leave = leave

    def lines(self, indent: int, *, live: bool) -> list[str]:
        """The rules in their order. `live`: they also keep their memory; deciding again must not."""
        lines = [at(indent, "rule = None"), at(indent, "try:")]
        inner = indent + 1
        match_all = self._loop.definition.match == "all"
        if match_all:
            lines.append(at(inner, f"exit = {len(self._rules)}"))
            if live:
                lines += [at(inner, f"acted_{slot} = False") for slot in range(len(self._once))]
        for index, rule in enumerate(self._rules):
            lines += self._rule(inner, index, rule, live=live, match_all=match_all)
        if live and match_all:
            for slot in range(len(self._once)):
                lines += [
                    at(inner, f"if acted_{slot}:"),
                    at(inner + 1, f"cell[{1 + slot}] = t"),
                ]
        end = "exit" if match_all else str(len(self._rules))
        lines += self._leave(inner, end)
        lines.append(at(indent, "except EvaluationError as error:"))
        lines.append(at(inner, "extra = failed(extra, error, rule, True)"))
        return [*lines, *self._leave(inner, str(EXIT_ERROR))]

    def _rule(
        self, indent: int, index: int, rule: RuleDefinition, *, live: bool, match_all: bool
    ) -> list[str]:
        checked = self._loop.conditions[rule.id]
        if rule.mode == "shadow" and checked.fallible:
            indent += 1  # inside its own `try`: a rule on trial must not spoil the decision
        before, code = emitted(self._emitter, indent, checked)
        condition = code if checked.type == BOOL else f"as_bool({code})"
        if not live and self._loop.mask.hides_any(checked.references):
            before, condition = [], f"recorded({index})"  # what it read is masked: its value is in the record
        lines = [at(indent, f"# rule {rule.id!r}")]
        actions = self._loop.actions.get(rule.id, [])
        if rule.mode == "shadow":
            return self._shadow(indent, rule, before, condition, fallible=checked.fallible)
        if checked.fallible or any(action.arguments or action.target for action in actions):
            lines.append(at(indent, f"rule = {rule.id!r}"))
        lines += before
        inner = indent + 1
        lines.append(at(indent, f"if {condition}:"))
        if rule.once_within_ns is not None:
            slot = self._once.index(rule)
            lines.append(at(inner, f"if once_{slot} and t - once_{slot} < {rule.once_within_ns}:"))
            lines.append(
                at(inner + 1, f"extra = {{**(extra or {{}}), {f'suppressed:{rule.id}'!r}: 'once_within'}}")
            )
            lines.append(at(inner, "else:"))
            inner += 1
        lines += self._act(inner, index, actions)
        if live and rule.once_within_ns is not None:
            # only what is sure to act is remembered: a later failure takes the whole decision back
            slot = self._once.index(rule)
            memory = f"acted_{slot} = True" if match_all else f"cell[{1 + slot}] = t"
            lines.append(at(inner, memory))
        if match_all:
            lines.append(
                at(inner, f"fired = {(index,)} if extra is None else (*extra.get('fired', ()), {index})")
            )
            lines.append(at(inner, "extra = {**(extra or {}), 'fired': fired}"))
            lines.append(at(inner, f"exit = min(exit, {index})"))
        else:
            lines += self._leave(inner, str(index))
        return lines

    def _shadow(
        self, indent: int, rule: RuleDefinition, before: list[str], condition: str, *, fallible: bool
    ) -> list[str]:
        """A rule on trial: what it says is recorded, also where it fails, and changes nothing else."""
        lines = [
            *before,
            at(indent, f"if {condition}:"),
            at(indent + 1, f"extra = {{**(extra or {{}}), {f'suppressed:{rule.id}'!r}: 'shadow'}}"),
        ]
        if fallible:
            failure = f"failed(None, error, {rule.id!r}, True)['error']"
            lines = [
                at(indent - 1, "try:"),
                *lines,
                at(indent - 1, "except EvaluationError as error:"),
                at(indent, f"extra = {{**(extra or {{}}), {f'failed:{rule.id}'!r}: {failure}}}"),
            ]
        return [at(indent - fallible, f"# shadow rule {rule.id!r}"), *lines]

    def _act(self, indent: int, index: int, actions: list[CheckedAction]) -> list[str]:
        """Render the arguments of a rule's commands; the flow makes commands of them."""
        if not actions:
            return []
        lines: list[str] = []
        rendered = []
        for n, action in enumerate(actions):
            emitter = self._emitter
            emitter.level, emitter.lines = indent, []
            arguments = "{}" if action.arguments is None else emit_template(emitter, action.arguments)
            target = "None" if action.target is None else emit_template(emitter, action.target)
            lines += emitter.lines
            rendered.append(f"({index}, {n}, {arguments}, {target})")
        lines.append(at(indent, "extra = {} if extra is None else dict(extra)"))
        lines.append(at(indent, f"extra.setdefault('commands', []).extend([{', '.join(rendered)}])"))
        return lines


def emitted(
    emitter: Emitter, indent: int, expression: Checked, *, boxed: bool = False
) -> tuple[list[str], str]:
    """The statements an expression needs before it, and its own text."""
    emitter.level, emitter.lines = indent, []
    code = emitter.expression(expression, boxed=boxed)
    return emitter.lines, code


def at(indent: int, line: str) -> str:
    """A line of source, indented."""
    return "    " * indent + line
