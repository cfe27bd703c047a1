"""One engine's queue: when a command goes out.

A lane is driven by calls, not by a loop of its own: a new command, the end of a flight and its one alarm each
run `pump`, which sends whatever may go. Every lane has its own queue, concurrency, rate, retry budget and
circuit, so an engine that is slow or down delays its own commands and no others.
"""

from __future__ import annotations

import asyncio
import heapq
import random
from collections import deque
from collections.abc import Awaitable, Callable

import msgspec

from flo.core.loop.definition import EngineDefinition
from flo.flow.backoff import full_jitter_ns
from flo.flow.circuit import Circuit
from flo.flow.delivery import Delivery
from flo.flow.latency import RecentLatencies
from flo.flow.pace import Pace
from flo.flow.retry_budget import RetryBudget
from flo.ports.clock import Clock
from flo.ports.engine import Engine

NS_PER_S = 1_000_000_000

QUEUE_MAX = 10_000
"""Commands owed to one engine before intake is told to slow down: at 1 KiB each, 10 MB; at 100/s, 100 s of
work.
"""

CANCELS_EXTRA = 2
"""Places beyond the concurrency that only a `cancel` may take: behind a queue of long calls it would come too
late.
"""

OVERDUE_FACTOR = 1.5
OVERDUE_EXTRA_S = 1.0
"""An adapter ends a request at its timeout by itself. One that has not done so at 1.5 times it plus a second
is cut.
"""

RETRY_AFTER_S_MAX = 300.0
"""`Retry-After` holds back the whole lane. A wrong one (a date of next year) must not hold it back for a
year.
"""


class LaneStats(msgspec.Struct, frozen=True, kw_only=True):
    """Figures of one engine since the start. Latencies are of sends, over the last 1,024."""

    queued: int  # waiting for their turn, first sends and back-offs
    in_flight: int
    awaiting: int  # taken by the engine, end not known yet
    sent: int  # every send, retries included
    retried: int
    asked: int
    succeeded: int
    failed: int
    tolerated: int
    expired: int
    parked: int
    retry_budget: float  # retries that may go out now
    circuit: str  # closed | open | half-open
    p50_s: float | None
    p99_s: float | None


