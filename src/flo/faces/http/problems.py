"""Problem documents (RFC 9457): the one shape of every error the HTTP API answers.

`problem_of` maps the error tree; what is not on it is `internal`, and tells the caller nothing of the inside.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import msgspec
from aiohttp import web

from flo.core.contract import ContractViolation
from flo.core.errors import (
    BundleError,
    CorruptLedger,
    FloError,
    InputError,
    Overloaded,
    SignalRejected,
    StorageUnavailable,
    UnavailableError,
    UsageError,
)
from flo.ports.engine import EngineError, EngineRejected, EngineUnavailable, FateUnknown
from flo.ports.service import NotFound

TYPE_PREFIX = "urn:flo:problem:"
"""Types are names, not addresses: they stay the same whatever host answers. The reference lists them."""

MEDIA_TYPE = "application/problem+json"


@dataclass(frozen=True, slots=True)
class Kind:
    """One kind of problem. `help` is for the reference: when it happens and what to do."""

    name: str
    status: int
    title: str
    help: str


KINDS = {
    kind.name: kind
    for kind in (
        Kind("bad-request", 400, "The request is malformed", "Correct what `detail` names."),
        Kind(
            "signal",
            400,
            "Not a signal FLO can take",
            "Send a CloudEvent 1.0 with JSON data; `reason` is a stable code.",
        ),
        Kind("unauthenticated", 401, "A token is needed", "Send `Authorization: Bearer <token>`."),
        Kind("forbidden", 403, "Not allowed", "Use a token with the scope that `detail` names."),
        Kind(
            "not-found",
            404,
            "No such thing",
            "`detail` names what was asked for and, where it can, the nearest there is.",
        ),
        Kind("method", 405, "The method is not allowed here", "The `Allow` header lists those that are."),
        Kind(
            "timeout",
            408,
            "The request took too long to arrive",
            "Send it again, faster or in smaller pieces.",
        ),
        Kind("too-large", 413, "The request is too large", "Send less at once; `detail` names the limit."),
        Kind("media-type", 415, "The content type is not one FLO reads", "`detail` lists those it reads."),
        Kind(
            "host",
            421,
            "Not the host this FLO answers for",
            "Without tokens only loopback names are answered.",
        ),
        Kind(
            "contract",
            422,
            "The data breaks its contract",
            "Correct the data: sending it unchanged never helps.",
        ),
        Kind(
            "bundle",
            422,
            "The bundle has problems",
            "`problems` lists each with file, line and column; nothing was changed.",
        ),
        Kind(
            "overloaded", 429, "FLO is full", "Nothing was taken. Send it again after `Retry-After` seconds."
        ),
        Kind(
            "head-too-large",
            431,
            "The request head is too large",
            "Shorten the address or the header fields.",
        ),
        Kind(
            "internal", 500, "An error inside FLO", "Look into the server's log; report it if it comes again."
        ),
        Kind(
            "ledger",
            500,
            "The ledger is damaged",
            "The server's log names file and block. Stop FLO and follow it.",
        ),
        Kind(
            "engine", 502, "An engine did not do what it was asked", "`detail` says what the engine answered."
        ),
        Kind(
            "unavailable",
            503,
            "FLO cannot serve this now",
            "Send it again after `Retry-After` seconds; repeats count once.",
        ),
        Kind(
            "fate-unknown",
            504,
            "An engine did not answer",
            "It may or may not have been done: look before repeating.",
        ),
    )
}

_MAP: tuple[tuple[type[BaseException], str], ...] = (
    (SignalRejected, "signal"),
    (ContractViolation, "contract"),
    (InputError, "contract"),
    (BundleError, "bundle"),
    (UsageError, "bad-request"),
    (Overloaded, "overloaded"),
    (StorageUnavailable, "unavailable"),
    (UnavailableError, "unavailable"),
    (CorruptLedger, "ledger"),
    (EngineRejected, "engine"),
    (EngineUnavailable, "unavailable"),
    (FateUnknown, "fate-unknown"),
    (EngineError, "engine"),
    (NotFound, "not-found"),
    (FloError, "internal"),
)
_KIND_OF = dict(_MAP)

_encode = msgspec.json.Encoder().encode


@dataclass(frozen=True, slots=True)
class ProblemDocument:
    """One problem, ready to answer. `members` are RFC 9457 extension members."""

    kind: Kind
    detail: str
    headers: Mapping[str, str] = field(default_factory=dict)
    members: Mapping[str, Any] = field(default_factory=dict)
    closes: bool = False  # the connection: what is left of the body is not worth reading

    def as_json(self) -> dict[str, Any]:
        return {
            "type": TYPE_PREFIX + self.kind.name,
            "title": self.kind.title,
            "status": self.kind.status,
            "detail": self.detail,
            **self.members,
        }

    def response(self) -> web.Response:
        response = web.Response(
            status=self.kind.status,
            body=_encode(self.as_json()),
            headers={"Content-Type": MEDIA_TYPE, "Server": "flo", **self.headers},
        )
        if self.closes:
            response.force_close()
        return response


class Refused(Exception):
    """A request this face itself refuses; carries its problem."""

    def __init__(
        self,
        kind: str,
        detail: str,
        headers: Mapping[str, str] | None = None,
        members: Mapping[str, Any] | None = None,
        *,
        closes: bool = False,
    ) -> None:
        super().__init__(detail)
        self.problem = ProblemDocument(KINDS[kind], detail, headers or {}, members or {}, closes)


def kind_of(error: BaseException) -> Kind:
    """The kind of the nearest ancestor of `error` that has one; `internal` where none has."""
    for ancestor in type(error).__mro__:
        if ancestor in _KIND_OF:
            return KINDS[_KIND_OF[ancestor]]
    return KINDS["internal"]


def problem_of(error: BaseException) -> ProblemDocument:
    """The one place where an error becomes an answer."""
    if isinstance(error, Refused):
        return error.problem
    if isinstance(error, web.HTTPException):
        return _problem_of_aiohttp(error)
    kind = kind_of(error)
    if kind.status == 500:
        return ProblemDocument(kind, kind.help)
    headers: dict[str, str] = {}
    members: dict[str, Any] = {}
    retry_after_s = getattr(error, "retry_after_s", None)
    if retry_after_s is not None:
        headers["Retry-After"] = str(max(1, math.ceil(retry_after_s)))
        members["retry_after_s"] = retry_after_s
    if isinstance(error, SignalRejected):
        members["reason"] = error.reason
        return ProblemDocument(kind, error.detail, headers, members)
    if isinstance(error, ContractViolation):
        members["contract"] = error.contract
        members["violations"] = [
            {"path": found.path, "rule": found.rule, "message": found.message} for found in error.violations
        ]
    if isinstance(error, BundleError):
        members["problems"] = [problem_as_json(problem) for problem in error.problems]
        count = len(error.problems)
        detail = f"{count} problem{'s' if count != 1 else ''}; the running bundle is unchanged"
        return ProblemDocument(kind, detail, headers, members)
    return ProblemDocument(kind, _message(error), headers, members)


def problem_as_json(problem: Any) -> dict[str, Any]:
    """A bundle's `Problem` as the API and `flo check --json` print it."""
    return {
        "file": problem.file,
        "line": problem.line,
        "column": problem.column,
        "message": problem.message,
        "hint": problem.hint,
    }


def _message(error: BaseException) -> str:
    """The error's own sentence. A `LookupError` would quote itself like a key."""
    return str(error.args[0]) if len(error.args) == 1 else str(error)


def _problem_of_aiohttp(error: web.HTTPException) -> ProblemDocument:
    if isinstance(error, web.HTTPMethodNotAllowed):
        allowed = ", ".join(sorted(error.allowed_methods))
        return ProblemDocument(
            KINDS["method"], f"{error.method} is not allowed here; use {allowed}", {"Allow": allowed}
        )
    if error.status == 404:
        return ProblemDocument(KINDS["not-found"], "no such route; /openapi.json lists those there are")
    for kind in KINDS.values():
        if kind.status == error.status:
            return ProblemDocument(kind, kind.help)
    return ProblemDocument(
        KINDS["internal" if error.status >= 500 else "bad-request"], "the request could not be read"
    )
