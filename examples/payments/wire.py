"""A lean HTTP/1.1 client for driving load: kept-alive connections, one request at a time on each.

It knows what FLO's API answers (a status, headers, a body of stated length) and no more: about 40 µs of CPU
a request, so that on two cores the driver does not take from FLO what it measures.
"""

from __future__ import annotations

import asyncio
from collections import deque
from functools import partial
from typing import cast
from urllib.parse import urlsplit

SIZE_BYTES_MAX = 64 << 20


class Answer:
    __slots__ = ("body", "head", "status")

    def __init__(self, status: int, head: bytes, body: bytes) -> None:
        self.status = status
        self.head = head
        self.body = body

    def header(self, name: str) -> str | None:
        """A header's value; names compare without case."""
        wanted = name.lower().encode()
        for line in self.head.split(b"\r\n")[1:]:
            key, _, value = line.partition(b":")
            if key.strip().lower() == wanted:
                return value.strip().decode("latin-1")
        return None


class _Connection(asyncio.Protocol):
    """One connection. `waiting` is the future of the request under way."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool
        self._buffer = b""
        self._need = 0  # bytes of head and body together, once the head is there
        self._head_end = 0
        self._transport: asyncio.Transport | None = None
        self.waiting: asyncio.Future[Answer] | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)  # uvloop's is one by its methods alone

    def send(self, request: bytes, waiting: asyncio.Future[Answer]) -> None:
        assert self._transport is not None
        self.waiting = waiting
        self._transport.write(request)

    @property
    def usable(self) -> bool:
        return self._transport is not None and not self._transport.is_closing()

    def close(self) -> None:
        if self._transport is not None:
            self._transport.close()

    def data_received(self, data: bytes) -> None:
        self._buffer = self._buffer + data if self._buffer else data
        if not self._need:
            end = self._buffer.find(b"\r\n\r\n")
            if end < 0:
                return
            length = Answer(0, self._buffer[:end], b"").header("content-length")
            if length is None or not length.isdecimal() or int(length) > SIZE_BYTES_MAX:
                self._fail(f"an answer without a usable Content-Length: {self._buffer[:end][:200]!r}")
                return
            self._head_end, self._need = end, end + 4 + int(length)
        if len(self._buffer) < self._need:
            return
        head, body = self._buffer[: self._head_end], self._buffer[self._head_end + 4 : self._need]
        self._buffer, self._need = self._buffer[self._need :], 0
        waiting, self.waiting = self.waiting, None
        if waiting is not None and not waiting.done():
            waiting.set_result(Answer(int(head[9:12]), head, body))
        if b"close" in head and Answer(0, head, b"").header("connection") == "close":
            self.close()
        else:
            self._pool.free(self)

    def connection_lost(self, error: Exception | None) -> None:
        self._transport = None
        self._fail(f"the connection closed: {error or 'by the server'}")
        self._pool.lost(self)

    def _fail(self, message: str) -> None:
        waiting, self.waiting = self.waiting, None
        if waiting is not None and not waiting.done():
            waiting.set_exception(ConnectionError(message))
        self.close()


class Pool:
    """Connections to one server. Requests beyond their number wait their turn, in order."""

    def __init__(self, url: str, connections: int = 32, token: str | None = None) -> None:
        parts = urlsplit(url)
        if parts.scheme != "http" or not parts.hostname:
            raise ValueError(f'"{url}" is no http://host:port')
        self._host, self._port = parts.hostname, parts.port or 80
        self._most = connections
        self._open = 0
        self._idle: deque[_Connection] = deque()
        self._queue: deque[asyncio.Future[_Connection]] = deque()
        self._prefix = parts.path.rstrip("/")
        authorization = f"Authorization: Bearer {token}\r\n" if token else ""
        self._common = f"Host: {parts.netloc}\r\n{authorization}"

    async def get(self, path: str, *, timeout_s: float = 30.0) -> Answer:
        head = f"GET {self._prefix}{path} HTTP/1.1\r\n{self._common}\r\n"
        return await self._request(head.encode(), timeout_s)

    async def post(self, path: str, body: bytes, media: str, *, timeout_s: float = 30.0) -> Answer:
        """`ConnectionError` where the answer was lost; a repeat of the same event is a duplicate to FLO."""
        head = (
            f"POST {self._prefix}{path} HTTP/1.1\r\n{self._common}"
            f"Content-Type: {media}\r\nContent-Length: {len(body)}\r\n\r\n"
        )
        return await self._request(head.encode() + body, timeout_s)

    async def close(self) -> None:
        while self._idle:
            self._idle.popleft().close()

    async def _request(self, request: bytes, timeout_s: float) -> Answer:
        connection = await self._take()
        waiting: asyncio.Future[Answer] = asyncio.get_running_loop().create_future()
        connection.send(request, waiting)
        guard = asyncio.get_running_loop().call_later(timeout_s, connection.close)
        try:
            return await waiting
        except asyncio.CancelledError:
            connection.close()  # its answer would be taken for the next request's
            raise
        finally:
            guard.cancel()

    async def _take(self) -> _Connection:
        while self._idle:
            connection = self._idle.pop()
            if connection.usable:
                return connection
        if self._open < self._most:
            return await self._connect()
        turn: asyncio.Future[_Connection] = asyncio.get_running_loop().create_future()
        self._queue.append(turn)
        return await turn

    async def _connect(self) -> _Connection:
        self._open += 1
        try:
            loop = asyncio.get_running_loop()
            _, connection = await loop.create_connection(lambda: _Connection(self), self._host, self._port)
        except OSError:
            self._open -= 1
            raise
        return connection

    def free(self, connection: _Connection) -> None:
        while self._queue:
            turn = self._queue.popleft()
            if not turn.done():
                turn.set_result(connection)
                return
        self._idle.append(connection)

    def lost(self, connection: _Connection) -> None:
        """A closed connection's place goes to whoever waits next, with a new one."""
        self._open -= 1
        if connection in self._idle:
            self._idle.remove(connection)
        while self._queue:
            turn = self._queue.popleft()
            if not turn.done():
                task = asyncio.ensure_future(self._connect())
                task.add_done_callback(partial(_hand_over, turn))
                return


def _hand_over(turn: asyncio.Future[_Connection], done: asyncio.Future[_Connection]) -> None:
    error = asyncio.CancelledError() if done.cancelled() else done.exception()
    if turn.done():
        if error is None:
            done.result().close()
    elif error is None:
        turn.set_result(done.result())
    else:
        turn.set_exception(error)
