"""The watch: all watchdogs, fed by what becomes durable, and their look around about once a second.

Whatever it costs is paid once for each group and each loop in it, or once a second: never for each decision.
"""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Iterable, Mapping
from typing import Any

import msgspec

from flo.core.errors import UsageError
from flo.core.finding import Finding, signal_of
from flo.core.loop.definition import BundleDefinition
from flo.core.record import CommandIssued, CommandOutcome, Event, IterationClosed, Killed
from flo.flow.digest import Digest
from flo.flow.fetch import FetchStats
from flo.flow.observe.observer import Observer
from flo.flow.watchdogs.board import QUERY_KEYS, Board, Posted
from flo.flow.watchdogs.dependency import DependencyWatchdog
from flo.flow.watchdogs.flapping import FlappingWatchdog
from flo.flow.watchdogs.killed import KilledWatchdog
from flo.flow.watchdogs.overhead import OverheadWatchdog
from flo.flow.watchdogs.quiet import QuietWatchdog
from flo.flow.watchdogs.silent import SilentWatchdog
from flo.flow.watchdogs.skewed import SkewedWatchdog
from flo.flow.watchdogs.slowing import SlowingWatchdog
from flo.flow.watchdogs.stale_read import StaleReadWatchdog
from flo.flow.watchdogs.storm import StormWatchdog
from flo.flow.watchdogs.watchdog import Watchdog, is_watchdogs_own
from flo.ports.service import Page

log = logging.getLogger("flo.watchdogs")

SIGNALS_PER_S = 1.0
SIGNALS_BURST = 60
"""Findings become signals at most so fast: a bad hour of ten thousand loops must not be a flood of its own."""

SIGNALS_WAITING_MAX = 1_000
"""Beyond, a finding stands on the board alone, and is counted as not sent."""

SHOWN_MAX = 200
"""Decisions looked at of one group, all loops together."""

LOOK_NS = 5_000_000_000
"""Between two looks at what is sorted for."""

SNAPSHOT_VERSION = 1

SEVERITY = (
    "flo.breaker.opened",
    "flo.deadletters.filling",
    "flo.command.silent",
    "flo.iteration.killed",
    "flo.loop.quiet",
    "flo.logic.skewed",
    "flo.state.stale_read",
    "flo.loop.flapping",
    "flo.dependency.slow",
    "flo.state.storm",
    "flo.cycle.slowing",
    "flo.edge.phantom",
    "flo.edge.serialised",
    "flo.data.recomputed",
    "flo.overhead.high",
)
"""What a person should look at first, worst first: damage that goes on, then damage to come, then waste."""


def severity(type: str) -> int:
    """The place of a type in that order; types that are not in it come last."""
    return SEVERITY.index(type) if type in SEVERITY else len(SEVERITY)


class Saved(msgspec.Struct, frozen=True):
    """What outlives a restart. `dogs`: by type, each as it gave it."""

    version: int
    posted: list[Posted]
    dogs: dict[str, Any]


