"""Starting a runtime whose shards run in worker processes."""

from __future__ import annotations

import asyncio
from pathlib import Path

import msgspec

from flo.core.errors import UsageError
from flo.flow.reload import LoadedBundle
from flo.runtimes.clock import SteadyClock
from flo.runtimes.embedded.library import Library
from flo.runtimes.embedded.runtime import EmbeddedRuntime
from flo.runtimes.embedded.workers.remote_shard import RemoteShard

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
        temporary = data / f".{LAYOUT}"
        temporary.write_bytes(msgspec.json.encode(Layout(workers)))
        temporary.rename(path)
        made_with = workers
    if made_with != workers:
        raise UsageError(
            f"{data} was made with --workers {made_with}, and each key's state lies in its worker's part: "
            f"run it with --workers {made_with}, or give --data another directory"
        )


async def start_workers(bundle: LoadedBundle, library: Library, data: Path, workers: int) -> EmbeddedRuntime:
    """Start the workers side by side, then the runtime over them."""
    await asyncio.to_thread(library.keep, bundle)
    held: list[EmbeddedRuntime] = []
    shared: dict[int, dict[str, bytes]] = {}

    def spread(number: int, states: dict[str, bytes]) -> None:
        """A worker's shared state goes to all others, who add it to their own when they read."""
        shared[number] = states
        for port in ports:
            if port.number != number:
                others = [each for other, each in shared.items() if other != port.number]
                port.tell_shared({loop: [each[loop] for each in others if loop in each] for loop in states})

    ports = [
        RemoteShard(
            number,
            data,
            bundle.revision,
            library.directory,
            lambda digests: held[0].observe(digests),
            spread,
            lambda number: held[0].resume_shard(number),
        )
        for number in range(workers)
    ]
    try:
        await asyncio.gather(*(port.start() for port in ports))
    except BaseException:
        await asyncio.gather(*(port.stop() for port in ports))
        raise
    runtime = EmbeddedRuntime(ports, library, data, SteadyClock())
    held.append(runtime)
    in_force = [library.find(port.revision) if port.revision else None for port in ports]
    return await runtime.begin(bundle, in_force)
