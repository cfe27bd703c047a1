"""The hash of a mark: 64 bits of BLAKE2b over a signal's source and id.

BLAKE2b because ids come from outside: nobody can make many that collide, which would send every look-up to the disk.
It is in the standard library and takes 0.3 µs with the source hashed once; xxHash would save 0.2 µs and cost a
dependency. Collisions are harmless all the same, since every hit is compared with the recorded signal.
"""

from __future__ import annotations

from collections.abc import Callable
from hashlib import blake2b
from typing import Any

HashMark = Callable[[str, str], int]
"""(source, id) -> 64 bits."""

SOURCES_MAX = 10_000


class MarkHasher:
    """Remembers the sources' part. Safe on any thread: what is shared is only copied."""

    def __init__(self) -> None:
        self._sources: dict[str, Any] = {}

    def __call__(self, source: str, id: str) -> int:
        begun = self._sources.get(source)
        if begun is None:
            if len(self._sources) >= SOURCES_MAX:
                self._sources.clear()
            encoded = source.encode()
            begun = blake2b(len(encoded).to_bytes(4, "little") + encoded, digest_size=8)
            self._sources[source] = begun
        hasher = begun.copy()
        hasher.update(id.encode())
        return int.from_bytes(hasher.digest(), "little")


def digest_of_raw(raw: bytes) -> bytes:
    """What tells a refused signal's bytes from all others: 128 bits, so that chance cannot confuse two."""
    return blake2b(raw, digest_size=16).digest()
