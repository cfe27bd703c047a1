"""A worker process: one shard behind a socket.

    python -m flo.runtimes.embedded.workers.worker FD MEMORY SHARD DATA REVISION DIRECTORY

It ends when its parent does: the end of the socket is its signal to commit what was taken and stop. Signals of a
terminal (Ctrl-C goes to the whole group) are the parent's to handle.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import signal
import socket
import sys
import time
from collections.abc import Callable, Coroutine, Sequence
from pathlib import Path
from typing import Any

import uvloop

from flo.core.errors import FloError, UsageError
from flo.flow.digest import Digest
from flo.flow.views.record import parse_decision_id
from flo.ports.disk import Locked
from flo.ports.service import ACCEPTED, Receipt
from flo.runtimes.embedded.collector import rare_collections
from flo.runtimes.embedded.library import Library
from flo.runtimes.embedded.local_shard import LocalShard
from flo.runtimes.embedded.workers.frames import (
    Apply,
    Ask,
    Durable,
    Failure,
    Kill,
    Learn,
    Models,
    Offer,
    Ready,
    Receipts,
    Reply,
    Request,
    Result,
    Shared,
    State,
    Steer,
    Stop,
    decode_request,
    failure_of,
    read_frame,
    write_frame,
)
from flo.runtimes.embedded.workers.slots import SlotReader
from flo.stores.disk import LocalDisk

log = logging.getLogger("flo.worker")

SETTLE_S = 10.0
ORPHAN_S = 30.0
"""The longest that a worker whose parent is gone takes to commit, checkpoint and let go of its shard."""

STATE_EVERY_S = 0.25
"""How stale another worker's share of a `shared` count may be, beside the time a group takes."""


