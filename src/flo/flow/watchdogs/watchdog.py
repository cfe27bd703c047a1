"""What every watchdog is: thresholds from the bundle, something it observes, and a look about once a second."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Any, ClassVar

from flo.core.bundle.watchdogs import thresholds
from flo.core.loop.definition import BundleDefinition, LoopDefinition
from flo.flow.watchdogs.board import Board


class Watchdog(ABC):
    """Subclasses observe what they need by methods of their own, and say in `check` what holds and what does not.

    Everything runs on the event loop. What a watchdog remembers is bounded by the loops of the bundle or by a limit of
    its own, and is a derived view: `restore` takes what `snapshot` gave in an earlier life, and without it a watchdog
    begins anew.
    """

    type: ClassVar[str]

    def __init__(self) -> None:
        self.limits: Mapping[str, Any] = {}
        self.is_on = False
        self.excepted: frozenset[str] = frozenset()
        self.loops: Mapping[str, LoopDefinition] = {}

    def turn_to(self, definition: BundleDefinition, loops: Mapping[str, LoopDefinition]) -> None:
        """Go by another bundle's thresholds; `loops` are those that are watched."""
        limits = thresholds(definition, self.type)
        self.is_on = limits is not None
        self.limits = limits or {}
        self.excepted = frozenset(self.limits.get("except", ()))
        self.loops = {name: loop for name, loop in loops.items() if name not in self.excepted}

    @abstractmethod
    def check(self, now_ns: int, board: Board) -> None:
        """Report to the board what holds now, and clear what holds no more."""

    def snapshot(self) -> Any:
        """What outlives a restart: plain values."""
        return None

    def restore(self, snapshot: Any, now_ns: int) -> None:  # noqa: B027 (most remember nothing)
        """Take up a snapshot of an earlier life. Raises whatever a damaged one makes it raise, having changed nothing."""


def is_watchdogs_own(loop: LoopDefinition) -> bool:
    """Whether a loop listens to nothing but FLO's own signals: it is not watched, or findings would feed on themselves."""
    return all(type.startswith("flo.") for type in loop.on)
