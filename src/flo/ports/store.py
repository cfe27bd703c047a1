"""The seam to a shard's ledger, as those who read it see it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Protocol


class StoredHeader(Protocol):
    """What a reader can know of a block without its payload."""

    @property
    def number(self) -> int: ...
    @property
    def count(self) -> int: ...
    @property
    def written_ns(self) -> int: ...
    @property
    def summary(self) -> bytes: ...


class StoredBlock(StoredHeader, Protocol):
    """A block with its payload."""

    @property
    def payload(self) -> bytes: ...


class LedgerView(Protocol):
    """Reading a shard, while it is written or not. Only whole, durable blocks are seen."""

    @property
    def shard(self) -> int: ...

    def last_block(self) -> int:
        """The newest block that can be read now."""
        ...

    def read(self, block: int) -> StoredBlock:
        """One block; `KeyError` where there is none (dropped by retention, or not yet written)."""
        ...

    def headers(self, last: int, first: int = 0) -> Iterator[StoredHeader]:
        """Headers from `last` back to `first`, newest first."""
        ...
