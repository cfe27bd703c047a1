"""`flo.yaml`: engines, sources, pipelines, dependencies, retention."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

from flo.core.bundle.document import MapNode, Node, ScalarNode
from flo.core.bundle.names import Names
from flo.core.bundle.quantities import format_duration
from flo.core.bundle.report import Report, nearest
from flo.core.bundle.section import Section, map_entries, read_section, texts_with_places
from flo.core.bundle.settings import NAME, NAME_HELP, EngineKind, Setting
from flo.core.bundle.tables import (
    BREAKER_KEYS,
    DEPENDENCY_KEYS,
    ENGINE_KEYS,
    FLO_KEYS,
    PIPELINE_KEYS,
    RETENTION_KEYS,
    SOURCE_KEYS,
    UNBUILT_RETENTION_KEYS,
)
from flo.core.bundle.watchdogs import read_watchdogs
from flo.core.loop.definition import (
    BreakerDefinition,
    DependencyDefinition,
    EngineDefinition,
    PipelineDefinition,
    Place,
    RetentionDefinition,
)
from flo.core.secret import Secret

NS_PER_S = 1_000_000_000


@dataclass(slots=True)
class FloFile:
    """What `flo.yaml` says; with problems in the report, parts of it are placeholders."""

    engines: dict[str, EngineDefinition] = field(default_factory=dict)
    sources: dict[str, Mapping[str, Any]] = field(default_factory=dict)
    pipelines: dict[str, PipelineDefinition] = field(default_factory=dict)
    dependencies: dict[str, DependencyDefinition] = field(default_factory=dict)
    retention: RetentionDefinition = field(default_factory=RetentionDefinition)
    dedupe_ns: int = 86_400 * NS_PER_S
    watchdogs: Mapping[str, Mapping[str, Any] | None] = field(default_factory=dict)


def read_flo_file(
    node: Node, names: Names, source_kinds: Mapping[str, Mapping[str, Setting]], report: Report
) -> FloFile:
    """Read `flo.yaml`; fills `names` with what it names, for the loops to be checked against."""
    if isinstance(node, ScalarNode) and node.value is None:
        return FloFile()
    section = read_section(node, FLO_KEYS, "flo.yaml", report)
    read = FloFile()
    read.dedupe_ns = section["dedupe"]
    for key, value in _named(section, "engines", report):
        read.engines[key.text] = _engine(key, value, names, report)
    for key, value in _named(section, "sources", report):
        read.sources[key.text] = _source(key, value, source_kinds, report)
    for key, value in _named(section, "dependencies", report):
        names.dependencies.add(key.text)
        read.dependencies[key.text] = _dependency(key, value, report)
    homes: dict[str, str] = {}
    for key, value in _named(section, "pipelines", report):
        read.pipelines[key.text] = _pipeline(key, value, names, homes, report)
    if section.wrote("retention"):
        read.retention = _retention(section.nodes["retention"], report)
    if section.wrote("watchdogs"):
        read.watchdogs = read_watchdogs(section.nodes["watchdogs"], report)
    return read


def _retention(node: Node, report: Report) -> RetentionDefinition:
    kept = read_section(node, RETENTION_KEYS, "`retention`", report, UNBUILT_RETENTION_KEYS)
    ledger_ns, letters_ns = kept["ledger"], kept["dead_letters"]
    if letters_ns is None:
        return RetentionDefinition(ledger_ns, max(RetentionDefinition().dead_letters_ns, ledger_ns))
    if letters_ns < ledger_ns:
        report.add(
            kept.place_of("dead_letters"),
            f"`retention`: `dead_letters` ({format_duration(letters_ns)}) is shorter than `ledger` "
            f"({format_duration(ledger_ns)}), which keeps them in any case",
            "make it as long or longer, or shorten `ledger`",
        )
    return RetentionDefinition(ledger_ns, letters_ns)


def _named(section: Section, name: str, report: Report) -> list[tuple[ScalarNode, Node]]:
    entries = map_entries(section.nodes.get(name), name, report)
    for key, _ in entries:
        if not NAME.fullmatch(key.text):
            report.add(key.place, f"`{key.text[:60]}` under `{name}` is not a name", NAME_HELP)
    return entries


def _kind_of(node: Node) -> ScalarNode | None:
    kind = node.get("kind") if isinstance(node, MapNode) else None
    return kind if isinstance(kind, ScalarNode) else None


def _report_no_kind(node: Node, what: str, kinds: Iterable[str], report: Report) -> None:
    if isinstance(node, MapNode):
        report.add(node.place, f"{what}: key `kind` is missing", nearest("", kinds))
    else:
        read_section(node, SOURCE_KEYS, what, report)


def _seconds(value_ns: int) -> float:
    return value_ns / NS_PER_S


def _engine(key: ScalarNode, node: Node, names: Names, report: Report) -> EngineDefinition:
    what = f"engine `{key.text[:60]}`"
    kind_node = _kind_of(node)
    kind: EngineKind | None = None
    if kind_node is not None:
        kind = names.engine_kinds.get(kind_node.text)
        if kind is None:
            hint = nearest(kind_node.text, names.engine_kinds)
            report.add(kind_node.place, f"{what}: no kind of engine is called `{kind_node.text[:60]}`", hint)
    names.engines[key.text] = kind
    if kind is None:  # which other keys there may be is not known
        if kind_node is None:
            _report_no_kind(node, what, names.engine_kinds, report)
        return EngineDefinition(key.text, "", key.place)
    own = kind.settings
    section = read_section(node, {**ENGINE_KEYS, **own}, what, report)
    if not section.refused & {"backoff", "backoff_max"} and section["backoff"] > section["backoff_max"]:
        report.add(section.place_of("backoff"), f"{what}: `backoff` is longer than `backoff_max`")
    return EngineDefinition(
        name=key.text,
        kind=kind.name,
        place=key.place,
        settings={name: section[name] for name in own if name not in ENGINE_KEYS},
        rate_per_s=section["rate"],
        concurrency=section["concurrency"],
        timeout_s=_seconds(section["timeout"]),
        backoff_s=_seconds(section["backoff"]),
        backoff_s_max=_seconds(section["backoff_max"]),
        retry_budget=section["retry_budget"],
    )


def _source(
    key: ScalarNode, node: Node, kinds: Mapping[str, Mapping[str, Setting]], report: Report
) -> Mapping[str, Any]:
    what = f"source `{key.text[:60]}`"
    kind = _kind_of(node)
    if kind is None:
        _report_no_kind(node, what, kinds, report)
        return {}
    if kind.text not in kinds:
        known = (
            nearest(kind.text, kinds) or "there is none yet: send signals over HTTP, or run with --input FILE"
        )
        report.add(kind.place, f"{what}: no kind of source is called `{kind.text[:60]}`", known)
        return {}
    section = read_section(node, {**SOURCE_KEYS, **kinds[kind.text]}, what, report)
    return dict(section.values)


def _dependency(key: ScalarNode, node: Node, report: Report) -> DependencyDefinition:
    what = f"dependency `{key.text[:60]}`"
    section = read_section(node, DEPENDENCY_KEYS, what, report)
    url = section["url"]
    if isinstance(url, Secret):
        report.add(
            section.place_of("url"),
            f"{what}: a reference to a secret cannot stand in this `url`",
            "write it out",
        )
        url = ""
    if isinstance(url, str) and url:
        _check_placeholders(url, what, section.place_of("url"), report)
    return DependencyDefinition(
        name=key.text,
        kind=section["kind"] or "",
        url=url or "",
        place=key.place,
        concurrency=section["concurrency"],
        rate_per_s=section["rate"],
        deadline_s=_seconds(section["deadline"]),
        cache_s=_seconds(section["cache"]),
        version=section["version"],
        idle_timeout_s=None if section["idle_timeout"] is None else _seconds(section["idle_timeout"]),
    )


def _check_placeholders(url: str, what: str, place: Place, report: Report) -> None:
    for brace in re.findall(r"\{[^}]*\}?|\}", url):
        if brace != "{key}":
            report.add(
                place, f"{what}: `{brace[:40]}` in `url` is nothing that is filled in", "only {key} is"
            )
    if "{" in urlsplit(url).netloc:
        report.add(
            place, f"{what}: a signal's key may not choose the host", "put {key} into the path or the query"
        )


def _pipeline(
    key: ScalarNode, node: Node, names: Names, homes: dict[str, str], report: Report
) -> PipelineDefinition:
    what = f"pipeline `{key.text[:60]}`"
    section = read_section(node, PIPELINE_KEYS, what, report)
    loops, jobs, on_call = section["loops"] or (), section["jobs"] or (), section["on_call"]
    for name, place in texts_with_places(section, "loops"):
        if name not in names.loops:
            report.add(place, f"{what}: no loop is called `{name[:60]}`", nearest(name, names.loops))
        elif name in homes:
            report.add(
                place,
                f"{what}: loop `{name}` is in pipeline `{homes[name]}` already",
                "a loop has one pipeline",
            )
        homes.setdefault(name, key.text)
        names.on_call.setdefault(name, on_call)
    pausable = set()
    for name, place in texts_with_places(section, "jobs"):
        engine, dot, job = name.partition(".")
        if not dot or not job:
            report.add(place, f"{what}: job `{name[:60]}` names no engine", "write `engine.job`")
        elif engine not in names.engines:
            report.add(place, f"{what}: no engine is called `{engine[:60]}`", nearest(engine, names.engines))
        elif (kind := names.engines[engine]) is not None and {"pause", "resume"} <= kind.verbs:
            pausable.add(name)
    if on_call is not None:
        _check_on_call(on_call, section, what, names, report)
    if not loops and not jobs and not section.refused:
        report.add(section.place, f"{what} holds nothing", "list its `loops` or `jobs`, or leave it out")
    return PipelineDefinition(
        name=key.text,
        loops=tuple(loops),
        place=key.place,
        jobs=tuple(jobs),
        pausable=frozenset(pausable),
        on_call=on_call,
        breaker=_breaker(section, what, report),
    )


def _breaker(section: Section, what: str, report: Report) -> BreakerDefinition | None:
    node = section.nodes.get("breaker")
    if node is None:
        return BreakerDefinition()
    if isinstance(node, ScalarNode) and node.text == "off":
        return None
    read = read_section(node, BREAKER_KEYS, f"{what}, `breaker`", report)
    return BreakerDefinition(dead_letters=read["dead_letters"], within_ns=read["within"])


def _check_on_call(on_call: str, section: Section, what: str, names: Names, report: Report) -> None:
    place = section.place_of("on_call")
    if on_call not in names.engines:
        report.add(place, f"{what}: no engine is called `{on_call[:60]}`", nearest(on_call, names.engines))
        return
    kind = names.engines[on_call]
    if kind is not None and "page" not in kind.verbs:
        report.add(
            place,
            f"{what}: engine `{on_call}` is of kind `{kind.name}`, which cannot `page`",
            "name one that can",
        )
