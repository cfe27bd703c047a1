"""The models on disk: versioned artifacts that never change, and one alias that says which of them is in use.

    models/<version>.npz     weights
    models/<version>.json    what it was trained on and how well it did
    models/current.json      the alias: {"version", "sha256", "seq"}

An artifact is written whole under another name and renamed, so a reader sees all of it or none; the alias is
replaced the same way, and names the artifact's digest. After a crash at any moment the old or the new model
is in use.
"""

from __future__ import annotations

import fcntl
import hashlib
import logging
import os
import re
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import msgspec
from network import Network, Scorer

CHECK_EVERY_S = 0.1
"""How long a deciding process may go on with the old model after a swap."""

_VERSION = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
_log = logging.getLogger("payments.models")


class ModelError(Exception):
    """A model that cannot be used: absent, damaged or misnamed. The message says which and what to do."""


class Alias(msgspec.Struct, frozen=True):
    version: str
    sha256: str
    seq: int = 0  # of the command that set it: an older command never takes a newer one's place


class Models:
    """One directory of models. Any number of processes may read; writers are kept apart by `lock`."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.alias_path = directory / "current.json"

    def artifact(self, version: str) -> Path:
        if not _VERSION.fullmatch(version) or version == "current":
            raise ModelError(f'"{version[:80]}" is no version: letters, digits, dot, dash; at most 64')
        return self.directory / f"{version}.npz"

    def meta(self, version: str) -> dict[str, Any] | None:
        """What `save` was told of a version, or None where there is no such version."""
        path = self.artifact(version).with_suffix(".json")
        return msgspec.json.decode(path.read_bytes()) if path.exists() else None

    def versions(self) -> list[dict[str, Any]]:
        """The notes of all versions, oldest first."""
        notes = [path for path in self.directory.glob("*.json") if path != self.alias_path]
        return sorted(
            (msgspec.json.decode(path.read_bytes()) for path in notes), key=lambda note: note["trained_ns"]
        )

    def save(self, version: str, network: Network, meta: dict[str, Any]) -> None:
        """Durable on return. The note comes last: a version that has one is complete."""
        self.directory.mkdir(parents=True, exist_ok=True)
        path = self.artifact(version)
        _replace(path, network.to_bytes())
        _replace(path.with_suffix(".json"), msgspec.json.format(msgspec.json.encode(meta), indent=1))

    def load(self, version: str) -> Network:
        return _network(self.artifact(version).read_bytes(), version)

    def alias(self) -> Alias | None:
        """What is in use, or None where nothing ever was."""
        try:
            return _alias(self.alias_path.read_bytes(), self.alias_path)
        except FileNotFoundError:
            return None

    def swap(self, version: str, seq: int = 0) -> tuple[Alias, Alias | None]:
        """Put a version in use: `(alias now, alias before)`. Repeating it changes nothing.

        A `seq` below the alias's own is an answer to an older command: the alias stays, and is returned as
        it is.
        """
        with self.lock("current"):
            before = self.alias()
            if before is not None and (seq < before.seq or (seq == before.seq and version == before.version)):
                return before, before
            try:
                data = self.artifact(version).read_bytes()
            except FileNotFoundError:
                raise ModelError(f"no model {version} in {self.directory}: train it first") from None
            _network(data, version)  # a damaged artifact must never come into use
            after = Alias(version, hashlib.sha256(data).hexdigest(), seq)
            _replace(self.alias_path, msgspec.json.encode(after))
            return after, before

    @contextmanager
    def lock(self, name: str) -> Iterator[None]:
        """One process at a time; freed by the system when its holder dies."""
        self.directory.mkdir(parents=True, exist_ok=True)
        with (self.directory / f".{name}.lock").open("w") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            yield


class CurrentModel:
    """The model in use, as one deciding process sees it: a swap is noticed within `CHECK_EVERY_S`.

    The alias is read (a hundred bytes) at most that often; the artifact is read whole and checked against its
    digest before it takes the old one's place. One that cannot be used is logged, once, and tried again; until then
    the old one stays.
    """

    def __init__(self, models: Models) -> None:
        self.models = models
        self.version: str | None = None
        self._scorer: Scorer | None = None
        self._seen: bytes | None = None  # the alias that is in use, as its file was
        self._refused: bytes | None = None  # the one that was complained about
        self._next_check_s = 0.0

    def get(self) -> tuple[Scorer | None, str]:
        """`(scorer, version)`; `(None, "none")` where no model was ever in use."""
        now_s = time.monotonic()
        if now_s >= self._next_check_s:
            self._next_check_s = now_s + CHECK_EVERY_S
            self._look()
        return self._scorer, self.version or "none"

    def _look(self) -> None:
        # Read whole, not stat: two swaps within a tick of the file system's clock would look like none.
        try:
            seen = self.models.alias_path.read_bytes()
        except FileNotFoundError:
            return
        if seen == self._seen:
            return
        try:
            alias = _alias(seen, self.models.alias_path)
            data = self.models.artifact(alias.version).read_bytes()
            if hashlib.sha256(data).hexdigest() != alias.sha256:
                raise ModelError(f"model {alias.version} is not what was swapped in: its digest differs")
            self._scorer, self.version = Scorer(_network(data, alias.version)), alias.version
            self._seen = seen
        except (ModelError, OSError) as error:
            if seen != self._refused:
                self._refused = seen
                _log.error("keeping model %s: %s", self.version or "none", error)


def _alias(data: bytes, path: Path) -> Alias:
    try:
        return msgspec.json.decode(data, type=Alias)
    except msgspec.DecodeError as error:
        raise ModelError(f"{path} is damaged ({error}): remove it and swap a model in again") from None


def _network(data: bytes, version: str) -> Network:
    try:
        return Network.from_bytes(data)
    except Exception as error:  # numpy raises whatever its zip and header readers raise
        raise ModelError(f"model {version} is damaged ({error}): train it again") from None


def _replace(path: Path, data: bytes) -> None:
    """Write a whole file, durably, under its name or not at all."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    with temporary.open("wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
    temporary.replace(path)
    directory = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(directory)
    finally:
        os.close(directory)
