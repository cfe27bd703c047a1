"""One shard: its state, its ledger, its open commands, and the batches that move them on.

Everything here runs on one event loop, but for the commit thread. The way of a signal:

    offer ▸ (fetch needs) ▸ queue ▸ batch ▸ Step.run ▸ group ▸ Committer ▸ durable ▸ answer, dispatch, publish

A batch closes when it is full, when 2 ms have passed, or when the committer has nothing to do; so a lone request
waits for its own sync and at most the one before, and a flood is cut into large groups by the commits themselves.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Callable, Sequence
from operator import itemgetter
from typing import Any

from flo.core.errors import FloError, Overloaded, StorageUnavailable
from flo.core.record import Answered, Attempted, CommandOutcome, DeadLetter, Group
from flo.flow.reconcile import Reconciler
from flo.flow.step import Step, Submission
from flo.ports.clock import Clock
from flo.ports.service import Receipt
from flo.runtimes.embedded.alarm import Alarm
from flo.runtimes.embedded.backlog import Backlog
from flo.runtimes.embedded.batches import (
    BATCH_BYTES_MAX,
    BATCH_SIGNALS_MAX,
    NOTHING,
    Needs,
    Only,
    cuts,
    part_of,
)
from flo.runtimes.embedded.committer import Committer
from flo.runtimes.embedded.crash_points import Reached, pass_by
from flo.runtimes.embedded.dirty_keys import DirtyKeys
from flo.stores.ledger import Ledger

log = logging.getLogger("flo.shard")

BATCH_WAIT_S = 0.002
GROUPS_IN_FLIGHT_MAX = 8

RECENT_GROUPS_MAX = 64
"""Groups that callers wait for the decisions of, kept until they have read them; more than can be in flight."""

CRASHED_S = 2.0
REFUSING_S = 1.0

_key_of = itemgetter(1)

Operation = Callable[[Group], Any]
Listener = Callable[[list[Group]], None]


class Shard:
    """Owns one shard. `offer` is the only way in; every promise about durability is the ledger's."""

    def __init__(
        self,
        number: int,
        ledger: Ledger,
        step: Step,
        reconciler: Reconciler,
        clock: Clock,
        reached: Reached = pass_by,
    ) -> None:
        self.number = number
        self._reached = reached
        self.ledger = ledger
        self.step = step
        self.reconciler = reconciler
        self.clock = clock
        self.listeners: list[Listener] = []
        self.dirty = DirtyKeys()
        self.decided_block = ledger.next_block - 1
        self.stopping = False
        self.broken: BaseException | None = None
        self.storage_error: StorageUnavailable | None = None
        self._queue: deque[Submission] = deque()
        self._queued = 0  # signals in the queue
        self._backlog = Backlog()
        self._operations: list[tuple[Operation, asyncio.Future[Any]]] = []
        self._in_flight: deque[tuple[Group, Callable[[BaseException | None], None]]] = deque()
        self._after_group: list[Callable[[], None]] = []
        self.recent: dict[int, Group] = {}  # by block: groups with decisions that are asked for at once
        self._flush_handle: asyncio.Handle | None = None
        self._flush_waits = False  # for more to come: by a timer, which uvloop does not tell by its type
        self._alarm = Alarm(clock, self._ring)
        self._loop = asyncio.get_running_loop()
        self.committer = Committer(
            ledger,
            durable=lambda groups: self._on_loop(self._durable, groups),
            refused=lambda error: self._on_loop(self._refused, error),
            broken=lambda error: self._on_loop(self._break, error),
            reached=reached,
        )

    def start(self) -> None:
        """Begin to commit, and to watch the promises that were open when FLO last ended."""
        self.committer.start()
        self._arm_timer()

    # -- in -----------------------------------------------------------------------------------------------

    async def offer(
        self, raws: Sequence[bytes], *, needs: Needs = NOTHING, only: Only = NOTHING, detailed: bool = False
    ) -> list[Receipt]:
        """Take signals; returns when they are durable. `Overloaded`: nothing was taken.

        `needs`: what was fetched for each, by loop. `only`: where given for a signal, the loops that decide it here.
        """
        size_bytes = sum(map(len, raws))
        self._check_open(len(raws), size_bytes)
        self._backlog.add(len(raws), size_bytes)
        try:
            if len(raws) <= BATCH_SIGNALS_MAX and size_bytes <= BATCH_BYTES_MAX:
                return await self._submit(Submission(raws, _ignore, needs, only, detailed))
            parts = [
                self._submit(
                    Submission(
                        raws[start:end],
                        _ignore,
                        part_of(needs, start, end),
                        part_of(only, start, end),
                        detailed,
                    )
                )
                for start, end in cuts(raws)
            ]
            answers = await asyncio.gather(*parts, return_exceptions=True)
            for answer in answers:
                if isinstance(answer, BaseException):
                    raise answer
            return [receipt for answer in answers if isinstance(answer, list) for receipt in answer]
        finally:
            self._backlog.answered(len(raws), size_bytes)

    def _check_open(self, count: int, size_bytes: int) -> None:
        if self.broken is not None:
            raise _cannot_record(self.broken)
        if self.storage_error is not None:
            raise StorageUnavailable(str(self.storage_error), 1.0)
        if self.stopping:
            raise Overloaded("FLO is stopping; send again when it is back", 2.0)
        self._backlog.check(count, size_bytes, len(self.reconciler.commands))
        if (pause := self.reconciler.pauses.behind()) is not None:
            raise Overloaded(f"{pause.pipeline} decides what it parked first; nothing was taken", 0.2)

    def _submit(self, submission: Submission) -> asyncio.Future[list[Receipt]]:
        future: asyncio.Future[list[Receipt]] = self._loop.create_future()

        def done(result: list[Receipt] | BaseException) -> None:
            if future.done():
                return
            if isinstance(result, BaseException):
                future.set_exception(result)
            else:
                future.set_result(result)

        submission.done = done
        self._queue.append(submission)
        self._queued += len(submission.raws)
        self._schedule()
        self._reached("taken")
        return future

    def perform(self, operation: Operation) -> asyncio.Future[Any]:
        """Run something that changes the group under way; the future has its result once it is durable."""
        future: asyncio.Future[Any] = self._loop.create_future()
        if self.broken is not None:
            future.set_exception(_cannot_record(self.broken))
            return future
        if self.storage_error is not None:  # as for signals: refused now, not whenever the disk heals
            future.set_exception(StorageUnavailable(str(self.storage_error), 1.0))
            return future
        self._operations.append((operation, future))
        self._schedule()
        return future

    def after_group(self, call: Callable[[], None]) -> None:
        """Call back between the next group and the one after it: where a change of bundle takes its place."""
        self._after_group.append(call)

    # -- batches ------------------------------------------------------------------------------------------

    def _schedule(self) -> None:
        if self._flush_handle is not None:
            if self._flush_waits and (not self._in_flight or self._queued >= BATCH_SIGNALS_MAX):
                self._flush_handle.cancel()
                self._flush_soon()
            return
        if len(self._in_flight) >= GROUPS_IN_FLIGHT_MAX:
            return  # a commit that ends schedules again
        if not self._in_flight or self._queued >= BATCH_SIGNALS_MAX:
            self._flush_soon()
        else:
            self._flush_handle = self._loop.call_later(BATCH_WAIT_S, self._flush)
            self._flush_waits = True

    def _flush_soon(self) -> None:
        self._flush_handle = self._loop.call_soon(self._flush)
        self._flush_waits = False

    def _flush(self) -> None:
        self._flush_handle = None
        if self.broken is not None or not (self._queue or self._operations):
            return
        batch = self._next_batch()
        operations, self._operations = self._operations, []
        try:
            self._decide(batch, operations)
        except (
            BaseException
        ) as error:  # a defect in the core: no half group may be committed, and nothing after it
            self._break(error)
            for submission in batch:
                submission.done(_cannot_record(error))
            for _, future in operations:
                if not future.done():
                    future.set_exception(_cannot_record(error))
            raise
        if self._queue or self._operations:
            self._schedule()

    def _next_batch(self) -> list[Submission]:
        batch: list[Submission] = []
        taken = size_bytes = 0
        while self._queue:
            submission = self._queue[0]
            taken += len(submission.raws)
            size_bytes += sum(map(len, submission.raws))
            if batch and (taken > BATCH_SIGNALS_MAX or size_bytes > BATCH_BYTES_MAX):
                break
            batch.append(self._queue.popleft())
            self._queued -= len(submission.raws)
        return batch

    def _decide(
        self, batch: list[Submission], operations: list[tuple[Operation, asyncio.Future[Any]]]
    ) -> None:
        group = Group(block=self.decided_block + 1, shard=self.number, decided_ns=self.clock.now_ns())
        self.reconciler.fire(group.decided_ns, group)
        results = [(operation(group), future) for operation, future in operations]
        receipts = self.step.run(batch, group)
        after, self._after_group = self._after_group, []

        for submission, received in zip(batch, receipts, strict=True):
            if not submission.strict:  # loops of relaxed consistency alone: decided is enough
                submission.done(received)

        def answer(error: BaseException | None) -> None:
            for submission, received in zip(batch, receipts, strict=True):
                submission.done(received if error is None else error)
            for result, future in results:
                if not future.done():
                    if error is None:
                        future.set_result(result)
                    else:
                        future.set_exception(error)

        if not group.is_empty():
            self.decided_block = group.block
            if any(submission.detailed for submission in batch):
                self._keep(group)
            for section in group.sections:
                self.dirty.add(section.loop, map(_key_of, section.rows))
        self._in_flight.append((group, answer))
        self._reached("decided")
        self.committer.put(group)
        for call in after:
            call()
        self._arm_timer()

    def _keep(self, group: Group) -> None:
        self.recent[group.block] = group
        if len(self.recent) > RECENT_GROUPS_MAX:
            del self.recent[next(iter(self.recent))]

    # -- durable ------------------------------------------------------------------------------------------

    def _on_loop(self, call: Callable[..., None], argument: Any) -> None:
        """From the commit thread to the event loop; after the loop has closed there is nobody left to tell."""
        if not self._loop.is_closed():
            self._loop.call_soon_threadsafe(call, argument)

    def _durable(self, groups: list[Group]) -> None:
        self.storage_error = None
        for group in groups:
            expected, answer = self._in_flight.popleft()
            assert expected is group
            answer(None)
        self._reached("answered")
        for listener in self.listeners:
            listener(groups)
        self._arm_timer()
        if self._queue or self._operations:
            self._schedule()

    def _refused(self, error: StorageUnavailable) -> None:
        """The disk refuses. Waiters are told now; their groups stay and become durable if the disk heals."""
        first = self.storage_error is None
        self.storage_error = error
        if first:
            for _, answer in self._in_flight:
                answer(error)
            self._fail_queue(error)

    def _break(self, error: BaseException) -> None:
        """Nothing can be recorded any more: everyone is told, and only a restart helps."""
        self.broken = error
        failure = _cannot_record(error)
        for _, answer in self._in_flight:
            answer(failure)
        self._fail_queue(failure)

    def _fail_queue(self, error: FloError) -> None:
        while self._queue:
            self._queue.popleft().done(error)
        self._queued = 0
        operations, self._operations = self._operations, []
        self._after_group.clear()  # they belong to an operation, which did not happen
        for _, future in operations:
            if not future.done():
                future.set_exception(error)

    # -- the dispatcher's words, and time -----------------------------------------------------------------

    async def record(self, events: Sequence[Attempted | Answered | CommandOutcome | DeadLetter]) -> None:
        """What the dispatcher learned, into the ledger; done when durable."""
        await self.perform(lambda group: self.reconciler.learned(events, group))

    def _arm_timer(self) -> None:
        """Have a group decided when the next promise is due, whether signals come or not."""
        self._alarm.set(self.reconciler.next_timer_ns())

    def _ring(self) -> None:
        if self.storage_error is not None:
            return  # armed again by the first group that becomes durable
        self.perform(lambda group: None).add_done_callback(lambda done: done.cancelled() or done.exception())

    # -- the end ------------------------------------------------------------------------------------------

    async def settle(self, timeout_s: float) -> bool:
        """Wait until everything taken is durable; False where it is not: broken, refused by the disk, or too slow."""
        try:
            async with asyncio.timeout(timeout_s):
                while self._backlog.signals or self._in_flight:
                    if self.broken is not None or self.storage_error is not None:
                        return False
                    await self._backlog.empty()
                    await asyncio.sleep(0.001)
        except TimeoutError:
            return False
        return True

    def is_quiet(self) -> bool:
        """Whether nothing waits for a batch or for the disk; also where the disk refuses and all must wait."""
        if self.broken is not None or self.storage_error is not None:
            return True
        return not (self._queue or self._operations or self._in_flight)

    def abandon(self) -> None:
        """Stop without committing; only for a disk that is gone already."""
        self._halt()
        self.committer.stop(CRASHED_S)

    def close(self, timeout_s: float) -> bool:
        """End the commit thread and the ledger. What was acknowledged is durable already."""
        self._halt()
        # whoever waits for what the disk refuses was told so: it gets one more second to heal, not all the time
        whole = self.committer.stop(timeout_s if self.storage_error is None else min(timeout_s, REFUSING_S))
        self.ledger.close()
        return whole

    def _halt(self) -> None:
        self.stopping = True
        self._alarm.cancel()
        if self._flush_handle is not None:
            self._flush_handle.cancel()

    def backlog(self) -> int:
        return self._backlog.signals


def _cannot_record(error: BaseException) -> StorageUnavailable:
    why = f"{type(error).__name__}: {error}"
    return StorageUnavailable(f"FLO cannot record any more and must be restarted: {why}", 5.0)


def _ignore(result: list[Receipt] | BaseException) -> None:
    """Nobody waits yet."""
