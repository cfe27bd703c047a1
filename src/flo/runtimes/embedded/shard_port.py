"""The seam between the runtime and its shards: in this process, or in a worker process."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol

import msgspec

from flo.core.record import Answered, Attempted, CommandOutcome, DeadLetter, Group
from flo.flow.digest import Digest
from flo.flow.open_work import OpenWork
from flo.flow.reload import LoadedBundle
from flo.ports.service import Receipt
from flo.ports.store import LedgerView
from flo.runtimes.embedded.batches import NOTHING, Needs, Only
from flo.runtimes.embedded.orders import Order

OnDurable = Callable[[list[Digest]], None]


class ShardFigures(msgspec.Struct, frozen=True):
    """A shard's numbers. `counts`: signals by what became of them; `keys`: keys with state, by loop."""

    counts: dict[str, int]
    keys: dict[str, int]
    queued: int


class ShardPort(Protocol):
    """One shard, wherever it runs. All methods are called on the runtime's event loop."""

    @property
    def number(self) -> int: ...

    @property
    def view(self) -> LedgerView: ...

    @property
    def reconciler(self) -> OpenWork:
        """What is open in this shard, as of the last durable group the runtime has heard of."""
        ...

    async def offer(
        self, raws: Sequence[bytes], *, needs: Needs = NOTHING, only: Only = NOTHING, detailed: bool = False
    ) -> list[Receipt]: ...

    def recent(self, block: int) -> Group | None:
        """A group whose decisions were asked for with `detailed`, while it is in memory; else the ledger has it."""
        ...

    async def learned(self, events: Sequence[Attempted | Answered | CommandOutcome | DeadLetter]) -> None:
        """What the dispatcher learned of this shard's commands; done when durable."""
        ...

    async def apply(self, bundle: LoadedBundle, by: str) -> None:
        """Put a bundle in force between two groups."""
        ...

    async def kill(self, loop: str, key: str | None, note: str) -> list[str]: ...

    async def steer(self, order: Order) -> Any:
        """Carry out an order of `flo.runtimes.embedded.orders`; its answer once it is durable."""
        ...

    def tell_models(self, written: Mapping[str, int]) -> None:
        """Which versions of models are in use, and when they were made: `model:x` -> time."""
        ...

    def shared_age_s(self) -> float:
        """How old, at most, what the other shards have of this one's shared state may be."""
        ...

    async def figures(self) -> ShardFigures:
        """Numbers for metrics and health."""
        ...

    def problem(self) -> str | None:
        """Why it cannot take signals now; None where it can."""
        ...

    async def settle(self, timeout_s: float) -> bool:
        """Wait until everything taken is durable."""
        ...

    async def stop(self) -> None:
        """Checkpoint and close."""
        ...
