"""Parking: signals for loops of a paused pipeline are recorded with their group, and not decided."""

from __future__ import annotations

from collections.abc import Sequence

from flo.core.record import Group, SignalsParked
from flo.flow.pauses import Pauses
from flo.flow.router import Route, Router
from flo.ports.service import Receipt


class Parking:
    """Owned by the deciding thread. While nothing is paused `types` is empty, and asking it is all that this costs."""

    def __init__(self, pauses: Pauses) -> None:
        self.types: dict[str, str] = {}  # signal types that a paused loop listens to, and its pipeline
        self.loops: dict[str, str] = {}  # paused loops and their pipelines
        self._pauses = pauses
        self._rows: dict[str, list[tuple[int, int]]] = {}  # of the group under way

    def turn_to(self, router: Router) -> None:
        """After a pause, its end, or a change of bundle. The same dictionaries stay: a batch under way reads them."""
        self.loops.clear()
        self.loops.update(self._pauses.loops(router.pipelines) if len(self._pauses) else {})
        self.types.clear()
        for route in router.all:
            pipeline = self.loops.get(route.name)
            if pipeline is not None:
                self.types.update(dict.fromkeys(route.program.definition.on, pipeline))

    def split(self, found: Sequence[Route]) -> tuple[Sequence[Route], list[str]]:
        """The loops that decide a signal now, and the names of those that will later."""
        parked = [route.name for route in found if route.name in self.loops]
        if not parked:
            return found, parked
        return [route for route in found if route.name not in self.loops], parked

    def park(self, loops: Sequence[str], row: int) -> None:
        for loop in loops:
            runs = self._rows.setdefault(loop, [])
            if runs and runs[-1][0] + runs[-1][1] == row:
                runs[-1] = (runs[-1][0], runs[-1][1] + 1)
            else:
                runs.append((row, 1))

    def close(self, group: Group) -> None:
        """What was parked becomes part of the group."""
        for loop, rows in self._rows.items():
            event = SignalsParked(pipeline=self.loops[loop], loop=loop, block=group.block, rows=rows)
            group.events.append(event)
            self._pauses.apply(event)
        self._rows = {}

    def refuse(self, type: str) -> Receipt:
        """Of masked data FLO keeps no copy that could be decided later: its sender has to."""
        detail = (
            f"pipeline {self.types[type]} is paused, and the data of {type} is masked, so that FLO may not keep it: "
            "send it again once the pipeline runs"
        )
        return Receipt("rejected", "paused", detail)
