"""The checkpoints of a shard: which one to restart from, merging, and what the ledger must keep for them."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator
from typing import Final, NamedTuple

from flo.core.errors import UsageError
from flo.ports.disk import Disk, File
from flo.stores.checkpoints.format import (
    FORMAT_VERSION,
    CheckpointName,
    Entry,
    Head,
    parse_name,
    read_columns,
    verify,
)
from flo.stores.checkpoints.writer import CheckpointWriter
from flo.stores.ledger.directory import shard_directory
from flo.stores.ledger.segment import refused
from flo.stores.whole_file import TEMPORARY

log = logging.getLogger("flo.checkpoints")

Keyed = dict[str, dict[str, bytes]]
"""States by loop, then by key."""

GENERATIONS: Final = 2  # bases kept, with their deltas: if the newest is damaged, the one before still loads
DELTAS_MAX: Final = 64  # a longer chain makes restarts slow; `begin` writes a base instead


class States(NamedTuple):
    """What a checkpoint restores.

    `ahead` names the entries that were taken after the checkpoint's block was fixed: their state already
    holds every block up to the one given, so replay skips those blocks for that key.
    """

    states: Keyed
    ahead: dict[str, dict[str, int]]


class _Part(NamedTuple):
    name: CheckpointName
    head: Head
    path: str
    file: File
    meta: bytes
    entries: int


class Checkpoint:
    """A whole checkpoint: a base and the deltas on it, every byte verified when it was found."""

    def __init__(self, parts: list[_Part]) -> None:
        self._parts = parts
        self.block = parts[-1].name.block  # replay begins behind this one
        self.meta = parts[-1].meta
        self.sequence = parts[-1].name.sequence
        self.deltas = len(parts) - 1
        self.stored_entries = sum(part.entries for part in parts)  # a key counts once a part it is in

    def load(self) -> States:
        """Everything in memory, as fast as it can be read."""
        states: Keyed = {}
        ahead: dict[str, dict[str, int]] = {}
        for part in self._parts:
            for columns in read_columns(part.file, part.path):
                loop = states.setdefault(columns.loop, {})
                loop.update(zip(columns.keys, columns.states, strict=True))  # type: ignore[arg-type]
                if None in columns.states:
                    for key, state in zip(columns.keys, columns.states, strict=True):
                        if state is None:
                            loop.pop(key, None)
                blocks = columns.block_array()
                if max(blocks, default=0) > self.block:
                    late = zip(columns.keys, blocks, strict=True)
                    ahead.setdefault(columns.loop, {}).update(
                        (key, at) for key, at in late if at > self.block
                    )
        return States(states, ahead)

    def entries(self) -> Iterator[Entry]:
        """Each key once, in no particular order, a chunk at a time. Memory: the keys of the deltas."""
        seen: set[tuple[str, str]] = set()
        for part in reversed(self._parts):
            is_base = part is self._parts[0]
            for columns in read_columns(part.file, part.path):
                loop = columns.loop
                for key, block, state in zip(
                    columns.keys, columns.block_array(), columns.states, strict=True
                ):
                    if (loop, key) in seen:
                        continue
                    if not is_base:
                        seen.add((loop, key))
                    if state is not None:
                        yield Entry(loop, key, block, state)


class CheckpointStore:
    """A shard's checkpoints. Its writing side belongs to whoever holds the shard's ledger open; reading is
    free to all.

    A generation is a base and the deltas built on it. Promise: `latest()` is the newest checkpoint whose
    `finish` has returned, whatever crashed since; if its bytes were damaged, the newest one that is still
    whole.
    """

    def __init__(self, disk: Disk, directory: str, shard: int = 0) -> None:
        self.directory = f"{shard_directory(directory, shard)}/checkpoints"
        self._disk = disk
        self._parent: tuple[int, int] | None = (
            None  # sequence of the newest checkpoint, and the deltas under it
        )
        self._looked = False
        self._sequence = 0

    # -- reading

    def latest(self) -> Checkpoint | None:
        """The checkpoint to restart from; None if there is no whole one. Verifies all of its bytes."""
        while True:
            names = self._names()
            whole: dict[int, _Part | None] = {}
            by_sequence = {name.sequence: name for name in names}
            for name in sorted(names, key=lambda name: name.sequence, reverse=True):
                parts = self._parts_of(name, by_sequence, whole)
                if parts is not None:
                    return Checkpoint(parts)
            if names == self._names():  # else one was merged away while it was being read
                return None

    def keep_from_block(self) -> int:
        """The first block the ledger must keep so that every checkpoint kept here can be replayed from.

        For whoever drops old periods: makes the names durable first, since a checkpoint that is only visible
        (its `finish` was refused) may be gone after a power cut.
        """
        try:
            if self._disk.exists(self.directory):
                self._disk.sync_directory(self.directory)
        except OSError as error:
            raise refused("syncing", self.directory, error) from error
        bases = [name.block for name in self._names() if name.is_base]
        return min(bases) + 1 if bases else 1

    def _names(self) -> list[CheckpointName]:
        try:
            return [name for name in map(parse_name, self._disk.listdir(self.directory)) if name is not None]
        except FileNotFoundError:
            return []
        except OSError as error:
            raise refused("listing", self.directory, error) from error

    def _parts_of(
        self, name: CheckpointName, by_sequence: dict[int, CheckpointName], whole: dict[int, _Part | None]
    ) -> list[_Part] | None:
        """The base and every delta up to `name`, or None if one of them is not whole."""
        parts: list[_Part] = []
        at: CheckpointName | None = name
        while at is not None:
            if at.sequence not in whole:
                whole[at.sequence] = self._part(at)
            part = whole[at.sequence]
            if part is None:
                return None
            parts.append(part)
            if part.head.parent is None:
                return parts[::-1]
            at = by_sequence.get(part.head.parent)
        return None

    def _part(self, name: CheckpointName) -> _Part | None:
        path = f"{self.directory}/{name}"
        try:
            file = self._disk.open(path)
        except FileNotFoundError:
            return None
        except OSError as error:
            raise refused("opening", path, error) from error
        found = verify(file, path)
        if found is None:
            log.warning("%s is not a whole checkpoint: an older one will be used", path)
            return None
        head, end = found
        if (head.block, head.sequence, head.parent is None) != name:
            log.warning("%s was renamed: it says block %d, sequence %d", path, head.block, head.sequence)
            return None
        return _Part(name, head, path, file, end.meta, end.entries)

    # -- writing

    def begin(self, block: int, *, base: bool = False) -> CheckpointWriter:
        """Begin a checkpoint from which replay will go on behind `block`, which must be durable in the
        ledger.

        Look at the writer's `is_base` before filling it: a base takes every key, a delta those changed
        since the last checkpoint that was finished (since its `begin`, and also those put in one that
        failed). It is a base if asked for, if there is none to build on, or if the deltas have become too
        many.
        """
        if block < 0:
            raise UsageError(
                f"a checkpoint of block {block}: block numbers begin at 1, and 0 stands for the empty ledger"
            )
        try:
            self._disk.makedirs(self.directory)
        except OSError as error:
            raise refused("creating", self.directory, error) from error
        if not self._looked:
            latest = self.latest()
            self._parent = (latest.sequence, latest.deltas) if latest else None
            self._clean()
            self._looked = True
        self._sequence = max([self._sequence, *(name.sequence for name in self._names())]) + 1
        parent = None if base or self._parent is None or self._parent[1] >= DELTAS_MAX else self._parent[0]
        name = CheckpointName(block, self._sequence, parent is None)
        head = Head(version=FORMAT_VERSION, block=block, sequence=self._sequence, parent=parent)
        return CheckpointWriter(self._disk, self.directory, name, head, self._publish)

    def compact(self) -> None:
        """Merge the newest generation into one base, in a stream. Does nothing if it is one already."""
        latest = self.latest()
        if latest is None or not latest.deltas:
            return
        writer = self.begin(latest.block, base=True)
        try:
            writer.put_many(latest.entries())
            writer.finish(latest.meta)
        finally:
            writer.abort()

    def _publish(self, name: CheckpointName) -> None:
        deltas = 0 if name.is_base or self._parent is None else self._parent[1] + 1
        self._parent = (name.sequence, deltas)
        if name.is_base:
            self._drop_old_generations()

    def _drop_old_generations(self) -> None:
        names = self._names()
        bases = sorted((name.sequence for name in names if name.is_base), reverse=True)
        if len(bases) <= GENERATIONS:
            return
        self._remove(str(name) for name in names if name.sequence < bases[GENERATIONS - 1])

    def _clean(self) -> None:
        """Remove what a crash left half written."""
        try:
            names = self._disk.listdir(self.directory)
        except OSError as error:
            raise refused("listing", self.directory, error) from error
        self._remove(name for name in names if name.endswith(TEMPORARY))

    def _remove(self, names: Iterable[str]) -> None:
        """Removing is for space only: what the disk refuses to remove is tried again with the next base."""
        try:
            for name in sorted(names, reverse=True):  # a delta goes before what it builds on
                self._disk.remove(f"{self.directory}/{name}")
            self._disk.sync_directory(self.directory)
        except OSError as error:
            log.warning("could not remove an old checkpoint in %s: %s", self.directory, error)
