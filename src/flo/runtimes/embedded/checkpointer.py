"""Checkpoints while deciding goes on: only what changed, a slice at a time, published when the ledger has caught up.

A checkpoint is fuzzy: it fixes a block, then encodes the changed keys between batches. Each entry says up to which
block it holds, so recovery replays from the fixed block and skips, for that key, what the entry already has. It is
published only when every block it has seen is durable: state must never know more than the ledger.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Mapping

import msgspec

from flo.core.errors import StorageUnavailable
from flo.flow.router import Route
from flo.runtimes.embedded.crash_points import Reached, pass_by
from flo.runtimes.embedded.shard import Shard
from flo.stores.checkpoints import CheckpointStore, CheckpointWriter

log = logging.getLogger("flo.checkpoint")

REPLAY_NS_MAX = 1_200_000_000
"""The work that a restart after a crash may find behind the last checkpoint. Each checkpoint encodes every key that
changed, so where the same keys change all the time, they come seldom; where each signal brings a new key, often."""

SIGNAL_REPLAY_NS = 3_000
KEY_REPLAY_NS = 15_000
"""What it takes to decide a signal again, and more for each key: its state is read and decoded first (measured)."""

EVERY_NS = 60_000_000_000
LOOK_EVERY_S = 1.0
SLICE_KEYS = 500
"""Keys encoded at a time: 2 ms during which nothing is decided."""

SHARED_KEY = ""
"""The loop's shared state in a checkpoint; keys are never empty."""


class Meta(msgspec.Struct):
    """What a checkpoint holds beside the cells."""

    revision: str
    reconciler: bytes
    signals: int = 0
    applied_ns: int = 0  # when the revision was put in force; 0: by a FLO that did not say


_encode_meta = msgspec.msgpack.Encoder().encode
decode_meta = msgspec.msgpack.Decoder(Meta).decode


class Checkpointer:
    """Runs as a task beside a shard. A failure loses nothing: the next one takes the same keys again."""

    def __init__(
        self,
        shard: Shard,
        store: CheckpointStore,
        routes: Callable[[], Mapping[str, Route]],
        revision: Callable[[], str],
        applied_ns: Callable[[], int],
        reached: Reached = pass_by,
    ) -> None:
        self._reached = reached
        self._shard = shard
        self._store = store
        self._routes = routes
        self._revision = revision
        self._applied_ns = applied_ns
        self._busy = asyncio.Lock()
        self.last_block = 0
        self.base_next = False  # after a change of bundle every key is written again, in the new layout
        self._signals_at_last = 0

    async def run(self) -> None:
        """Checkpoint now and then until cancelled."""
        clock = self._shard.clock
        self._last_ns = clock.now_ns()
        while True:
            await asyncio.sleep(LOOK_EVERY_S)
            waited_ns = clock.now_ns() - self._last_ns
            if self._is_much() or (self._fresh and waited_ns >= EVERY_NS):
                try:
                    await self.take()
                except StorageUnavailable as error:
                    log.warning("no checkpoint this time: %s", error)

    _last_ns = 0

    @property
    def _fresh(self) -> int:
        """Signals since the last checkpoint."""
        return self._shard.step.counts["accepted"] - self._signals_at_last

    def _is_much(self) -> bool:
        """Whether a restart would have as much to do as it may. Keys are counted only where they can matter."""
        fresh = self._fresh
        if fresh * (SIGNAL_REPLAY_NS + KEY_REPLAY_NS) < REPLAY_NS_MAX:
            return False
        return fresh * SIGNAL_REPLAY_NS + self._shard.dirty.count() * KEY_REPLAY_NS >= REPLAY_NS_MAX

    async def take(self, *, base: bool = False) -> None:
        """One checkpoint, whole and durable on return."""
        async with self._busy:
            await self._take(base)

    async def _take(self, base: bool) -> None:
        shard = self._shard
        # nothing is awaited before all of these are taken: block, commands, shared state and dirty keys belong together
        block = shard.decided_block
        if not self._revision():
            return  # no bundle was ever in force: there is nothing to keep, and nothing to read it by
        dirty = shard.dirty.take()
        accepted = shard.step.counts["accepted"]
        meta = Meta(self._revision(), shard.reconciler.snapshot(), accepted, self._applied_ns())
        routes = dict(self._routes())
        shared = [
            (name, SHARED_KEY, block, route.program.encode_shared(route.cells.shared))
            for name, route in routes.items()
            if route.cells.shared
        ]
        writer = None
        try:
            await self._until_durable(block)
            writer = await asyncio.to_thread(self._store.begin, block, base=base or self.base_next)
            if shared:
                await asyncio.to_thread(writer.put_many, shared)
            newest = block
            for name, route in routes.items():
                keys = {*route.cells, *route.cells.cold} if writer.is_base else set(dirty.get(name, ()))
                keys.discard(
                    SHARED_KEY
                )  # the "key" of signals whose key could not be told: they have no state
                newest = max(newest, await self._put(writer, name, route, list(keys)))
            await self._until_durable(newest)
            self._reached("checkpoint")
            await asyncio.to_thread(writer.finish, _encode_meta(meta))
        except BaseException:
            if writer is not None:
                writer.abort()
            for name, changed in dirty.items():
                shard.dirty.add(name, changed)
            raise
        self.base_next = False
        self.last_block = block
        self._signals_at_last = meta.signals
        self._last_ns = shard.clock.now_ns()

    async def _until_durable(self, block: int) -> None:
        while self._shard.ledger.durable_block < block:
            await self._shard.perform(lambda group: None)

    async def _put(self, writer: CheckpointWriter, name: str, route: Route, keys: list[str]) -> int:
        newest = 0
        cells, encode = route.cells, route.program.encode_cell
        for start in range(0, len(keys), SLICE_KEYS):
            newest = self._shard.decided_block
            entries = []
            for key in keys[start : start + SLICE_KEYS]:
                cell = cells.get(key)
                state = encode(cell) if cell is not None else cells.cold.get(key)
                if cell is None and state is not None and cells.converting:
                    state = encode(cells.plan_decode(state))
                entries.append((name, key, newest, state))
            await asyncio.to_thread(writer.put_many, entries)
        return newest
