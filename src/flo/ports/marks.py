"""The seam to frozen marks: a generation of de-duplication marks that went from memory to a file."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

Hashes = NDArray[np.uint64]


class FrozenMarks(Protocol):
    """The marks of the blocks `first_block` to `last_block`, by a 64-bit hash of each.

    It says where to look, never what is true: whoever finds a hash here reads the block and compares.
    """

    @property
    def first_block(self) -> int: ...
    @property
    def last_block(self) -> int: ...
    @property
    def start_ns(self) -> int:
        """When the first of its blocks was decided."""
        ...

    @property
    def end_ns(self) -> int:
        """When the last of its blocks was decided."""
        ...

    @property
    def count(self) -> int:
        """Marks held; a hash that two signals share counts twice."""
        ...

    def blocks_of(self, hash: int) -> list[int]:
        """The blocks that hold a mark of this hash. `StorageUnavailable` where the disk refuses."""
        ...

    def hashes(self) -> Iterator[Hashes]:
        """All hashes, a piece at a time."""
        ...
