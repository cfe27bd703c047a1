"""What a process holds of a simulated disk: open files and locks."""

from __future__ import annotations

import errno
import os
from typing import TYPE_CHECKING

from flo.runtimes.simulated.inode import Change, Inode

if TYPE_CHECKING:
    from flo.runtimes.simulated.disk import SimulatedDisk


class SimulatedFile:
    """A handle; it dies with the process or the power."""

    __slots__ = ("_disk", "_epoch", "_inode", "_path", "_writable")

    def __init__(self, disk: SimulatedDisk, path: str, inode: Inode, epoch: int, writable: bool) -> None:
        self._disk = disk
        self._path = path
        self._inode = inode
        self._epoch = epoch
        self._writable = writable

    def _check(self, *, writing: bool = False) -> None:
        if self._epoch != self._disk.epoch or (writing and not self._writable):
            raise OSError(errno.EBADF, os.strerror(errno.EBADF), self._path)

    def write(self, offset: int, data: bytes | bytearray | memoryview) -> int:
        self._check(writing=True)
        return self._disk.write(self._inode, self._path, offset, bytes(data))

    def read(self, offset: int, size_bytes: int) -> bytes:
        self._check()
        with self._disk.doing("read", self._path):
            return bytes(self._inode.cache[offset : offset + size_bytes])

    def allocate(self, offset: int, size_bytes: int) -> None:
        self._check(writing=True)
        with self._disk.doing("allocate", self._path):
            if offset + size_bytes > len(self._inode.cache):
                self._disk.reserve(self._path, offset + size_bytes - len(self._inode.cache))
                self._inode.change(Change(offset + size_bytes, None))

    def sync(self) -> None:
        self._check(writing=True)
        self._disk.sync(self._inode, self._path)

    def truncate(self, size_bytes: int) -> None:
        self._check(writing=True)
        with self._disk.doing("truncate", self._path):
            self._inode.change(Change(size_bytes, None))

    def size(self) -> int:
        self._check()
        return len(self._inode.cache)

    def close(self) -> None:
        self._epoch = -1


class SimulatedLock:
    """A lock of the simulated disk; a power cut frees it."""

    def __init__(self, disk: SimulatedDisk, path: str, epoch: int) -> None:
        self._disk = disk
        self._path = path
        self._epoch = epoch

    def release(self) -> None:
        self._disk.unlock(self._path, self._epoch)
