"""One shard: its state, its ledger, its open commands, and the batches that move them on.

Everything here runs on one event loop, but for the commit thread. The way of a signal:

    offer ▸ (fetch needs) ▸ queue ▸ batch ▸ Step.run ▸ group ▸ Committer ▸ durable ▸ answer, dispatch, publish

A batch closes when it is full, when 2 ms have passed, or at once while the committer is idle; so a lone request
waits for its own sync only, and a flood is cut into large groups by the commits themselves.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from flo.core.errors import FloError, Overloaded, StorageUnavailable
from flo.core.record import Answered, Attempted, CommandOutcome, DeadLetter, Group
from flo.flow.reconcile import Reconciler
from flo.flow.step import Step, Submission
from flo.ports.clock import Clock
from flo.ports.service import Receipt
from flo.runtimes.embedded.committer import Committer
from flo.stores.ledger import Ledger

log = logging.getLogger("flo.shard")

BATCH_SIGNALS_MAX = 1_000
BATCH_WAIT_S = 0.002
QUEUED_SIGNALS_MAX = 20_000
"""Taken and not yet durable. At 50,000 signals a second these are 0.4 s of work: the most a caller may wait."""

GROUPS_IN_FLIGHT_MAX = 8

OPEN_COMMANDS_MAX = 200_000
"""Commands whose end is not known, all engines together: about 300 MB. Beyond, taking signals would only add debts."""

Needs = Mapping[int, Mapping[str, Mapping[str, Any]]]
Only = Mapping[int, frozenset[str]]
NOTHING: Mapping[int, Any] = {}
Operation = Callable[[Group], Any]
Listener = Callable[[list[Group]], None]


class Shard:
    """Owns one shard. `offer` is the only way in; every promise about durability is the ledger's."""

    def __init__(self, number: int, ledger: Ledger, step: Step, reconciler: Reconciler, clock: Clock) -> None:
        self.number = number
        self.ledger = ledger
        self.step = step
        self.reconciler = reconciler
        self.clock = clock
        self.listeners: list[Listener] = []
        self.dirty: dict[str, set[str]] = {}
        self.decided_block = ledger.next_block - 1
        self.stopping = False
        self.broken: BaseException | None = None
        self.storage_error: StorageUnavailable | None = None
        self._queue: deque[Submission] = deque()
        self._queued = 0  # signals in the queue
        self._unsettled = 0  # signals taken and not answered
        self._operations: list[tuple[Operation, asyncio.Future[Any]]] = []
        self._in_flight: deque[tuple[Group, Callable[[BaseException | None], None]]] = deque()
        self._after_group: list[Callable[[], None]] = []
        self._flush_handle: asyncio.Handle | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._idle = asyncio.Event()
        self._loop = asyncio.get_running_loop()
        self.committer = Committer(
            ledger,
            durable=lambda groups: self._on_loop(self._durable, groups),
            refused=lambda error: self._on_loop(self._refused, error),
            broken=lambda error: self._on_loop(self._break, error),
        )

    # -- in -----------------------------------------------------------------------------------------------

    async def offer(
        self, raws: Sequence[bytes], *, needs: Needs = NOTHING, only: Only = NOTHING, detailed: bool = False
    ) -> list[Receipt]:
        """Take signals; returns when they are durable. `Overloaded`: nothing was taken.

        `needs`: what was fetched for each, by loop. `only`: where given for a signal, the loops that decide it here.
        """
        self._check_open(len(raws))
        self._unsettled += len(raws)
        try:
            if len(raws) <= BATCH_SIGNALS_MAX:
                return await self._submit(Submission(raws, _ignore, needs, only, detailed))
            parts = [
                self._submit(
                    Submission(
                        raws[start : start + BATCH_SIGNALS_MAX],
                        _ignore,
                        _part(needs, start),
                        _part(only, start),
                        detailed,
                    )
                )
                for start in range(0, len(raws), BATCH_SIGNALS_MAX)
            ]
            return [receipt for part in await asyncio.gather(*parts) for receipt in part]
        finally:
            self._unsettled -= len(raws)
            if not self._unsettled:
                self._idle.set()

    def _check_open(self, count: int) -> None:
        if self.broken is not None:
            raise StorageUnavailable(f"FLO cannot record any more and must be restarted: {self.broken}", 5.0)
        if self.storage_error is not None:
            raise StorageUnavailable(str(self.storage_error), 1.0)
        if self.stopping:
            raise Overloaded("FLO is stopping; send again when it is back", 2.0)
        if self._unsettled and self._unsettled + count > QUEUED_SIGNALS_MAX:
            raise Overloaded(
                f"{self._unsettled} signals wait to be recorded, {QUEUED_SIGNALS_MAX} may; nothing was taken",
                0.2,
            )
        if len(self.reconciler.commands) > OPEN_COMMANDS_MAX:
            raise Overloaded(
                f"{len(self.reconciler.commands)} commands wait for their engines, {OPEN_COMMANDS_MAX} may; "
                "nothing was taken. See which engine is behind with `flo loops`",
                1.0,
            )

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
        return future

    def perform(self, operation: Operation) -> asyncio.Future[Any]:
        """Run something that changes the group under way; the future has its result once it is durable."""
        future: asyncio.Future[Any] = self._loop.create_future()
        self._operations.append((operation, future))
        self._schedule()
        return future

    def after_group(self, call: Callable[[], None]) -> None:
        """Call back between the next group and the one after it: where a change of bundle takes its place."""
        self._after_group.append(call)

    # -- batches ------------------------------------------------------------------------------------------

    def _schedule(self) -> None:
        if self._flush_handle is not None:
            if self._queued >= BATCH_SIGNALS_MAX and isinstance(self._flush_handle, asyncio.TimerHandle):
                self._flush_handle.cancel()
                self._flush_handle = self._loop.call_soon(self._flush)
            return
        if len(self._in_flight) >= GROUPS_IN_FLIGHT_MAX:
            return  # a commit that ends schedules again
        if not self._in_flight or self._queued >= BATCH_SIGNALS_MAX:
            self._flush_handle = self._loop.call_soon(self._flush)
        else:
            self._flush_handle = self._loop.call_later(BATCH_WAIT_S, self._flush)

    def _flush(self) -> None:
        self._flush_handle = None
        if self.broken is not None or not (self._queue or self._operations):
            return
        batch: list[Submission] = []
        taken = 0
        while self._queue and (not batch or taken + len(self._queue[0].raws) <= BATCH_SIGNALS_MAX):
            submission = self._queue.popleft()
            taken += len(submission.raws)
            batch.append(submission)
        self._queued -= taken
        operations, self._operations = self._operations, []
        try:
            self._decide(batch, operations)
        except (
            BaseException
        ) as error:  # a defect in the core: no half group may be committed, and nothing after it
            self._break(error)
            raise
        if self._queue or self._operations:
            self._schedule()

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
            for section in group.sections:
                self.dirty.setdefault(section.loop, set()).update(row[1] for row in section.rows)
        self._in_flight.append((group, answer))
        self.committer.put(group)
        for call in after:
            call()
        self._arm_timer()

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
        for listener in self.listeners:
            listener(groups)
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
        failure = StorageUnavailable(f"FLO cannot record any more and must be restarted: {error}", 5.0)
        for _, answer in self._in_flight:
            answer(failure)
        self._fail_queue(failure)

    def _fail_queue(self, error: FloError) -> None:
        while self._queue:
            self._queue.popleft().done(error)
        self._queued = 0
        operations, self._operations = self._operations, []
        for _, future in operations:
            if not future.done():
                future.set_exception(error)

    # -- the dispatcher's words, and time -----------------------------------------------------------------

    async def record(self, events: Sequence[Attempted | Answered | CommandOutcome | DeadLetter]) -> None:
        """What the dispatcher learned, into the ledger; done when durable."""
        if self.storage_error is not None:
            raise self.storage_error
        await self.perform(lambda group: self.reconciler.learned(events, group))

    def _arm_timer(self) -> None:
        due = self.reconciler.next_timer_ns()
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if due is not None:
            # at most an hour ahead: the loop's clock may stand still while a machine sleeps, FLO's own decides
            delay_s = min(max((due - self.clock.now_ns()) / 1e9, 0.0), 3600.0)
            self._timer = self._loop.call_later(delay_s + 0.001, self._tick)

    def _tick(self) -> None:
        self._timer = None
        self.perform(lambda group: None).add_done_callback(lambda done: done.cancelled() or done.exception())

    # -- the end ------------------------------------------------------------------------------------------

    async def settle(self, timeout_s: float) -> bool:
        """Wait until everything taken is durable."""
        try:
            async with asyncio.timeout(timeout_s):
                while self._unsettled or self._in_flight:
                    self._idle.clear()
                    if self._unsettled:
                        await self._idle.wait()
                    else:
                        await asyncio.sleep(0.001)
        except TimeoutError:
            return False
        return True

    def close(self, timeout_s: float) -> bool:
        """End the commit thread and the ledger. What was acknowledged is durable already."""
        self.stopping = True
        if self._timer is not None:
            self._timer.cancel()
        if self._flush_handle is not None:
            self._flush_handle.cancel()
        whole = self.committer.stop(timeout_s)
        self.ledger.close()
        return whole

    def backlog(self) -> int:
        return self._unsettled


def _ignore(result: list[Receipt] | BaseException) -> None:
    """Nobody waits yet."""


def _part(by_row: Mapping[int, Any], start: int) -> Mapping[int, Any]:
    """What concerns the rows of one batch, counted from its own first row."""
    return {row - start: value for row, value in by_row.items() if start <= row < start + BATCH_SIGNALS_MAX}
