"""Which pipelines are paused, since when and why, and how much of theirs is parked: a fold over the ledger's events.

Of the parked signals only counts and the place of the oldest are kept: they stand in the ledger, a million cost no more
memory than one. The same `apply` serves live events and recovery, so a crash changes nothing of it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping

import msgspec

from flo.core.record import (
    Event,
    PipelinePaused,
    PipelineResumed,
    PipelineRunning,
    SignalsParked,
    SignalsReplayed,
)

Place = tuple[int, int]
"""(block, row): before it, everything parked has been decided."""

ARRIVALS_FREE = 10_000
"""Signals that may come to a pipeline while what it had parked is decided, besides one for every two decided: so that a
drain ends, however fast they come."""


class Pause(msgspec.Struct):
    """One paused pipeline. With a `note` it was resumed, and what was parked is being decided."""

    pipeline: str
    by: str
    reason: str
    at_ns: int
    incident: int
    loops: list[str]
    loop: str | None = None
    waiting: dict[str, int] = {}  # loop -> parked signals not decided yet
    block: int = 0  # of the oldest of them; 0: none
    row: int = 0
    note: str | None = None
    resumed_ns: int = 0
    arrived: int = 0  # parked since it was resumed
    decided: int = 0  # decided since it was resumed

    @property
    def is_draining(self) -> bool:
        return self.note is not None

    @property
    def parked(self) -> int:
        return sum(self.waiting.values())


class Pauses:
    """Owned by the deciding thread. `changed` is called when a loop begins or ends to park its signals."""

    def __init__(self) -> None:
        self.changed: Callable[[], None] = _nobody
        self._by_pipeline: dict[str, Pause] = {}
        self._incidents: dict[str, int] = {}

    def __iter__(self) -> Iterator[Pause]:
        return iter(self._by_pipeline.values())

    def __len__(self) -> int:
        return len(self._by_pipeline)

    def get(self, pipeline: str) -> Pause | None:
        return self._by_pipeline.get(pipeline)

    def incident(self, pipeline: str) -> int:
        """How often the pipeline was paused so far."""
        return self._incidents.get(pipeline, 0)

    def first_block(self) -> int | None:
        """The oldest block that is still needed; None where nothing is parked."""
        return min((pause.block for pause in self if pause.block), default=None)

    def behind(self) -> Pause | None:
        """A pipeline to which signals come too fast for what it has parked to be decided."""
        for pause in self:
            if pause.is_draining and pause.arrived > ARRIVALS_FREE + pause.decided // 2:
                return pause
        return None

    def loops(self, pipelines: Mapping[str, tuple[str, ...]]) -> dict[str, str]:
        """Loop -> the pipeline it is parked for: the loops a pipeline had when it was paused, and those it has now."""
        found: dict[str, str] = {}
        for pause in self:
            for loop in (*pause.loops, *pipelines.get(pause.pipeline, ())):
                found.setdefault(loop, pause.pipeline)
        return found

    # -- the fold -----------------------------------------------------------------------------------------

    def apply(self, event: Event) -> None:
        """Bring the view up to one event; those of other matters change nothing."""
        if isinstance(event, SignalsParked):
            self._apply_parked(event)
        elif isinstance(event, SignalsReplayed):
            self._apply_replayed(event)
        elif isinstance(event, PipelinePaused):
            self._apply_paused(event)
        elif isinstance(event, PipelineResumed):
            pause = self._by_pipeline.get(event.pipeline)
            if pause is not None:
                pause.note, pause.resumed_ns = event.note, event.at_ns
                pause.arrived = pause.decided = 0
        elif isinstance(event, PipelineRunning) and self._by_pipeline.pop(event.pipeline, None) is not None:
            self.changed()

    def _apply_paused(self, event: PipelinePaused) -> None:
        before = self._by_pipeline.get(event.pipeline)
        pause = Pause(
            event.pipeline, event.by, event.reason, event.at_ns, event.incident, list(event.loops), event.loop
        )
        if before is not None:  # paused again while its parked signals were being decided: they wait on
            pause.waiting, pause.block, pause.row = before.waiting, before.block, before.row
        else:
            pause.waiting = {}
        self._by_pipeline[event.pipeline] = pause
        self._incidents[event.pipeline] = event.incident
        self.changed()

    def _apply_parked(self, event: SignalsParked) -> None:
        pause = self._by_pipeline.get(event.pipeline)
        if pause is None:
            return
        count = sum(many for _, many in event.rows)
        pause.waiting[event.loop] = pause.waiting.get(event.loop, 0) + count
        pause.arrived += count
        if not pause.block:
            pause.block, pause.row = event.block, 0

    def _apply_replayed(self, event: SignalsReplayed) -> None:
        pause = self._by_pipeline.get(event.pipeline)
        if pause is None:
            return
        for loop, count in event.decided.items():
            left = pause.waiting.get(loop, 0) - count
            pause.decided += count
            if left > 0:
                pause.waiting[loop] = left
            else:
                pause.waiting.pop(loop, None)
        pause.block, pause.row = (event.block, event.row) if pause.waiting else (0, 0)

    # -- checkpoints --------------------------------------------------------------------------------------

    def snapshot(self) -> tuple[list[Pause], dict[str, int]]:
        """All that is paused, for a checkpoint, which encodes it at once."""
        return list(self), self._incidents

    def restore(self, pauses: list[Pause], incidents: dict[str, int]) -> None:
        self._by_pipeline = {pause.pipeline: pause for pause in pauses}
        self._incidents = incidents
        self.changed()


def _nobody() -> None:
    """Nothing parks here: a view for reading."""
