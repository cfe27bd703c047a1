"""Writing one checkpoint file: to a temporary name, published whole or not at all."""

from __future__ import annotations

import logging
from array import array
from collections.abc import Callable, Iterable, Sequence
from typing import Final, NoReturn

from flo.core.errors import UsageError
from flo.ports.disk import Disk
from flo.stores.checkpoints.format import (
    CHUNK_BYTES,
    META_BYTES_MAX,
    STATE_BYTES_MAX,
    CheckpointName,
    End,
    Entry,
    Head,
    encode_chunk,
    encode_end,
    encode_head,
)
from flo.stores.ledger.segment import refused, write_all
from flo.stores.whole_file import TEMPORARY

log = logging.getLogger("flo.checkpoints")

BLOCK_MAX: Final = 2**64 - 1


class _Column:
    __slots__ = ("blocks", "keys", "size_bytes", "states")

    def __init__(self) -> None:
        self.keys: list[str] = []
        self.blocks = array("Q")
        self.states: list[bytes | None] = []
        self.size_bytes = 0


class CheckpointWriter:
    """One checkpoint being written. Use it from one thread at a time; memory: about a MiB a loop.

    Nothing is visible before `finish` returns; then all of it is, and survives a power cut. After any
    `StorageUnavailable` the writer is dead and older checkpoints stand: begin again later.
    """

    def __init__(
        self,
        disk: Disk,
        directory: str,
        name: CheckpointName,
        head: Head,
        published: Callable[[CheckpointName], None],
    ) -> None:
        """Use `CheckpointStore.begin`."""
        self.block = name.block
        self.is_base = name.is_base
        self._disk = disk
        self._directory = directory
        self._name = name
        self._path = f"{directory}/{name}{TEMPORARY}"
        self._published = published
        self._columns: dict[str, _Column] = {}
        self._chunks = self._entries = self._offset = 0
        self._open = True
        try:
            if disk.exists(self._path):
                disk.remove(self._path)
            self._file = disk.create(self._path)
        except OSError as error:
            raise refused("creating", self._path, error) from error
        self._write(encode_head(head))

    def put_many(self, entries: Iterable[Entry | tuple[str, str, int, bytes | None]]) -> None:
        """Add entries, each key once. State None removes a key (in a delta)."""
        for loop, key, block, state in entries:
            column = self._columns.get(loop)
            if column is None:
                column = self._columns[loop] = _Column()
            size_bytes = len(key) + (len(state) if state is not None else 0)
            if size_bytes > STATE_BYTES_MAX or not 0 <= block <= BLOCK_MAX:
                self._refuse(loop, key, size_bytes, block)
            column.keys.append(key)
            column.blocks.append(block)
            column.states.append(state)
            column.size_bytes += size_bytes + 16
            if column.size_bytes >= CHUNK_BYTES:
                self._flush(loop, column)

    def put_columns(
        self, loop: str, keys: Sequence[str], blocks: Sequence[int], states: Sequence[bytes | None]
    ) -> None:
        """The same for entries of one loop that lie in columns already."""
        if not len(keys) == len(blocks) == len(states):
            raise UsageError(
                f"loop {loop}: {len(keys)} keys, {len(blocks)} blocks, {len(states)} states, not one of each"
            )
        self.put_many(
            (loop, key, block, state) for key, block, state in zip(keys, blocks, states, strict=True)
        )

    def finish(self, meta: bytes = b"") -> None:
        """Publish: everything is synced before the name appears, and the name before this returns."""
        if len(meta) > META_BYTES_MAX:
            raise UsageError(f"checkpoint meta of {len(meta)} bytes: at most {META_BYTES_MAX}")
        for loop, column in self._columns.items():
            if column.keys:
                self._flush(loop, column)
        self._write(encode_end(End(chunks=self._chunks, entries=self._entries, meta=meta)))
        self._open = False
        target = f"{self._directory}/{self._name}"
        try:
            self._file.sync()
            self._file.close()
            self._disk.rename(self._path, target)
            self._disk.sync_directory(self._directory)
        except OSError as error:
            self._discard()
            raise refused("publishing", target, error) from error
        self._published(self._name)

    def abort(self) -> None:
        """Give up what was written. Idempotent; after `finish` it does nothing."""
        if self._open:
            self._open = False
            self._discard()

    def _refuse(self, loop: str, key: str, size_bytes: int, block: int) -> NoReturn:
        raise UsageError(
            f"loop {loop}, key {key!r}: a state of {size_bytes} bytes after block {block}: "
            f"at most {STATE_BYTES_MAX} bytes, and blocks are 0 to {BLOCK_MAX}"
        )

    def _flush(self, loop: str, column: _Column) -> None:
        self._write(encode_chunk(loop, column.keys, column.blocks, column.states))
        self._chunks += 1
        self._entries += len(column.keys)
        self._columns[loop] = _Column()

    def _write(self, data: bytes) -> None:
        if not self._open:
            raise UsageError(f"the checkpoint {self._name} is finished or given up: begin another")
        try:
            write_all(self._file, self._offset, data)
        except OSError as error:
            self.abort()
            raise refused("writing", self._path, error) from error
        self._offset += len(data)

    def _discard(self) -> None:
        self._file.close()
        try:
            if self._disk.exists(self._path):
                self._disk.remove(self._path)
        except OSError as error:
            log.warning("could not remove %s (%s): the next checkpoint will", self._path, error)
