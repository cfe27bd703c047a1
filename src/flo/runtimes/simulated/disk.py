"""A disk in memory that loses power, tears writes, fills up and fails: the same way for the same seed.

It keeps two versions of everything: what a running process sees (the page cache) and what is on the platter.
It is as unkind as POSIX allows, and in places unkinder than Linux:

- Unsynced writes survive a power cut, vanish or are torn, each by itself, in 512-byte sectors and any subset.
  So do unsynced changes of size, and names created, renamed or removed since their directory was synced.
- A failed sync may have written any part of what was unsynced. The rest is lost, although reads still show it
  and the next sync succeeds (as on Linux, where the pages are marked clean).
- A failed write may have written a part of its bytes. A failed directory sync has done nothing and may be
  repeated: directory entries are journalled.
"""

from __future__ import annotations

import errno
import os
import random
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import NamedTuple

from flo.ports.disk import Locked
from flo.runtimes.simulated.faults import CHANGING, Faults, Operation
from flo.runtimes.simulated.handles import SimulatedFile, SimulatedLock
from flo.runtimes.simulated.inode import Change, Inode


class PowerCut(BaseException):
    """The power went off during an operation. Not an `Exception`: no handler may live through it."""


class _NameChange(NamedTuple):
    directory: str
    removed: str | None
    added: str | None
    inode: Inode


class _Move(NamedTuple):
    """A directory renamed, as far as the platter does not know it: what is under it stands there as before."""

    directory: str  # that both names are in
    source: str
    target: str

    def moved(self, path: str) -> str:
        return self.target + path[len(self.source) :] if f"{path}/".startswith(f"{self.source}/") else path

    def back(self) -> _Move:
        return _Move(self.directory, self.target, self.source)


