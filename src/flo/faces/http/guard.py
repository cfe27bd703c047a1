"""The gate before every handler: who asks, may they, and every error as a problem document."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Mapping

from aiohttp import web
from aiohttp.typedefs import Middleware

from flo.faces.http.problems import Refused, problem_of
from flo.faces.http.state import STATE, State
from flo.faces.http.tokens import TokenTable

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]

LOOPBACK_NAMES = frozenset({"127.0.0.1", "localhost", "[::1]", "::1"})

_log = logging.getLogger("flo.http")


def gate(
    scopes: Mapping[Handler, str | None],
) -> Middleware:
    """The one middleware, for each costs microseconds. `scopes`: what a handler asks of a token."""

    @web.middleware
    async def guard(request: web.Request, handler: Handler) -> web.StreamResponse:
        state = request.app[STATE]
        try:
            scope = scopes.get(request.match_info.handler)
            if state.tokens is None:
                check_local(request)
            elif scope is not None:
                check_token(request, state.tokens, scope)
            response = await handler(request)
        except Exception as error:
            response = _problem(request, error)
        _count(state, request, response.status)
        return response

    return guard


def check_local(request: web.Request) -> None:
    """Without tokens only programs on this machine may ask, and no web page through a browser on it.

    A page whose name was rebound to 127.0.0.1 shows its own name in `Host`; a page elsewhere shows itself in
    `Origin`.
    """
    host = request.headers.get("Host", "")
    if _name(host) not in LOOPBACK_NAMES:
        raise Refused(
            "host", "without tokens FLO answers to localhost, 127.0.0.1 and [::1] only; see --tokens"
        )
    origin = request.headers.get("Origin")
    if origin is not None and _name(origin.partition("://")[2]) not in LOOPBACK_NAMES:
        raise Refused("forbidden", "a page of another site may not call this FLO")


def _name(host: str) -> str:
    """The name of a Host header, without its port."""
    if host.startswith("["):
        return host.partition("]")[0].lower() + "]"
    return host.partition(":")[0].lower()


def check_token(request: web.Request, tokens: TokenTable, scope: str) -> None:
    """A known token with the scope, or a problem that says which is missing and never what was sent."""
    header = request.headers.get("Authorization", "")
    scheme, _, presented = header.partition(" ")
    if scheme.lower() != "bearer" or not presented.strip():
        raise Refused(
            "unauthenticated",
            "send `Authorization: Bearer <token>`",
            {"WWW-Authenticate": 'Bearer realm="flo"'},
        )
    token = tokens.find(presented.strip())
    if token is None:
        raise Refused(
            "unauthenticated",
            "this token is not known here",
            {"WWW-Authenticate": 'Bearer realm="flo", error="invalid_token"'},
        )
    if scope not in token.scopes:
        challenge = f'Bearer realm="flo", error="insufficient_scope", scope="{scope}"'
        raise Refused(
            "forbidden", f"token {token.name!r} lacks the scope `{scope}`", {"WWW-Authenticate": challenge}
        )


def _problem(request: web.Request, error: Exception) -> web.Response:
    problem = problem_of(error)
    if problem.kind.status == 500:
        _log.error("%s %s failed", request.method, request.path, exc_info=error)
    return problem.response()


def _count(state: State, request: web.Request, status: int) -> None:
    resource = request.match_info.route.resource
    path = resource.canonical if resource is not None else "none"
    method = request.method if resource is not None else "any"  # a caller's own words never become labels
    state.requests[(method, path, status)] += 1