class Worker:
    """Carries requests to the shard and answers back, in any order."""

    def __init__(
        self, shard: LocalShard, library: Library, writer: asyncio.StreamWriter, slots: SlotReader
    ) -> None:
        self._shard = shard
        self._slots = slots
        self._library = library
        self._writer = writer
        self._tasks: set[asyncio.Task[None]] = set()
        self._stopped = asyncio.Event()

    def tell(self, digests: list[Digest]) -> None:
        self._write(Durable(digests))

    def _write(self, reply: Reply) -> None:
        """Where the parent is gone there is nobody to tell; it reads the ledger when it comes back."""
        if not self._writer.is_closing():
            write_frame(self._writer, reply)

    async def serve(self, reader: asyncio.StreamReader) -> None:
        """Until told to stop, or until the parent is gone."""
        revision = "" if self._shard.bundle is None else self._shard.bundle.revision
        self._write(Ready(revision, self._shard.reconciler.snapshot()))
        self._start(self._tell_state())
        while not self._stopped.is_set():
            try:
                request = decode_request(await read_frame(reader))
            except (asyncio.IncompleteReadError, ConnectionError):
                break
            if isinstance(request, Shared):
                self._shard.take_others(request.states)
            elif isinstance(request, Models):
                self._shard.tell_models(request.written)
            else:
                self._start(self._answer(request))
        await self._shard.stop()

    def _start(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _answer(self, request: Request) -> None:
        assert not isinstance(request, Shared | Models)
        try:
            reply: Reply = await self._do(request)
        except FloError as error:
            reply = failure_of(request.number, error)
        except Exception as error:
            log.exception("a request failed")
            reply = Failure(request.number, "error", f"{type(error).__name__}: {error}", 0.0)
        self._write(reply)
        with contextlib.suppress(ConnectionError):
            await self._writer.drain()
        if isinstance(request, Stop):
            self._stopped.set()
            self._writer.close()

    async def _do(self, request: Request) -> Reply:
        shard = self._shard
        if isinstance(request, Offer):
            only = {row: frozenset(loops) for row, loops in request.only.items()}
            receipts = await shard.offer(
                self._raws(request), needs=request.needs, only=only, detailed=request.detailed
            )
            if request.detailed:
                await self._until_readable(receipts)
            if receipts.count(ACCEPTED) == len(receipts):
                return Receipts(request.number, len(receipts), [])
            return Receipts(request.number, 0, receipts)
        if isinstance(request, Learn):
            await shard.learned(request.events)
            return Result(request.number, None)
        if isinstance(request, Apply):
            await shard.apply(self._library.load(self._library.archive.files(request.revision)), request.by)
            return Result(request.number, None)
        if isinstance(request, Kill):
            return Result(request.number, await shard.kill(request.loop, request.key, request.note))
        if isinstance(request, Steer):
            return Result(request.number, await shard.steer(request.order))
        if isinstance(request, Ask) and request.what == "figures":
            figures = await shard.figures()
            return Result(request.number, [figures.counts, figures.keys, figures.queued])
        if isinstance(request, Ask):
            return Result(request.number, await shard.settle(SETTLE_S))
        assert isinstance(request, Stop)
        await shard.stop()
        return Result(request.number, None)

    async def _until_readable(self, receipts: Sequence[Receipt]) -> None:
        """The parent reads these decisions in the ledger: those of relaxed loops too must be there."""
        blocks = [parse_decision_id(decision)[1] for receipt in receipts for decision in receipt.decisions]
        if blocks and max(blocks) > self._shard.view.last_block():
            await self._shard.shard.perform(lambda group: None)

    def _raws(self, offer: Offer) -> list[bytes]:
        lines = offer.raws if offer.slot is None else self._slots.read(*offer.slot)
        return lines.split(b"\n") if isinstance(lines, bytes) else lines

    async def _tell_state(self) -> None:
        told: dict[str, bytes] = {}
        while not self._stopped.is_set():
            shared = self._shard.shared_states()
            # told each time, changed or not: whoever hears nothing knows how old what it has may be
            self._write(State(self._shard.problem() or "", shared if shared != told else {}))
            told = shared
            await asyncio.sleep(STATE_EVERY_S)


async def _open(attempt: Callable[[], LocalShard]) -> LocalShard:
    """The shard, as soon as its lock is free: the worker of a FLO that was killed may still commit what it had taken."""
    until_s = time.monotonic() + ORPHAN_S
    while True:
        try:
            return attempt()
        except UsageError as error:
            if not isinstance(error.__cause__, Locked) or time.monotonic() > until_s:
                raise
        await asyncio.sleep(0.02)


async def run(
    descriptor: int, memory: int | None, number: int, data: Path, revision: str, directory: Path | None
) -> None:
    """One shard's process, from opening its ledger to the word to stop or the end of its parent."""
    library = Library(data, None, directory)
    library.load(
        library.archive.files(revision)
    )  # the bundle that will be in force: its functions are run here
    held: list[Worker] = []
    shard = await _open(
        lambda: LocalShard(LocalDisk(), str(data), number, library, lambda digests: held[0].tell(digests))
    )
    reader, writer = await asyncio.open_connection(sock=socket.socket(fileno=descriptor), limit=1 << 22)
    worker = Worker(shard, library, writer, SlotReader(memory))
    held.append(worker)
    shard.start()
    with rare_collections():
        await worker.serve(reader)


def main() -> None:
    """Started by the parent, with an inherited socket."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    descriptor, memory, number, data, revision, directory = sys.argv[1:7]
    logging.basicConfig(
        level=logging.WARNING, format=f"%(asctime)s %(levelname)s shard {number} %(name)s: %(message)s"
    )
    try:
        uvloop.run(
            run(
                int(descriptor),
                int(memory) if memory else None,
                int(number),
                Path(data),
                revision,
                Path(directory) if directory else None,
            )
        )
    except FloError as error:
        sys.stderr.write(f"shard {number}: {error}\n")
        sys.exit(1)


if __name__ == "__main__":
    main()
