"""The rules of a loop and the commands they issue."""

from __future__ import annotations

import re

from flo.core.bundle.document import MapNode, Node, ScalarNode
from flo.core.bundle.names import BARE_VERBS, Names
from flo.core.bundle.report import Report, nearest
from flo.core.bundle.section import Section, list_items, read_section
from flo.core.bundle.settings import shown
from flo.core.bundle.tables import ACTION_KEYS, EXPECT_KEYS, RULE_KEYS, UNBUILT_ACTION_KEYS, UNBUILT_RULE_KEYS
from flo.core.loop.definition import (
    VERBS,
    ActionDefinition,
    ExpectDefinition,
    ExpressionText,
    Place,
    RuleDefinition,
    TemplateText,
)

_SECRET_IN_TEMPLATE = re.compile(r"(?<!\$)\$\{\s*(env|file)\s*:")


def read_rules(loop: Section, loop_name: str, names: Names, report: Report) -> tuple[RuleDefinition, ...]:
    """A loop's rules in the order they are written; problems go to the report."""
    rules: list[RuleDefinition] = []
    first_at: dict[str, Place] = {}
    for node in list_items(loop.nodes.get("rules"), "rules", report):
        rule = _Rules(loop_name, names, report).rule(node)
        if rule.id and rule.id in first_at:
            line = first_at[rule.id].line
            report.add(
                rule.place, f"{loop.what}: rule `{rule.id}` stands twice, first at line {line}", "rename one"
            )
        first_at.setdefault(rule.id, rule.place)
        rules.append(rule)
    return tuple(rules)


