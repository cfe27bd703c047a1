"""The failures that a simulated disk was told to have."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import Final, Literal

Operation = Literal[
    "create", "open", "read", "write", "allocate", "sync", "truncate", "rename", "remove", "sync_directory"
]
CHANGING: Final[frozenset[Operation]] = frozenset(
    ("create", "write", "allocate", "sync", "truncate", "rename", "remove", "sync_directory")
)


@dataclass(slots=True)
class _Fault:
    operation: Operation
    countdown: int
    error: int
    forever: bool


class Faults:
    """Counts operations, and says which of them fails, and with which errno."""

    def __init__(self) -> None:
        self.counts: Counter[Operation] = Counter()
        self._faults: list[_Fault] = []

    def add(self, operation: Operation, error: int, *, nth: int, forever: bool) -> None:
        self._faults.append(_Fault(operation, nth, error, forever))

    def clear(self) -> None:
        self._faults.clear()

    def count(self, operation: Operation) -> int:
        """One such operation happens: the errno it fails with, or 0."""
        self.counts[operation] += 1
        for fault in self._faults:
            if fault.operation != operation:
                continue
            fault.countdown -= 1
            if fault.countdown == 0 or (fault.forever and fault.countdown < 0):
                return fault.error
        return 0
