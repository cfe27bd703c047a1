"""Decisions as columns, straight from the columns of the blocks: what Parquet is written from.

Oldest first, one shard after the other. With a loop named, each piece of state that its rules read is a column of its
own type; over all loops their names would not fit together, so the state is one column of JSON.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import msgspec

from flo.core.context import root_id
from flo.core.loop.program import EXIT_ERROR, LoopProgram
from flo.core.record import GroupView, decode_group
from flo.core.record.group import LAST_COLUMNS, SectionView, decode_summary
from flo.core.signal import parse_signal, time_from_text
from flo.flow.views.decisions import query_time
from flo.flow.views.record import verdict
from flo.ports.store import LedgerView
from flo.runtimes.embedded.library import Library
from flo.runtimes.embedded.shard_views import open_views

Progress = Callable[[int, int], None]
"""Called with (blocks read, blocks in all)."""

_PLACED = {"decision_id": "text", "loop": "text", "key": "text", "seq": "int"}
_SAID = {"result": "text", "rule": "text", "means": "text", "error": "json"}
_SIGNAL = {"signal_id": "text", "signal_source": "text", "signal_type": "text", "root": "text"}
_TIMES = {"time": "time", "decided": "time"}
_REST = {"revision": "text", "need": "json", "calls": "json", "extra": "json"}

_TYPES = {"int": "int", "uint": "uint", "double": "float", "bool": "bool", "string": "text"}
_encode = msgspec.json.Encoder().encode


@dataclass(frozen=True, slots=True)
class DecisionColumns:
    """`fields` name the columns and what they hold: text, int, uint, float, bool, time (ns since 1970, UTC), json."""

    fields: Mapping[str, str]
    batches: Iterator[dict[str, list[Any]]]


def export_decisions(data: Path, query: Mapping[str, str], progress: Progress) -> DecisionColumns:
    """`query` knows loop, since and until. Memory: a block at a time."""
    return _Decisions(data, query, progress).columns()


class _Decisions:
    def __init__(self, data: Path, query: Mapping[str, str], progress: Progress) -> None:
        self._views = open_views(data)
        self._loop = query.get("loop")
        self._since_ns = query_time("since", query.get("since"))
        self._until_ns = query_time("until", query.get("until"))
        self._progress = progress
        library = Library(data)
        self._program: Callable[[str, str], LoopProgram | None] = cache(library.program)
        self._verdict = cache(self._plain_verdict)

    def columns(self) -> DecisionColumns:
        blocks = [(view, self._blocks(view)) for view in self._views]
        state = {"state": "json"} if self._loop is None else self._state_fields(blocks)
        return DecisionColumns(
            {**_PLACED, **_SAID, **_SIGNAL, **_TIMES, **state, **_REST}, self._batches(blocks, state)
        )

    def _blocks(self, view: LedgerView) -> list[int]:
        """The blocks that may hold what is asked for, oldest first."""
        found = []
        for header in view.headers(view.last_block()):
            if self._since_ns is not None and header.written_ns < self._since_ns:
                break
            loops = decode_summary(header.summary).loops
            is_other = self._loop is not None and self._loop not in loops and len(loops) < 256
            if loops and not is_other and (self._until_ns is None or header.written_ns <= self._until_ns):
                found.append(header.number)
        return found[::-1]

    def _state_fields(self, blocks: list[tuple[LedgerView, list[int]]]) -> dict[str, str]:
        """The state that the loop's rules read under any of its revisions; nothing is inflated for it."""
        found: dict[str, str] = {}
        seen: set[str] = set()
        for view, numbers in blocks:
            for number in numbers:
                for section in decode_group(view.read(number).payload).sections:
                    if section.loop != self._loop or section.revision in seen:
                        continue
                    seen.add(section.revision)
                    program = self._program(section.revision, section.loop)
                    for name in section.state_columns:
                        kind = "json" if program is None else _kind(program, name)
                        before = found.setdefault(f"state.{name}", kind)
                        found[f"state.{name}"] = _common(before, kind)
        return found

    def _batches(
        self, blocks: list[tuple[LedgerView, list[int]]], state: Mapping[str, str]
    ) -> Iterator[dict[str, list[Any]]]:
        done, total = 0, sum(len(numbers) for _, numbers in blocks)
        for view, numbers in blocks:
            for number in numbers:
                try:
                    group = decode_group(view.read(number).payload)
                except LookupError:  # dropped by retention while we were at it
                    continue
                raws: list[bytes] = []
                for place, section in enumerate(group.sections):
                    if section.count and self._loop in (None, section.loop):
                        raws = raws or group.raws()
                        yield self._section(view.shard, number, place, group, raws, section, state)
                done += 1
                self._progress(done, total)

    def _section(
        self,
        shard: int,
        block: int,
        place: int,
        group: GroupView,
        raws: list[bytes],
        section: SectionView,
        state: Mapping[str, str],
    ) -> dict[str, list[Any]]:
        count = section.count
        rows = section.column("signal")
        exits, inputs, extras = section.column("exit"), *map(section.column, LAST_COLUMNS)
        said = [self._said(section, exit, extra) for exit, extra in zip(exits, extras, strict=True)]
        columns = {
            "decision_id": [f"{shard}-{block}-{place}-{row}" for row in range(count)],
            "loop": [section.loop] * count,
            "key": section.column("key"),
            "seq": section.column("seq"),
            "result": [each[0] for each in said],
            "rule": [each[1] for each in said],
            "means": [each[2] for each in said],
            "error": [None if extra is None else extra.get("error") for extra in extras],
            **_signal_columns(group, raws, rows),
            "decided": [group.decided_ns] * count,
            "revision": [section.revision] * count,
            "need": [None if each is None else each[0] for each in inputs],
            "calls": [None if each is None else each[1] or None for each in inputs],
            "extra": extras,
        }
        values = {name: section.column(name) for name in section.state_columns}
        if self._loop is None:
            names = tuple(values)
            columns["state"] = [
                dict(zip(names, row, strict=True)) for row in zip(*values.values(), strict=True)
            ]
            columns["state"] = columns["state"] or [{}] * count
        else:
            for name in state:
                columns[name] = values.get(name.removeprefix("state."), [None] * count)
        return columns

    def _said(self, section: SectionView, exit: int, extra: Any) -> tuple[str | None, str | None, str | None]:
        return self._verdict(
            section.revision, section.loop, EXIT_ERROR if extra and "error" in extra else exit
        )

    def _plain_verdict(
        self, revision: str, loop: str, exit: int
    ) -> tuple[str | None, str | None, str | None]:
        program = self._program(revision, loop)
        if program is None or exit == EXIT_ERROR:
            return None, None, None
        said = verdict(program, ("", "", 0, exit, None, None))
        return said["result"], said["rule"], said["means"]


def _signal_columns(group: GroupView, raws: list[bytes], rows: list[int]) -> dict[str, list[Any]]:
    events = [parse_signal(raws[row]) for row in rows]
    contexts = [group.contexts.get(row) for row in rows] if group.contexts else [None] * len(rows)
    decided_ns = group.decided_ns
    return {
        "signal_id": [event.id for event in events],
        "signal_source": [event.source for event in events],
        "signal_type": [event.type for event in events],
        "root": [
            root_id(event) if context is None else context[0]
            for event, context in zip(events, contexts, strict=True)
        ],
        "time": [decided_ns if event.time is None else time_from_text(event.time) for event in events],
    }


def _kind(program: LoopProgram, column: str) -> str:
    """What a state column holds, by the types the rules are checked with."""
    if column.startswith("once:"):
        return "int"
    name, _, part = column.partition(".")
    field = program.plan.fields.get(name) or program.shared_plan.fields.get(name)
    if field is None:
        return "json"
    return _TYPES.get(field.fields[part][1] if part else field.type, "json")


def _common(first: str, second: str) -> str:
    """A kind that holds both: revisions may differ in what they measure."""
    if first == second:
        return first
    return "float" if {first, second} <= {"int", "uint", "float"} else "json"
