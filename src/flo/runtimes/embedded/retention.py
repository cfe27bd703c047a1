"""Retention: whole periods of the ledger leave when their time is over, and dead letters when theirs is."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from functools import partial
from itertools import islice

from flo.core.errors import CorruptLedger, StorageUnavailable
from flo.core.loop.definition import BundleDefinition
from flo.core.record import KeptPeriod
from flo.flow.keeping import left_in, letters_to_keep
from flo.flow.views.gone import Gone, gone_of
from flo.flow.views.rows import dead_letter_id
from flo.runtimes.embedded.orders import Drop, carry_out, leaving
from flo.runtimes.embedded.shard import Shard
from flo.stores.checkpoints import CheckpointStore
from flo.stores.ledger_view import WriterView

log = logging.getLogger("flo.retention")

EVERY_S = 60.0

EXPIRED_AT_A_TIME = 1_000
"""Dead letters said to have expired in one group: as many as a batch holds signals."""

DAY_NS = 86_400_000_000_000


class Retention:
    """Looks once a minute. What a checkpoint still replays from is never dropped, whatever its age.

    A period's dead letters that nobody has decided about are written down, durably, before it is dropped; until it is,
    its own count and not those. A crash at any point leaves each once, and the next look goes on.
    """

    def __init__(
        self, shard: Shard, store: CheckpointStore, definition: Callable[[], BundleDefinition]
    ) -> None:
        self._shard = shard
        self._store = store
        self._definition = definition
        self._view = WriterView(shard.ledger)

    async def run(self) -> None:
        while True:
            await asyncio.sleep(EVERY_S)
            for drop in (self.drop_letters, self.drop_periods):  # in this order: the second may need the room
                try:
                    await drop()
                except (StorageUnavailable, CorruptLedger) as error:
                    log.warning("what is old could not be dropped: %s", error)

    async def drop_periods(self) -> list[str]:
        """Drop periods of the ledger that may go; returns the files that went."""
        definition = self._definition()
        # signals are the de-duplication marks too: a ledger shorter than that window would forget duplicates
        kept_ns = max(definition.retention.ledger_ns, definition.dedupe_ns)
        before_ns = self._shard.clock.now_ns() - kept_ns
        keep_from = await asyncio.to_thread(self._store.keep_from_block)
        parked_from = self._shard.reconciler.pauses.first_block()
        if (
            parked_from is not None
        ):  # what is parked is still to be decided, however long its pipeline was paused
            keep_from = min(keep_from, parked_from)
        ledger, dropped = self._shard.ledger, list[str]()
        for period in await asyncio.to_thread(ledger.expired_periods, before_ns, keep_from_block=keep_from):
            await asyncio.to_thread(self._keep_letters, period)
            dropped += await asyncio.to_thread(
                ledger.drop_periods, before_ns, keep_from_block=period.last_block + 1
            )
        if dropped:
            log.info("dropped %d files older than %g days", len(dropped), kept_ns / DAY_NS)
        return dropped

    def _keep_letters(self, period: KeptPeriod) -> None:
        letters = self._shard.ledger.letters
        first, last = period.first_block, period.last_block
        kept_before = letters.periods()
        if any(each.last_block == last for each in kept_before):
            return  # written down before a crash, which may have left only a part of the period
        since = kept_before[0].first_block if kept_before else first
        gone, left = left_in(self._view, first, last, since)
        kept = letters.write(period, left, letters_to_keep(self._view, first, last, gone))
        if kept:
            log.info("dead letters outlive blocks %d to %d: %s", first, last, _by_loop(kept))

    # -- dead letters -------------------------------------------------------------------------------------

    async def drop_letters(self) -> None:
        """Let dead letters go whose time is over, with their whole period: first it is said, then it is done."""
        kept_ns = self._definition().retention.dead_letters_ns
        before_ns = self._shard.clock.now_ns() - kept_ns
        letters, oldest = self._shard.ledger.letters, self._shard.ledger.first_block
        over = [
            period
            for period in await asyncio.to_thread(letters.periods)
            if period.end_ns <= before_ns and period.last_block < oldest
        ]
        if not over:
            return
        gone = await asyncio.to_thread(gone_of, self._view)
        note = f"older than {kept_ns / DAY_NS:g} days (retention: dead_letters)"
        for period in over:
            expired = await self._expire(period, gone, note)
            await asyncio.to_thread(letters.remove, period)
            if expired:
                log.warning("dead letters went, %s: %s", note, _by_loop(expired))

    async def _expire(self, period: KeptPeriod, gone: Gone, note: str) -> dict[str, int]:
        """Record that what is left of a period's dead letters leaves; how many, by loop."""
        expired: dict[str, int] = {}
        kept = self._view.letters.find((period.first_block, -1), (period.last_block + 1, -1))
        over = (
            leaving(dead_letter_id(self._shard.number, each.block, each.place), each.letter)
            for each in kept
            if not gone.has(each.block, each.place)
        )
        while some := await asyncio.to_thread(list, islice(over, EXPIRED_AT_A_TIME)):
            order = Drop(some, note, "expired")
            await self._shard.perform(partial(carry_out, order, self._shard.step))
            for _, loop, _ in some:
                expired[loop] = expired.get(loop, 0) + 1
        return expired


def _by_loop(counts: dict[str, int]) -> str:
    return ", ".join(f"{count} of {loop}" for loop, count in sorted(counts.items()))
