"""A shard in a worker process, as the runtime sees it."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import logging
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from flo.core.errors import Overloaded, StorageUnavailable, UnavailableError, UsageError
from flo.core.record import Answered, Applied, Attempted, CommandOutcome, DeadLetter, Group
from flo.flow.open_work import OpenWork
from flo.flow.reload import LoadedBundle
from flo.ports.service import ACCEPTED, Receipt
from flo.ports.store import LedgerView
from flo.runtimes.embedded.backlog import QUEUED_SIGNALS_MAX
from flo.runtimes.embedded.batches import NOTHING, Needs, Only
from flo.runtimes.embedded.orders import Order
from flo.runtimes.embedded.shard_port import OnDurable, ShardFigures
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
    Shared,
    State,
    Steer,
    Stop,
    decode_reply,
    error_of,
    joined,
    read_frame,
    write_frame,
)
from flo.runtimes.embedded.workers.slots import Slots
from flo.stores.disk import LocalDisk
from flo.stores.ledger import LedgerReader
from flo.stores.ledger_view import ReaderView

log = logging.getLogger("flo.workers")

START_S = 120.0
STOP_S = 30.0
RESTART_S = (0.0, 0.5, 2.0, 10.0)
"""Pauses before a worker that died is started again: at once the first time, then ever more patiently."""


class RemoteShard:
    """See `ShardPort`. A worker that dies is started again; what was acknowledged is in its ledger."""

    def __init__(
        self,
        number: int,
        data: Path,
        revision: str,
        directory: Path | None,
        on_durable: OnDurable,
        on_shared: Callable[[int, dict[str, bytes]], None],
        on_started: Callable[[int], None],
    ) -> None:
        self.number = number
        self.revision = ""
        self.reconciler = OpenWork()
        self._data = data
        self._directory = directory
        self._runs = revision  # the bundle in force, or about to be: in the archive already
        self._on_durable = on_durable
        self._on_shared = on_shared
        self._on_started = on_started
        self._told_s = time.monotonic()
        self._process: subprocess.Popen[bytes] | None = None
        self._writer: asyncio.StreamWriter | None = None  # None: no worker that could be asked
        self._reading: asyncio.Task[None] | None = None
        self._waiting: dict[int, asyncio.Future[Any]] = {}
        self._slots = Slots()
        self._next = 0
        self._queued = 0
        self._problem: str | None = "starting"
        self._stopping = False
        self._view: LedgerView | None = None

    @property
    def view(self) -> LedgerView:
        assert self._view is not None  # started first
        return self._view

    async def start(self) -> None:
        """Start the worker and wait until its shard is recovered. `UsageError` with its words where it cannot."""
        ours, theirs = socket.socketpair()
        for end in (ours, theirs):
            end.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1 << 20)
        self._slots.close()
        self._slots = Slots()
        memory = self._slots.descriptor
        command = [sys.executable, "-m", "flo.runtimes.embedded.workers.worker", str(theirs.fileno())]
        command += [
            "" if memory is None else str(memory),
            str(self.number),
            str(self._data),
            self._runs,
            "" if self._directory is None else str(self._directory),
        ]
        # A fork and exec, once in a worker's life: a millisecond during which nothing else must run.
        self._process = subprocess.Popen(  # noqa: ASYNC220
            command,
            pass_fds=[theirs.fileno(), *([] if memory is None else [memory])],
            stdin=subprocess.DEVNULL,
        )
        theirs.close()
        reader, writer = await asyncio.open_connection(sock=ours, limit=1 << 22)
        try:
            async with asyncio.timeout(START_S):
                ready = decode_reply(await read_frame(reader))
        except (asyncio.IncompleteReadError, ConnectionError, TimeoutError):
            self._process.kill()
            await asyncio.to_thread(self._process.wait)
            writer.close()
            self._process = None
            raise UsageError(
                f"the worker of shard {self.number} did not start: see what it said above"
            ) from None
        except asyncio.CancelledError:  # by `stop`, which ends the process
            writer.close()
            raise
        assert isinstance(ready, Ready)
        self.revision = ready.revision
        self.reconciler = OpenWork()
        self.reconciler.restore(ready.snapshot)
        self._view = ReaderView(LedgerReader.open(LocalDisk(), str(self._data), self.number))
        self._problem = None
        self._writer = writer
        self._reading = asyncio.create_task(self._read(reader))
        self._on_started(self.number)

    async def _read(self, reader: asyncio.StreamReader) -> None:
        try:
            while True:
                self._take(decode_reply(await read_frame(reader)))
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        self._lose()
        if not self._stopping:
            await self._revive()

    def _take(self, reply: Reply) -> None:
        if isinstance(reply, Durable):
            for digest in reply.digests:
                for event in digest.events:
                    if not isinstance(event, Applied):
                        self.reconciler.apply(event)
            self._on_durable(reply.digests)
        elif isinstance(reply, State):
            self._problem = reply.problem or None
            self._told_s = time.monotonic()
            if reply.shared:
                self._on_shared(self.number, reply.shared)
        elif not isinstance(reply, Ready):
            self._slots.answered(reply.number)
            waiting = self._waiting.pop(reply.number, None)
            if waiting is None or waiting.done():
                return
            if isinstance(reply, Failure):
                waiting.set_exception(error_of(reply))
            elif isinstance(reply, Receipts):
                waiting.set_result([ACCEPTED] * reply.same if reply.same else reply.receipts)
            else:
                waiting.set_result(reply.value)

    def _lose(self) -> None:
        """The worker is gone. Whoever waits is told to send again; what it had acknowledged is in its ledger."""
        self._problem = "its worker died and is being started again"
        if self._writer is not None:
            self._writer.close()
            self._writer = None
        gone = StorageUnavailable(f"shard {self.number}: {self._problem}", 1.0)
        left, self._waiting = self._waiting, {}
        for waiting in left.values():
            if not waiting.done():
                waiting.set_exception(gone)

    async def _revive(self) -> None:
        process = self._process
        if process is not None:
            process.kill()  # whatever is left of it holds the ledger's lock and can be told nothing
            code = await asyncio.to_thread(process.wait)
            log.error("the worker of shard %d died (exit code %s)", self.number, code)
        for pause_s in itertools.chain(RESTART_S, itertools.repeat(RESTART_S[-1])):
            await asyncio.sleep(pause_s)
            try:
                await self.start()
            except UsageError as error:
                log.error("%s; trying again", error)
                continue
            return

    # -- requests -----------------------------------------------------------------------------------------

    async def _request(self, make: Callable[[int], Request]) -> Any:
        writer = self._writer
        if writer is None or writer.is_closing():
            raise StorageUnavailable(f"shard {self.number}: {self._problem or 'its worker is gone'}", 1.0)
        self._next += 1
        number = self._next
        future: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        self._waiting[number] = future
        write_frame(writer, make(number))
        with contextlib.suppress(ConnectionError):  # `_read` hears of it too, and answers all who wait
            await writer.drain()
        return await future

    async def offer(
        self, raws: Sequence[bytes], *, needs: Needs = NOTHING, only: Only = NOTHING, detailed: bool = False
    ) -> list[Receipt]:
        if self._problem is not None:
            raise StorageUnavailable(f"shard {self.number}: {self._problem}", 1.0)
        if self._queued and self._queued + len(raws) > QUEUED_SIGNALS_MAX:
            raise Overloaded(
                f"{self._queued} signals wait in shard {self.number}, {QUEUED_SIGNALS_MAX} may; nothing was taken",
                0.2,
            )
        self._queued += len(raws)
        try:
            receipts: list[Receipt] = await self._request(
                lambda number: self._offer(number, raws, needs, only, detailed)
            )
            return receipts
        finally:
            self._queued -= len(raws)

    def _offer(self, number: int, raws: Sequence[bytes], needs: Needs, only: Only, detailed: bool) -> Offer:
        lines = joined(raws)
        slot = None if lines is None else self._slots.put(number, lines)
        return Offer(
            number,
            list(raws) if lines is None else lines if slot is None else b"",
            None if slot is None or lines is None else (slot, len(lines)),
            {row: {loop: dict(need) for loop, need in by_loop.items()} for row, by_loop in needs.items()},
            {row: list(loops) for row, loops in only.items()},
            detailed,
        )

    def recent(self, block: int) -> Group | None:
        return None

    async def learned(self, events: Sequence[Attempted | Answered | CommandOutcome | DeadLetter]) -> None:
        await self._request(lambda number: Learn(number, list(events)))

    async def apply(self, bundle: LoadedBundle, by: str) -> None:
        await self._request(lambda number: Apply(number, bundle.revision, by))
        self.revision = self._runs = bundle.revision

    async def kill(self, loop: str, key: str | None, note: str) -> list[str]:
        killed: list[str] = await self._request(lambda number: Kill(number, loop, key, note))
        return killed

    async def steer(self, order: Order) -> Any:
        return await self._request(lambda number: Steer(number, order))

    async def figures(self) -> ShardFigures:
        try:
            counts, keys, queued = await self._request(lambda number: Ask(number, "figures"))
        except UnavailableError:
            return ShardFigures({}, {}, self._queued)
        return ShardFigures(counts, keys, queued)

    def tell_shared(self, states: dict[str, list[bytes]]) -> None:
        """The other workers' shared state, for this one to add to its own."""
        if self._writer is not None and not self._writer.is_closing():
            write_frame(self._writer, Shared(states))

    def shared_age_s(self) -> float:
        return time.monotonic() - self._told_s

    def tell_models(self, written: Mapping[str, int]) -> None:
        self.reconciler.tell_models(written)
        if self._writer is not None and self._problem is None:
            write_frame(self._writer, Models(dict(written)))

    def problem(self) -> str | None:
        return self._problem

    async def settle(self, timeout_s: float) -> bool:
        try:
            async with asyncio.timeout(timeout_s):
                return bool(await self._request(lambda number: Ask(number, "settle")))
        except (UnavailableError, TimeoutError):
            return False

    async def stop(self) -> None:
        """Ask it to commit, checkpoint and end; a worker that does not is killed: its ledger is made for that."""
        self._stopping = True
        stopped = False
        with contextlib.suppress(UnavailableError, TimeoutError):
            async with asyncio.timeout(STOP_S):
                await self._request(Stop)
                stopped = True
        if self._reading is not None:
            self._reading.cancel()  # also where it is starting another worker
            await asyncio.gather(self._reading, return_exceptions=True)
        if self._writer is not None:
            self._writer.close()
        if self._process is not None:
            if not stopped:
                log.error("the worker of shard %d did not stop by itself", self.number)
                self._process.kill()
            await asyncio.to_thread(self._process.wait)
