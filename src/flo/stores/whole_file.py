"""A file that is there whole and durable, or not at all."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

from flo.ports.disk import Disk, File

TEMPORARY = ".tmp"
"""The end of a name under which a file is written; what still has it after a crash was never finished."""


@contextlib.contextmanager
def whole_file(disk: Disk, directory: str, name: str) -> Iterator[File]:
    """Write what stands in this block into a file of a directory, which is made where it is missing.

    Synced, then renamed, then the name is synced: after a crash at any point the file is whole or absent. Where the block
    or the disk fails, what was written is removed: on a full disk a half file takes the room that is needed to write it.
    """
    path = f"{directory}/{name}"
    temporary = path + TEMPORARY
    try:
        disk.makedirs(directory)
        if disk.exists(temporary):
            disk.remove(temporary)
        file = disk.create(temporary)
        try:
            yield file
            file.sync()
        finally:
            file.close()
        disk.rename(temporary, path)
        disk.sync_directory(directory)
    except OSError:
        with contextlib.suppress(OSError):
            disk.remove(temporary)
        raise
