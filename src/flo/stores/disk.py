"""The local file system behind the `Disk` seam (POSIX)."""

from __future__ import annotations

import errno
import fcntl
import os
import sys

from flo.ports.disk import Locked

DIRECTORY_MODE = 0o750
FILE_MODE = 0o640


class LocalFile:
    """An open file descriptor. It is closed with its last reference, so that one thread dropping a file from
    a cache cannot close (and let the kernel reuse) a descriptor another thread is reading from.
    """

    __slots__ = ("_descriptor", "path")

    def __init__(self, path: str, descriptor: int) -> None:
        self.path = path
        self._descriptor = descriptor

    def write(self, offset: int, data: bytes | bytearray | memoryview) -> int:
        return os.pwrite(self._descriptor, data, offset)

    def read(self, offset: int, size_bytes: int) -> bytes:
        data = os.pread(self._descriptor, size_bytes, offset)
        if len(data) == size_bytes or not data:
            return data
        parts = [data]  # a read may be short (a signal, more than 2 GiB) before the file ends
        got = len(data)
        while got < size_bytes and (data := os.pread(self._descriptor, size_bytes - got, offset + got)):
            parts.append(data)
            got += len(data)
        return b"".join(parts)

    def allocate(self, offset: int, size_bytes: int) -> None:
        if hasattr(os, "posix_fallocate"):
            os.posix_fallocate(self._descriptor, offset, size_bytes)
        elif os.fstat(self._descriptor).st_size < offset + size_bytes:
            os.ftruncate(self._descriptor, offset + size_bytes)

    def sync(self) -> None:
        if sys.platform == "darwin":  # there, fsync leaves the bytes in the drive's cache
            fcntl.fcntl(self._descriptor, fcntl.F_FULLFSYNC)
        else:
            os.fdatasync(self._descriptor)

    def truncate(self, size_bytes: int) -> None:
        os.ftruncate(self._descriptor, size_bytes)

    def size(self) -> int:
        return os.fstat(self._descriptor).st_size

    def close(self) -> None:
        descriptor, self._descriptor = self._descriptor, -1
        if descriptor >= 0:
            os.close(descriptor)

    def __del__(self) -> None:
        self.close()


class LocalLock:
    """An flock: it ends with the process, however the process ends."""

    __slots__ = ("_file",)

    def __init__(self, file: LocalFile) -> None:
        self._file = file

    def release(self) -> None:
        self._file.close()


class LocalDisk:
    """The machine's own file system. Every call that waits for the device releases the interpreter lock."""

    def create(self, path: str) -> LocalFile:
        flags = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
        return LocalFile(path, os.open(path, flags, FILE_MODE))

    def open(self, path: str, *, writable: bool = False) -> LocalFile:
        flags = (os.O_RDWR if writable else os.O_RDONLY) | os.O_CLOEXEC
        return LocalFile(path, os.open(path, flags))

    def listdir(self, path: str) -> list[str]:
        return sorted(os.listdir(path))

    def exists(self, path: str) -> bool:
        return os.path.exists(path)

    def size(self, path: str) -> int:
        return os.stat(path).st_size

    def rename(self, source: str, target: str) -> None:
        os.rename(source, target)

    def remove(self, path: str) -> None:
        os.remove(path)

    def makedirs(self, path: str) -> None:
        missing = []
        path = os.path.abspath(path)
        while not os.path.isdir(path):
            missing.append(path)
            path = os.path.dirname(path)
        for directory in reversed(missing):
            try:
                os.mkdir(directory, DIRECTORY_MODE)
            except FileExistsError:  # another shard's process was faster
                if not os.path.isdir(directory):
                    raise
            self.sync_directory(os.path.dirname(directory))

    def sync_directory(self, path: str) -> None:
        descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)

    def lock(self, path: str) -> LocalLock:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, FILE_MODE)
        file = LocalFile(path, descriptor)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            if error.errno not in (errno.EWOULDBLOCK, errno.EACCES):
                raise
            holder = file.read(0, 32).decode("ascii", "replace").strip() or "unknown"
            raise Locked(path, holder) from None
        file.truncate(0)
        file.write(0, f"{os.getpid()}\n".encode("ascii"))
        return LocalLock(file)

    def free_bytes(self, path: str) -> int:
        status = os.statvfs(path)
        return status.f_bavail * status.f_frsize
