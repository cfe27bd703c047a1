"""A simulated file's bytes: those in the page cache, those on the platter, and what lies between."""

from __future__ import annotations

import random
from dataclasses import dataclass, field
from typing import Final, NamedTuple

SECTOR_BYTES: Final = 512


class Change(NamedTuple):
    """Of a file's bytes since its last sync: a write, or (data None) a new size."""

    offset: int
    data: bytes | None


@dataclass(slots=True, eq=False)
class Inode:
    """What a process sees (`cache`), what a power cut leaves (`platter`), and the changes in between, in order."""

    platter: bytearray = field(default_factory=bytearray)
    cache: bytearray = field(default_factory=bytearray)
    unsynced: list[Change] = field(default_factory=list)

    def change(self, change: Change) -> None:
        _apply(self.cache, change)
        self.unsynced.append(change)

    def sync(self) -> None:
        """Everything reaches the platter."""
        for change in self.unsynced:
            _apply(self.platter, change)
        self.unsynced.clear()

    def lose(self, dice: random.Random) -> None:
        """Each change that is not synced reaches the platter, or is lost, or is torn, by itself."""
        for change in self.unsynced:
            self._settle(change, dice)
        self.unsynced.clear()

    def _settle(self, change: Change, dice: random.Random) -> None:
        fate = dice.random()
        if fate < 0.4:
            return
        if fate < 0.7 or change.data is None:
            _apply(self.platter, change)
            return
        end = change.offset + len(change.data)
        start = change.offset
        while start < end:  # torn: each sector for itself
            upto = min(end, (start // SECTOR_BYTES + 1) * SECTOR_BYTES)
            if dice.random() < 0.5:
                _apply(self.platter, Change(start, change.data[start - change.offset : upto - change.offset]))
            start = upto


def _apply(data: bytearray, change: Change) -> None:
    if change.data is None:
        _resize(data, change.offset)
        return
    if len(data) < change.offset:
        _resize(data, change.offset)
    data[change.offset : change.offset + len(change.data)] = change.data


def _resize(data: bytearray, size_bytes: int) -> None:
    if size_bytes < len(data):
        del data[size_bytes:]
    else:
        data.extend(bytes(size_bytes - len(data)))
