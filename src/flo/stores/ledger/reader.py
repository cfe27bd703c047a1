"""Reading a shard's ledger without writing it: beside a running FLO, or while it is down."""

from __future__ import annotations

import threading

from flo.core.errors import CorruptLedger, UsageError
from flo.ports.disk import Disk
from flo.stores.ledger.chain import Chain, list_segments
from flo.stores.ledger.directory import ledger_directory, letters_directory
from flo.stores.ledger.letters import LetterStore
from flo.stores.ledger.reading import ReadableBlocks
from flo.stores.ledger.recovery import file_size, find_end, never_begun
from flo.stores.ledger.segment import Segment


class LedgerReader(ReadableBlocks):
    """A view of the blocks that were whole at the last `refresh()`. Takes no lock and changes no file.

    Beside a running writer it may see blocks up to one commit early: whole, but not synced yet. If the
    machine loses power just then, the writer may come back with other blocks under these numbers;
    `proven_block` is the last block for which that cannot happen.
    """

    def __init__(self, disk: Disk, directory: str, shard: int) -> None:
        """Use `LedgerReader.open`."""
        self.shard = shard
        self.directory = ledger_directory(directory, shard)
        self.letters = LetterStore(disk, letters_directory(directory, shard))
        self._disk = disk
        super().__init__(Chain(disk, [], relist=self.refresh))
        self.proven_block = 0
        self._refreshing = threading.RLock()  # a reading thread that finds its list stale refreshes as well

    @classmethod
    def open(cls, disk: Disk, directory: str, shard: int = 0) -> LedgerReader:
        """Raises `UsageError` if there is no ledger, `CorruptLedger` if its end was damaged."""
        reader = cls(disk, directory, shard)
        if not disk.exists(reader.directory):
            raise UsageError(
                f"{reader.directory} is not there: {directory} holds no ledger of shard {shard}. "
                "Name the directory that was given to flo run as --data"
            )
        reader.refresh()
        return reader

    @property
    def last_block(self) -> int:
        """The last whole block at the last `refresh()`; 0 if there is none."""
        return self._chain.last_block

    def refresh(self) -> int:
        """Look for new blocks and check them; returns the last one. Lists the directory each time.

        From any thread; one looks at a time.
        """
        with self._refreshing:
            return self._refresh()

    def _refresh(self) -> int:
        last: Segment | None = None
        while True:
            before, last = last, self._list()
            if last is None:
                return self._chain.last_block
            seen_block = last.end_block
            try:
                if file_size(last) < last.end_offset:  # its writer gave it up after a failed sync
                    last.forget()
                end = find_end(last, self.proven_block, thorough=last.end_block == last.name.first_block)
            except FileNotFoundError:
                continue  # superseded or dropped since it was listed
            except CorruptLedger:
                # A writer may have finished the block between our look at it and our look at those behind it.
                if last is before and last.end_block == seen_block:
                    raise
                continue
            self.proven_block = end.proven_block
            self._chain.last_block = last.end_block - 1
            return self._chain.last_block

    def _list(self) -> Segment | None:
        """Take over the files as they are now, keeping what is known of them; returns the last."""
        known = {segment.path: segment for segment in self._chain.segments}
        listed = [known.get(segment.path, segment) for segment in list_segments(self._disk, self.directory)]
        while listed and self._is_not_begun(listed[-1]):
            listed.pop()
        self._chain.replace(listed)
        return listed[-1] if listed else None

    def _is_not_begun(self, segment: Segment) -> bool:
        try:
            return never_begun(segment)
        except FileNotFoundError:
            return True
