"""The newest version seen of each key: an answer with an older one is yesterday's."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping

from flo.core.errors import SignalRejected
from flo.core.signal import time_from_text

KEYS_MAX = 100_000
"""Of one dependency; the one seen longest ago is forgotten. About 15 MB."""


class NewestVersions:
    """By one field of the answers: a number that grows, or an RFC 3339 time. Other values tell nothing."""

    def __init__(self, field: str | None) -> None:
        self._field = field
        self._newest: OrderedDict[str, float] = OrderedDict()

    def went_back(self, key: str, value: object) -> bool:
        """Whether this answer is older than one that was seen before for its key."""
        if self._field is None or not isinstance(value, Mapping):
            return False
        version = _ordered(value.get(self._field))
        if version is None:
            return False
        newest = self._newest.pop(key, version)
        while len(self._newest) >= KEYS_MAX:
            self._newest.popitem(last=False)
        self._newest[key] = max(newest, version)
        return version < newest


def _ordered(version: object) -> float | None:
    if isinstance(version, bool):
        return None
    if isinstance(version, int | float):
        return version
    if isinstance(version, str):
        try:
            return time_from_text(version)
        except SignalRejected:
            return None
    return None
