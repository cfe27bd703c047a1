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

from collections.abc import Callable, Iterable, Mapping
from types import MappingProxyType
from typing import ClassVar
from urllib.parse import quote, urlsplit

from yarl import URL

from flo.core.bundle.settings import Setting
from flo.core.command import Command
from flo.core.context import extensions
from flo.core.errors import UsageError
from flo.core.loop.definition import VERBS, EngineDefinition
from flo.core.secret import Secret
from flo.core.signal import encode_signal
from flo.engines.configured import Revealed, settings_of
from flo.engines.http_client import (
    BODY_BYTES_MAX,
    DETAIL_CHARS_MAX,
    NS_PER_S,
    HttpClient,
    Reply,
    idempotency_key,
)
from flo.engines.signature import HEADER, sign
from flo.ports.clock import Clock
from flo.ports.engine import Answer, EngineRejected, KeyClass, OutcomeSink, Status

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
        for name in headers or ():
            if name.lower() in OWN_HEADERS:
                raise UsageError(f"the header {name} is FLO's to set: leave it out of `headers`")
        self._client = HttpClient(
            url,
            clock,
            kind="webhook",
            keeps_connections=honours_key,
            allow_private=allow_private,
            hidden=hidden,
        )
        self._clock = clock
        self._secret = None if secret is None else secret.encode()
        self._headers = dict(headers or {})
        self._paths = paths
        self.key_class = KeyClass.HONOURS_KEY if honours_key else KeyClass.NEITHER

    async def start(self, outcome: OutcomeSink) -> None:
        await self._client.start()

    async def send(self, command: Command, *, timeout_s: float) -> Answer:
        url = self._address(command)
        body = self._body(command)
        headers = {
            **self._headers,
            "Content-Type": "application/cloudevents+json; charset=utf-8",
            "Idempotency-Key": idempotency_key(command.key),
        }
        if self._secret is not None:
            headers[HEADER] = sign(self._secret, body, self._clock.now_ns() // NS_PER_S)
        reply = await self._client.request("POST", url, body=body, headers=headers, timeout_s=timeout_s)
        if 200 <= reply.status < 300:
            return _success(reply)
        raise self._client.error_of(reply)

    async def ask(self, command: Command, *, timeout_s: float) -> Answer:
        raise EngineRejected("a webhook cannot be asked: its receiver tells the end by a signal")

    async def close(self) -> None:
        await self._client.close()

    def _address(self, command: Command) -> URL:
        suffix = command.arguments.get("path")
        if suffix is None or not self._paths:
            return URL(self._client.url, encoded=True)
        text = str(suffix)
        segments = text.lstrip("/").split("/")
        if any(part in ("", ".", "..") or "\\" in part for part in segments):
            raise EngineRejected(f'the path "{text[:80]}" has an empty or a dot segment')
        try:
            added = "/".join(quote(part, safe="") for part in segments)
        except UnicodeEncodeError:
            raise EngineRejected("the path holds half a surrogate pair") from None
        parts = urlsplit(self._client.url)
        path = f"{(parts.path or '/').rstrip('/')}/{added}"
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


def _success(reply: Reply) -> Answer:
    result, detail = reply.json(), ""
    if reply.body is None:
        detail = f"its answer of more than {BODY_BYTES_MAX} bytes, or cut off, was not kept"
    elif result is None:
        detail = reply.text()
    return Answer(
        status=Status.ACCEPTED if reply.status == 202 else Status.SUCCEEDED,
        detail=detail,
        result=result,
        reference=reply.location[:DETAIL_CHARS_MAX] if reply.location else None,
    )


def webhook_from_settings(
    definition: EngineDefinition, reveal: Callable[[Secret], str], clock: Clock
) -> WebhookEngine:
    """The webhook as flo.yaml configures it. Secrets are revealed here, and kept by the engine alone."""
    values, revealed = settings_of(definition, WebhookEngine.settings), Revealed(reveal)
    return WebhookEngine(
        revealed.text(values["url"]),
        clock,
        secret=None if values["secret"] is None else revealed.text(values["secret"]),
        headers=revealed.texts(values["headers"]),
        honours_key=values["honours_key"],
        paths=values["paths"],
        allow_private=values["allow_private"],
        hidden=revealed.hidden,
    )
