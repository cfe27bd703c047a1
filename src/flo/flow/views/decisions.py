"""Decisions: one by its id, many by loop, key, rule, result and time."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from flo.core.context import root_id
from flo.core.errors import SignalRejected, UsageError
from flo.core.loop.program import LoopProgram
from flo.core.record import CommandOutcome, Group, GroupView, decode_group
from flo.core.record.group import decode_summary
from flo.core.signal import parse_signal, text_from_time, time_from_text
from flo.flow.views.listing import Found, Place
from flo.flow.views.record import decision_id, decision_record, parse_decision_id, verdict
from flo.ports.service import NotFound
from flo.ports.store import LedgerView

FindProgram = Callable[[str, str], LoopProgram | None]
"""(revision, loop) -> the program it was decided by; None where that bundle is not kept."""

QUERY_KEYS = ("loop", "key", "rule", "result", "since", "until")


@dataclass(frozen=True, slots=True)
class DecisionQuery:
    """Which decisions are looked for; None asks for nothing."""

    loop: str | None = None
    key: str | None = None
    rule: str | None = None
    result: str | None = None
    since_ns: int | None = None
    until_ns: int | None = None


def decision_query(query: Mapping[str, str]) -> DecisionQuery:
    """A query as it came in a URL; `UsageError` names what is not known or not a time."""
    unknown = sorted(set(query) - set(QUERY_KEYS))
    if unknown:
        raise UsageError(
            f"unknown filter {', '.join(unknown)}: decisions are found by {', '.join(QUERY_KEYS)}"
        )
    return DecisionQuery(
        loop=query.get("loop"),
        key=query.get("key"),
        rule=query.get("rule"),
        result=query.get("result"),
        since_ns=query_time("since", query.get("since")),
        until_ns=query_time("until", query.get("until")),
    )


def query_time(name: str, text: str | None) -> int | None:
    """A time of a query; `UsageError` names the filter and the form that is read."""
    if text is None:
        return None
    try:
        return time_from_text(text)
    except SignalRejected:
        raise UsageError(
            f'{name} "{text[:40]}" is not an RFC 3339 time, as 2026-11-23T05:00:00Z is'
        ) from None


def search_decisions(
    query: DecisionQuery, find: FindProgram
) -> Callable[[LedgerView, Place], Iterator[Found]]:
    """Newest first. Columns are inflated one by one: a search by key reads keys only, until it finds one."""

    def search(view: LedgerView, before: Place) -> Iterator[Found]:
        last = min(view.last_block(), before[0])
        for header in view.headers(last):
            if query.since_ns is not None and header.written_ns < query.since_ns:
                return
            if query.until_ns is not None and header.written_ns > query.until_ns:
                continue
            loops = decode_summary(header.summary).loops
            if not loops or (query.loop is not None and query.loop not in loops and len(loops) < 256):
                continue
            group = decode_group(view.read(header.number).payload)
            yield from _in_block(view.shard, header.number, group, query, find, before)

    return search


def _in_block(
    shard: int, block: int, group: GroupView, query: DecisionQuery, find: FindProgram, before: Place
) -> Iterator[Found]:
    found: list[Found] = []
    raws: list[bytes] | None = None
    base = 0
    for number, section in enumerate(group.sections):
        first, base = base, base + section.count
        if not section.count or (query.loop is not None and section.loop != query.loop):
            continue
        rows = range(section.count)
        if query.key is not None:
            keys = section.column("key")
            rows_found = [row for row in rows if keys[row] == query.key]
        else:
            rows_found = list(rows)
        if not rows_found:
            continue
        program = find(section.revision, section.loop)
        all_rows = section.rows()
        for row_number in rows_found:
            place = (block, first + row_number)
            if place >= before:
                continue
            row = all_rows[row_number]
            said = (
                verdict(program, row) if program is not None else {"rule": None, "result": None, "rules": []}
            )
            if query.rule is not None and said["rule"] != query.rule:
                continue
            if query.result is not None and said["result"] != query.result:
                continue
            if raws is None:
                raws = group.raws()
            event = parse_signal(raws[row[0]])
            context = group.contexts.get(row[0])
            item = {
                "decision_id": decision_id(shard, block, number, row_number),
                "loop": section.loop,
                "key": row[1],
                "seq": row[2],
                "result": said["result"],
                "rule": said["rule"],
                "means": said.get("means"),
                "signal": {"id": event.id, "source": event.source, "type": event.type},
                "root": root_id(event) if context is None else context[0],
                "revision": section.revision,
                "time": event.time or text_from_time(group.decided_ns),
                "decided": text_from_time(group.decided_ns),
            }
            if "error" in said:
                item["error"] = said["error"]
            found.append((group.decided_ns, place, item))
    found.sort(key=lambda each: each[1], reverse=True)
    yield from found


def find_decision(views: Mapping[int, LedgerView], text: str, find: FindProgram) -> dict[str, Any]:
    """One whole record; `NotFound` says why there is none."""
    try:
        shard, block, section_number, row_number = place = parse_decision_id(text)
    except ValueError as error:
        raise NotFound(str(error)) from None
    view = views.get(shard)
    if view is None:
        raise NotFound(f"decision {text}: there is no shard {shard} here")
    try:
        stored = view.read(block)
    except LookupError:
        raise NotFound(
            f"decision {text}: block {block} is not in the ledger (never written, or dropped by retention)"
        ) from None
    group = decode_group(stored.payload)
    if section_number >= len(group.sections) or row_number >= group.sections[section_number].count:
        raise NotFound(f"decision {text}: block {block} holds no such decision")
    section = group.sections[section_number]
    program = find(section.revision, section.loop)
    if program is None:
        raise NotFound(
            f"decision {text}: the bundle of revision {section.revision} is not kept here any more"
        )
    row = section.rows()[row_number]
    return decision_record(program, group, section, place, row, group.raws()[row[0]], group.events())


def recent_decision(group: Group, text: str, find: FindProgram) -> dict[str, Any]:
    """The same record, from the group while it is still in memory: what `find_decision` would read, without reading."""
    _, _, section_number, row_number = place = parse_decision_id(text)
    section = group.sections[section_number]
    program = find(section.revision, section.loop)
    if program is None:
        raise NotFound(
            f"decision {text}: the bundle of revision {section.revision} is not kept here any more"
        )
    row = section.rows[row_number]
    return decision_record(program, group, section, place, row, group.raws[row[0]], group.events)


BLOCKS_AHEAD_MAX = 100_000


def outcomes_of(view: LedgerView, block: int, keys: set[str]) -> dict[str, dict[str, Any]]:
    """What became of commands: found at or after the block that issued them. Reads headers, and blocks with outcomes."""
    outcomes: dict[str, dict[str, Any]] = {}
    last = min(view.last_block(), block + BLOCKS_AHEAD_MAX)
    with_outcomes = [
        header.number
        for header in view.headers(last, block)
        if "outcome" in decode_summary(header.summary).events
    ]
    for number in reversed(with_outcomes):
        if not keys - set(outcomes):
            break
        for event in decode_group(view.read(number).payload).events():
            if isinstance(event, CommandOutcome) and event.command_key in keys:
                outcomes[event.command_key] = {
                    "outcome": event.outcome,
                    "at": text_from_time(event.at_ns),
                    "attempts": event.attempts,
                    "detail": event.detail,
                    "reference": event.reference,
                    "result": event.result,
                    "fenced": event.fenced,
                }
    return outcomes
