"""Secrets are references in a bundle, and a type here: they print as stars and are never stored.

A `Secret` holds where the value is to be had (`${env:NAME}`, `${file:PATH}`), not the value. It is revealed
by the runtime, at the moment of use, and nothing keeps what `reveal` returned.
"""

from __future__ import annotations

import hmac
import re
from collections.abc import Callable, Mapping
from typing import Any, NoReturn

from flo.core.errors import UsageError

STARS = "****"

_REFERENCE = re.compile(r"\$\{(env|file):([^}]*)\}")
_ENVIRONMENT_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*", re.ASCII)


class SecretUnavailable(UsageError):
    """A secret's environment variable is not set, or its file cannot be read. The message names which."""


class Secret:
    """A text with at least one reference to a secret in it, such as `${env:TOKEN}` or
    `https://u:${env:PW}@host/`.

    - `str`, `repr` and formatting give stars; JSON and msgspec encoders refuse it as a type they do not know.
    - Pickling raises: a process that needs the secret reads the bundle and its own environment.
    - Two secrets compare by their references, `matches` compares the value; both in constant time.
    """

    __slots__ = ("_written",)

    def __init__(self, written: str) -> None:
        """Raises `ValueError`, without echoing `written`, where it holds no reference or a malformed one."""
        if not references(written):
            raise ValueError("it holds no reference; write ${env:NAME} or ${file:PATH}")
        self._written = written

    def reveal(self, environ: Mapping[str, str], read_file: Callable[[str], str] | None = None) -> str:
        """The value. `read_file` gives the content of a `${file:...}`; without it that is unavailable."""

        def value(match: re.Match[str]) -> str:
            kind, name = match[1], match[2]
            if kind == "env":
                if name not in environ:
                    raise SecretUnavailable(
                        f"the environment variable {name} is not set: set it and start again"
                    )
                return environ[name]
            if read_file is None:
                raise SecretUnavailable(
                    f"the secret file {name} cannot be read here: use ${{env:NAME}} instead"
                )
            return read_file(name)

        return _REFERENCE.sub(value, self._written)

    def matches(
        self, candidate: str, environ: Mapping[str, str], read_file: Callable[[str], str] | None = None
    ) -> bool:
        """Whether `candidate` is the value, in time that does not depend on where they differ."""
        return hmac.compare_digest(candidate.encode(), self.reveal(environ, read_file).encode())

    @property
    def references(self) -> tuple[str, ...]:
        """What it refers to, such as `env:TOKEN`: fit to show, as a name is not a secret."""
        return references(self._written)

    def __repr__(self) -> str:
        return f"Secret({STARS})"

    def __str__(self) -> str:
        return STARS

    def __format__(self, spec: str) -> str:
        return format(STARS, spec)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Secret):
            return NotImplemented
        return hmac.compare_digest(self._written.encode(), other._written.encode())

    def __hash__(self) -> int:
        return hash((Secret, self.references))

    def __copy__(self) -> Secret:
        return self

    def __deepcopy__(self, memo: dict[int, Any]) -> Secret:
        return self

    def __reduce_ex__(self, protocol: object) -> NoReturn:
        raise TypeError("a Secret is never pickled: read the bundle in the process that needs it")


def revealed(value: Any, environ: Mapping[str, str], read_file: Callable[[str], str] | None = None) -> Any:
    """Settings with every `Secret` in them, at any depth, replaced by its value: for an engine's start."""
    if isinstance(value, Secret):
        return value.reveal(environ, read_file)
    if isinstance(value, Mapping):
        return {name: revealed(item, environ, read_file) for name, item in value.items()}
    if isinstance(value, (list, tuple)):
        return type(value)(revealed(item, environ, read_file) for item in value)
    return value


def references(text: str) -> tuple[str, ...]:
    """The references in `text`, such as `("env:TOKEN",)`. A malformed one raises `ValueError`, not echoed."""
    found = []
    for match in _REFERENCE.finditer(text):
        kind, name = match[1], match[2]
        if kind == "env" and not _ENVIRONMENT_NAME.fullmatch(name):
            raise ValueError("${env:...} needs the name of an environment variable: letters, digits and _")
        if kind == "file" and (not name.strip() or "\0" in name):
            raise ValueError("${file:...} needs the path of a file")
        found.append(f"{kind}:{name}")
    if text.count("${") != len(found):
        raise ValueError("a `${` here starts no secret; the references are ${env:NAME} and ${file:PATH}")
    return tuple(found)
