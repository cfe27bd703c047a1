"""Where a reading command reads: a running FLO (--to) or a data directory (--data), by the same calls."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Awaitable, Callable, Coroutine, Iterator, Mapping
from contextlib import closing
from pathlib import Path
from typing import Any, Protocol, TypeVar, runtime_checkable

from flo.faces.cli import runtime
from flo.faces.cli.client import DEFAULT_URL, Client, HttpSource
from flo.faces.cli.failure import WRONG_USE, CommandFailed
from flo.ports.service import Page, Service

_PAGE = 1000

T = TypeVar("T")


class Source(Protocol):
    """What reading commands ask. `kind` is a list's name in addresses: decisions, dead-letters ..."""

    def rows(
        self, kind: str, query: Mapping[str, str], limit: int | None = None
    ) -> Iterator[dict[str, Any]]: ...

    def decision(self, decision_id: str) -> dict[str, Any]: ...

    def explain(self, decision_id: str) -> dict[str, Any]: ...

    def loops(self) -> list[dict[str, Any]]: ...

    def loop(self, name: str) -> dict[str, Any]: ...

    def pipelines(self) -> list[dict[str, Any]]: ...

    def dead_letter(self, dead_letter_id: str) -> dict[str, Any]: ...

    def close(self) -> None: ...


@runtime_checkable
class _InOnePass(Protocol):
    """A service that gives a whole list without pages."""

    def every(self, kind: str, query: Mapping[str, str]) -> Iterator[dict[str, Any]]: ...


def open_source(to: str | None, data: Path | None) -> closing[Source]:
    """The source that the options name, to be used in a `with`. Naming both is wrong use."""
    if data is not None:
        if to is not None:
            raise CommandFailed("--to and --data name two different sources", "give one of them", WRONG_USE)
        if not data.is_dir():
            raise CommandFailed(
                f"--data {data}: there is no such directory", "name what `flo run --data` wrote to", WRONG_USE
            )
        return closing(DataSource(runtime.open_reader(data)))
    return closing(HttpSource(client(to)))


def client(to: str | None) -> Client:
    """A client of the FLO at `to`, with the token of the environment."""
    return Client(to or DEFAULT_URL, os.environ.get("FLO_TOKEN"))


class DataSource:
    """What can be read of a data directory, also while no FLO runs on it."""

    def __init__(self, service: Service) -> None:
        self._service = service
        self._runner = asyncio.Runner()

    def rows(self, kind: str, query: Mapping[str, str], limit: int | None = None) -> Iterator[dict[str, Any]]:
        if limit is None and isinstance(self._service, _InOnePass):
            yield from self._service.every(kind, query)
            return
        lists: dict[str, Callable[[Mapping[str, str], int, str | None], Awaitable[Page]]] = {
            "decisions": self._service.decisions,
            "dead-letters": self._service.dead_letters,
            "iterations": self._service.iterations,
            "commands": self._service.commands,
            "watchdogs": self._service.watchdogs,
            "edges": self._service.edges,
        }
        cursor: str | None = None
        left = limit
        while left is None or left > 0:
            page = self._run(_awaited(lists[kind](query, min(left or _PAGE, _PAGE), cursor)))
            yield from page.items
            cursor = page.next
            if cursor is None:
                return
            left = None if left is None else left - len(page.items)

    def decision(self, decision_id: str) -> dict[str, Any]:
        return self._run(_awaited(self._service.decision(decision_id)))

    def explain(self, decision_id: str) -> dict[str, Any]:
        return self._run(_awaited(self._service.explain(decision_id)))

    def loops(self) -> list[dict[str, Any]]:
        return self._run(_awaited(self._service.loops()))

    def loop(self, name: str) -> dict[str, Any]:
        return self._run(_awaited(self._service.loop(name)))

    def pipelines(self) -> list[dict[str, Any]]:
        return self._run(_awaited(self._service.pipelines()))

    def dead_letter(self, dead_letter_id: str) -> dict[str, Any]:
        return self._run(_awaited(self._service.dead_letter(dead_letter_id)))

    def close(self) -> None:
        self._runner.close()
        close = getattr(self._service, "close", None)
        if close is not None:
            close()

    def _run(self, asked: Coroutine[Any, Any, T]) -> T:
        return self._runner.run(asked)


async def _awaited(asked: Awaitable[T]) -> T:
    return await asked
