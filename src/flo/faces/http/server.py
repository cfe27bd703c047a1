"""Listening: the socket, the connections' own bounds, and where FLO may listen at all."""

from __future__ import annotations

import asyncio
import errno
import ipaddress
import socket
from typing import Any

from aiohttp import web
from aiohttp.http_exceptions import ContentEncodingError, LineTooLong
from aiohttp.web_protocol import RequestPayloadError

from flo.core.errors import UsageError
from flo.faces.http.body import READS_ENCODINGS
from flo.faces.http.limits import Limits
from flo.faces.http.problems import KINDS, ProblemDocument
from flo.faces.http.state import STATE
from flo.faces.http.tokens import TokenTable

SHUTDOWN_TIMEOUT_S = 10.0
"""Requests under way get this long to end when the server stops."""

BACKLOG = 1024


class Connection(web.RequestHandler):
    """aiohttp's connection, but what is not HTTP at all is answered with a problem document too."""

    def handle_error(
        self,
        request: web.BaseRequest,
        status: int = 500,
        exc: BaseException | None = None,
        message: str | None = None,
    ) -> web.StreamResponse:
        """What cannot be parsed (400), or an answer that cannot be sent (500). Closes the connection."""
        if isinstance(exc, ContentEncodingError):
            problem = ProblemDocument(KINDS["media-type"], READS_ENCODINGS, {"Accept-Encoding": "gzip"})
        elif status >= 500:
            self.log_exception("an answer failed", exc_info=exc)
            problem = ProblemDocument(KINDS["internal"], KINDS["internal"].help)
        elif isinstance(exc, LineTooLong):
            problem = ProblemDocument(KINDS["head-too-large"], KINDS["head-too-large"].help)
        else:
            problem = ProblemDocument(KINDS["bad-request"], "not a well-formed HTTP request")
        response = problem.response()
        response.force_close()
        return response

    def log_exception(self, *args: Any, **kw: Any) -> None:
        """A body that broke off or does not inflate is its sender's affair: no line in the log for each."""
        if not isinstance(kw.get("exc_info"), RequestPayloadError):
            super().log_exception(*args, **kw)


class _Site(web.TCPSite):
    """A listening socket whose connections are `Connection`s."""

    def __init__(self, runner: web.AppRunner, listening: socket.socket, limits: Limits) -> None:
        super().__init__(runner)
        self._listening = listening
        self._limits = limits

    async def start(self) -> None:
        await web.BaseSite.start(self)
        loop = asyncio.get_running_loop()
        server = self._runner.server
        assert isinstance(server, web.Server)
        limits = self._limits

        def connection() -> Connection:
            return Connection(
                server,
                loop=loop,
                access_log=None,  # type: ignore[arg-type]  # off: a line a request is half its cost
                keepalive_timeout=limits.head_timeout_s,
                lingering_time=1.0,
                max_line_size=limits.line_bytes_max,
                max_field_size=limits.header_bytes_max,
                max_headers=limits.headers_max,
            )

        self._server = await loop.create_server(connection, sock=self._listening, backlog=BACKLOG)


async def serve(app: web.Application, host: str, port: int) -> tuple[web.AppRunner, int]:
    """Listen; (runner, actual port). Port 0 takes a free one.

    `await runner.cleanup()` stops taking connections, ends the streams, and gives requests under way
    `SHUTDOWN_TIMEOUT_S` to end. Raises `UsageError` where the address cannot be had.
    """
    listening = _listen(host, port)
    runner = web.AppRunner(app, handle_signals=False, access_log=None, shutdown_timeout=SHUTDOWN_TIMEOUT_S)
    try:
        await runner.setup()
        await _Site(runner, listening, app[STATE].limits).start()
    except BaseException:
        listening.close()
        raise
    return runner, listening.getsockname()[1]


def _listen(host: str, port: int) -> socket.socket:
    try:
        family, _, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        listening = socket.socket(family, socket.SOCK_STREAM)
    except OSError as error:
        raise UsageError(f"--host {host}: {error.strerror or error}") from None
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listening.bind(address)
    except (OSError, OverflowError) as error:
        listening.close()
        if isinstance(error, OSError) and error.errno == errno.EADDRINUSE:
            raise UsageError(
                f"port {port} is taken: stop what listens there, or choose another with --port"
            ) from None
        raise UsageError(f"cannot listen on {host} port {port}: {error}") from None
    listening.setblocking(False)
    return listening


def check_bind(host: str, tokens: TokenTable | None) -> None:
    """Refuse to be reachable from other machines without tokens: anyone there could command your engines."""
    if tokens is None and not is_loopback(host):
        raise UsageError(
            f"--host {host} is reachable from other machines, and no tokens are set: give --tokens FILE "
            "(or FLO_TOKENS), or listen on 127.0.0.1"
        )


def is_loopback(host: str) -> bool:
    """Whether only this machine can reach `host`. Names other than localhost are taken as reachable."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
