"""A real TCP proxy between FLO and an engine, that can lose an answer, hold it back, or refuse to be reached."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from dataclasses import dataclass

CHUNK_BYTES = 65_536


@dataclass(frozen=True, slots=True)
class Fault:
    """What happens to the answer to one request."""

    to: bytes
    cut: bool = False
    hold_s: float = 0.0


class TcpProxy:
    """Listens on a free loopback port and passes bytes on to `port`, until a test says what goes wrong next.

    `target` may change at any time: an engine that was restarted has another port.
    """

    def __init__(self, target: int) -> None:
        self.target = target
        self.port = 0
        self.faults = 0  # how many answers were lost or held
        self._armed: Fault | None = None
        self._server: asyncio.Server | None = None
        self._open: set[asyncio.StreamWriter] = set()
        self._tasks: set[asyncio.Task[None]] = set()

    def cut_next_answer(self, to: bytes = b"") -> None:
        """The next request with `to` in it is passed on whole; when the engine begins to answer, both sides are cut."""
        self._armed = Fault(to, cut=True)

    def hold_next_answer(self, hold_s: float, to: bytes = b"") -> None:
        """The answer to the next request with `to` in it is passed on that much later."""
        self._armed = Fault(to, hold_s=hold_s)

    async def listen(self) -> None:
        """Be reachable; on the same port as before, where it was."""
        if self._server is None:
            self._server = await asyncio.start_server(self._serve, "127.0.0.1", self.port, reuse_address=True)
            self.port = self._server.sockets[0].getsockname()[1]

    async def refuse(self) -> None:
        """Cut what is open and let nobody connect: the port refuses, as that of a machine whose engine is down."""
        if self._server is not None:
            self._server.close()
            self._server = None
        self._drop_all()
        # Both ends of a cut connection are gone before a test goes on: no request slips through.
        if tasks := list(self._tasks):
            await asyncio.wait(tasks)

    def _drop_all(self) -> None:
        for writer in list(self._open):
            writer.transport.abort()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            engine_reader, engine_writer = await asyncio.open_connection("127.0.0.1", self.target)
        except OSError:
            writer.transport.abort()
            return
        self._open |= {writer, engine_writer}
        due: list[Fault] = []
        ways = (self._pass(reader, engine_writer, due), self._answer(engine_reader, writer, due))
        tasks = {asyncio.ensure_future(way) for way in ways}
        self._tasks |= tasks
        try:
            await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in tasks:
                task.cancel()
            writer.transport.abort()
            engine_writer.transport.abort()
            self._open -= {writer, engine_writer}
            self._tasks -= tasks

    async def _pass(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, due: list[Fault]
    ) -> None:
        with suppress(OSError):
            while data := await reader.read(CHUNK_BYTES):
                if self._armed is not None and self._armed.to in data:
                    due.append(self._armed)
                    self._armed = None
                writer.write(data)
                await writer.drain()

    async def _answer(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, due: list[Fault]
    ) -> None:
        with suppress(OSError):
            while data := await reader.read(CHUNK_BYTES):
                if due:
                    fault = due.pop()
                    self.faults += 1
                    if fault.cut:
                        return
                    await asyncio.sleep(fault.hold_s)
                writer.write(data)
                await writer.drain()