class Lane:
    """The queue of one engine. `fly` carries out one try of a delivery and calls `landed` when it is over."""

    def __init__(
        self,
        engine: Engine,
        definition: EngineDefinition,
        clock: Clock,
        rng: random.Random,
        fly: Callable[[Lane, Delivery], Awaitable[None]],
        expired: Callable[[Lane, Delivery], None],
    ) -> None:
        self.engine = engine
        self.definition = definition
        self.clock = clock
        self.deliveries: dict[str, Delivery] = {}
        self.awaiting: dict[str, Delivery] = {}
        self.circuit = Circuit(rng)
        self.budget = RetryBudget(definition.retry_budget)
        self.latencies = RecentLatencies()
        self.counts = dict.fromkeys(
            ("sent", "retried", "asked", "succeeded", "failed", "tolerated", "expired", "parked"), 0
        )
        self.running = False
        self._fly = fly
        self._expired = expired
        self._rng = rng
        self._pace = Pace(definition.rate_per_s)
        self._cancels: deque[Delivery] = deque()
        self._sends: deque[Delivery] = deque()
        self._retries: deque[Delivery] = deque()
        self._asks: deque[Delivery] = deque()
        self._asks_next = False
        self._later: list[tuple[int, int, Delivery]] = []
        self._deadlines: list[tuple[int, int, Delivery]] = []
        self._count = 0
        self._paused_until_ns = 0
        self._flights: dict[Delivery, asyncio.Task[None]] = {}
        self._limits: deque[tuple[int, Delivery, asyncio.Task[None]]] = deque()
        self._overdue: set[Delivery] = set()
        self._alarm: asyncio.Task[None] | None = None
        self._alarm_ns = 0

    # What comes in.

    def add(self, delivery: Delivery) -> None:
        """A new delivery, to be sent or asked about as soon as the lane lets it."""
        self.deliveries[delivery.command.key] = delivery
        self._count += 1
        heapq.heappush(self._deadlines, (delivery.command.deadline_ns, self._count, delivery))
        self._forget_old_deadlines()
        self._enqueue(delivery)
        self.pump()

    def turn_to(self, definition: EngineDefinition) -> None:
        """New limits from here on. What was earned, counted and learned of the engine stays."""
        if definition.rate_per_s != self.definition.rate_per_s:
            self._pace = Pace(definition.rate_per_s)
        self.budget.share = definition.retry_budget
        self.definition = definition
        self.pump()

    def resend_later(self, delivery: Delivery, retry_after_s: float | None) -> None:
        """Back off, then send again (or ask, where the delivery says to ask first)."""
        definition = self.definition
        pause_ns = full_jitter_ns(
            delivery.failures, definition.backoff_s, definition.backoff_s_max, self._rng
        )
        if retry_after_s is not None:
            asked_ns = round(min(retry_after_s, RETRY_AFTER_S_MAX) * NS_PER_S)
            pause_ns += asked_ns
            self._paused_until_ns = max(self._paused_until_ns, self.clock.now_ns() + asked_ns)
        self.later(delivery, self.clock.now_ns() + pause_ns)

    def later(self, delivery: Delivery, when_ns: int) -> None:
        self._count += 1
        heapq.heappush(self._later, (when_ns, self._count, delivery))

    def remove(self, delivery: Delivery) -> None:
        """It is over. Its places in the queues are skipped when their turn comes."""
        delivery.settled = True
        self.deliveries.pop(delivery.command.key, None)
        self.awaiting.pop(delivery.command.key, None)

    def landed(self, delivery: Delivery) -> None:
        """The try is over and its place is free."""
        delivery.flying = False
        self._flights.pop(delivery, None)
        self._overdue.discard(delivery)

    def is_overdue(self, delivery: Delivery) -> bool:
        return delivery in self._overdue

    # What goes out.

    def pump(self) -> None:
        """Send whatever may go now, and set the alarm for whatever may go next."""
        if not self.running:
            return
        now_ns = self.clock.now_ns()
        self._expire_due(now_ns)
        self._cut_overdue(now_ns)
        while self._later and self._later[0][0] <= now_ns:
            self._enqueue(heapq.heappop(self._later)[2])
        wake_ns: int | None = None
        while (queue := self._next_queue(now_ns)) is not None:
            free_ns = self._free_at_ns(now_ns)
            if free_ns is None or free_ns > now_ns:
                wake_ns = free_ns
                break
            self._launch(queue.popleft(), now_ns)
        else:
            if self._retries and len(self._flights) < self.definition.concurrency:
                wake_ns = self.budget.free_at_ns(now_ns)
        self._set_alarm(wake_ns)

    def _enqueue(self, delivery: Delivery) -> None:
        if delivery.settled:
            return
        if delivery.ask_first:
            self._asks.append(delivery)
        elif delivery.is_retry:
            self._retries.append(delivery)
        elif delivery.command.verb == "cancel":
            self._cancels.append(delivery)
        else:
            self._sends.append(delivery)

    def _next_queue(self, now_ns: int) -> deque[Delivery] | None:
        """Cancels first; then retries, they are the oldest; then questions and sends by turns, so that
        neither starves the other.
        """
        for queue in (self._cancels, self._sends, self._retries, self._asks):
            while queue and queue[0].settled:
                queue.popleft()
        free = self.definition.concurrency - len(self._flights)
        if self._cancels and free > -CANCELS_EXTRA:
            return self._cancels
        if free <= 0:
            return None
        if self._retries and self.budget.free_at_ns(now_ns) <= now_ns:
            return self._retries
        if self._asks and (self._asks_next or not self._sends):
            return self._asks
        return self._sends or None

    def _free_at_ns(self, now_ns: int) -> int | None:
        circuit_ns = self.circuit.free_at_ns(now_ns)
        if circuit_ns is None:
            return None
        return max(circuit_ns, self._pace.free_at_ns(now_ns), self._paused_until_ns)

    def _launch(self, delivery: Delivery, now_ns: int) -> None:
        self._pace.take(now_ns)
        self.circuit.take()
        self._asks_next = not delivery.ask_first
        if delivery.ask_first:
            self.counts["asked"] += 1
        else:
            self.counts["sent"] += 1
            if delivery.is_retry:
                self.counts["retried"] += 1
                self.budget.spend(now_ns)
            elif not delivery.sends_before:  # what a crash cut off has earned before it
                self.budget.earn()
            delivery.sends += 1
        delivery.flying = True
        task = asyncio.ensure_future(self._fly(self, delivery))
        self._flights[delivery] = task
        limit_s = self.definition.timeout_s * OVERDUE_FACTOR + OVERDUE_EXTRA_S
        self._limits.append((now_ns + round(limit_s * NS_PER_S), delivery, task))

    def _expire_due(self, now_ns: int) -> None:
        """Deliveries past their deadline, except those on their way and those the engine already has."""
        while self._deadlines and self._deadlines[0][0] <= now_ns:
            delivery = heapq.heappop(self._deadlines)[2]
            if delivery.settled or delivery.flying or delivery.accepted or delivery.ask_first:
                continue
            self._expired(self, delivery)

    def _cut_overdue(self, now_ns: int) -> None:
        while self._limits and (self._limits[0][0] <= now_ns or self._limits[0][2].done()):
            _, delivery, task = self._limits.popleft()
            if not task.done() and self._flights.get(delivery) is task:
                self._overdue.add(delivery)
                task.cancel()

    def _forget_old_deadlines(self) -> None:
        """Settled commands leave their deadline behind: a day-long TTL would keep a day of them."""
        if len(self._deadlines) > 2 * len(self.deliveries) + 1_000:
            self._deadlines = [entry for entry in self._deadlines if not entry[2].settled]
            heapq.heapify(self._deadlines)

    # The alarm.

    def _set_alarm(self, wake_ns: int | None) -> None:
        times = [] if wake_ns is None else [wake_ns]
        times += [heap[0][0] for heap in (self._later, self._deadlines) if heap]
        if self._limits:
            times.append(self._limits[0][0])
        if not times:
            return
        when_ns = min(times)
        if self._alarm is not None and not self._alarm.done():
            if self._alarm_ns <= when_ns:
                return
            self._alarm.cancel()
        self._alarm_ns = when_ns
        self._alarm = asyncio.ensure_future(self._ring_at(when_ns))

    async def _ring_at(self, when_ns: int) -> None:
        await self.clock.sleep_until_ns(when_ns)
        self._alarm = None
        self.pump()

    # Its end, and its figures.

    def flights(self) -> list[asyncio.Task[None]]:
        return list(self._flights.values())

    def halt(self) -> None:
        """Send nothing more. Flights go on until they land or are cancelled."""
        self.running = False
        if self._alarm is not None:
            self._alarm.cancel()

    def unsettled(self) -> int:
        """Commands this lane still has work with: queued, backing off, on their way; not those the engine
        has.
        """
        return len(self.deliveries) - len(self.awaiting)

    def room(self) -> int:
        """How many more commands it takes before intake should slow down. It takes them all the same."""
        return max(0, QUEUE_MAX - self.unsettled())

    def stats(self) -> LaneStats:
        p50_s, p99_s = self.latencies.quantiles_s(0.5, 0.99)
        in_flight = len(self._flights)
        return LaneStats(
            queued=max(0, self.unsettled() - in_flight),
            in_flight=in_flight,
            awaiting=len(self.awaiting),
            retry_budget=self.budget.tokens,
            circuit=self.circuit.state,
            p50_s=p50_s,
            p99_s=p99_s,
            **self.counts,
        )
