"""How the faces start a runtime, or open a data directory to read."""

from __future__ import annotations

from pathlib import Path

from flo.engines.registry import engine_kinds
from flo.flow.reload import LoadedBundle, load_bundle
from flo.runtimes.embedded.library import Library
from flo.runtimes.embedded.reader import ReadOnlyService
from flo.runtimes.embedded.runtime import EmbeddedRuntime
from flo.runtimes.embedded.workers.starting import check_layout, start_workers
from flo.stores.bundle_directory import read_directory
from flo.stores.bundle_functions import load_functions


def load_directory(directory: Path) -> LoadedBundle:
    """A bundle's directory, checked and compiled; `BundleError` with every problem."""
    here = directory.resolve()
    return load_bundle(read_directory(here), engine_kinds(), lambda source: load_functions(source, here))


async def start_runtime(*, bundle: Path, data: Path, workers: int = 1) -> EmbeddedRuntime:
    """Start FLO on a data directory. Call it on the event loop it will run on.

    Raises `BundleError`, `UsageError` (the directory is in use, or not FLO's), `CorruptLedger`, `StorageUnavailable`.
    """
    here = bundle.resolve()
    loaded = load_directory(here)
    library = Library(data, loaded, here)
    check_layout(data, workers)
    if workers == 1:
        return await EmbeddedRuntime.start(loaded, library, data)
    return await start_workers(loaded, library, data, workers)


def open_reader(data: Path) -> ReadOnlyService:
    """Read a data directory, also beside a running FLO; `UsageError` where there is none."""
    return ReadOnlyService.open(data)
