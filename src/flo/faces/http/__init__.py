"""The HTTP API: signals in, decisions out, and everything that can be asked of a running FLO."""

from flo.faces.http.app import build_app
from flo.faces.http.limits import Limits
from flo.faces.http.server import check_bind, serve
from flo.faces.http.tokens import SCOPES, Token, TokenTable, load_tokens

__all__ = [
    "SCOPES",
    "Limits",
    "Token",
    "TokenTable",
    "build_app",
    "check_bind",
    "load_tokens",
    "serve",
]
