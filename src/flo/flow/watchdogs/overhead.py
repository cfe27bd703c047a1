"""`flo.overhead.high`: a pipeline that spends more on orchestration than on work.

Work is what an engine reports: `run_s` in its answer (seconds it worked, without the time the run waited in its own queue).
Everything else between the decision and the outcome is orchestration: FLO's queue, the network, the engine's queue, its
scheduler, and whoever waits for whom. Commands whose answers do not say are not judged.
"""

from __future__ import annotations

from collections import OrderedDict, deque
from collections.abc import Mapping
from typing import Any

from flo.core.command import Command
from flo.core.finding import Finding
from flo.core.loop.definition import BundleDefinition, LoopDefinition
from flo.core.record import CommandOutcome
from flo.flow.watchdogs.board import Board
from flo.flow.watchdogs.watchdog import Watchdog

NS_PER_S = 1_000_000_000
WITHIN_NS = 3_600 * NS_PER_S

COMMANDS_MAX = 1_000
"""Of one pipeline, the last ones: enough for a ratio."""

OPEN_MAX = 100_000
"""Commands whose issue is remembered, the oldest left out first."""

RUN_FIELD = "run_s"


class OverheadWatchdog(Watchdog):
    """Fed with every command and every outcome. A loop of no pipeline is judged by itself."""

    type = "flo.overhead.high"

    def __init__(self) -> None:
        super().__init__()
        self._pipelines: frozenset[str] = frozenset()
        self._home: dict[str, str] = {}
        self._issued: OrderedDict[str, int] = OrderedDict()
        self._took: dict[str, deque[tuple[int, float, float]]] = {}  # (end, all of it, work), in seconds

    def turn_to(self, definition: BundleDefinition, loops: Mapping[str, LoopDefinition]) -> None:
        super().turn_to(definition, loops)
        self._pipelines = frozenset(definition.pipelines)
        self._home = {loop: name for name, each in definition.pipelines.items() for loop in each.loops}
        homes = {self._home.get(loop, loop) for loop in self.loops} - self.excepted
        self._took = {home: took for home, took in self._took.items() if home in homes}

    def commanded(self, command: Command) -> None:
        if self.is_on and command.loop in self.loops:
            while len(self._issued) >= OPEN_MAX:
                self._issued.popitem(last=False)
            self._issued[command.key] = command.issued_ns

    def observe(self, event: CommandOutcome) -> None:
        """A command ended."""
        issued_ns = self._issued.pop(event.command_key, None)
        if issued_ns is None or not isinstance(event.result, Mapping):
            return
        work_s: Any = event.result.get(RUN_FIELD)
        if type(work_s) not in (int, float) or not 0 <= work_s < float("inf"):
            return
        loop = event.command_key.partition("/")[0]
        home = self._home.get(loop, loop)
        if home in self.excepted:
            return
        took = self._took.setdefault(home, deque(maxlen=COMMANDS_MAX))
        all_s = max(0.0, (event.at_ns - issued_ns) / NS_PER_S)
        took.append((event.at_ns, all_s, min(float(work_s), all_s)))

    def check(self, now_ns: int, board: Board) -> None:
        for home, took in list(self._took.items()):
            while took and now_ns - took[0][0] > WITHIN_NS:
                took.popleft()
            if not took:
                del self._took[home]
            work_s = sum(each[2] for each in took)
            waited_s = sum(each[1] for each in took) - work_s
            if len(took) < self.limits["commands"] or waited_s <= self.limits["ratio"] * work_s:
                board.clear(self.type, home)
                continue
            share = waited_s / (waited_s + work_s)
            is_pipeline = home in self._pipelines
            board.report(
                Finding(
                    type=self.type,
                    subject=home,
                    loop=None if is_pipeline else home,
                    pipeline=home if is_pipeline else None,
                    detail=f"{home} spends {share:.0%} of its time on orchestration: of {waited_s + work_s:.1f} s of "
                    f"{len(took)} commands within the hour {work_s:.1f} s were work",
                    at_ns=now_ns,
                    figures={
                        "waited_s": round(waited_s, 3),
                        "worked_s": round(work_s, 3),
                        "overhead_share": round(share, 4),
                        "commands": len(took),
                    },
                )
            )
