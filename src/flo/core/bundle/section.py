"""A map of the bundle read against its table of keys: unknown, missing and wrong ones, all in one go."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from flo.core.bundle.document import ListNode, MapNode, Node, ScalarNode
from flo.core.bundle.places import text_place
from flo.core.bundle.report import Report, meant, nearest
from flo.core.bundle.settings import Setting, parse_value, shown
from flo.core.loop.definition import ExpressionText, Place, TemplateText, Turn

EXPRESSION_HINT = "quote the whole expression: '...'"


@dataclass(slots=True)
class Section:
    """One map, read. A key that is absent, or was refused, has its default (or None) as its value.

    `refused` holds the keys whose value was reported: what is built from them is not used, as the bundle
    has problems.
    """

    what: str  # how messages call it: "rule `velocity`"
    place: Place
    values: dict[str, Any] = field(default_factory=dict)
    nodes: dict[str, Node] = field(default_factory=dict)
    keys: dict[str, Place] = field(default_factory=dict)
    refused: set[str] = field(default_factory=set)
    misspelt: set[str] = field(default_factory=set)

    def __getitem__(self, name: str) -> Any:
        return self.values[name]

    def wrote(self, name: str) -> bool:
        return name in self.nodes

    def place_of(self, name: str) -> Place:
        """Where the value of a key stands; the section itself where it is not written."""
        return self.nodes[name].place if name in self.nodes else self.place


def read_section(
    node: Node,
    table: Mapping[str, Setting],
    what: str,
    report: Report,
    unbuilt: Mapping[str, str] | None = None,
) -> Section:
    """Read `node` by `table`. `unbuilt` names keys of later releases, with what to use instead."""
    section = Section(what, node.place, {name: setting.default_value() for name, setting in table.items()})
    if not isinstance(node, MapNode):
        value: Any = node.value if isinstance(node, ScalarNode) else []
        report.add(
            node.place, f"{what}: {shown(value)} stands where keys are expected", "write `key: value` lines"
        )
        section.refused.update(table)
        return section
    for key, value_node in node.entries:
        setting = table.get(key.text)
        if setting is None:
            section.misspelt.add(meant(key.text, table) or "")
            _report_unknown(key, table, what, report, unbuilt or {})
            continue
        section.keys[key.text] = key.place
        section.nodes[key.text] = value_node
        _read_value(section, key.text, setting, value_node, report)
    for name, setting in table.items():
        if setting.required and name not in section.nodes and name not in section.misspelt:
            report.add(node.place, f"{what}: key `{name}` is missing", setting.help or None)
            section.refused.add(name)
    return section


def _report_unknown(
    key: ScalarNode, table: Mapping[str, Setting], what: str, report: Report, unbuilt: Mapping[str, str]
) -> None:
    shown_key = key.text[:60]
    if key.text in unbuilt:
        report.add(key.place, f"{what}: `{shown_key}` is not in this release", unbuilt[key.text])
    else:
        report.add(key.place, f"{what}: unknown key `{shown_key}`", nearest(key.text, table))


def _read_value(section: Section, name: str, setting: Setting, node: Node, report: Report) -> None:
    try:
        section.values[name] = value_of(setting, node)
    except ValueError as error:
        section.refused.add(name)
        hint = EXPRESSION_HINT if setting.type == "expression" else None
        report.add(node.place, f"{section.what}, `{name}`: {error}", hint)


def value_of(setting: Setting, node: Node) -> Any:
    """The value a node holds for a setting; `ValueError` says what is wrong. Nested tables stay nodes."""
    if setting.type in ("section", "sections", "rows"):
        return None
    if setting.type == "expression":
        return expression_of(node)
    if setting.type == "template":
        return template_of(node)
    if isinstance(node, ScalarNode):
        if node.value is None:
            raise ValueError("no value is written")
        return parse_value(setting, node.value, node.text)
    return parse_value(setting, plain_of(node))


def expression_of(node: Node) -> ExpressionText:
    """A scalar as expression: its text as written, whatever YAML makes of it (`true`, `1`, a quoted text)."""
    if not isinstance(node, ScalarNode):
        raise ValueError(
            f"{shown([] if isinstance(node, ListNode) else {})} stands where an expression is expected"
        )
    if not node.text.strip():
        raise ValueError("no expression is written")
    if _cut_by_comment(node):
        raise ValueError("a ` #` ends the text inside a string: YAML takes it for a comment")
    place, turns = text_place(node)
    return ExpressionText(node.text, place, turns)


def _cut_by_comment(node: ScalarNode) -> bool:
    """Whether an unquoted expression such as `data.note == "a #b"` lost its end to a YAML comment."""
    quote = next((character for character in node.text if character in "\"'"), None)
    if node.style or quote is None or node.text.count(quote) % 2 == 0:
        return False
    return node.source.text[node.start + len(node.text) :].lstrip(" \t").startswith("#")


def plain_of(node: Node) -> Any:
    """A node as plain JSON-like values."""
    if isinstance(node, ScalarNode):
        _check_json(node)
        return node.value
    if isinstance(node, ListNode):
        return [plain_of(item) for item in node.items]
    return {key.text: plain_of(value) for key, value in node.entries}


def _check_json(node: ScalarNode) -> None:
    value = node.value
    if isinstance(value, float) and value - value != 0:
        raise ValueError(f"{node.text} is not a number JSON can hold")
    if isinstance(value, int) and not -(1 << 63) <= value < 1 << 64:
        raise ValueError("a whole number does not fit 64 bits; quote it to send it as text")


def template_of(node: Node) -> TemplateText:
    """A JSON-like value, with the place of every part of it."""
    places: dict[tuple[str | int, ...], Place] = {}
    turns: dict[tuple[str | int, ...], tuple[Turn, ...]] = {}

    def walk(part: Node, path: tuple[str | int, ...]) -> None:
        places[path] = part.place
        if isinstance(part, ListNode):
            for index, item in enumerate(part.items):
                walk(item, (*path, index))
        elif isinstance(part, MapNode):
            for key, value in part.entries:
                walk(value, (*path, key.text))
        elif isinstance(part.value, str):
            places[path], turns[path] = text_place(part)

    value = plain_of(node)
    walk(node, ())
    return TemplateText(value, places[()], places, turns)


def map_entries(node: Node | None, what: str, report: Report) -> list[tuple[ScalarNode, Node]]:
    """The entries of a map of named things; anything else there is reported."""
    if node is None or (isinstance(node, ScalarNode) and node.value is None):
        return []
    if not isinstance(node, MapNode):
        report.add(node.place, f"`{what}` holds named entries", f"write `{what}: {{name: ...}}`")
        return []
    return list(node.entries)


def list_items(node: Node | None, what: str, report: Report) -> list[Node]:
    """The items of a list of sections; a single section is reported, as a list is meant."""
    if node is None or (isinstance(node, ScalarNode) and node.value is None):
        return []
    if not isinstance(node, ListNode):
        report.add(node.place, f"`{what}` holds a list", "start each item with `- `")
        return []
    return list(node.items)


def texts_with_places(section: Section, name: str) -> list[tuple[str, Place]]:
    """The texts of a key that was read without a problem, each with its place."""
    node = section.nodes.get(name)
    if node is None or name in section.refused:
        return []
    nodes = node.items if isinstance(node, ListNode) else (node,)
    return [(item.text, item.place) for item in nodes if isinstance(item, ScalarNode)]
