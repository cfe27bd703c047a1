"""Engine `webhook`: POSTs a command to a URL of flo.yaml as a CloudEvent, signed.

The body is a CloudEvent of type `flo.command.<verb>` whose `id` is the command's key, with FLO's context
attributes (a receiver that sends a signal back copies them) and `data: {verb, arguments, target, key, loop,
loop_key, seq, rule, decision_id}`. Headers: `Idempotency-Key`, and where the engine has a `secret`,
`FLO-Signature` (see `signature`).

    2xx  succeeded, with the JSON it answered      4xx  rejected, never sent again
    202  accepted: a signal will tell the end      408, 425, 429, 503  unavailable, sent again after
    Retry-After 3xx  rejected: redirects are not followed      other 5xx, cut or silent after the request: its
    fate is unknown

The promise is the receiver's (`honours_key`): with `true` a request whose fate is unknown is sent again with
the same key, with `false`, the default, it is parked for a person. In that case no connection is used twice
either: a kept connection that the receiver has just closed cannot be told from a request it took and did not
answer.

Where requests go is decided by flo.yaml alone: no argument can change scheme, host or port; see
`address_guard`.
"""

from __future__ import annotations

import asyncio
import email.utils
import hashlib
from collections.abc import Callable, Iterable, Mapping
from types import MappingProxyType, SimpleNamespace
from typing import Any, ClassVar
from urllib.parse import quote, urlsplit

import aiohttp
import msgspec
from multidict import CIMultiDictProxy
from yarl import URL

from flo.core.bundle.settings import Setting
from flo.core.command import Command
from flo.core.context import extensions
from flo.core.errors import UsageError
from flo.core.loop.definition import VERBS, EngineDefinition
from flo.core.secret import Secret
from flo.core.signal import encode_signal
from flo.engines.address_guard import AddressGuard, AddressRefused
from flo.engines.signature import HEADER, sign
from flo.ports.clock import Clock
from flo.ports.engine import (
    Answer,
    EngineError,
    EngineRejected,
    EngineUnavailable,
    FateUnknown,
    KeyClass,
    OutcomeSink,
    Status,
)

NS_PER_S = 1_000_000_000

BODY_BYTES_MAX = 64 * 1024
"""Of an answer. It is recorded with the outcome; a receiver with more to say sends a signal."""

DETAIL_CHARS_MAX = 500
KEY_HEADER_CHARS_MAX = 255
"""Longer `Idempotency-Key` values are cut off or refused by common gateways; such keys travel as their
SHA-256.
"""

STARS = "***"
HIDDEN_CHARS_MIN = 4
"""Shorter secrets are no secrets, and hiding them would star every answer."""

OWN_HEADERS = frozenset(
    {
        "content-type",
        "content-length",
        "host",
        "idempotency-key",
        "flo-signature",
        "transfer-encoding",
        "connection",
    }
)
UNAVAILABLE_STATUSES = frozenset({408, 425, 429, 503})


