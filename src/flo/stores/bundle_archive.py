"""Every bundle that was ever in force, kept beside the ledger: decisions are explained by the revision they name."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from flo.core.errors import StorageUnavailable
from flo.ports.disk import Disk
from flo.stores.bundle_directory import read_directory
from flo.stores.disk import LocalDisk
from flo.stores.ledger.segment import write_all


class BundleArchive:
    """`<data>/bundles/<revision>/`, one directory of files each. Written whole or not at all; never changed."""

    def __init__(self, data: Path, disk: Disk | None = None) -> None:
        """`disk`: what they are written to, where it is not this machine's; they are read from this machine's."""
        self._root = data / "bundles"
        self._disk = LocalDisk() if disk is None else disk

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
        """Durable on return, with every folder in it. Keeping what is kept changes nothing."""
        disk, root = self._disk, str(self._root)
        if disk.exists(str(self.path(revision))):
            return
        temporary = f"{root}/.{revision}.new"
        try:
            folders = {root, temporary}
            for name, content in files.items():
                path = f"{temporary}/{name}"
                folder = path.rpartition("/")[0]
                disk.makedirs(folder)
                folders.add(folder)
                if disk.exists(path):  # left by a crash
                    disk.remove(path)
                file = disk.create(path)
                try:
                    write_all(file, 0, content)
                    file.sync()
                finally:
                    file.close()
            for folder in sorted(folders, reverse=True):
                disk.sync_directory(folder)
            disk.rename(temporary, str(self.path(revision)))
            disk.sync_directory(root)
        except OSError as error:
            raise StorageUnavailable(f"the bundle could not be kept in {self._root}: {error}") from error
