"""A shard in a worker process, as the runtime sees it."""

from __future__ import annotations

import asyncio
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
from flo.flow.reconcile import Reconciler
from flo.flow.reload import LoadedBundle
from flo.ports.service import Receipt
from flo.ports.store import LedgerView
from flo.runtimes.embedded.shard import NOTHING, QUEUED_SIGNALS_MAX, Needs, Only
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
    Stop,
    decode_reply,
    error_of,
    read_frame,
    write_frame,
)
from flo.stores.disk import LocalDisk
from flo.stores.ledger import LedgerReader
from flo.stores.ledger_view import ReaderView

log = logging.getLogger("flo.workers")

ACCEPTED = Receipt("accepted")
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
        on_restart: Callable[[int], None],
    ) -> None:
        self.number = number
        self.revision = ""
        self.reconciler = Reconciler(lambda loop, rule, n: None)
        self._data = data
        self._directory = directory
        self._runs = revision  # the bundle in force, or about to be: in the archive already
        self._on_durable = on_durable
        self._on_shared = on_shared
        self._told_s = time.monotonic()
        self._on_restart = on_restart
        self._process: subprocess.Popen[bytes] | None = None
        self._writer: asyncio.StreamWriter | None = None
        self._reading: asyncio.Task[None] | None = None
        self._waiting: dict[int, asyncio.Future[Any]] = {}
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
        command = [sys.executable, "-m", "flo.runtimes.embedded.workers.worker", str(theirs.fileno())]
        command += [
            str(self.number),
            str(self._data),
            self._runs,
            "" if self._directory is None else str(self._directory),
        ]
        # A fork and exec, once in a worker's life: a millisecond during which nothing else must run.
        self._process = subprocess.Popen(  # noqa: ASYNC220
            command, pass_fds=[theirs.fileno()], stdin=subprocess.DEVNULL
        )
        theirs.close()
        reader, self._writer = await asyncio.open_connection(sock=ours, limit=1 << 22)
        try:
            async with asyncio.timeout(START_S):
                ready = decode_reply(await read_frame(reader))
        except (asyncio.IncompleteReadError, ConnectionError, TimeoutError):
            self._process.kill()
            await asyncio.to_thread(self._process.wait)
            self._writer.close()
            self._process = self._writer = None
            raise UsageError(
                f"the worker of shard {self.number} did not start: see what it said above"
            ) from None
        assert isinstance(ready, Ready)
        self.revision = ready.revision
        self.reconciler = Reconciler(lambda loop, rule, n: None)
        self.reconciler.restore(ready.snapshot)
        self._view = ReaderView(LedgerReader.open(LocalDisk(), str(self._data), self.number))
        self._problem = None
        self._reading = asyncio.create_task(self._read(reader))

    async def _read(self, reader: asyncio.StreamReader) -> None:
        try:
            while True:
                self._take(decode_reply(await read_frame(reader)))
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
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
            waiting = self._waiting.pop(reply.number, None)
            if waiting is None or waiting.done():
                return
            if isinstance(reply, Failure):
                waiting.set_exception(error_of(reply))
            elif isinstance(reply, Receipts):
                waiting.set_result([ACCEPTED] * reply.same if reply.same else reply.receipts)
            else:
                waiting.set_result(reply.value)

    async def _revive(self) -> None:
        """The worker died. Whoever waits is told to send again; what it had acknowledged is in its ledger."""
        self._problem = "its worker died and is being started again"
        code = None if self._process is None else self._process.poll()
        log.error("the worker of shard %d died (exit code %s)", self.number, code)
        gone = StorageUnavailable(f"shard {self.number}: {self._problem}", 1.0)
        for waiting in self._waiting.values():
            if not waiting.done():
                waiting.set_exception(gone)
        self._waiting.clear()
        for pause_s in (*RESTART_S, *[RESTART_S[-1]] * 1000):
            await asyncio.sleep(pause_s)
            if self._stopping:
                return
            try:
                await self.start()
            except UsageError as error:
                log.error("%s; trying again", error)
                continue
            self._on_restart(self.number)
            return

    # -- requests -----------------------------------------------------------------------------------------

    async def _request(self, make: Callable[[int], Request]) -> Any:
        writer = self._writer
        if self._problem is not None and writer is None:
            raise StorageUnavailable(f"shard {self.number}: {self._problem}", 1.0)
        assert writer is not None
        self._next += 1
        number = self._next
        future: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        self._waiting[number] = future
        try:
            write_frame(writer, make(number))
            await writer.drain()
        except ConnectionError:
            self._waiting.pop(number, None)
            raise StorageUnavailable(f"shard {self.number}: its worker is gone; try again", 1.0) from None
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
                lambda number: Offer(
                    number,
                    list(raws),
                    {
                        row: {loop: dict(need) for loop, need in by_loop.items()}
                        for row, by_loop in needs.items()
                    },
                    {row: list(loops) for row, loops in only.items()},
                    detailed,
                )
            )
            return receipts
        finally:
            self._queued -= len(raws)

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

    async def figures(self) -> ShardFigures:
        try:
            counts, keys, queued = await self._request(lambda number: Ask(number, "figures"))
        except UnavailableError:
            return ShardFigures({}, {}, self._queued)
        return ShardFigures(counts, keys, queued)

    def tell_shared(self, states: dict[str, list[bytes]]) -> None:
        """The other workers' shared state, for this one to add to its own."""
        if self._writer is not None and self._problem is None:
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
        process = self._process
        if process is None:
            return
        try:
            if self._reading is None:  # it never got as far as answering
                raise StorageUnavailable("not started")
            async with asyncio.timeout(STOP_S):
                await self._request(Stop)
        except (UnavailableError, TimeoutError):
            if self._reading is not None:
                log.error("the worker of shard %d did not stop by itself", self.number)
            process.kill()
        if self._writer is not None:
            self._writer.close()
        if self._reading is not None:
            self._reading.cancel()
            await asyncio.gather(self._reading, return_exceptions=True)
        await asyncio.to_thread(process.wait)