class WebhookEngine:
    """See the module."""

    kind: ClassVar[str] = "webhook"
    verbs: ClassVar[frozenset[str]] = frozenset(VERBS) - {"emit"}
    settings: ClassVar[Mapping[str, Setting]] = MappingProxyType(
        {
            "url": Setting("url", required=True, help="where commands are POSTed to"),
            "secret": Setting("secret", help="the key of the FLO-Signature header"),
            "headers": Setting("map", help="further headers; values may be ${env:...} or ${file:...}"),
            "honours_key": Setting(
                "bool", default=False, help="the receiver does nothing twice for one Idempotency-Key"
            ),
            "paths": Setting(
                "bool",
                default=False,
                help="commands may add `path:` to the URL's path (never change its host)",
            ),
            "allow_private": Setting(
                "bool",
                default=False,
                help="the host may resolve to private, loopback and link-local addresses",
            ),
        }
    )

    def __init__(
        self,
        url: str,
        clock: Clock,
        *,
        secret: str | None = None,
        headers: Mapping[str, str] | None = None,
        honours_key: bool = False,
        paths: bool = False,
        allow_private: bool = False,
        hidden: Iterable[str] = (),
    ) -> None:
        """Values are revealed ones; those in `hidden` become stars wherever the receiver says them back.

        Raises `UsageError` for a URL that no request may go to.
        """
        parts = urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.hostname or parts.fragment:
            raise UsageError(
                "the url of a webhook starts with http:// or https://, names a host and has no #fragment"
            )
        for name in headers or ():
            if name.lower() in OWN_HEADERS:
                raise UsageError(f"the header {name} is FLO's to set: leave it out of `headers`")
        self._url = url
        self._path = parts.path or "/"
        self._host = URL(url, encoded=True).raw_host or parts.hostname
        self._guard = AddressGuard(self._host, allow_private=allow_private)
        self._clock = clock
        self._secret = None if secret is None else secret.encode()
        self._headers = dict(headers or {})
        self._paths = paths
        self._hidden = [value for value in hidden if len(value) >= HIDDEN_CHARS_MIN]
        self.key_class = KeyClass.HONOURS_KEY if honours_key else KeyClass.NEITHER
        self._session: aiohttp.ClientSession | None = None

    async def start(self, outcome: OutcomeSink) -> None:
        keeps = self.key_class is KeyClass.HONOURS_KEY
        connector = (
            aiohttp.TCPConnector(resolver=self._guard, use_dns_cache=False, limit=0, keepalive_timeout=15.0)
            if keeps
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

    async def send(self, command: Command, *, timeout_s: float) -> Answer:
        if self._session is None:
            raise EngineUnavailable("the engine is not started", reached=False)
        url = self._address(command)
        body = self._body(command)
        headers = {
            **self._headers,
            "Content-Type": "application/cloudevents+json; charset=utf-8",
            "Idempotency-Key": idempotency_key(command.key),
        }
        if self._secret is not None:
            headers[HEADER] = sign(self._secret, body, self._clock.now_ns() // NS_PER_S)
        progress = SimpleNamespace(sent=False)
        try:
            async with self._session.post(
                url,
                data=body,
                headers=headers,
                allow_redirects=False,
                timeout=aiohttp.ClientTimeout(total=timeout_s),
                trace_request_ctx=progress,
            ) as response:
                return await self._answer(response)
        except (TimeoutError, aiohttp.ClientError, OSError, ValueError) as error:
            raise self._failure(error, progress.sent, timeout_s) from None

    async def ask(self, command: Command, *, timeout_s: float) -> Answer:
        raise EngineRejected("a webhook cannot be asked: its receiver tells the end by a signal")

    async def close(self) -> None:
        if self._session is not None:
            await self._session.close()
            self._session = None
            # TLS connections close on the next turn of the event loop.
            await asyncio.sleep(0)

    def _address(self, command: Command) -> URL:
        suffix = command.arguments.get("path")
        if suffix is None or not self._paths:
            return URL(self._url, encoded=True)
        text = str(suffix)
        segments = text.lstrip("/").split("/")
        if any(part in ("", ".", "..") or "\\" in part for part in segments):
            raise EngineRejected(f'the path "{text[:80]}" has an empty or a dot segment')
        try:
            added = "/".join(quote(part, safe="") for part in segments)
        except UnicodeEncodeError:
            raise EngineRejected("the path holds half a surrogate pair") from None
        parts = urlsplit(self._url)
        path = f"{self._path.rstrip('/')}/{added}"
        return URL(parts._replace(path=path).geturl(), encoded=True)

    def _body(self, command: Command) -> bytes:
        arguments = {
            name: value for name, value in command.arguments.items() if not (self._paths and name == "path")
        }
        data = {
            "verb": command.verb,
            "arguments": arguments,
            "target": command.target,
            "key": command.key,
            "loop": command.loop,
            "loop_key": command.loop_key,
            "seq": command.seq,
            "rule": command.rule,
            "decision_id": command.decision_id,
        }
        try:
            return encode_signal(
                id=command.key,
                source=f"flo/{command.loop}",
                type=f"flo.command.{command.verb}",
                time_ns=command.issued_ns,
                data=data,
                extensions=extensions(command),
            )
        except (TypeError, ValueError) as error:
            raise EngineRejected(f"the command's arguments are not JSON: {error}") from None

    async def _answer(self, response: aiohttp.ClientResponse) -> Answer:
        status = response.status
        body = await _read_up_to(response, BODY_BYTES_MAX)
        location, reason = response.headers.get("Location"), response.reason or ""
        for (
            secret
        ) in self._hidden:  # a receiver that echoes its request must not write secrets into the ledger
            body = None if body is None else body.replace(secret.encode(), STARS.encode())
            location = None if location is None else location.replace(secret, STARS)
            reason = reason.replace(secret, STARS)
        if 200 <= status < 300:
            return _success(status, body, location)
        detail = f"{self._host} answered {status} {reason}".rstrip()
        if status in UNAVAILABLE_STATUSES:
            raise EngineUnavailable(detail, self._retry_after_s(response.headers))
        if 300 <= status < 400:
            raise EngineRejected(f"{detail}: redirects are not followed, write the final URL into flo.yaml")
        if status >= 500 and status != 501:
            raise FateUnknown(f"{detail}: it may have done the command or a part of it")
        text = (body or b"").decode("utf-8", "replace")[:DETAIL_CHARS_MAX].strip()
        raise EngineRejected(f"{detail}: {text}" if text else detail)

    def _retry_after_s(self, headers: CIMultiDictProxy[str]) -> float | None:
        """`Retry-After` as seconds from now: a number, or a date (RFC 9110, 10.2.3). An unreadable one is
        none.
        """
        text = headers.get("Retry-After", "").strip()
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
            what = f"no answer from {self._host} within {timeout_s:g} s"
        else:
            what = f"{self._host}: {type(error).__name__}: {error}"
        if sent:
            return FateUnknown(f"{what}, after the request went out")
        return EngineUnavailable(what, reached=False)


def _success(status: int, body: bytes | None, location: str | None) -> Answer:
    result, detail = None, ""
    if body is None:
        detail = f"its answer of more than {BODY_BYTES_MAX} bytes, or cut off, was not kept"
    elif body:
        try:
            result = msgspec.json.decode(body)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            detail = body.decode("utf-8", "replace")[:DETAIL_CHARS_MAX]
    return Answer(
        status=Status.ACCEPTED if status == 202 else Status.SUCCEEDED,
        detail=detail,
        result=result,
        reference=location[:DETAIL_CHARS_MAX] if location else None,
    )


async def _read_up_to(response: aiohttp.ClientResponse, size_bytes_max: int) -> bytes | None:
    """The body; None where it is larger or ends early. The status was received all the same, and is what
    counts.
    """
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
    """A command's key as a header can carry it: what is not plain ASCII percent-encoded, a long one as its
    SHA-256.
    """
    text = quote(key, safe="/:@!$&'()*+,;=~", errors="surrogatepass")
    if len(text) <= KEY_HEADER_CHARS_MAX:
        return text
    return f"sha256:{hashlib.sha256(key.encode('utf-8', 'surrogatepass')).hexdigest()}"


def webhook_from_settings(
    definition: EngineDefinition, reveal: Callable[[Secret], str], clock: Clock
) -> WebhookEngine:
    """The webhook as flo.yaml configures it. Secrets are revealed here, and kept by the engine alone."""
    values = {
        name: definition.settings.get(name, setting.default_value())
        for name, setting in WebhookEngine.settings.items()
    }

    hidden: list[str] = []

    def shown(value: Any) -> str:
        if not isinstance(value, Secret):
            return str(value)
        hidden.append(reveal(value))
        return hidden[-1]

    return WebhookEngine(
        shown(values["url"]),
        clock,
        secret=None if values["secret"] is None else shown(values["secret"]),
        headers={name: shown(value) for name, value in (values["headers"] or {}).items()},
        honours_key=values["honours_key"],
        paths=values["paths"],
        allow_private=values["allow_private"],
        hidden=hidden,
    )
