"""Tokens: who may call the HTTP API, and for what.

A token file is YAML: either the SHA-256 of a token (nothing secret in the file) or a reference to where it is
kept.

    tokens:
      - {name: gateway, sha256: 9f86d0…, scopes: [send]}
      - {name: ops, token: "${env:FLO_OPS_TOKEN}", scopes: [read, operate]}

Tokens are kept as digests and compared in constant time; no message or log ever holds one.
"""

from __future__ import annotations

import hashlib
import hmac
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from flo.core.errors import UsageError

SCOPES = ("send", "read", "operate", "admin")
"""send: signals and decisions; read: everything that only reads; operate: kill; admin: all."""

FILE_BYTES_MAX = 1 << 20
TOKENS_MAX = 256
"""Every request is compared with every token, so that the time says nothing of which one it was."""

TOKEN_CHARS_MIN = 16

_SHA256 = re.compile(r"[0-9a-f]{64}\Z")
_REFERENCE = re.compile(r"\$\{(env|file):([^}]+)\}\Z")
_KEYS = {"name", "sha256", "token", "scopes"}


@dataclass(frozen=True, slots=True)
class Token:
    """One caller. `digest` is the SHA-256 of the token's UTF-8 bytes."""

    name: str
    digest: bytes
    scopes: frozenset[str]

    def __repr__(self) -> str:
        return f"Token({self.name}, ****)"


class TokenTable:
    """The tokens that are accepted."""

    def __init__(self, tokens: tuple[Token, ...]) -> None:
        self._tokens = tokens

    def __len__(self) -> int:
        return len(self._tokens)

    def find(self, presented: str) -> Token | None:
        """Whose token this is, or None. Takes the same time wherever, and whether, it matches."""
        digest = hashlib.sha256(presented.encode("utf-8", "surrogateescape")).digest()
        found = None
        for token in self._tokens:
            if hmac.compare_digest(token.digest, digest):
                found = token
        return found


def load_tokens(path: Path, environ: Mapping[str, str]) -> TokenTable:
    """Read a token file; `UsageError` names the file and the entry, never a token."""
    try:
        if path.stat().st_size > FILE_BYTES_MAX:
            raise UsageError(f"token file {path} has more than {FILE_BYTES_MAX} bytes; is it the right file?")
        text = path.read_text("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"token file {path} cannot be read: {_reason(error)}") from None
    try:
        # Every scalar a text: a digest of digits alone is no number.
        document = yaml.load(text, Loader=yaml.BaseLoader)
    except yaml.YAMLError as error:
        # Only the place: PyYAML's own message quotes the line, which may hold a secret.
        mark = getattr(error, "problem_mark", None)
        place = f":{mark.line + 1}:{mark.column + 1}" if mark is not None else ""
        raise UsageError(f"{path}{place}: not YAML") from None
    except RecursionError:
        raise UsageError(f"{path}: nested too deeply") from None
    entries = document.get("tokens") if isinstance(document, dict) else None
    if not isinstance(entries, list) or not entries:
        raise UsageError(
            f"{path}: expected a list `tokens:` with at least one entry of name, sha256 or token, scopes"
        )
    if set(document) != {"tokens"}:
        raise UsageError(f"{path}: `tokens` is the only key here")
    if len(entries) > TOKENS_MAX:
        raise UsageError(f"{path}: {len(entries)} tokens, at most {TOKENS_MAX}")
    tokens = tuple(
        _token(f"{path}: token {number}", entry, environ) for number, entry in enumerate(entries, 1)
    )
    names = [token.name for token in tokens]
    for name in names:
        if names.count(name) > 1:
            raise UsageError(f"{path}: two tokens are named {name!r}")
    return TokenTable(tokens)


def _token(where: str, entry: Any, environ: Mapping[str, str]) -> Token:
    if not isinstance(entry, dict):
        raise UsageError(f"{where}: expected name, sha256 or token, scopes")
    unknown = sorted(str(key) for key in entry if key not in _KEYS)
    if unknown:
        raise UsageError(f"{where}: unknown key {unknown[0][:40]!r}; there are {', '.join(sorted(_KEYS))}")
    name = entry.get("name")
    if not isinstance(name, str) or not name:
        raise UsageError(f"{where}: `name` must be a text: it says in the ledger who did something")
    scopes = entry.get("scopes")
    if not isinstance(scopes, list) or not scopes or any(scope not in SCOPES for scope in scopes):
        raise UsageError(f"{where} ({name}): `scopes` must be a list of some of {', '.join(SCOPES)}")
    if ("sha256" in entry) == ("token" in entry):
        raise UsageError(f"{where} ({name}): give either `sha256` or `token`")
    if "sha256" in entry:
        sha256 = entry["sha256"]
        if not isinstance(sha256, str) or not _SHA256.match(sha256.lower()):
            raise UsageError(
                f"{where} ({name}): `sha256` must be 64 hex digits (printf %s TOKEN | sha256sum)"
            )
        digest = bytes.fromhex(sha256)
    else:
        digest = hashlib.sha256(_revealed(f"{where} ({name})", entry["token"], environ).encode()).digest()
    granted = frozenset(SCOPES) if "admin" in scopes else frozenset(scopes)
    return Token(name, digest, granted)


def _revealed(where: str, reference: Any, environ: Mapping[str, str]) -> str:
    match = _REFERENCE.match(reference) if isinstance(reference, str) else None
    if match is None:
        raise UsageError(
            f"{where}: `token` must be a reference, ${{env:NAME}} or ${{file:PATH}}, or use `sha256`"
        )
    kind, name = match.groups()
    if kind == "env":
        if name not in environ:
            raise UsageError(f"{where}: environment variable {name} is not set")
        value = environ[name]
    else:
        try:
            value = Path(name).read_text("utf-8").strip()
        except (OSError, UnicodeDecodeError) as error:
            raise UsageError(f"{where}: {name} cannot be read: {_reason(error)}") from None
    if len(value) < TOKEN_CHARS_MIN:
        raise UsageError(
            f"{where}: a token has at least {TOKEN_CHARS_MIN} characters; make one with: openssl rand -hex 32"
        )
    return value


def _reason(error: Exception) -> str:
    """Why, without the content: a decoding error would quote bytes."""
    return error.strerror or type(error).__name__ if isinstance(error, OSError) else "not UTF-8"