class Watch:
    """Used on the event loop only. `due` gives the findings that are to be offered to FLO as signals."""

    def __init__(self) -> None:
        self.board = Board(self._raised)
        self.killed = KilledWatchdog()
        self.silent = SilentWatchdog()
        self.quiet = QuietWatchdog()
        self.flapping = FlappingWatchdog()
        self.slowing = SlowingWatchdog()
        self.skewed = SkewedWatchdog()
        self.stale_read = StaleReadWatchdog()
        self.storm = StormWatchdog()
        self.dependency = DependencyWatchdog()
        self.overhead = OverheadWatchdog()
        self.observer = Observer()
        self.dogs: tuple[Watchdog, ...] = (
            self.killed,
            self.silent,
            self.quiet,
            self.flapping,
            self.slowing,
            self.skewed,
            self.stale_read,
            self.storm,
            self.dependency,
            self.overhead,
            *self.observer.dogs,
        )
        self.unsent = 0
        self._is_on = False
        self._looked_ns = 0
        self._waiting: deque[Finding] = deque()
        self._offered: list[Finding] = []
        self._tokens = float(SIGNALS_BURST)
        self._tokens_ns: int | None = None

    def turn_to(self, definition: BundleDefinition) -> None:
        """Watch the loops of another bundle by its thresholds. What does not exist any more is not found any more."""
        loops = {name: loop for name, loop in definition.loops.items() if not is_watchdogs_own(loop)}
        for dog in self.dogs:
            dog.turn_to(definition, loops)
        self._is_on = any(dog.is_on for dog in self.dogs)
        self.observer.turn_to(definition)
        off = {dog.type for dog in self.dogs if not dog.is_on}
        excepted = {dog.type: dog.excepted for dog in self.dogs}
        self.board.keep(
            lambda finding: (
                finding.type not in off
                and (finding.loop is None or finding.loop in definition.loops)
                and finding.subject not in excepted.get(finding.type, ())
            )
        )

    def observe(self, digests: Iterable[Digest]) -> None:
        """Groups became durable."""
        for digest in digests:
            if digest.events or digest.caused:
                self.observer.observe_digest(digest)
            if not self._is_on:
                continue
            at_ns, left = digest.decided_ns, SHOWN_MAX
            for loop in digest.loops:
                self.quiet.heard(loop.loop, at_ns)
                left -= len(loop.shown)
                if left >= 0:
                    self.flapping.decided(loop, at_ns)
                    self.storm.decided(loop)
                if loop.skewed_ns:
                    self.skewed.decided(loop, at_ns)
                if loop.returns:
                    self.slowing.returned(loop, at_ns)
            for event in digest.events:
                self._event(event)

    def _event(self, event: Event) -> None:
        if isinstance(event, CommandIssued):
            self.slowing.commanded(event.command)
            self.flapping.commanded(event.command)
            self.overhead.commanded(event.command)
        elif isinstance(event, IterationClosed):
            self.slowing.ended(event)
        elif isinstance(event, CommandOutcome):
            self.silent.observe(event)
            self.overhead.observe(event)
        elif isinstance(event, Killed):
            self.killed.observe(event)

    def is_look_due(self, now_ns: int) -> bool:
        """Whether `look` is wanted again: it sorts samples, so not each second."""
        return self._is_on and now_ns - self._looked_ns >= LOOK_NS

    def look(self, stats: Mapping[str, FetchStats], shared_age_s: float, now_ns: int) -> None:
        """The figures of the dependencies, and how old other workers' part of shared state may be."""
        self._looked_ns = now_ns
        self.dependency.look(stats)
        self.stale_read.look(stats, shared_age_s)

    def check(self, now_ns: int) -> None:
        """The look around."""
        self.observer.turn(now_ns)
        for dog in self.dogs:
            if dog.is_on:
                dog.check(now_ns, self.board)

    # -- findings as signals ------------------------------------------------------------------------------

    def _raised(self, finding: Finding) -> None:
        log.warning("%s: %s", finding.type, finding.detail)
        if len(self._waiting) >= SIGNALS_WAITING_MAX:
            self.unsent += 1
        else:
            self._waiting.append(finding)

    def due(self, now_ns: int) -> list[bytes]:
        """Signals to be offered now. Those that could not be taken are given back by `put_back`."""
        if self._tokens_ns is not None:
            earned = (now_ns - self._tokens_ns) / 1e9 * SIGNALS_PER_S
            self._tokens = min(float(SIGNALS_BURST), self._tokens + earned)
        self._tokens_ns = now_ns
        count = min(len(self._waiting), int(self._tokens))
        self._tokens -= count
        self._offered = [self._waiting.popleft() for _ in range(count)]
        return [signal_of(finding) for finding in self._offered] + self.observer.due(now_ns)

    def put_back(self) -> None:
        """What `due` gave last was not taken: it is due again. Their ids make a repeat a duplicate."""
        self.observer.put_back()
        self._waiting.extendleft(reversed(self._offered))
        self._tokens += len(self._offered)
        self._offered = []

    def findings(self) -> dict[str, list[dict[str, str]]]:
        """By loop, what holds of it, worst first: type and detail."""
        held = [posted.finding for posted in self.board.posted() if posted.finding.loop is not None]
        found: dict[str, list[dict[str, str]]] = {}
        for finding in sorted(held, key=lambda finding: severity(finding.type)):
            assert finding.loop is not None
            found.setdefault(finding.loop, []).append({"type": finding.type, "detail": finding.detail})
        return found

    # -- what is read of it -------------------------------------------------------------------------------

    def page(self, query: Mapping[str, str], limit: int, cursor: str | None) -> Page:
        """See `Board.page`."""
        for name in query:
            if name not in QUERY_KEYS:
                raise UsageError(f"findings cannot be asked for by `{name}`: by {', '.join(QUERY_KEYS)}")
        return self.board.page(query, limit, cursor)

    # -- across restarts ----------------------------------------------------------------------------------

    def snapshot(self) -> bytes:
        """All that outlives a restart."""
        dogs = {dog.type: saved for dog in self.dogs if (saved := dog.snapshot()) is not None}
        return _encode(Saved(SNAPSHOT_VERSION, self.board.snapshot(), dogs))

    def restore(self, snapshot: bytes, now_ns: int) -> None:
        """Take up where an earlier life ended; whatever of it cannot be read begins anew."""
        try:
            saved = _decode(snapshot)
        except msgspec.MsgspecError as error:
            log.warning("what watchdogs knew cannot be read, they begin anew: %s", error)
            return
        if saved.version != SNAPSHOT_VERSION:
            log.warning("what watchdogs knew is of another FLO (version %s): they begin anew", saved.version)
            return
        self.board.restore(saved.posted)
        for dog in self.dogs:
            if dog.type in saved.dogs:
                try:
                    dog.restore(saved.dogs[dog.type], now_ns)
                except (msgspec.MsgspecError, TypeError, ValueError, LookupError) as error:
                    log.warning("what the watchdog of %s knew cannot be read: %s", dog.type, error)


_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(Saved).decode
