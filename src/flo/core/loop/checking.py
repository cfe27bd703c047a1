"""All expressions of a loop, parsed and type-checked: every problem of the loop in one go, each where it stands."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from flo.core.contract import Contract
from flo.core.errors import BundleError, Problem
from flo.core.expression import (
    BOOL,
    Checked,
    CheckedTemplate,
    Environment,
    ExpressionSyntaxError,
    FunctionDecl,
    Type,
    check,
    check_template,
    parse,
)
from flo.core.loop.definition import ActionDefinition, ExpressionText, LoopDefinition, TemplateText
from flo.core.loop.environment import (
    anything_environment,
    expectation_environment,
    loop_environment,
    silent_environment,
)
from flo.core.mask import NO_MASK, Mask
from flo.core.state import StatePlan, plan_state

CONDITIONS = ("count", "share")
"""State kinds whose expression is a condition."""

RECORDABLE = ("bool", "int", "double", "string", "null", "timestamp", "duration")
"""Types whose values a record holds as they are."""


@dataclass(slots=True)
class CheckedAction:
    """One command of a rule, with its expressions checked."""

    definition: ActionDefinition
    arguments: CheckedTemplate | None
    target: CheckedTemplate | None
    expect_where: Checked | None
    on_silent: list[tuple[ActionDefinition, CheckedTemplate | None]]


@dataclass(slots=True)
class CheckedLoop:
    """What the compiler needs of a loop: every expression with its type, and the plan of its state."""

    definition: LoopDefinition
    contract: Contract | None
    functions: Mapping[str, FunctionDecl]
    plan: StatePlan
    shared_plan: StatePlan
    mask: Mask = NO_MASK
    where: Checked | None = None
    key: Checked | None = None
    inputs: dict[str, Checked] = field(default_factory=dict)
    conditions: dict[str, Checked] = field(default_factory=dict)
    actions: dict[str, list[CheckedAction]] = field(default_factory=dict)
    converted: frozenset[str] = frozenset()  # state whose input must be made recordable first


class _Checker:
    def __init__(self) -> None:
        self.problems: list[Problem] = []

    def expression(
        self, text: ExpressionText, environment: Environment, what: str, expect: Type | None = None
    ) -> Checked | None:
        try:
            tree = parse(text.text)
        except ExpressionSyntaxError as error:
            self._problem(
                text.place.file, text, error.line, error.column, f"{what}: {error.message}", error.hint
            )
            return None
        checked, problems = check(tree, environment, expect=expect)
        for problem in problems:
            self._problem(
                text.place.file,
                text,
                problem.line,
                problem.column,
                f"{what}: {problem.message}",
                problem.hint,
            )
        return checked

    def template(
        self, text: TemplateText | None, environment: Environment, what: str
    ) -> CheckedTemplate | None:
        if text is None:
            return None
        template, problems = check_template(text.value, environment)
        for path, problem in problems:
            place = text.place_at(path, problem.line, problem.column)
            self.problems.append(
                Problem(place.file, place.line, place.column, f"{what}: {problem.message}", problem.hint)
            )
        return template

    def _problem(
        self, file: str, text: ExpressionText, line: int, column: int, message: str, hint: str | None
    ) -> None:
        at = text.place_at(line, column)
        self.problems.append(Problem(file, at.line, at.column, message, hint))


def check_loop(
    definition: LoopDefinition,
    contract: Contract | None,
    functions: Mapping[str, FunctionDecl],
    mask: Mask = NO_MASK,
) -> tuple[CheckedLoop | None, list[Problem]]:
    """Check every expression of a loop. The loop is None where there is any problem. `mask` joins the loop's own."""
    checker = _Checker()
    # no functions before the rules: state is a fold over recorded signals, and must not depend on what they answer
    first = loop_environment(definition, contract, {}, needs=False)
    before = loop_environment(definition, contract, {})
    where = key = None
    if definition.where is not None:
        where = checker.expression(definition.where, first, "where", BOOL)
    key = checker.expression(definition.key, first, "key")
    inputs: dict[str, Checked] = {}
    for state in definition.state:
        expect = BOOL if state.kind in CONDITIONS else None
        checked = checker.expression(state.expression, before, f"state {state.name}", expect)
        if checked is None:
            continue
        inputs[state.name] = checked
    if len(inputs) < len(definition.state):
        _check_rules_alone(checker, definition, contract, functions)
        return None, checker.problems
    types = {name: str(checked.type) for name, checked in inputs.items()}
    _check_kept(checker, definition, types)
    try:
        plan = plan_state([state for state in definition.state if not state.shared], types)
        shared_plan = plan_state([state for state in definition.state if state.shared], types)
    except BundleError as error:
        checker.problems += error.problems
        _check_rules_alone(checker, definition, contract, functions)
        return None, checker.problems
    after = loop_environment(definition, contract, functions, plan, shared_plan)
    mask = mask.joined(Mask(definition.mask))
    loop = CheckedLoop(definition, contract, functions, plan, shared_plan, mask, where, key, inputs)
    loop.converted = frozenset(
        state.name
        for state in definition.state
        if types[state.name] == "uint"
        or (state.kind in ("last", "distinct") and types[state.name] not in RECORDABLE)
    )
    for rule in definition.rules:
        condition = checker.expression(rule.when, after, f"rule {rule.id}", BOOL)
        if condition is not None:
            loop.conditions[rule.id] = condition
        loop.actions[rule.id] = [_check_action(checker, action, rule.id, after) for action in rule.then]
        if rule.once_within_ns is not None and rule.once_scope != "key":
            place = rule.place
            checker.problems.append(
                Problem(
                    place.file,
                    place.line,
                    place.column,
                    f"rule {rule.id}: `scope: {rule.once_scope}` is not in this release",
                    "leave it out: at most once a key",
                )
            )
    _check_mask(checker, loop)
    return (None if checker.problems else loop), checker.problems


