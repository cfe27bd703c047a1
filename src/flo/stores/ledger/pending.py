"""Blocks that have their number and wait for the disk."""

from __future__ import annotations

import threading
from typing import Final

import msgspec

from flo.core.errors import StorageUnavailable, UsageError
from flo.stores.ledger.frames import (
    CODEC_MAX,
    COUNT_MAX,
    PAYLOAD_BYTES_MAX,
    SUMMARY_BYTES_MAX,
    TIME_NS_MAX,
    TIME_NS_MIN,
    Block,
    frame_size_bytes,
)

PENDING_BYTES_MAX: Final = 256 << 20  # what may wait for a disk that refuses, before appending is refused too


class PendingBlocks:
    """Oldest first, in memory alone. Any thread may call any method."""

    def __init__(self, directory: str, next_block: int, bytes_max: int) -> None:
        self.next_block = next_block
        self._directory = directory
        self._bytes_max = bytes_max
        self._blocks: list[Block] = []
        self._bytes = 0
        self._lock = threading.Lock()
        self._closed = False

    def append(self, block: Block) -> int:
        """Give the block its number and keep it; returns the number. See `Ledger.append` for what it raises."""
        _check(block)
        size_bytes = frame_size_bytes(len(block.payload), len(block.summary))
        with self._lock:
            if self._closed:
                raise UsageError(f"{self._directory} is closed: open the ledger again to append")
            if self._blocks and self._bytes + size_bytes > self._bytes_max:
                raise StorageUnavailable(
                    f"{self._bytes} bytes wait for {self._directory}, and at most "
                    f"{self._bytes_max} may: commit before appending more"
                )
            number = self.next_block
            self._blocks.append(msgspec.structs.replace(block, number=number))
            self._bytes += size_bytes
            self.next_block = number + 1
        return number

    def first(self, count: int) -> list[Block]:
        """The oldest of them."""
        with self._lock:
            return self._blocks[:count]

    def remove(self, count: int, size_bytes: int) -> None:
        """The oldest of them are durable; together they took this many bytes."""
        with self._lock:
            del self._blocks[:count]
            self._bytes -= size_bytes

    def close(self) -> None:
        """Take no more."""
        with self._lock:
            self._closed = True


def _check(block: Block) -> None:
    for name, value, limit in (
        ("payload bytes", len(block.payload), PAYLOAD_BYTES_MAX),
        ("summary bytes", len(block.summary), SUMMARY_BYTES_MAX),
        ("records", block.count, COUNT_MAX),
        ("codec", block.codec, CODEC_MAX),
    ):
        if not 0 <= value <= limit:
            raise UsageError(f"a block with {name} {value}: the ledger takes 0 to {limit}; split the commit")
    times_ns = (block.time_min_ns, block.time_max_ns, block.written_ns)
    if not TIME_NS_MIN <= min(times_ns) <= max(times_ns) <= TIME_NS_MAX or block.written_ns < 0:
        raise UsageError(
            f"a block with times {block.time_min_ns}, {block.time_max_ns}, written {block.written_ns}: "
            "times are nanoseconds since 1970 in 64 bits, and the writing time is not before 1970"
        )
