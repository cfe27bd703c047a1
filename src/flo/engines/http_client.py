"""HTTP to one host of flo.yaml: what engines that speak HTTP share.

Where requests go is decided by flo.yaml alone: no argument can change scheme, host or port, private addresses are
refused unless allowed, redirects are not followed; see `address_guard`. What an exchange that broke means: before the
head of the request went out nothing was done (`EngineUnavailable`), after that its fate is unknown (`FateUnknown`).
Secrets become stars wherever the other side says them back.
"""

from __future__ import annotations

import asyncio
import email.utils
import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any
from urllib.parse import quote, urlsplit

import aiohttp
import msgspec
from yarl import URL

from flo.core.errors import UsageError
from flo.engines.address_guard import AddressGuard, AddressRefused
from flo.ports.clock import Clock
from flo.ports.engine import EngineError, EngineRejected, EngineUnavailable, FateUnknown

NS_PER_S = 1_000_000_000

BODY_BYTES_MAX = 64 * 1024
"""Of an answer. It is recorded with the outcome; a receiver with more to say sends a signal."""

DETAIL_CHARS_MAX = 500
KEY_CHARS_MAX = 255
"""Longer keys are cut off or refused by common gateways (and by PagerDuty); such keys travel as their SHA-256."""

STARS = "***"
HIDDEN_CHARS_MIN = 4
"""Shorter secrets are no secrets, and hiding them would star every answer."""

UNAVAILABLE_STATUSES = frozenset({408, 425, 429, 503})


@dataclass(frozen=True, slots=True)
class Reply:
    """What was answered, secrets starred. `body` is None where it was larger than `BODY_BYTES_MAX`, or cut off: the
    status was received all the same, and is what counts.
    """

    status: int
    reason: str
    body: bytes | None
    location: str | None
    retry_after: str

    def text(self) -> str:
        return (self.body or b"").decode("utf-8", "replace")[:DETAIL_CHARS_MAX].strip()

    def json(self) -> Any:
        """The body decoded; None where it is not JSON."""
        try:
            return msgspec.json.decode(self.body or b"")
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            return None