class _Rules:
    """Reads one rule of a loop."""

    def __init__(self, loop_name: str, names: Names, report: Report) -> None:
        self._loop_name, self._names, self._report = loop_name, names, report

    def rule(self, node: Node) -> RuleDefinition:
        what = f"rule `{_id_of(node)}`"
        section = read_section(node, RULE_KEYS, what, self._report, UNBUILT_RULE_KEYS)
        if section.wrote("scope") and not section.wrote("once_within"):
            self._report.add(section.keys["scope"], f"{what}: `scope` without `once_within` says nothing")
        place = section.place_of("id")
        return RuleDefinition(
            id=section["id"] or "",
            when=section["when"] or ExpressionText("false", node.place),
            place=place,
            result=section["result"] or section["id"] or "",
            means=section["means"],
            then=self._actions(section, "then", what, silent=False),
            priority=section["priority"],
            mode=section["mode"],
            once_within_ns=section["once_within"],
            once_scope=section["scope"],
        )

    def _actions(
        self, section: Section, key: str, what: str, *, silent: bool
    ) -> tuple[ActionDefinition, ...]:
        nodes = list_items(section.nodes.get(key), key, self._report)
        return tuple(self._action(node, what, silent=silent) for node in nodes)

    def _action(self, node: Node, what: str, *, silent: bool) -> ActionDefinition:
        section = read_section(node, ACTION_KEYS, f"{what}, command", self._report, UNBUILT_ACTION_KEYS)
        engine, verb = self._verb(section)
        for name in ("with", "target"):
            self._check_template(section, name)
        self._check_arguments(section, verb, engine)
        expect = self._expect(section, what) if section.wrote("expect") else None
        on_silent: tuple[ActionDefinition, ...] = ()
        if section.wrote("on_silent"):
            self._check_on_silent(section, silent)
            if not silent:
                on_silent = self._actions(section, "on_silent", what, silent=True)
        return ActionDefinition(
            verb=verb,
            place=node.place,
            engine=engine,
            arguments=section["with"],
            target=section["target"],
            root_new=section["root"] == "new",
            expect=expect,
            attempts=section["attempts"],
            blocking=section["blocking"],
            on_silent=on_silent,
        )

    def _verb(self, section: Section) -> tuple[str | None, str]:
        written: str | None = section["do"]
        if written is None:
            return None, ""
        place = section.place_of("do")
        engine, dot, verb = written.rpartition(".")
        if not dot:
            return None, self._bare_verb(written, place, section)
        if engine not in self._names.engines:
            if self._names.flo_read:
                hint = nearest(engine, self._names.engines) or "declare it under `engines` in flo.yaml"
                self._report.add(place, f"{section.what}: no engine is called {shown(engine)}", hint)
            return engine, verb
        kind = self._names.engines[engine]
        verbs = kind.verbs if kind else frozenset(VERBS)
        if verb not in verbs:
            of_kind = f" is of kind `{kind.name}`, which" if kind else ""
            message = f"{section.what}: engine `{engine}`{of_kind} has no verb {shown(verb)}"
            self._report.add(place, message, nearest(verb, verbs))
        return engine, verb

    def _bare_verb(self, verb: str, place: Place, section: Section) -> str:
        names, what = self._names, section.what
        if verb in BARE_VERBS:
            if verb == "page" and names.flo_read and not names.on_call.get(self._loop_name):
                hint = f"give the pipeline that holds `{self._loop_name}` an `on_call` in flo.yaml"
                self._report.add(place, f"{what}: `page` has nobody to go to", hint)
            return verb
        if verb in VERBS:
            able = sorted(name for name, kind in names.engines.items() if kind and verb in kind.verbs)
            hint = f"write `{able[0]}.{verb}`" if able else f"declare an engine that can `{verb}` in flo.yaml"
            self._report.add(place, f"{what}: `{verb}` needs its engine, as `engine.{verb}`", hint)
        else:
            known = [
                *BARE_VERBS,
                *(f"{name}.{v}" for name, kind in names.engines.items() if kind for v in kind.verbs),
            ]
            self._report.add(place, f"{what}: {shown(verb)} is not a verb", nearest(verb, known))
        return verb

    def _check_template(self, section: Section, name: str) -> None:
        template: TemplateText | None = section[name]
        if template is None:
            return
        for path, place in template.places.items():
            value = _at(template.value, path)
            if isinstance(value, str) and _SECRET_IN_TEMPLATE.search(value):
                message = f"{section.what}, `{name}`: commands are recorded, so no secret may stand in one"
                self._report.add(place, message, "put it into the engine's settings in flo.yaml")
        if name == "target" and not isinstance(template.value, str):
            self._report.add(template.place, f"{section.what}: `target` is one text, such as `model:fraud`")
        if name == "with" and not isinstance(template.value, dict):
            self._report.add(
                template.place, f"{section.what}: `with` is a map of arguments", "write {name: value}"
            )

    def _check_arguments(self, section: Section, verb: str, engine: str | None) -> None:
        if verb != "emit" or engine is not None or "with" in section.refused:
            return
        template: TemplateText | None = section["with"]
        arguments = template.value if template and isinstance(template.value, dict) else {}
        signal_type = arguments.get("type")
        if not isinstance(signal_type, str) or not signal_type:
            message = f"{section.what}: `emit` needs the type of the new signal"
            self._report.add(section.place_of("with"), message, "write `with: {type: ..., data: {...}}`")
        elif signal_type.startswith("flo."):
            place = template.places[("type",)] if template else section.place
            self._report.add(
                place, f"{section.what}: types that start with `flo.` are FLO's own", "choose another"
            )

    def _expect(self, section: Section, what: str) -> ExpectDefinition:
        node = section.nodes["expect"]
        expect = read_section(node, EXPECT_KEYS, f"{what}, `expect`", self._report)
        return ExpectDefinition(
            signal=expect["signal"] or "",
            within_ns=expect["within"] or 0,
            place=node.place,
            where=expect["where"],
            wrote=expect["wrote"],
        )

    def _check_on_silent(self, section: Section, silent: bool) -> None:
        place = section.keys["on_silent"]
        if silent:
            message = f"{section.what}: `on_silent` inside `on_silent`"
            self._report.add(
                place, message, "one level: a loop that listens to `flo.command.silent` can do more"
            )
        elif not section.wrote("expect"):
            message = f"{section.what}: `on_silent` never runs without `expect`"
            self._report.add(place, message, "say with `expect` which effect must show")


def _at(value: object, path: tuple[str | int, ...]) -> object:
    for step in path:
        value = value[step]  # type: ignore[index]
    return value


def _id_of(node: Node) -> str:
    entry = node.get("id") if isinstance(node, MapNode) else None
    return entry.text[:60] if isinstance(entry, ScalarNode) else "without id"
