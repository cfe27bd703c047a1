"""Memory shared with one worker: signals cross it in one copy, where a socket takes four and the kernel's time.

A slot holds the signals of one request from before the request is sent until its answer has come; so nobody writes
where somebody reads, and neither side waits. Where there is no free slot, or no such memory on this system, signals go
with the request itself.
"""

from __future__ import annotations

import mmap
import os

SLOTS = 16
SLOT_BYTES = 1 << 20
"""A group's signals; the pages of a slot are taken when it is first used."""


class Slots:
    """The runtime's end; a worker that is started anew gets new ones."""

    def __init__(self) -> None:
        self.descriptor: int | None = None
        self._free: list[int] = []
        self._held: dict[int, int] = {}  # number of the request -> its slot
        if hasattr(os, "memfd_create"):
            self.descriptor = os.memfd_create("flo-signals", 0)
            os.ftruncate(self.descriptor, SLOTS * SLOT_BYTES)
            self._memory = mmap.mmap(self.descriptor, SLOTS * SLOT_BYTES)
            self._free = list(range(SLOTS))

    def put(self, number: int, content: bytes) -> int | None:
        """The slot that holds the content of request `number` now; None: it must go with the request."""
        if not self._free or len(content) > SLOT_BYTES:
            return None
        slot = self._held[number] = self._free.pop()
        start = slot * SLOT_BYTES
        self._memory[start : start + len(content)] = content
        return slot

    def answered(self, number: int) -> None:
        """The worker has read what request `number` brought."""
        slot = self._held.pop(number, None)
        if slot is not None:
            self._free.append(slot)

    def close(self) -> None:
        self._free, self._held = [], {}
        if self.descriptor is not None:
            self._memory.close()
            os.close(self.descriptor)
            self.descriptor = None


class SlotReader:
    """The worker's end."""

    def __init__(self, descriptor: int | None) -> None:
        if descriptor is not None:
            self._memory = mmap.mmap(descriptor, SLOTS * SLOT_BYTES, prot=mmap.PROT_READ)
            os.close(descriptor)

    def read(self, slot: int, size_bytes: int) -> bytes:
        start = slot * SLOT_BYTES
        return self._memory[start : start + size_bytes]
