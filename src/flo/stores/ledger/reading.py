"""What can be asked of a shard's blocks: by their writer, and by those who read beside it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal, overload

from flo.core.errors import UsageError
from flo.stores.ledger.chain import Chain, Period
from flo.stores.ledger.frames import Block, BlockHeader


class ReadableBlocks:
    """The blocks up to the last one its owner knows: durable for the writer, whole at its last look for a reader."""

    def __init__(self, chain: Chain) -> None:
        self._chain = chain

    @property
    def first_block(self) -> int:
        """The oldest block kept; one more than the last if there is none."""
        return self._chain.first_block

    def read(self, block: int) -> Block:
        """`BlockMissing` if it is not there yet, or was dropped."""
        return self._chain.read(block)

    @overload
    def scan(
        self,
        first: int | None = None,
        last: int | None = None,
        *,
        reverse: bool = False,
        headers_only: Literal[False] = False,
    ) -> Iterator[Block]: ...
    @overload
    def scan(
        self,
        first: int | None = None,
        last: int | None = None,
        *,
        reverse: bool = False,
        headers_only: Literal[True],
    ) -> Iterator[BlockHeader]: ...
    def scan(
        self,
        first: int | None = None,
        last: int | None = None,
        *,
        reverse: bool = False,
        headers_only: bool = False,
    ) -> Iterator[Block] | Iterator[BlockHeader]:
        """Blocks `first` to `last` (both included; default: all), read as the iterator is.

        A block whose `codec` is `CODEC_LOST` was destroyed and holds only its place.
        """
        first = self._chain.first_block if first is None else first
        last = self._chain.last_block if last is None else last
        if first < 1 or last < 0:
            raise UsageError(f"blocks {first} to {last}: block numbers begin at 1")
        if headers_only:
            return self._chain.scan(first, last, reverse, headers_only=True)
        return self._chain.scan(first, last, reverse, headers_only=False)

    def periods(self) -> list[Period]:
        """Oldest first; the last one is being written, or may be."""
        return self._chain.periods()
