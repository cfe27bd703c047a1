"""What was fetched lately, by key: bounded in age, number and bytes."""

from __future__ import annotations

from collections import OrderedDict

ENTRIES_MAX = 50_000
SIZE_BYTES_MAX = 64 * 1024 * 1024
"""Of bodies as received; as Python values they take about four times that."""


class FetchCache:
    """Least recently used leaves first. `age_ns_max` 0 keeps nothing."""

    def __init__(self, age_ns_max: int) -> None:
        self._age_ns_max = age_ns_max
        self._entries: OrderedDict[str, tuple[object, str, int, int]] = OrderedDict()
        self._size_bytes = 0

    def __len__(self) -> int:
        return len(self._entries)

    def get(self, key: str, now_ns: int) -> tuple[object, str, int] | None:
        """(value, reason it is missing or "", fetched at) where it is young enough."""
        entry = self._entries.get(key)
        if entry is None:
            return None
        value, reason, fetched_ns, _ = entry
        if now_ns - fetched_ns > self._age_ns_max:
            self._drop(key)
            return None
        self._entries.move_to_end(key)
        return value, reason, fetched_ns

    def put(self, key: str, value: object, reason: str, now_ns: int, size_bytes: int) -> None:
        if not self._age_ns_max:
            return
        if key in self._entries:
            self._drop(key)
        self._entries[key] = (value, reason, now_ns, size_bytes)
        self._size_bytes += size_bytes
        while len(self._entries) > ENTRIES_MAX or self._size_bytes > SIZE_BYTES_MAX:
            self._drop(next(iter(self._entries)))

    def _drop(self, key: str) -> None:
        self._size_bytes -= self._entries.pop(key)[3]
