"""The seam to storage: the few file operations the ledger and the checkpoints are built from.

`flo.stores.disk.LocalDisk` is the real one; `flo.runtimes.simulated.disk.SimulatedDisk` loses power, tears
writes and fails on request. Whoever writes through this seam must assume what POSIX promises and no more:

- written bytes survive a power cut only after `File.sync` returned; until then any subset of 512-byte sectors
  may;
- a name that was created, renamed or removed survives only after `Disk.sync_directory` of its directory
  returned;
- after a failed `File.sync` the unsynced bytes may be gone although reads still show them, and a second
  `sync` may report success all the same: never retry a sync, write the bytes again somewhere else.

Failures are `OSError` with its `errno`; the stores above this seam turn them into FLO's own errors.
"""

from __future__ import annotations

from typing import Protocol


class Locked(OSError):
    """Someone else holds the lock. `holder` is what they wrote into it: their process id as text."""

    def __init__(self, path: str, holder: str) -> None:
        super().__init__(f"{path} is locked by process {holder}")
        self.path = path
        self.holder = holder


class File(Protocol):
    """An open file. Reads and writes name their offset, so threads can share it."""

    def write(self, offset: int, data: bytes | bytearray | memoryview) -> int:
        """Write at `offset`; returns how many bytes were taken, which may be fewer than offered."""
        ...

    def read(self, offset: int, size_bytes: int) -> bytes:
        """Up to `size_bytes` bytes from `offset`; fewer only where the file ends."""
        ...

    def allocate(self, offset: int, size_bytes: int) -> None:
        """Reserve space; the file grows to `offset + size_bytes` and the new part reads as zeros."""
        ...

    def sync(self) -> None:
        """Make every byte written so far, and the size, survive a power cut (fdatasync)."""
        ...

    def truncate(self, size_bytes: int) -> None: ...

    def size(self) -> int: ...

    def close(self) -> None:
        """Free the handle; closing twice is allowed. Promises nothing about unsynced bytes."""
        ...


class Lock(Protocol):
    """A held lock; the operating system frees it with the process, however that ends."""

    def release(self) -> None: ...


class Disk(Protocol):
    """A file system. Paths are plain strings; every method is safe to call from any thread."""

    def create(self, path: str) -> File:
        """A new empty file, open for reading and writing; `FileExistsError` if the name is taken."""
        ...

    def open(self, path: str, *, writable: bool = False) -> File:
        """An existing file; `FileNotFoundError` if there is none."""
        ...

    def listdir(self, path: str) -> list[str]:
        """The names in a directory, sorted; `FileNotFoundError` if there is none."""
        ...

    def exists(self, path: str) -> bool: ...

    def size(self, path: str) -> int: ...

    def rename(self, source: str, target: str) -> None:
        """Atomic, inside one directory; replaces `target`."""
        ...

    def remove(self, path: str) -> None: ...

    def makedirs(self, path: str) -> None:
        """Create a directory and its parents where missing; durable on return."""
        ...

    def sync_directory(self, path: str) -> None:
        """Make the names in this directory survive a power cut."""
        ...

    def lock(self, path: str) -> Lock:
        """Take an exclusive lock that ends with the process at the latest; raises `Locked` at once if it is
        held.
        """
        ...

    def free_bytes(self, path: str) -> int: ...
