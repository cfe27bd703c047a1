"""The way in: what loops need is fetched, each signal goes to the shard that owns its keys, receipts come back whole."""

from __future__ import annotations

import asyncio
import functools
import operator
from collections.abc import Callable, Mapping, Sequence
from typing import Any
from zlib import crc32

import msgspec

from flo.core.context import context_of
from flo.core.contract import ContractViolation
from flo.core.errors import Overloaded, SignalRejected
from flo.core.signal import Envelope, parse_signal, time_from_text
from flo.flow.inputs import decode_data, root_context
from flo.flow.router import Route, Router
from flo.ports.clock import Clock
from flo.ports.service import ACCEPTED, Receipt
from flo.runtimes.embedded.batches import NOTHING, Needs
from flo.runtimes.embedded.needs import NeedsFetcher
from flo.runtimes.embedded.shard_port import ShardPort

FETCHING_SIGNALS_MAX = 5_000
"""Signals whose needs are being fetched. They wait a dependency's deadline at most, so this is plenty."""


class Gateway:
    """Stands before the shards. With one shard and nothing to fetch it costs nothing."""

    def __init__(self, ports: Sequence[ShardPort], clock: Clock) -> None:
        self._ports = ports
        self._clock = clock
        self.router = Router(())
        self._needs: NeedsFetcher | None = None
        self._probe = KeyProbe(self.router)
        self._last_turn: asyncio.Future[None] | None = None
        self._fetching = 0
        self._open = asyncio.Event()
        self._open.set()

    def turn_to(self, router: Router, needs: NeedsFetcher | None) -> None:
        """Route by another bundle from here on."""
        self.router = router
        self._needs = needs
        self._probe = KeyProbe(router)

    def close(self) -> None:
        """Hold signals back while a bundle changes, so that no batch is routed by one and decided by the other."""
        self._open.clear()

    def reopen(self) -> None:
        self._open.set()

    async def offer(self, raws: Sequence[bytes], *, detailed: bool = False) -> list[Receipt]:
        """See `Service.ingest`."""
        if not self._open.is_set():
            await self._open.wait()
        needs: Needs = NOTHING
        if self._needs is not None:
            needs = await self._fetch_in_turn(raws, self._needs)
        if len(self._ports) == 1:
            return await self._ports[0].offer(raws, needs=needs, detailed=detailed)
        return await self._spread(raws, needs, detailed)

    async def needs_of(self, raws: Sequence[bytes]) -> Needs:
        """What the loops of recorded signals read now."""
        fetching = None if self._needs is None else self._needs(raws)
        return NOTHING if fetching is None else await fetching

    async def _fetch_in_turn(self, raws: Sequence[bytes], fetch: NeedsFetcher) -> Needs:
        """Fetch what loops need; those who fetch leave in the order they came, so a key's signals stay in order.

        Fetches run side by side and each has its deadline, so nobody waits longer than the slowest deadline.
        """
        fetching = fetch(raws)
        if fetching is None:
            return NOTHING
        if self._fetching and self._fetching + len(raws) > FETCHING_SIGNALS_MAX:
            fetching.close()
            message = f"{self._fetching} signals wait for what their loops need, {FETCHING_SIGNALS_MAX} may"
            raise Overloaded(f"{message}; nothing was taken", 0.1)
        self._fetching += len(raws)
        before, turn = self._last_turn, asyncio.get_running_loop().create_future()
        self._last_turn = turn
        try:
            needs = await fetching
            if before is not None:
                await asyncio.shield(before)
            return needs
        finally:
            self._fetching -= len(raws)
            turn.set_result(None)

    # -- many shards --------------------------------------------------------------------------------------

    async def _spread(self, raws: Sequence[bytes], needs: Needs, detailed: bool) -> list[Receipt]:
        """Send each signal to the shards that own its keys; its receipt is the best of theirs."""
        parts = self._parts(raws)
        sent = [(port, part) for port, part in zip(self._ports, parts.of_shards, strict=True) if part.raws]
        answers = await asyncio.gather(
            *(
                port.offer(
                    part.raws, needs=parts.needs(port.number, needs), only=part.only, detailed=detailed
                )
                for port, part in sent
            )
        )
        if not parts.strays and all(
            answer.count(ACCEPTED) == len(part.raws) for (_, part), answer in zip(sent, answers, strict=True)
        ):
            return [ACCEPTED] * len(raws)
        receipts: list[Receipt | None] = [parts.refused.get(row) for row in range(len(raws))]
        for (port, _), answer in zip(sent, answers, strict=True):
            for row, receipt in zip(parts.rows(port.number), answer, strict=True):
                before = receipts[row]
                receipts[row] = receipt if before is None else merged(before, receipt)
        return [receipt for receipt in receipts if receipt is not None]

    def _parts(self, raws: Sequence[bytes]) -> Parts:
        """Where each signal goes. Most are told by their key alone."""
        shards = len(self._ports)
        parts = Parts(shards)
        takes = [part.raws.append for part in parts.of_shards]
        decode, note, shard = self._probe.decode, parts.shard_of_row.append, 0
        for row, raw in enumerate(raws):
            try:
                shard = crc32(decode(raw).data.key.encode()) % shards
            except UNTOLD:
                note(STRAY)
                try:
                    parts.stray(row, raw, self._owners(raw))
                except SignalRejected as error:
                    parts.refuse(row, Receipt("rejected", error.reason, error.detail))
                continue
            note(shard)
            takes[shard](raw)
        return parts

    def _owners(self, raw: bytes) -> dict[int, frozenset[str] | None]:
        """shard -> the loops it decides this signal for (None: whichever, there is only one)."""
        event = parse_signal(raw)
        routes = self.router.routes.get(event.type, ())
        if event.type in self.router.select:
            routes = self.router.select[event.type](event.data)
        home = shard_of(f"{event.source}#{event.id}", len(self._ports))
        found: dict[int, set[str]] = {}
        for route in routes:
            key = self._key(route, event)
            shard = home if key is None else shard_of(key, len(self._ports))
            found.setdefault(shard, set()).add(route.name)
        if event.type in self.router.expected_types:  # whoever waits for it may be anywhere
            for port in self._ports:
                found.setdefault(port.number, set())
        if not found:
            return {home: None}
        if len(found) == 1:
            return dict.fromkeys(found)
        return {shard: frozenset(loops) for shard, loops in found.items()}

    def _key(self, route: Route, event: Envelope) -> str | None:
        """The loop's key; None where the shard will refuse it or pass it by anyway."""
        now = self._clock.now_ns()
        try:
            t = now if event.time is None else time_from_text(event.time)
            context = (
                (context_of(event, now) or root_context(event, now, route)) if route.uses_context else None
            )
            return route.program.key_of(event, decode_data(route, event), t, now, context) or None
        except ContractViolation:
            return None


