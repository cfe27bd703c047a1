"""Which keys changed since the last checkpoint."""

from __future__ import annotations

from collections.abc import Collection, Iterable

GROUPS_MAX = 500
"""Groups kept apart; then they become one set: a checkpoint may fail for long."""


class DirtyKeys:
    """Owned by the deciding thread. To put a thousand keys into a set takes longer than to keep them in a row until
    somebody asks."""

    def __init__(self) -> None:
        self._groups: dict[str, list[Collection[str]]] = {}

    def add(self, loop: str, keys: Iterable[str]) -> None:
        """One group changed these."""
        groups = self._groups.setdefault(loop, [])
        groups.append(list(keys))
        if len(groups) > GROUPS_MAX:
            groups[:] = [set().union(*groups)]

    def count(self) -> int:
        """How many keys changed. They are put together for it, which `take` then finds done."""
        for groups in self._groups.values():
            groups[:] = [set().union(*groups)]
        return sum(len(groups[0]) for groups in self._groups.values())

    def take(self) -> dict[str, set[str]]:
        """All of them by loop, each once; from here on nothing has changed."""
        taken, self._groups = self._groups, {}
        return {loop: set().union(*groups) for loop, groups in taken.items()}
