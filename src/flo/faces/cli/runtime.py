"""The command line's calls into the embedded runtime: every one of them stands here.

It is imported when it is first needed: half a second that `flo loops --to URL` need not wait.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from flo.ports.service import Service

if TYPE_CHECKING:
    from flo.flow.reload import LoadedBundle

Progress = Callable[[int, int], None]
"""Called now and then with (bytes done, bytes in all)."""


@dataclass(frozen=True, slots=True)
class RunOptions:
    """What `flo run` was asked for."""

    bundle: Path
    data: Path
    workers: int = 1


class Runtime(Protocol):
    """A started FLO. `stop` drains: what was taken is committed, what was committed is dispatched or kept."""

    @property
    def service(self) -> Service: ...

    async def stop(self) -> None: ...


def _embedded() -> Any:
    return importlib.import_module("flo.runtimes.embedded")


async def start_runtime(options: RunOptions) -> Runtime:
    """Open the data directory, recover, load. Raises `BundleError`, `UsageError`, `CorruptLedger`."""
    runtime: Runtime = await _embedded().start_runtime(
        bundle=options.bundle, data=options.data, workers=options.workers
    )
    return runtime


def rare_collections() -> AbstractContextManager[None]:
    """Spare the process of a running FLO Python's long walks through its state."""
    collections: AbstractContextManager[None] = _embedded().rare_collections()
    return collections


def run_file(options: RunOptions, signals: Path, progress: Progress) -> dict[str, Any]:
    """Decide a file of signals and stop; the summary: signals, decisions, duplicates, rejected, dead_letters,
    seconds.
    """
    summary: dict[str, Any] = _embedded().run_file(
        bundle=options.bundle, data=options.data, workers=options.workers, signals=signals, progress=progress
    )
    return summary


def open_reader(data: Path) -> Service:
    """A service that only reads a data directory, also beside a running FLO."""
    reader: Service = _embedded().open_reader(data)
    return reader


def export_rows(data: Path, kind: str, query: Mapping[str, str]) -> Iterator[dict[str, Any]]:
    """The rows of a data directory that no list of the API has: `signals` and `state`."""
    rows: Iterator[dict[str, Any]] = _embedded().export_rows(data, kind, query)
    return rows


class Columns(Protocol):
    """Rows as columns: each batch has a list for every field. See `flo.runtimes.embedded.export_columns`."""

    @property
    def fields(self) -> Mapping[str, str]: ...
    @property
    def batches(self) -> Iterator[dict[str, list[Any]]]: ...


def export_decisions(data: Path, query: Mapping[str, str], progress: Progress) -> Columns:
    """The decisions of a data directory as columns; `progress` is told blocks done, and in all."""
    columns: Columns = _embedded().export_decisions(data, query, progress)
    return columns


def load(directory: Path) -> LoadedBundle:
    """Read, check and compile a directory. Raises `BundleError` with every problem, or `UsageError`."""
    loaded: LoadedBundle = importlib.import_module("flo.runtimes.embedded.entry").load_directory(directory)
    return loaded
