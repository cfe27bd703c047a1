"""A shard of this process: opened, checkpointed, retained and closed."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping, Sequence
from typing import Any

from flo.core.errors import StorageUnavailable
from flo.core.record import Answered, Attempted, CommandOutcome, DeadLetter, Group, Note
from flo.flow.digest import digest_of
from flo.flow.reconcile import Reconciler
from flo.flow.reload import LoadedBundle
from flo.ports.disk import Disk
from flo.ports.service import Receipt
from flo.runtimes.clock import SteadyClock
from flo.runtimes.embedded.batches import NOTHING, Needs, Only
from flo.runtimes.embedded.library import Library
from flo.runtimes.embedded.opening import NewClock, applied_event, open_shard, put_in_force
from flo.runtimes.embedded.orders import Order, carry_out
from flo.runtimes.embedded.retention import Retention
from flo.runtimes.embedded.shard import Shard
from flo.runtimes.embedded.shard_port import OnDurable, ShardFigures
from flo.stores.ledger_view import WriterView

log = logging.getLogger("flo.shard")

CLOSE_S = 10.0


class LocalShard:
    """See `ShardPort`. Everything runs on the event loop it was opened on, but for the commit thread."""

    def __init__(
        self,
        disk: Disk,
        directory: str,
        number: int,
        library: Library,
        on_durable: OnDurable,
        new_clock: NewClock = SteadyClock,
    ) -> None:
        self.number = number
        self._opened = open_shard(disk, directory, number, library.find, new_clock)
        self.shard: Shard = self._opened.shard
        self.book = self._opened.book
        self.view = WriterView(self.shard.ledger)
        self._library = library
        self._on_durable = on_durable
        self._tasks: list[asyncio.Task[None]] = []
        self.shard.listeners.append(self._tell)

    @property
    def reconciler(self) -> Reconciler:
        return self.shard.reconciler

    @property
    def bundle(self) -> LoadedBundle | None:
        """What was in force when the ledger was last written; None where it is new."""
        return self.book.bundle

    def start(self) -> None:
        self.shard.start()
        retention = Retention(self.shard, self._opened.store, lambda: self.book.definition)
        self._tasks = [
            asyncio.create_task(self._opened.checkpointer.run()),
            asyncio.create_task(self._opened.freezer.run()),
            asyncio.create_task(retention.run()),
        ]

    def _tell(self, groups: list[Group]) -> None:
        self._on_durable([digest_of(group) for group in groups if not group.is_empty()])

    async def offer(
        self, raws: Sequence[bytes], *, needs: Needs = NOTHING, only: Only = NOTHING, detailed: bool = False
    ) -> list[Receipt]:
        return await self.shard.offer(raws, needs=needs, only=only, detailed=detailed)

    def recent(self, block: int) -> Group | None:
        return self.shard.recent.get(block)

    async def learned(self, events: Sequence[Attempted | Answered | CommandOutcome | DeadLetter]) -> None:
        await self.shard.record(events)

    async def apply(self, bundle: LoadedBundle, by: str) -> None:
        """The group that says so is the last one decided under the bundle before."""
        shard = self.shard

        def record(group: Group) -> None:
            group.events.append(applied_event(bundle, group.decided_ns, by))
            # from here, so that a change that was refused leaves nothing to be done after the next group
            shard.after_group(lambda: self._turn_to(bundle, group.decided_ns))

        await shard.perform(record)

    def _turn_to(self, bundle: LoadedBundle, applied_ns: int) -> None:
        put_in_force(self.shard.step, self.book, bundle, applied_ns)
        self._opened.checkpointer.base_next = True

    async def kill(self, loop: str, key: str | None, note: str) -> list[str]:
        def kill(group: Group) -> list[str]:
            subject = loop if key is None else f"{loop}/{key}"
            group.events.append(Note(action="kill", subject=subject, text=note, at_ns=group.decided_ns))
            return self.reconciler.kill(loop, key, note, group)

        killed: list[str] = await self.shard.perform(kill)
        return killed

    async def steer(self, order: Order) -> Any:
        return await self.shard.perform(lambda group: carry_out(order, self.shard.step, group))

    async def figures(self) -> ShardFigures:
        keys = {name: len(route.cells) + len(route.cells.cold) for name, route in self.book.routes.items()}
        return ShardFigures(dict(self.shard.step.counts), keys, self.shard.backlog())

    def shared_states(self) -> dict[str, bytes]:
        """This shard's part of every loop's shared state, for the other shards."""
        return {
            name: route.program.encode_shared(route.cells.shared)
            for name, route in self.book.routes.items()
            if route.cells.shared
        }

    def take_others(self, states: Mapping[str, Sequence[bytes]]) -> None:
        """The other shards' parts: rules read the sum of all. As stale as the last message, a quarter of a second."""
        for name, encoded in states.items():
            route = self.book.routes.get(name)
            if route is not None and route.cells.shared:
                plan = route.program.shared_plan
                route.cells.others = plan.merge(list(encoded))

    def shared_age_s(self) -> float:
        """It is read where it is written."""
        return 0.0

    def tell_models(self, written: Mapping[str, int]) -> None:
        """Which versions of models are in use, and since when they were there: the age of the logic of loops that read
        them. Kept with the next checkpoint; whoever knows more tells it again after a restart."""
        self.reconciler.tell_models(written)
        self.book.look_at_logic()

    def problem(self) -> str | None:
        shard = self.shard
        if shard.broken is not None:
            return f"cannot record any more and must be restarted: {shard.broken}"
        if shard.storage_error is not None:
            return str(shard.storage_error)
        return "stopping" if shard.stopping else None

    async def settle(self, timeout_s: float) -> bool:
        return await self.shard.settle(timeout_s)

    async def stop(self) -> None:
        """Commit what was taken, checkpoint, close. What was acknowledged is durable whatever fails here."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self.shard.stopping = True
        await self.shard.settle(CLOSE_S)
        if self.shard.broken is None and self.shard.storage_error is None:
            try:
                await self._opened.checkpointer.take()
            except StorageUnavailable as error:  # the ledger has it all; the next start only replays more
                log.warning("no checkpoint at the end: %s", error)
        whole = await asyncio.to_thread(self.shard.close, CLOSE_S)
        if not whole:
            log.error(
                "the disk kept refusing: what was not acknowledged is lost, what was acknowledged is safe"
            )

    async def checkpoint(self) -> None:
        await self._opened.checkpointer.take()

    async def abandon(self) -> None:
        """End the tasks and the thread without a word to the disk: what is in memory is gone."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await asyncio.to_thread(self.shard.abandon)
