"""`loops/<name>.yaml`: one loop."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import PurePosixPath

from flo.core.bundle.document import MapNode, Node, ScalarNode
from flo.core.bundle.names import Names
from flo.core.bundle.report import Report, nearest
from flo.core.bundle.rules import read_rules
from flo.core.bundle.section import Section, map_entries, read_section, texts_with_places
from flo.core.bundle.settings import shown
from flo.core.bundle.tables import (
    FRESH_KEYS,
    LOOP_KEYS,
    OVER_NEEDED,
    SHARED_KINDS,
    STATE_KEYS,
    UNBUILT_LOOP_KEYS,
)
from flo.core.loop.definition import STATE_KINDS, ExpressionText, LoopDefinition, Place, StateDefinition

IDENTIFIER = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,63}", re.ASCII)
RESERVED = frozenset(
    [
        "as",
        "break",
        "const",
        "continue",
        "else",
        "false",
        "for",
        "function",
        "if",
        "import",
        "in",
        "let",
        "loop",
        "namespace",
        "null",
        "package",
        "return",
        "true",
        "var",
        "void",
        "while",
    ]
)
"""Words the expression language keeps for itself: a state of such a name could never be read."""

LAST_PARTS = ("value", "previous", "changed", "delta")
"""In a compiled loop `state.x.value` is called x_value: a state of that name would be read in its place."""

SIGNAL_TYPE = re.compile(r"[^\s*\x00-\x1f]{1,255}")
DATASET = re.compile(r"[A-Za-z][A-Za-z0-9_-]*:\S{1,255}", re.ASCII)
MASK = re.compile(r"data(\.[A-Za-z_][A-Za-z0-9_]*)+", re.ASCII)


def read_loop_file(file: str, node: Node, names: Names, report: Report) -> LoopDefinition:
    """Read a loop; with problems in the report, parts of what is returned are placeholders."""
    stem = PurePosixPath(file).stem
    what = f"loop `{stem[:60]}`"
    section = read_section(node, LOOP_KEYS, what, report, UNBUILT_LOOP_KEYS)
    _check_name(stem, section, report)
    _check_types(section, report)
    _check_edges(section, names, report)
    nothing = ExpressionText("", node.place)
    fresh = None
    if section.wrote("fresh"):
        fresh = read_section(section.nodes["fresh"], FRESH_KEYS, f"{what}, `fresh`", report)
    return LoopDefinition(
        name=section["loop"] or stem,
        on=section["on"] or (),
        key=section["key"] or nothing,
        place=node.place,
        about=section["about"],
        owner=section["owner"],
        where=section["where"],
        contract=_contract(section, names, report),
        ttl_ns=section["ttl"],
        hops=section["hops"],
        consistency=section["consistency"],
        fresh_data_ns=fresh["data"] if fresh else None,
        fresh_logic_ns=fresh["logic"] if fresh else None,
        reads=section["reads"],
        writes=section["writes"],
        feeds=section["feeds"],
        needs=_needs(section, names, report),
        state=_states(section, report),
        rules=read_rules(section, stem, names, report),
        otherwise=section["otherwise"],
        match=section["match"],
        mask=section["mask"],
    )


def _check_name(stem: str, section: Section, report: Report) -> None:
    name = section["loop"]
    if name is not None and name != stem:
        place = section.place_of("loop")
        report.add(place, f"loop `{name}` stands in `{stem[:60]}.yaml`", f"name the file loops/{name}.yaml")


def _check_types(section: Section, report: Report) -> None:
    types = texts_with_places(section, "on")
    if section.wrote("on") and not types and "on" not in section.refused:
        report.add(section.place_of("on"), f"{section.what}: `on` lists no signal type")
    for name, place in types:
        if not SIGNAL_TYPE.fullmatch(name):
            report.add(
                place,
                f"{section.what}: {shown(name)} is not a signal type",
                "no spaces, no `*`: list each type",
            )


def _check_edges(section: Section, names: Names, report: Report) -> None:
    for key in ("reads", "writes"):
        for name, place in texts_with_places(section, key):
            if not DATASET.fullmatch(name):
                report.add(
                    place,
                    f"{section.what}, `{key}`: {shown(name)} says no kind",
                    "write `dataset:name` or `model:name`",
                )
    for name, place in texts_with_places(section, "feeds"):
        if name not in names.loops:
            report.add(
                place, f"{section.what}, `feeds`: no loop is called {shown(name)}", nearest(name, names.loops)
            )
    for name, place in texts_with_places(section, "mask"):
        if not MASK.fullmatch(name):
            report.add(
                place,
                f"{section.what}, `mask`: {shown(name)} is not a path of the data",
                "write `data.card_number`",
            )


def _contract(section: Section, names: Names, report: Report) -> tuple[str, int] | None:
    written: str | None = section["contract"]
    if written is None:
        return None
    place = section.place_of("contract")
    name, slash, version = written.rpartition("/")
    if not slash or not re.fullmatch(r"[1-9][0-9]{0,8}", version, re.ASCII):
        versions = names.contracts.get(written)
        hint = (
            f"write `{written}/{max(versions)}`"
            if versions
            else "write `name/version`, such as `tx.authorized/1`"
        )
        report.add(place, f"{section.what}: contract {shown(written)} names no version", hint)
        return None
    if name not in names.contracts:
        missing = nearest(name, names.contracts) or f"add contracts/{name}/{version}.json"
        report.add(place, f"{section.what}: no contract is called {shown(name)}", missing)
        return None
    if int(version) not in names.contracts[name]:
        known = ", ".join(str(number) for number in sorted(names.contracts[name]))
        report.add(
            place, f"{section.what}: contract `{name}` has no version {version}", f"its versions: {known}"
        )
        return None
    return name, int(version)


def _needs(section: Section, names: Names, report: Report) -> Mapping[str, str]:
    needs: dict[str, str] = {}
    if "needs" in section.refused or not section.wrote("needs"):
        return needs
    for key, node in map_entries(section.nodes["needs"], "needs", report):
        if not IDENTIFIER.fullmatch(key.text) or key.text in RESERVED:
            report.add(
                key.place,
                f"{section.what}, `needs`: {shown(key.text)} cannot be read as need.{key.text[:20]}",
            )
        if not isinstance(node, ScalarNode) or not isinstance(node.value, str):
            report.add(node.place, f"{section.what}, `needs`: `{key.text[:60]}` names no dependency")
        elif names.flo_read and node.text not in names.dependencies:
            hint = nearest(node.text, names.dependencies) or "declare it under `dependencies` in flo.yaml"
            report.add(
                node.place, f"{section.what}, `needs`: no dependency is called {shown(node.text)}", hint
            )
        else:
            needs[key.text] = node.text
    return needs


def _states(section: Section, report: Report) -> tuple[StateDefinition, ...]:
    entries = map_entries(section.nodes.get("state"), "state", report)
    states = tuple(_state(key, value, section.what, report) for key, value in entries)
    parts = {
        f"{state.name}_{part}": state.name for state in states if state.kind == "last" for part in LAST_PARTS
    }
    for state in states:
        if state.name in parts:
            message = f"{section.what}: state `{state.name}` is called like a part of `{parts[state.name]}`"
            report.add(state.place, message, "rename one: the parts are " + ", ".join(LAST_PARTS))
    return states


def _state(key: ScalarNode, node: Node, loop: str, report: Report) -> StateDefinition:
    what = f"{loop}, state `{key.text[:60]}`"
    if not IDENTIFIER.fullmatch(key.text) or key.text in RESERVED:
        why = "is a word of the expression language" if key.text in RESERVED else "is not an identifier"
        report.add(key.place, f"{what}: the name {why}", "use letters, digits and _, starting with a letter")
    section = read_section(node, STATE_KEYS, what, report)
    kinds = [name for name in STATE_KINDS if section.wrote(name)]
    if len(kinds) != 1 and isinstance(node, MapNode) and not section.misspelt.intersection(STATE_KINDS):
        place = section.keys[kinds[1]] if kinds else node.place
        found = "it has " + " and ".join(f"`{kind}`" for kind in kinds) if kinds else "it has none"
        report.add(
            place, f"{what}: exactly one kind is needed, {found}", "the kinds: " + ", ".join(STATE_KINDS)
        )
    kind = kinds[0] if kinds else "count"
    if kinds:
        _check_state(kind, section, report)
    return StateDefinition(
        name=key.text,
        kind=kind,
        expression=section[kind] or ExpressionText("true", node.place),
        place=key.place,
        over_ns=section["over"],
        q=section["q"],
        half_life_ns=section["half_life"],
        shared=section["shared"],
    )


def _check_state(kind: str, section: Section, report: Report) -> None:
    """Which of `over`, `q`, `half_life` and `shared` a kind needs, and which it cannot have.

    Share, std, quantile and distinct need a window: since ever they only harden, and no rule on them fires
    again.
    """
    if kind in OVER_NEEDED and not section.wrote("over"):
        _report_missing(kind, "over", "such as `over: 15m`", section, report)
    for name, of_kind, example in (("q", "quantile", "`q: 0.99`"), ("half_life", "ewma", "`half_life: 1h`")):
        if kind == of_kind and not section.wrote(name):
            _report_missing(kind, name, f"such as {example}", section, report)
        elif kind != of_kind and section.wrote(name):
            report.add(
                section.keys[name],
                f"{section.what}: `{name}` belongs to `{of_kind}`, this is `{kind}`",
                "remove it",
            )
    if section["shared"] and kind not in SHARED_KINDS:
        shared = ", ".join(sorted(SHARED_KINDS))
        report.add(
            section.keys["shared"],
            f"{section.what}: `{kind}` cannot be shared across keys",
            f"these can: {shared}",
        )


def _report_missing(kind: str, name: str, hint: str, section: Section, report: Report) -> None:
    place: Place = section.keys.get(kind, section.place)
    report.add(place, f"{section.what}: `{kind}` needs `{name}`", hint)
