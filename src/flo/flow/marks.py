"""De-duplication marks: which `source`+`id` was taken within the window.

The marks are not stored by themselves: the recorded signals are the marks. In memory they stand in generations of one
hour, dropped whole when the window has passed, so memory is bounded by the window's traffic.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterable

GENERATION_NS = 3_600_000_000_000


class Marks:
    """Owned by the deciding thread."""

    def __init__(self, window_ns: int) -> None:
        self.window_ns = window_ns
        self.hot: dict[str, set[str]] = {}
        self._hot_since_ns = 0
        self._older: list[tuple[int, dict[str, set[str]]]] = []  # (end of the generation, marks), newest last
        self._refused: dict[tuple[str, str], int] = {}

    @property
    def older(self) -> bool:
        return bool(self._older)

    def seen_before(self, source: str, id: str) -> bool:
        """Whether an earlier generation holds the mark; the newest one is asked through `hot`."""
        for _, generation in self._older:
            ids = generation.get(source)
            if ids is not None and id in ids:
                return True
        return False

    def add(self, source: str, id: str) -> None:
        self.hot.setdefault(source, set()).add(id)

    def add_all(self, pairs: Iterable[tuple[str, str]]) -> None:
        for source, id in pairs:
            self.add(source, id)

    # A refused signal may come again corrected, under the same id: only the very same bytes are a repeat.

    def refused_before(self, source: str, id: str, raw: bytes) -> bool:
        return self._refused.get((source, id)) == zlib.crc32(raw)

    def add_refused(self, source: str, id: str, raw: bytes) -> None:
        if (
            len(self._refused) >= 1_000_000
        ):  # a flood of bad input must not fill memory: forget the oldest half
            for key in list(self._refused)[:500_000]:
                del self._refused[key]
        self._refused[(source, id)] = zlib.crc32(raw)

    def turn(self, now_ns: int) -> None:
        """Begin a new generation when the hour is over; drop those the window has left behind."""
        if not self._hot_since_ns:
            self._hot_since_ns = now_ns
        elif now_ns - self._hot_since_ns >= GENERATION_NS:
            self._older.append((now_ns, self.hot))
            self.hot = {}
            self._hot_since_ns = now_ns
        while self._older and self._older[0][0] < now_ns - self.window_ns:
            self._older.pop(0)

    def __len__(self) -> int:
        return sum(len(ids) for _, marks in [(0, self.hot), *self._older] for ids in marks.values())
