"""The way in: what loops need is fetched, each signal goes to the shard that owns its keys, receipts come back whole."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from operator import attrgetter
from typing import Any
from zlib import crc32

import msgspec

from flo.core.context import context_of
from flo.core.contract import ContractViolation
from flo.core.errors import Overloaded, SignalRejected
from flo.core.signal import Envelope, parse_signal, time_from_text
from flo.flow.router import Route, Router
from flo.flow.step import ACCEPTED, decode_data, root_context
from flo.ports.clock import Clock
from flo.ports.service import Receipt
from flo.runtimes.embedded.needs import NeedsFetcher
from flo.runtimes.embedded.shard import NOTHING, Needs
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
        self._expected: frozenset[str] = frozenset()
        self._probe = KeyProbe(self.router, self._expected)
        self._last_turn: asyncio.Future[None] | None = None
        self._fetching = 0
        self._open = asyncio.Event()
        self._open.set()

    def turn_to(self, router: Router, needs: NeedsFetcher | None) -> None:
        """Route by another bundle from here on."""
        self.router = router
        self._needs = needs
        self._expected = frozenset(
            action.definition.expect.signal
            for route in router.all
            for actions in route.program.actions.values()
            for action in actions
            if action.definition.expect is not None
        )
        self._probe = KeyProbe(router, self._expected)

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
        shards = len(self._ports)
        parts = [_Part() for _ in range(shards)]
        receipts: list[Receipt | None] = [None] * len(raws)
        key_of = self._probe.key
        for row, raw in enumerate(raws):
            key = key_of(raw)
            if key is not None:
                part = parts[crc32(key.encode("utf-8", "surrogatepass")) % shards]
                part.rows.append(row)
                part.raws.append(raw)
                continue
            try:
                owners = self._owners(raw)
            except SignalRejected as error:
                receipts[row] = Receipt("rejected", error.reason, error.detail)
                continue
            for shard, loops in owners.items():
                part = parts[shard]
                if loops is not None:
                    part.only[len(part.rows)] = loops
                part.rows.append(row)
                part.raws.append(raw)
        sent = [(port, part) for port, part in zip(self._ports, parts, strict=True) if part.rows]
        answers = await asyncio.gather(
            *(
                port.offer(part.raws, needs=part.needs(needs), only=part.only, detailed=detailed)
                for port, part in sent
            )
        )
        if all(
            answer.count(ACCEPTED) == len(part.rows) for (_, part), answer in zip(sent, answers, strict=True)
        ):
            return [ACCEPTED if each is None else each for each in receipts]
        for (_, part), answer in zip(sent, answers, strict=True):
            for row, receipt in zip(part.rows, answer, strict=True):
                before = receipts[row]
                receipts[row] = receipt if before is None else merged(before, receipt)
        return [receipt for receipt in receipts if receipt is not None]

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
        if event.type in self._expected:  # whoever waits for it may be anywhere
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


class _Part:
    """What goes to one shard of a batch."""

    __slots__ = ("only", "raws", "rows")

    def __init__(self) -> None:
        self.rows: list[int] = []
        self.raws: list[bytes] = []
        self.only: dict[int, frozenset[str]] = {}

    def needs(self, needs: Needs) -> Needs:
        return (
            {place: needs[row] for place, row in enumerate(self.rows) if row in needs} if needs else NOTHING
        )


class KeyProbe:
    """The key of a signal by one look at its bytes, where all loops of its type are keyed by one field of the data.

    That is the common case, and a fifth of the work of decoding it whole. What the probe does not know (None) goes the
    long way; what it does know is only where the signal goes, the shard decides everything else.
    """

    def __init__(self, router: Router, expected: frozenset[str]) -> None:
        fields: dict[str, str] = {}
        for type, routes in router.routes.items():
            keyed_by = {route.program.key_field for route in routes}
            field = keyed_by.pop() if len(keyed_by) == 1 else None
            if field is not None and type not in expected:
                fields[type] = field
        names = {field: f"field_{place}" for place, field in enumerate(sorted(set(fields.values())))}
        data = msgspec.defstruct(
            "Data",
            [(name, Any, None) for name in names.values()],
            rename={n: f for f, n in names.items()},
            gc=False,
        )
        probe = msgspec.defstruct("Probe", [("type", str), ("data", data)], gc=False)
        self._decode: Callable[[bytes], Any] = msgspec.json.Decoder(probe).decode
        self._getters = {type: attrgetter(names[field]) for type, field in fields.items()}

    def key(self, raw: bytes) -> str | None:
        try:
            event = self._decode(raw)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            return None
        getter = self._getters.get(event.type)
        if getter is None:
            return None
        key = getter(event.data)
        return key if type(key) is str else None


def merged(before: Receipt, receipt: Receipt) -> Receipt:
    """Two shards' answers for one signal: taken by one is taken."""
    order = ("accepted", "rejected", "duplicate")
    best = min(before, receipt, key=lambda each: order.index(each.status))
    decisions = before.decisions + receipt.decisions
    return Receipt(best.status, best.reason, best.detail, decisions) if decisions else best
