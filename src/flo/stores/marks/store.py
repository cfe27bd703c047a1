"""The files of a shard's frozen marks: written whole or not at all, checked before they are believed."""

from __future__ import annotations

import logging
import re
from collections.abc import Callable
from zlib import crc32

import numpy as np
from numpy.typing import NDArray

from flo.ports.disk import Disk
from flo.ports.marks import Hashes
from flo.stores.ledger.directory import shard_directory
from flo.stores.ledger.segment import refused, write_all
from flo.stores.marks.file import Head, MarkFile, encode
from flo.stores.whole_file import whole_file

log = logging.getLogger("flo.marks")

_NAME = re.compile(r"\d{20}-\d{20}\.marks\Z")

PayloadOf = Callable[[int], bytes | None]
"""A block's payload in the ledger; None where it has none of that number."""


class MarkStore:
    """Belongs to whoever holds the shard's ledger open. Losing any of it costs time at the next start, nothing else."""

    def __init__(self, disk: Disk, directory: str, shard: int = 0) -> None:
        self.directory = f"{shard_directory(directory, shard)}/marks"
        self._disk = disk

    def load(self, since_ns: int, payload_of: PayloadOf) -> list[MarkFile]:
        """The files that are whole, belong to this ledger and reach into the time since then; others are removed."""
        try:
            names = self._disk.listdir(self.directory) if self._disk.exists(self.directory) else []
        except OSError as error:
            raise refused("listing", self.directory, error) from error
        files = [(f"{self.directory}/{name}", self._open(name, since_ns, payload_of)) for name in names]
        for path, file in files:
            if file is None:
                self._remove(path)
        return [file for _, file in files if file is not None]

    def _open(self, name: str, since_ns: int, payload_of: PayloadOf) -> MarkFile | None:
        path = f"{self.directory}/{name}"
        if not _NAME.match(name):
            return None
        try:
            file = MarkFile.open(path, self._disk.open(path))
        except OSError as error:
            log.warning("could not read %s (%s): its marks are read from the ledger", path, error)
            return None
        if file is None:
            log.warning("%s is damaged: its marks are read from the ledger", path)
            return None
        payload = payload_of(file.last_block)
        if file.end_ns < since_ns or payload is None or crc32(payload) != file.seal:
            file.close()
            return None
        return file

    def write(
        self,
        *,
        first_block: int,
        last_block: int,
        start_ns: int,
        end_ns: int,
        last_payload: bytes,
        hashes: Hashes,
        blocks: NDArray[np.uint32],
    ) -> MarkFile:
        """Freeze marks, in any order: `blocks` counts from the first block. `StorageUnavailable`: nothing was frozen."""
        order = np.argsort(hashes, kind="stable")
        head = Head(first_block, last_block, start_ns, end_ns, len(hashes), crc32(last_payload), 0)
        name = f"{first_block:020d}-{last_block:020d}.marks"
        path = f"{self.directory}/{name}"
        try:
            with whole_file(self._disk, self.directory, name) as file:
                offset = 0
                for piece in encode(head, hashes[order], blocks[order]):
                    write_all(file, offset, piece)
                    offset += len(piece)
            written = MarkFile.open(path, self._disk.open(path))
        except OSError as error:
            raise refused("writing", path, error) from error
        if written is None:
            raise refused("writing", path, OSError(5, "what was written reads back otherwise"))
        return written

    def remove(self, file: MarkFile) -> None:
        """Give up a file whose time is over."""
        file.close()
        self._remove(file.path)

    def _remove(self, path: str) -> None:
        try:
            self._disk.remove(path)
        except FileNotFoundError:
            return
        except OSError as error:
            log.warning("could not remove %s (%s): the next start will", path, error)