class HttpClient:
    """See the module. `start` before the first request, `close` after the last."""

    def __init__(
        self,
        url: str,
        clock: Clock,
        *,
        kind: str,
        keeps_connections: bool,
        allow_private: bool = False,
        hidden: Iterable[str] = (),
    ) -> None:
        """`keeps_connections`: only where a repeat does no harm, since a kept connection that the other side has just
        closed cannot be told from a request it took and did not answer.

        Raises `UsageError` for a URL that no request may go to.
        """
        parts = urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.hostname or parts.fragment:
            raise UsageError(
                f"the url of a {kind} starts with http:// or https://, names a host and has no #fragment"
            )
        self.url = url
        self.host = URL(url, encoded=True).raw_host or parts.hostname
        self._guard = AddressGuard(self.host, allow_private=allow_private)
        self._clock = clock
        self._keeps_connections = keeps_connections
        self._hidden = [value for value in hidden if len(value) >= HIDDEN_CHARS_MIN]
        self._session: aiohttp.ClientSession | None = None

    async def start(self) -> None:
        connector = (
            aiohttp.TCPConnector(resolver=self._guard, use_dns_cache=False, limit=0, keepalive_timeout=15.0)
            if self._keeps_connections
            else aiohttp.TCPConnector(resolver=self._guard, use_dns_cache=False, limit=0, force_close=True)
        )
        tracing = aiohttp.TraceConfig()
        tracing.on_request_headers_sent.append(_note_sent)
        self._session = aiohttp.ClientSession(
            connector=connector,
            cookie_jar=aiohttp.DummyCookieJar(),
            trace_configs=[tracing],
            headers={"User-Agent": "flo", "Accept": "application/json"},
            trust_env=False,
        )

    async def close(self) -> None:
        if self._session is not None:
            await self._session.close()
            self._session = None
            # TLS connections close on the next turn of the event loop.
            await asyncio.sleep(0)

    async def request(
        self,
        method: str,
        url: URL,
        *,
        timeout_s: float,
        body: bytes | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> Reply:
        """One request. Raises `EngineError`s where no answer came; what a status means is the engine's to say."""
        if self._session is None:
            raise EngineUnavailable("the engine is not started", reached=False)
        progress = SimpleNamespace(sent=False)
        try:
            async with self._session.request(
                method,
                url,
                data=body,
                headers=headers,
                allow_redirects=False,
                timeout=aiohttp.ClientTimeout(total=timeout_s),
                trace_request_ctx=progress,
            ) as response:
                return self._hide(response, await _read_up_to(response, BODY_BYTES_MAX))
        except (TimeoutError, aiohttp.ClientError, OSError, ValueError) as error:
            raise self._failure(error, progress.sent, timeout_s) from None

    def error_of(self, reply: Reply) -> EngineError:
        """What an answer that is no success means, unless the engine knows better."""
        detail = f"{self.host} answered {reply.status} {reply.reason}".rstrip()
        if reply.status in UNAVAILABLE_STATUSES:
            return EngineUnavailable(detail, self._retry_after_s(reply.retry_after))
        if 300 <= reply.status < 400:
            return EngineRejected(f"{detail}: redirects are not followed, write the final URL into flo.yaml")
        if reply.status >= 500 and reply.status != 501:
            return FateUnknown(f"{detail}: it may have done the command or a part of it")
        text = reply.text()
        return EngineRejected(f"{detail}: {text}" if text else detail)

    def _hide(self, response: aiohttp.ClientResponse, body: bytes | None) -> Reply:
        """A receiver that echoes its request must not write secrets into the ledger."""
        location, reason = response.headers.get("Location"), response.reason or ""
        for secret in self._hidden:
            body = None if body is None else body.replace(secret.encode(), STARS.encode())
            location = None if location is None else location.replace(secret, STARS)
            reason = reason.replace(secret, STARS)
        retry_after = response.headers.get("Retry-After", "").strip()
        return Reply(response.status, reason, body, location, retry_after)

    def _retry_after_s(self, text: str) -> float | None:
        """`Retry-After` as seconds from now: a number, or a date (RFC 9110, 10.2.3). An unreadable one is
        none.
        """
        if text.isascii() and text.isdecimal() and len(text) < 10:
            return float(text)
        try:
            when_s = email.utils.parsedate_to_datetime(text).timestamp()
        except (ValueError, OverflowError):
            return None
        return max(0.0, when_s - self._clock.now_ns() / NS_PER_S)

    def _failure(self, error: Exception, sent: bool, timeout_s: float) -> EngineError:
        """What a broken exchange means. Before the head of the request went out, nothing was done."""
        if isinstance(error, aiohttp.ClientConnectorError) and isinstance(error.os_error, AddressRefused):
            return EngineRejected(str(error.os_error))
        if isinstance(error, TimeoutError):
            what = f"no answer from {self.host} within {timeout_s:g} s"
        else:
            what = f"{self.host}: {type(error).__name__}: {error}"
        if sent:
            return FateUnknown(f"{what}, after the request went out")
        return EngineUnavailable(what, reached=False)


async def _read_up_to(response: aiohttp.ClientResponse, size_bytes_max: int) -> bytes | None:
    """The body; None where it is larger or ends early."""
    body = bytearray()
    try:
        async for chunk in response.content.iter_any():
            body += chunk
            if len(body) > size_bytes_max:
                response.close()
                return None
    except (TimeoutError, aiohttp.ClientError, OSError):
        return None
    return bytes(body)


async def _note_sent(
    session: aiohttp.ClientSession, context: SimpleNamespace, params: aiohttp.TraceRequestHeadersSentParams
) -> None:
    context.trace_request_ctx.sent = True


def idempotency_key(key: str) -> str:
    """A command's key as a header and most APIs can carry it: what is not plain ASCII percent-encoded, a long one as its
    SHA-256.
    """
    text = quote(key, safe="/:@!$&'()*+,;=~", errors="surrogatepass")
    if len(text) <= KEY_CHARS_MAX:
        return text
    return f"sha256:{hashlib.sha256(key.encode('utf-8', 'surrogatepass')).hexdigest()}"
