"""Starting a runtime whose shards run in worker processes."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path

import msgspec

from flo.core.errors import UsageError
from flo.flow.reload import LoadedBundle
from flo.ports.disk import Lock, Locked
from flo.runtimes.clock import SteadyClock
from flo.runtimes.embedded.library import Library
from flo.runtimes.embedded.runtime import EmbeddedRuntime
from flo.runtimes.embedded.workers.remote_shard import RemoteShard
from flo.stores.disk import LocalDisk

LAYOUT = "layout.json"


class Layout(msgspec.Struct):
    """How a data directory is divided: fixed when it is made, since a key's state lies in its shard."""

    workers: int


def check_layout(data: Path, workers: int) -> None:
    """Make a new directory's layout, or see that it fits; `UsageError` says with how many workers it was made."""
    data.mkdir(parents=True, exist_ok=True)
    path = data / LAYOUT
    if path.is_file():
        made_with = msgspec.json.decode(path.read_bytes(), type=Layout).workers
    elif any(data.glob("shard-*")):
        made_with = len(list(data.glob("shard-*")))
    else:
        _write_durably(path, msgspec.json.encode(Layout(workers)))
        made_with = workers
    if made_with != workers:
        raise UsageError(
            f"{data} was made with --workers {made_with}, and each key's state lies in its worker's part: "
            f"run it with --workers {made_with}, or give --data another directory"
        )


def _write_durably(path: Path, content: bytes) -> None:
    """Whole or not at all: a layout cut off by the end of power would keep FLO from ever starting there again."""
    temporary = path.with_name(f".{path.name}")
    with temporary.open("wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    temporary.rename(path)
    LocalDisk().sync_directory(str(path.parent))


async def start_workers(bundle: LoadedBundle, library: Library, data: Path, workers: int) -> EmbeddedRuntime:
    """Start the workers side by side, then the runtime over them.

    A worker may die at any moment from here on, also before the others are there; what it tells meanwhile counts.
    """
    lock = lock_directory(data)
    try:
        return await _start_locked(bundle, library, data, workers, lock)
    except BaseException:
        lock.release()
        raise


def lock_directory(data: Path) -> Lock:
    """For the process that has the workers, which lock their own parts: theirs may outlive it for a moment."""
    try:
        return LocalDisk().lock(str(data / "lock"))
    except Locked as error:
        raise UsageError(
            f"{data} is in use by process {error.holder}: stop it first, or only read, with --data"
        ) from error


async def _start_locked(
    bundle: LoadedBundle, library: Library, data: Path, workers: int, lock: Lock
) -> EmbeddedRuntime:
    await asyncio.to_thread(library.keep, bundle)
    shared: dict[int, dict[str, bytes]] = {}

    def spread(number: int, states: dict[str, bytes]) -> None:
        """A worker's shared state goes to all others, who add it to their own when they read."""
        shared[number] = states
        for port in ports:
            if port.number != number:
                tell(port)

    def tell(port: RemoteShard) -> None:
        others = [states for number, states in shared.items() if number != port.number]
        loops = {loop for states in others for loop in states}
        port.tell_shared({loop: [states[loop] for states in others if loop in states] for loop in loops})

    def started(number: int) -> None:
        tell(ports[number])
        runtime.resume_shard(number, ports[number].revision)

    ports = [
        RemoteShard(
            number,
            data,
            bundle.revision,
            library.directory,
            lambda digests: runtime.observe(digests),
            spread,
            started,
        )
        for number in range(workers)
    ]
    runtime = EmbeddedRuntime(ports, library, data, SteadyClock(), lock)
    try:
        await asyncio.gather(*(port.start() for port in ports))
    except BaseException:
        await asyncio.gather(*(port.stop() for port in ports))
        raise
    in_force = [library.find(port.revision) if port.revision else None for port in ports]
    return await runtime.begin(bundle, in_force)
