"""Lists, newest first, over one or many shards: a cursor that survives writing, retention and restarts.

A cursor names, for each shard, the last place given. What is written after the first page does not shift the next.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from flo.flow.cursor import decode_cursor, encode_cursor
from flo.ports.service import Page
from flo.ports.store import LedgerView

Place = tuple[int, int]
"""(block, place within the block's items), both counting up with time."""

Found = tuple[int, Place, dict[str, Any]]
"""(time_ns, place, item)."""

Search = Callable[[LedgerView, Place], Iterator[Found]]
"""All that matches in one shard before a place, newest first."""

END: Place = (1 << 62, 1 << 62)

BLOCKS_PER_PAGE_MAX = 20_000
"""A query that finds little must still answer: after so many blocks the page ends, with a cursor to go on."""


def page(views: Sequence[LedgerView], search: Search, limit: int, cursor: str | None) -> Page:
    """One page of what `search` finds in all shards, merged by time."""
    places = places_of(cursor, views)
    streams = [
        ((-time, view.shard, place, item) for time, place, item in search(view, places[view.shard]))
        for view in views
    ]
    items: list[dict[str, Any]] = []
    for _, shard, place, item in heapq.merge(*streams, key=lambda found: (found[0], found[1])):
        if len(items) == limit:
            return Page(items, encode_cursor(dict(places)))
        places[shard] = place
        items.append(item)
    return Page(items, None)


def everything(views: Sequence[LedgerView], search: Search) -> Iterator[dict[str, Any]]:
    """All that `search` finds in all shards, merged by time, in one pass. Memory: a block of each shard."""
    streams = [((-time, view.shard, item) for time, _, item in search(view, END)) for view in views]
    for _, _, item in heapq.merge(*streams, key=lambda found: (found[0], found[1])):
        yield item


def places_of(cursor: str | None, views: Sequence[LedgerView]) -> dict[int, Place]:
    """The place each shard was left at; `UsageError` for a cursor that FLO did not give."""
    places = {view.shard: END for view in views}
    if cursor is None:
        return places
    places.update(decode_cursor(cursor, dict[int, tuple[int, int]]))
    return places
