"""What a running FLO is told of work it did not start: lineage and spans, and the edges that follow from them."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Iterator, Mapping, Sequence

from flo.core.errors import CorruptLedger, Overloaded, SignalRejected
from flo.core.lineage import LineageEvent
from flo.core.record.group import decode_summary
from flo.core.span import Span
from flo.flow.observe.observer import Observer
from flo.flow.observe.recorded import SUMMARIES, Found, recorded
from flo.ports.clock import Clock
from flo.ports.service import Page, Receipt
from flo.ports.store import LedgerView
from flo.runtimes.embedded.gateway import Gateway
from flo.sources.openlineage import read_event

log = logging.getLogger("flo.observe")

SPANS_PER_TURN = 500
"""Spans taken in before others have a turn of the event loop: about 2 ms."""

EVENTS_PER_TURN = 100
"""Lineage events read, or taken in, before others have a turn: about 4 ms of those with a few datasets."""

SPANS_IN_HAND_MAX = 50_000
"""Spans received and not yet taken in, of all requests together: a fifth of a second of work."""

HELD_MAX = 10_000
"""Lineage that comes while the ledger is still read back waits, since runs are told in order."""

Views = Callable[[], Mapping[int, LedgerView]]


class Observing:
    """Feeds the observer. Everything but the reading of the ledger runs on the event loop."""

    def __init__(
        self, observer: Observer, gateway: Gateway, clock: Clock, views: Views, *, reads_back: bool
    ) -> None:
        self.observer = observer
        self._reads_back = reads_back
        self._stopping = False
        observer.find_loop = self._loop_at
        self._gateway = gateway
        self._clock = clock
        self._views = views
        self._spans_in_hand = 0
        self._held: list[LineageEvent] | None = None
        self._task: asyncio.Task[None] | None = None

    # -- in -----------------------------------------------------------------------------------------------

    async def lineage(self, raws: Sequence[bytes]) -> list[Receipt]:
        """Take OpenLineage events. They are signals, and so accepted, known or refused like any; what is durable counts."""
        receipts: list[Receipt | None] = []
        events: list[LineageEvent] = []
        signals: list[bytes] = []
        for place, raw in enumerate(raws, 1):
            try:
                event, signal = read_event(raw)
            except SignalRejected as error:
                receipts.append(Receipt("rejected", error.reason, error.detail))
                continue
            receipts.append(None)
            events.append(event)
            signals.append(signal)
            if place % EVENTS_PER_TURN == 0:
                await asyncio.sleep(0)
        taken = []
        offered = await self._gateway.offer(signals) if signals else []
        for place, (event, receipt) in enumerate(zip(events, offered, strict=True), 1):
            taken.append(self._taken(event, receipt))
            if place % EVENTS_PER_TURN == 0:
                await asyncio.sleep(0)
        following = iter(taken)
        return [next(following) if receipt is None else receipt for receipt in receipts]

    def _taken(self, event: LineageEvent, receipt: Receipt) -> Receipt:
        """What a loop's contract refused was reported all the same, and is in the ledger as its dead letter."""
        if receipt.status == "accepted" or receipt.reason == "contract":
            if self._held is not None and len(self._held) < HELD_MAX:
                self._held.append(event)
            else:
                self.observer.observe_lineage(event)
        return receipt

    async def traces(self, spans: Sequence[Span]) -> None:
        """Take spans in. `Overloaded`: none was taken. They are summarised into the ledger within a minute."""
        if self._spans_in_hand and self._spans_in_hand + len(spans) > SPANS_IN_HAND_MAX:
            raise Overloaded(
                f"{self._spans_in_hand} spans wait to be taken in, {SPANS_IN_HAND_MAX} may; none was taken",
                1.0,
            )
        self._spans_in_hand += len(spans)
        try:
            for start in range(0, len(spans), SPANS_PER_TURN):
                part = spans[start : start + SPANS_PER_TURN]
                self.observer.observe_spans(part, self._clock.now_ns())
                if start + SPANS_PER_TURN < len(spans):
                    await asyncio.sleep(0)
        finally:
            self._spans_in_hand -= len(spans)

    def edges(self, query: Mapping[str, str], limit: int, cursor: str | None) -> Page:
        return self.observer.page(query, limit, cursor, self._clock.now_ns())

    def _loop_at(self, section: str) -> str | None:
        """The loop of a section, from its block's header: for what was decided before this start."""
        shard, block, number = (int(part) for part in section.split("-"))
        view = self._views().get(shard)
        if view is None or block > view.last_block():
            return None
        try:
            header = next(iter(view.headers(block, block)), None)
        except CorruptLedger:  # the reader of that block says so; an edge less is no reason to end here
            return None
        if header is None or header.number != block:
            return None
        loops = decode_summary(header.summary).loops
        return loops[number] if number < len(loops) else None

    # -- what was observed before -------------------------------------------------------------------------

    def start(self) -> None:
        """Read back what the ledger holds, beside everything else; not in a simulation, which has no threads."""
        if not self._reads_back:
            return
        self._held = []
        self._task = asyncio.create_task(self._read_back())

    async def _read_back(self) -> None:
        try:
            blocks = recorded(self._views().values())
            while not self._stopping:
                began = time.perf_counter()
                found = await asyncio.to_thread(_next_found, blocks)
                if found is None:
                    return
                replay(self.observer, found)
                await asyncio.sleep(REST_SHARE * (time.perf_counter() - began))
        except Exception:
            log.exception("the edges observed before this start could not be read back whole")
        finally:
            held, self._held = self._held or [], None
            for event in held:
                self.observer.observe_lineage(event)

    async def ready(self) -> None:
        """Wait until all that was observed before is there."""
        if self._task is not None:
            await asyncio.gather(self._task, return_exceptions=True)

    async def stop(self) -> None:
        """Leave the ledger alone from here on."""
        self._stopping = True
        await self.ready()


BLOCKS_PER_TURN = 16

REST_SHARE = 2.0
"""Of the time that reading took, before it goes on: whoever starts FLO again wants it to decide first of all."""


def _next_found(blocks: Iterator[list[Found]]) -> list[Found] | None:
    """What some blocks hold, or None at the end."""
    found: list[Found] = []
    for _ in range(BLOCKS_PER_TURN):
        block = next(blocks, None)
        if block is None:
            return found or None
        found += block
    return found


def replay(observer: Observer, found: Sequence[Found]) -> None:
    """Show an observer what the ledger holds."""
    for type, raw in found:
        if type in SUMMARIES:
            observer.restore(raw)
            continue
        try:
            event, _ = read_event(raw)
        except SignalRejected:  # sent as a signal by somebody, and never was an OpenLineage event
            continue
        observer.observe_lineage(event)


class ObservedService:
    """The part of a service that takes in and shows what was observed."""

    observing: Observing

    async def lineage(self, raws: Sequence[bytes]) -> list[Receipt]:
        return await self.observing.lineage(raws)

    async def traces(self, spans: Sequence[Span]) -> None:
        await self.observing.traces(spans)

    async def edges(self, query: Mapping[str, str], limit: int, cursor: str | None) -> Page:
        return self.observing.edges(query, limit, cursor)


def edges_of_ledger(observer: Observer, views: Mapping[int, LedgerView]) -> None:
    """All that the ledgers of a data directory hold of edges."""
    for found in recorded(views.values()):
        replay(observer, found)
