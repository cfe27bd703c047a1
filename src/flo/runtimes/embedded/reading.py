"""What can be asked of a data directory, running or not: the reading half of the service."""

from __future__ import annotations

import asyncio
import difflib
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

from flo.flow.explain import explain
from flo.flow.open_work import OpenCommand, OpenIteration
from flo.flow.views.decisions import decision_query, find_decision, outcomes_of, search_decisions
from flo.flow.views.gone import gone_of
from flo.flow.views.listing import everything, page, places_of
from flo.flow.views.record import parse_decision_id
from flo.flow.views.rows import (
    ITERATION_KEYS,
    Ends,
    check_query,
    commands,
    dead_letters,
    ended_iterations,
    ends_behind,
    find_dead_letter,
    open_iteration,
)
from flo.ports.service import NotFound, Page
from flo.ports.store import LedgerView
from flo.runtimes.embedded.library import Library


class LedgerQueries:
    """Answers from the ledger alone, on a thread of its own: a long search never holds up a decision's event loop."""

    def __init__(
        self,
        views: Callable[[], Mapping[int, LedgerView]],
        library: Library,
        open_commands: Callable[[], Mapping[str, OpenCommand]],
        open_iterations: Callable[[], Iterable[OpenIteration]],
    ) -> None:
        self._views = views
        self._library = library
        self._open_commands = open_commands
        self._open_iterations = open_iterations

    async def decisions(self, query: Mapping[str, str], limit: int, cursor: str | None) -> Page:
        search = search_decisions(decision_query(query), self._library.program)
        return await asyncio.to_thread(page, list(self._views().values()), search, limit, cursor)

    async def decision(self, decision_id: str) -> dict[str, Any]:
        return await asyncio.to_thread(self._decision, decision_id)

    def _decision(self, decision_id: str) -> dict[str, Any]:
        return find_decision(self._views(), decision_id, self._library.program)

    async def explain(self, decision_id: str) -> dict[str, Any]:
        return await asyncio.to_thread(self._explain, decision_id)

    def _explain(self, decision_id: str) -> dict[str, Any]:
        record = self._decision(decision_id)
        program = self._library.program(record["revision"], record["loop"])
        assert program is not None  # the record could not have been read without it
        shard, block, _, _ = parse_decision_id(decision_id)
        keys = {command["key"] for command in record["commands"]}
        outcomes = outcomes_of(self._views()[shard], block, keys) if keys else {}
        return explain(program, record, outcomes, self._parent)

    def _parent(self, decision_id: str) -> dict[str, Any] | None:
        try:
            return self._decision(decision_id)
        except NotFound:
            return None

    async def dead_letters(self, query: Mapping[str, str], limit: int, cursor: str | None) -> Page:
        return await asyncio.to_thread(self._dead_letters, query, limit, cursor)

    def _dead_letters(self, query: Mapping[str, str], limit: int, cursor: str | None) -> Page:
        views = list(self._views().values())
        gone = {view.shard: gone_of(view) for view in views}
        return page(views, dead_letters(query, gone), limit, cursor)

    async def dead_letter(self, dead_letter_id: str) -> dict[str, Any]:
        return await asyncio.to_thread(find_dead_letter, self._views(), dead_letter_id)

    async def commands(self, query: Mapping[str, str], limit: int, cursor: str | None) -> Page:
        return await asyncio.to_thread(self._commands, query, limit, cursor)

    def _commands(self, query: Mapping[str, str], limit: int, cursor: str | None) -> Page:
        ends: Ends = {}
        views = list(self._views().values())
        if cursor is not None:  # outcomes newer than this page's commands lie on the pages before it
            places = places_of(cursor, views)
            for view in views:
                ends_behind(view, places[view.shard], ends)
        return page(views, commands(query, dict(self._open_commands()), ends), limit, cursor)

    async def iterations(self, query: Mapping[str, str], limit: int, cursor: str | None) -> Page:
        """The open ones first, whole, with the first page; then those that ended, newest first."""
        check_query(query, ITERATION_KEYS, "iterations")
        items: list[dict[str, Any]] = []
        if cursor is None and "since" not in query and "until" not in query:
            still_open = (open_iteration(iteration) for iteration in list(self._open_iterations()))
            items = [
                item
                for item in still_open
                if all(item[name] == query[name] for name in ("loop", "key", "status") if name in query)
            ][-limit:][::-1]
        if len(items) >= limit:
            return Page(items, None)
        views = list(self._views().values())
        ended = await asyncio.to_thread(page, views, ended_iterations(query), limit - len(items), cursor)
        return Page(items + ended.items, ended.next)

    def every(self, kind: str, query: Mapping[str, str]) -> Iterator[dict[str, Any]]:
        """All rows of a list, in its order and in one pass: what exports are made of. Blocks the thread it is read on."""
        views = list(self._views().values())
        match kind:
            case "decisions":
                yield from everything(views, search_decisions(decision_query(query), self._library.program))
            case "dead-letters":
                gone = {view.shard: gone_of(view) for view in views}
                yield from everything(views, dead_letters(query, gone))
            case "commands":
                yield from everything(views, commands(query, dict(self._open_commands()), {}))
            case "iterations":
                check_query(query, ITERATION_KEYS, "iterations")
                if "since" not in query and "until" not in query:
                    wanted = [name for name in ("loop", "key", "status") if name in query]
                    for item in map(open_iteration, reversed(list(self._open_iterations()))):
                        if all(item[name] == query[name] for name in wanted):
                            yield item
                yield from everything(views, ended_iterations(query))


def not_found(what: str, name: str, known: Iterable[str]) -> NotFound:
    """`NotFound` with the nearest name there is."""
    names = list(known)
    near = difflib.get_close_matches(name, names, 1)
    way = f"did you mean {near[0]}?" if near else f"there are: {', '.join(sorted(names)[:10]) or 'none'}"
    return NotFound(f'no {what} "{name[:80]}": {way}')
