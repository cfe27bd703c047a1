"""Retention: whole periods of the ledger leave when their time is over."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable

from flo.core.errors import StorageUnavailable
from flo.core.loop.definition import BundleDefinition
from flo.runtimes.embedded.shard import Shard
from flo.stores.checkpoints import CheckpointStore

log = logging.getLogger("flo.retention")

EVERY_S = 60.0


class Retention:
    """Looks once a minute. What a checkpoint still replays from is never dropped, whatever its age."""

    def __init__(
        self, shard: Shard, store: CheckpointStore, definition: Callable[[], BundleDefinition]
    ) -> None:
        self._shard = shard
        self._store = store
        self._definition = definition

    async def run(self) -> None:
        while True:
            await asyncio.sleep(EVERY_S)
            try:
                await self.once()
            except StorageUnavailable as error:
                log.warning("old periods could not be dropped: %s", error)

    async def once(self) -> list[str]:
        """Drop what may go; returns the files."""
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
        dropped = await asyncio.to_thread(
            self._shard.ledger.drop_periods, before_ns, keep_from_block=keep_from
        )
        if dropped:
            log.info("dropped %d files older than %g days", len(dropped), kept_ns / 86_400e9)
        return dropped
