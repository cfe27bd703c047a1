"""The breaker: when the dead letters of one loop come too fast."""

from __future__ import annotations

from collections import deque

from flo.core.loop.definition import BreakerDefinition


class Breaker:
    """Counts dead letters by loop. Memory: at most as many times as open it, for each loop that has dead letters."""

    def __init__(self) -> None:
        self._times: dict[str, deque[int]] = {}

    def count(self, loop: str, at_ns: int, limit: BreakerDefinition) -> bool:
        """One more dead letter. True: they came too fast, and the loop's pipeline is to be paused."""
        times = self._times.get(loop)
        if times is None or times.maxlen != limit.dead_letters:
            times = self._times[loop] = deque(times or (), limit.dead_letters)
        times.append(at_ns)
        return len(times) == limit.dead_letters and at_ns - times[0] <= limit.within_ns

    def forget(self, loop: str) -> None:
        """After its pipeline was paused it takes as many again."""
        self._times.pop(loop, None)

    def snapshot(self) -> dict[str, list[int]]:
        return {loop: list(times) for loop, times in self._times.items()}

    def restore(self, times: dict[str, list[int]]) -> None:
        self._times = {loop: deque(each, len(each)) for loop, each in times.items()}
