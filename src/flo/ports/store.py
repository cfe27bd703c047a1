"""The seam to a shard's ledger, as those who read it see it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Protocol

from flo.core.record import KeptLetter, LetterLeft


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


class KeptLetters(Protocol):
    """The dead letters of periods that were dropped, or are about to be: a block that can be read has its own.

    Whoever reads them after the ledger misses none that went from there meanwhile.
    """

    def find(
        self, after: tuple[int, int], before: tuple[int, int], *, reverse: bool = False
    ) -> Iterator[KeptLetter]:
        """Those between two places (block, place), neither included: oldest first, or newest first."""
        ...

    def left(self) -> Iterator[LetterLeft]:
        """Those that left, as far as the ledger does not say so any more."""
        ...


class LedgerView(Protocol):
    """Reading a shard, while it is written or not. Only whole, durable blocks are seen."""

    @property
    def shard(self) -> int: ...

    @property
    def letters(self) -> KeptLetters:
        """Dead letters kept beyond the time of their blocks."""
        ...

    def first_block(self) -> int:
        """The oldest block that can be read now; of kept letters, those count whose block lies before it."""
        ...

    def last_block(self) -> int:
        """The newest block that can be read now."""
        ...

    def read(self, block: int) -> StoredBlock:
        """One block; `KeyError` where there is none (dropped by retention, or not yet written)."""
        ...

    def headers(self, last: int, first: int = 0) -> Iterator[StoredHeader]:
        """Headers from `last` back to `first`, newest first."""
        ...
