"""One worker process of the python engine, seen from FLO: start it, call it, end it with all it started."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import socket
import sys
from pathlib import Path
from typing import Any

import msgspec

from flo.engines.python_worker import FRAME, RESULT_BYTES_MAX

WORKER_FILE = Path(__file__).with_name("python_worker.py")

FRAME_BYTES_MAX = RESULT_BYTES_MAX + 65_536
"""A result, and what is said around it. A longer frame is not one of ours."""


class WorkerDied(Exception):
    """The process ended in the middle of a call. The message says how."""


class WorkerProcess:
    """A Python process that runs one function at a time. Not started again: a dead one is replaced."""

    def __init__(
        self,
        process: asyncio.subprocess.Process,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        lifeline: int,
    ) -> None:
        self._process = process
        self._reader = reader
        self._writer = writer
        self._lifeline = lifeline
        self._exited = asyncio.ensure_future(process.wait())
        self._killed = False

    @property
    def pid(self) -> int:
        return self._process.pid

    def alive(self) -> bool:
        return not self._killed and not self._exited.done()

    async def call(self, request: dict[str, Any]) -> dict[str, Any]:
        """Send one request and wait for its answer; `WorkerDied` where the process ends first."""
        answer = asyncio.ensure_future(self._exchange(msgspec.json.encode(request)))
        try:
            await asyncio.wait((answer, self._exited), return_when=asyncio.FIRST_COMPLETED)
            if not answer.done():
                # The answer may have been written just before the end, and still be on its way.
                await asyncio.wait((answer,), timeout=0.1)
            if not answer.done() or answer.exception() is not None:
                # A process that closed its line is ending: how it ends by itself says more than our kill.
                await asyncio.wait((self._exited,), timeout=0.5)
                self.kill()
                raise WorkerDied(_describe_end(await self._exited))
            return answer.result()
        finally:
            answer.cancel()

    async def _exchange(self, request: bytes) -> dict[str, Any]:
        self._writer.write(FRAME.pack(len(request)) + request)
        await self._writer.drain()
        size_bytes = FRAME.unpack(await self._reader.readexactly(FRAME.size))[0]
        if size_bytes > FRAME_BYTES_MAX:
            raise ConnectionError(f"a frame of {size_bytes} bytes")
        return msgspec.json.decode(await self._reader.readexactly(size_bytes), type=dict[str, Any])

    def kill(self) -> None:
        """End the process and its group at once. It leads a session of its own, so nobody else is in that
        group.
        """
        if self._killed:
            return
        self._killed = True
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)
        self._writer.close()
        os.close(self._lifeline)

    async def ended(self) -> None:
        """Kill it, and wait until the operating system has let it go."""
        self.kill()
        await self._exited
        with contextlib.suppress(ConnectionError):
            await self._writer.wait_closed()


async def start_worker(functions: Path, journal: Path | None) -> WorkerProcess:
    """A new worker for the functions in this file. `OSError` where the machine has no room for a process."""
    ours, theirs = socket.socketpair()
    lifeline_read, lifeline_write = os.pipe()
    try:
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-P",
            str(WORKER_FILE),
            str(theirs.fileno()),
            str(lifeline_read),
            str(functions),
            str(journal or ""),
            stdin=asyncio.subprocess.DEVNULL,
            pass_fds=(theirs.fileno(), lifeline_read),
            start_new_session=True,
        )
    except BaseException:
        ours.close()
        os.close(lifeline_write)
        raise
    finally:
        theirs.close()
        os.close(lifeline_read)
    reader, writer = await asyncio.open_connection(sock=ours)
    return WorkerProcess(process, reader, writer, lifeline_write)


def _describe_end(returncode: int) -> str:
    if returncode >= 0:
        return f"its process exited with code {returncode}"
    try:
        name = signal.Signals(-returncode).name
    except ValueError:
        name = str(-returncode)
    return f"its process was ended by {name}"