def _check_rules_alone(
    checker: _Checker,
    definition: LoopDefinition,
    contract: Contract | None,
    functions: Mapping[str, FunctionDecl],
) -> None:
    """The rules of a loop whose state cannot be planned: its state is taken to be of any type, so that what is wrong
    with the rules themselves is said in the same go."""
    environment = anything_environment(definition, contract, functions)
    for rule in definition.rules:
        checker.expression(rule.when, environment, f"rule {rule.id}", BOOL)
        for action in rule.then:
            _check_action(checker, action, rule.id, environment)


def _check_action(
    checker: _Checker, action: ActionDefinition, rule: str, environment: Environment
) -> CheckedAction:
    what = f"rule {rule}, {action.verb}"
    where = None
    if action.expect is not None and action.expect.where is not None:
        where = checker.expression(action.expect.where, expectation_environment(), f"{what}, expect", BOOL)
    return CheckedAction(
        definition=action,
        arguments=checker.template(action.arguments, environment, what),
        target=checker.template(action.target, environment, f"{what}, target"),
        expect_where=where,
        on_silent=[
            (silent, checker.template(silent.arguments, silent_environment(), f"{what}, on_silent"))
            for silent in action.on_silent
        ],
    )


def _check_kept(checker: _Checker, definition: LoopDefinition, types: Mapping[str, str]) -> None:
    for state in definition.state:
        if state.kind == "last" and types[state.name] in ("bytes", "type"):
            at = state.expression.place
            message = f"state {state.name}: {types[state.name]} cannot be kept: records hold JSON"
            hint = "keep a text of it: string(...)"
            checker.problems.append(Problem(at.file, at.line, at.column, message, hint))


def _check_mask(checker: _Checker, loop: CheckedLoop) -> None:
    """A masked field may be tested, but must not flow to where it would be written: key, state, arguments."""
    if not loop.mask.paths:
        return
    flows: list[tuple[str, ExpressionText | TemplateText, frozenset[tuple[str, ...]]]] = []
    if loop.key is not None:
        flows.append(("key", loop.definition.key, loop.key.references))
    for state in loop.definition.state:
        if state.kind not in CONDITIONS:
            flows.append((f"state {state.name}", state.expression, loop.inputs[state.name].references))
    for rule, actions in loop.actions.items():
        for action in actions:
            definition = action.definition
            for written, template in (
                (definition.arguments, action.arguments),
                (definition.target, action.target),
            ):
                if written is not None and template is not None:
                    flows.append((f"rule {rule}, {definition.verb}", written, template.references))
    for what, text, references in flows:
        for reference in references:
            if loop.mask.hides(reference):
                own = Mask(loop.definition.mask).hides(reference)
                by = "" if own else " by another loop that listens to the same signals"
                name = ".".join(reference)
                checker.problems.append(
                    Problem(
                        text.place.file,
                        text.place.line,
                        text.place.column,
                        f"{what}: {name} is masked{by}, and this would write it to the ledger",
                        "take it out of `mask`, or use another field",
                    )
                )
