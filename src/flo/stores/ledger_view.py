"""A ledger as those who read it see it (`flo.ports.store.LedgerView`)."""

from __future__ import annotations

from collections.abc import Iterator

from flo.ports.store import StoredBlock, StoredHeader
from flo.stores.ledger import BlockMissing, Ledger, LedgerReader


class WriterView:
    """Reads through the ledger that is being written: what is durable is seen at once."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger
        self.shard = ledger.shard

    def last_block(self) -> int:
        return self._ledger.durable_block

    def read(self, block: int) -> StoredBlock:
        try:
            return self._ledger.read(block)
        except BlockMissing as missing:
            raise KeyError(str(missing)) from None

    def headers(self, last: int, first: int = 0) -> Iterator[StoredHeader]:
        first = max(first, self._ledger.first_block)
        return self._ledger.scan(first=first, last=last, reverse=True, headers_only=True)


class ReaderView:
    """Reads a ledger beside whoever writes it, or nobody; looks for new blocks with every question."""

    def __init__(self, reader: LedgerReader) -> None:
        self._reader = reader
        self.shard = reader.shard

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
        first = max(first, self._reader.first_block)
        return self._reader.scan(first=first, last=last, reverse=True, headers_only=True)
