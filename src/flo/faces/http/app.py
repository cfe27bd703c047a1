"""The application: routes, gate and limits around one service."""

from __future__ import annotations

import msgspec
from aiohttp import web

from flo import __version__
from flo.faces.http.guard import gate
from flo.faces.http.limits import Limits
from flo.faces.http.live import end_streams
from flo.faces.http.openapi import build_openapi
from flo.faces.http.routes import ROUTES
from flo.faces.http.state import STATE, State
from flo.faces.http.tokens import TokenTable
from flo.ports.service import Service


def build_app(
    service: Service, *, tokens: TokenTable | None = None, limits: Limits | None = None
) -> web.Application:
    """The HTTP API of `service`, to be served by `flo.faces.http.server.serve`.

    With `tokens` every route but the probes and the description asks for one; without, only callers on this
    machine are answered. The application neither starts nor stops the service.
    """
    limits = limits or Limits()
    app = web.Application(
        client_max_size=limits.body_bytes_max,
        middlewares=[gate({route.handler: route.scope for route in ROUTES})],
    )
    app[STATE] = State(
        service, tokens, limits, openapi=msgspec.json.encode(build_openapi(__version__, limits))
    )
    for route in ROUTES:
        app.router.add_route(route.method, route.path, route.handler)
    app.on_shutdown.append(end_streams)
    return app
