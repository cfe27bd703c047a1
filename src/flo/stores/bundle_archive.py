"""Every bundle that was ever in force, kept beside the ledger: decisions are explained by the revision they name."""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping
from pathlib import Path

from flo.core.errors import StorageUnavailable
from flo.stores.bundle_directory import read_directory


class BundleArchive:
    """`<data>/bundles/<revision>/`, one directory of files each. Written whole or not at all; never changed."""

    def __init__(self, data: Path) -> None:
        self._root = data / "bundles"

    def path(self, revision: str) -> Path:
        return self._root / revision

    def has(self, revision: str) -> bool:
        return bool(revision) and self.path(revision).is_dir()

    def files(self, revision: str) -> dict[str, bytes]:
        """The files of a revision; `FileNotFoundError` where it was never in force here."""
        if not self.has(revision):
            raise FileNotFoundError(f"revision {revision} is not in {self._root}")
        return read_directory(self.path(revision))

    def extra(self, revision: str, name: str) -> bytes | None:
        """A file that was kept beside a revision's own; None where there is none."""
        path = self.path(revision) / name
        return path.read_bytes() if path.is_file() else None

    def keep(self, revision: str, files: Mapping[str, bytes]) -> None:
        """Durable on return. Keeping what is kept changes nothing."""
        if self.has(revision):
            return
        temporary = self._root / f".{revision}.new"
        try:
            shutil.rmtree(temporary, ignore_errors=True)
            for name, content in files.items():
                target = temporary / name
                target.parent.mkdir(parents=True, exist_ok=True)
                with target.open("wb") as file:
                    file.write(content)
                    file.flush()
                    os.fsync(file.fileno())
            temporary.rename(self.path(revision))
            _sync_directory(self._root)
        except OSError as error:
            raise StorageUnavailable(f"the bundle could not be kept in {self._root}: {error}") from error


def _sync_directory(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