def shard_of(key: str, shards: int) -> int:
    """The shard that owns a key. Part of the data directory's format: it may never change."""
    return crc32(key.encode("utf-8", "surrogatepass")) % shards


STRAY = -1
"""The shard of a signal that may go to several, or to none."""

UNTOLD = (msgspec.DecodeError, UnicodeError, RecursionError)


class Part:
    """What goes to one shard of a batch, in order. `only`: of some, by place here, the loops that decide it there."""

    __slots__ = ("only", "raws")

    def __init__(self) -> None:
        self.raws: list[bytes] = []
        self.only: dict[int, frozenset[str]] = {}


class Parts:
    """A batch, divided over shards."""

    def __init__(self, shards: int) -> None:
        self.of_shards = [Part() for _ in range(shards)]
        self.shard_of_row: list[int] = []
        self.strays: dict[int, tuple[int, ...]] = {}  # row -> its shards
        self.refused: dict[int, Receipt] = {}

    def stray(self, row: int, raw: bytes, owners: Mapping[int, frozenset[str] | None]) -> None:
        self.strays[row] = tuple(owners)
        for shard, loops in owners.items():
            part = self.of_shards[shard]
            if loops is not None:
                part.only[len(part.raws)] = loops
            part.raws.append(raw)

    def refuse(self, row: int, receipt: Receipt) -> None:
        self.strays[row] = ()
        self.refused[row] = receipt

    def rows(self, shard: int) -> list[int]:
        """The rows of the batch that a shard's part has, in its order."""
        return [
            row
            for row, of_row in enumerate(self.shard_of_row)
            if of_row == shard or (of_row == STRAY and shard in self.strays[row])
        ]

    def needs(self, shard: int, needs: Needs) -> Needs:
        if not needs:
            return NOTHING
        return {place: needs[row] for place, row in enumerate(self.rows(shard)) if row in needs}


class KeyProbe:
    """The key of a signal by one look at its bytes, where all loops of its type are keyed by one field of the data.

    That is the common case, and a fifth of the work of decoding it whole: `decode(raw).data.key`. What it refuses goes
    the long way; what it tells is only where the signal goes, the shard decides everything else.
    """

    def __init__(self, router: Router) -> None:
        kinds: list[Any] = []
        for type, routes in router.routes.items():
            keyed_by = {route.program.key_field for route in routes}
            field = keyed_by.pop() if len(keyed_by) == 1 else None
            if field is not None and type not in router.expected_types:
                data = msgspec.defstruct("Data", [("key", str)], rename={"key": field}, gc=False)
                fields: list[Any] = [("data", data), ("data_base64", None, None)]  # which would be the data
                kinds.append(msgspec.defstruct("Probe", fields, tag_field="type", tag=type, gc=False))
        self.decode: Callable[[bytes], Any] = (
            msgspec.json.Decoder(functools.reduce(operator.or_, kinds)).decode if kinds else _untold
        )


def _untold(raw: bytes) -> Any:
    """No type of this bundle is told by its key."""
    raise msgspec.DecodeError


def merged(before: Receipt, receipt: Receipt) -> Receipt:
    """Two shards' answers for one signal: taken by one is taken."""
    order = ("accepted", "rejected", "duplicate")
    best = min(before, receipt, key=lambda each: order.index(each.status))
    decisions = before.decisions + receipt.decisions
    return Receipt(best.status, best.reason, best.detail, decisions) if decisions else best