class SimulatedDisk:
    """`Disk` in memory. `operations` counts what changes something: the points where power can be cut.

    `capacity_bytes` None: never full. `short_writes`: the share of writes that take fewer bytes than offered.
    `syncs_lie`: a sync reports success and does nothing, as cheap drives do; to show that a test would
    notice.
    """

    def __init__(
        self,
        seed: int,
        *,
        capacity_bytes: int | None = None,
        short_writes: float = 0.0,
        syncs_lie: bool = False,
    ) -> None:
        self.capacity_bytes = capacity_bytes
        self.short_writes = short_writes
        self.syncs_lie = syncs_lie
        self.operations = 0
        self.epoch = 0  # of handles and locks: ends with the process
        self._random = random.Random(seed)
        self._names: dict[str, Inode] = {}
        self._platter_names: dict[str, Inode] = {}
        self._name_changes: list[_NameChange | _Move] = []
        self._directories = {"/", ""}
        self._locks: dict[str, int] = {}
        self._faults = Faults()
        self._cut_at: int | None = None
        self._off = False
        self._mutex = threading.RLock()

    # -- what goes wrong

    def fail(self, operation: Operation, error: int, *, nth: int = 1, forever: bool = False) -> None:
        """Let the `nth` such operation from now fail with this errno, once or until `heal`."""
        self._faults.add(operation, error, nth=nth, forever=forever)

    @property
    def counts(self) -> Mapping[Operation, int]:
        """How many of each operation there were, failed ones included."""
        return self._faults.counts

    def heal(self) -> None:
        """No more failures."""
        self._faults.clear()

    def cut_power_at(self, operations: int) -> None:
        """Raise `PowerCut` in the operation that makes `self.operations` this number, done or not."""
        self._cut_at = operations

    def power_cut(self) -> None:
        """Lose power now, lose what was not synced (some of it, as the seed has it), and come back."""
        with self._mutex:
            for name_change in self._name_changes:
                if self._random.random() < 0.5:
                    self._rename_on_platter(name_change)
                elif isinstance(name_change, _Move):
                    self._directories = set(map(name_change.back().moved, self._directories))
            self._name_changes.clear()
            inodes = {id(inode): inode for inode in [*self._platter_names.values(), *self._names.values()]}
            for inode in inodes.values():
                inode.lose(self._random)
                inode.cache[:] = inode.platter
            self._names = dict(self._platter_names)
            self._off, self._cut_at = False, None
            self.kill_process()

    @property
    def is_off(self) -> bool:
        """The power went during an operation, and has not come back (`power_cut`)."""
        return self._off

    def kill_process(self) -> None:
        """The process is gone, the machine goes on: handles and locks end, the page cache stays."""
        with self._mutex:
            self.epoch += 1
            self._locks.clear()

    def flip_bit(self, path: str, bit: int) -> None:
        """Damage a file where it lies."""
        inode = self._names[path]
        for data in (inode.cache, inode.platter):
            if bit // 8 < len(data):
                data[bit // 8] ^= 1 << bit % 8

    # -- operations

    @contextmanager
    def doing(self, operation: Operation, path: str) -> Iterator[None]:
        """Around each operation: count it, fail it, or cut the power before or after its effect."""
        with self._mutex:
            if self._off:
                raise PowerCut
            cut = False
            if operation in CHANGING:
                self.operations += 1
                cut = self.operations == self._cut_at
            self._off = cut
            if cut and self._random.random() < 0.5:
                raise PowerCut
            error = self._faults.count(operation)
            if error:
                raise OSError(error, os.strerror(error), path)
            yield
            if cut:
                raise PowerCut

    def reserve(self, path: str, size_bytes: int) -> None:
        if size_bytes > 0 and size_bytes > self.free_bytes(path):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), path)

    def write(self, inode: Inode, path: str, offset: int, data: bytes) -> int:
        with self._mutex:
            size_bytes = len(data)
            if size_bytes > 1 and self._random.random() < self.short_writes:
                size_bytes = self._random.randrange(1, size_bytes)
            try:
                with self.doing("write", path):
                    grows = offset + size_bytes - len(inode.cache)
                    free = self.free_bytes(path)
                    if grows > free:
                        size_bytes -= grows - free
                        if size_bytes <= 0:
                            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), path)
                    inode.change(Change(offset, data[:size_bytes]))
            except OSError as error:
                if error.errno != errno.ENOSPC:
                    inode.change(Change(offset, data[: self._random.randrange(len(data) + 1)]))
                raise
            return size_bytes

    def sync(self, inode: Inode, path: str) -> None:
        with self._mutex:
            try:
                with self.doing("sync", path):
                    if self.syncs_lie:
                        return
                    inode.sync()
            except OSError:
                inode.lose(self._random)
                raise

    def create(self, path: str) -> SimulatedFile:
        with self.doing("create", path):
            if os.path.dirname(path) not in self._directories:
                raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), path)
            if path in self._names:
                raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), path)
            inode = Inode()
            self._rename(_NameChange(os.path.dirname(path), None, path, inode))
            return SimulatedFile(self, path, inode, self.epoch, writable=True)

    def open(self, path: str, *, writable: bool = False) -> SimulatedFile:
        with self.doing("open", path):
            return SimulatedFile(self, path, self._inode(path), self.epoch, writable)

    def _inode(self, path: str) -> Inode:
        inode = self._names.get(path)
        if inode is None:
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), path)
        return inode

    def listdir(self, path: str) -> list[str]:
        with self._mutex:
            if path not in self._directories:
                raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), path)
            known = [*self._names, *self._directories]
            return sorted(
                {os.path.basename(name) for name in known if name and os.path.dirname(name) == path}
            )

    def exists(self, path: str) -> bool:
        with self._mutex:
            return path in self._names or path in self._directories

    def size(self, path: str) -> int:
        with self._mutex:
            return len(self._inode(path).cache)

    def rename(self, source: str, target: str) -> None:
        with self.doing("rename", source):
            if source in self._directories:
                move = _Move(os.path.dirname(target), source, target)
                self._names = {move.moved(path): inode for path, inode in self._names.items()}
                self._directories = set(map(move.moved, self._directories))
                self._name_changes.append(move)
                return
            self._rename(_NameChange(os.path.dirname(target), source, target, self._inode(source)))

    def remove(self, path: str) -> None:
        with self.doing("remove", path):
            self._rename(_NameChange(os.path.dirname(path), path, None, self._inode(path)))

    def _rename(self, change: _NameChange) -> None:
        self._change_names(self._names, change)
        self._name_changes.append(change)

    def _rename_on_platter(self, change: _NameChange | _Move) -> None:
        if isinstance(change, _NameChange):
            self._change_names(self._platter_names, change)
            return
        self._platter_names = {change.moved(path): inode for path, inode in self._platter_names.items()}

    @staticmethod
    def _change_names(names: dict[str, Inode], change: _NameChange) -> None:
        if change.removed is not None and names.get(change.removed) is change.inode:
            del names[change.removed]
        if change.added is not None:
            names[change.added] = change.inode

    def makedirs(self, path: str) -> None:
        with self._mutex:
            while path not in self._directories:
                self._directories.add(path)
                path = os.path.dirname(path)

    def sync_directory(self, path: str) -> None:
        with self.doing("sync_directory", path):
            if self.syncs_lie:
                return
            left: list[_NameChange | _Move] = []
            for change in self._name_changes:
                if change.directory == path:
                    self._rename_on_platter(change)
                    if isinstance(change, _Move):
                        left = [_behind(each, change) for each in left]
                else:
                    left.append(change)
            self._name_changes = left

    def lock(self, path: str) -> SimulatedLock:
        with self._mutex:
            if self._off:
                raise PowerCut
            if path in self._locks:
                raise Locked(path, str(os.getpid()))
            self._locks[path] = self.epoch
            return SimulatedLock(self, path, self.epoch)

    def unlock(self, path: str, epoch: int) -> None:
        with self._mutex:
            if self._locks.get(path) == epoch == self.epoch:
                del self._locks[path]

    def free_bytes(self, path: str) -> int:
        with self._mutex:
            if self.capacity_bytes is None:
                return 1 << 60
            return max(0, self.capacity_bytes - sum(len(inode.cache) for inode in self._names.values()))


def _behind(change: _NameChange | _Move, move: _Move) -> _NameChange | _Move:
    """A change under a directory, still unknown to the platter when it learns the directory's new name."""
    if isinstance(change, _Move):
        return _Move(*map(move.moved, change))
    removed = None if change.removed is None else move.moved(change.removed)
    added = None if change.added is None else move.moved(change.added)
    return _NameChange(move.moved(change.directory), removed, added, change.inode)
