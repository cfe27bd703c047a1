"""A ledger as those who read it see it (`flo.ports.store.LedgerView`)."""

from __future__ import annotations

from collections.abc import Iterator

from flo.ports.store import StoredBlock, StoredHeader
from flo.stores.ledger import CODEC_LOST, BlockMissing, Ledger, LedgerReader
from flo.stores.ledger.reading import ReadableBlocks


class WriterView:
    """Reads through the ledger that is being written: what is durable is seen at once."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger
        self.shard = ledger.shard
        self.letters = ledger.letters

    def first_block(self) -> int:
        return self._ledger.first_block

    def last_block(self) -> int:
        return self._ledger.durable_block

    def read(self, block: int) -> StoredBlock:
        try:
            return self._ledger.read(block)
        except BlockMissing as missing:
            raise KeyError(str(missing)) from None

    def headers(self, last: int, first: int = 0) -> Iterator[StoredHeader]:
        return _headers(self._ledger, last, first)


class ReaderView:
    """Reads a ledger beside whoever writes it, or nobody; looks for new blocks with every question."""

    def __init__(self, reader: LedgerReader) -> None:
        self._reader = reader
        self.shard = reader.shard
        self.letters = reader.letters

    def first_block(self) -> int:
        self._reader.refresh()
        return self._reader.first_block

    def last_block(self) -> int:
        return self._reader.refresh()

    def read(self, block: int) -> StoredBlock:
        if block > self._reader.last_block:
            self._reader.refresh()
        try:
            return self._reader.read(block)
        except BlockMissing as missing:
            if self._reader.refresh() < block:
                raise KeyError(str(missing)) from None
        try:  # written since it last looked, or dropped meanwhile
            return self._reader.read(block)
        except BlockMissing as missing:
            raise KeyError(str(missing)) from None

    def headers(self, last: int, first: int = 0) -> Iterator[StoredHeader]:
        return _headers(self._reader, last, first)


def _headers(blocks: ReadableBlocks, last: int, first: int) -> Iterator[StoredHeader]:
    """Newest first, to the oldest there is, or was until it was dropped meanwhile."""
    oldest = blocks.first_block
    try:
        for header in blocks.scan(first=max(first, oldest), last=last, reverse=True, headers_only=True):
            if header.codec != CODEC_LOST:  # holds only its place: nobody knows what was in it
                yield header
    except BlockMissing:
        if blocks.first_block == oldest:
            raise
