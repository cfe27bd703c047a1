"""What loops read before deciding: found out for each signal, fetched side by side."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Mapping, Sequence
from typing import Any

import msgspec

from flo.core.context import context_of
from flo.core.contract import ContractViolation
from flo.core.errors import SignalRejected
from flo.core.signal import Envelope, parse_signal, time_from_text
from flo.flow.fetch import Fetched, Fetcher
from flo.flow.inputs import decode_data, root_context
from flo.flow.router import Route, Router
from flo.ports.clock import Clock

Needs = Mapping[int, Mapping[str, Mapping[str, Any]]]


class NeedsFetcher:
    """`__call__` answers None where nothing has to be fetched, so that signals of other loops do not wait."""

    def __init__(
        self, router: Router, fetcher: Fetcher, clock: Clock, fetched: dict[tuple[str, str], int]
    ) -> None:
        """`fetched`: counts for whoever observes edges, (dependency, loop) -> how often it was read."""
        self._fetched = fetched
        self._routes = {
            type: tuple(route for route in routes if route.needs) for type, routes in router.routes.items()
        }
        self._routes = {type: routes for type, routes in self._routes.items() if routes}
        self._fetcher = fetcher
        self._clock = clock

    @property
    def is_empty(self) -> bool:
        return not self._routes

    def __call__(self, raws: Sequence[bytes]) -> Coroutine[Any, Any, Needs] | None:
        wanted: list[tuple[int, str, str, str, str]] = []
        for row, raw in enumerate(raws):
            try:
                event = parse_signal(raw)
            except SignalRejected:
                continue  # the step refuses it, and says why
            for route in self._routes.get(event.type, ()):
                key = self._key(route, event)
                if key is not None:
                    wanted += [(row, route.name, name, of, key) for name, of in route.needs.items()]
        return self._fetch(wanted) if wanted else None

    def _key(self, route: Route, event: Envelope) -> str | None:
        """The loop's key for this signal; None where the signal will not be decided by it anyway."""
        now = self._clock.now_ns()
        try:
            t = now if event.time is None else time_from_text(event.time)
            data = decode_data(route, event)
            context = context_of(event, now) or root_context(event, now, route)
        except (SignalRejected, ContractViolation):
            return None
        return route.program.key_of(event, data, t, now, context) or None

    async def _fetch(self, wanted: list[tuple[int, str, str, str, str]]) -> Needs:
        fetched = await asyncio.gather(*(self._fetcher.fetch(of, key) for _, _, _, of, key in wanted))
        counts = self._fetched
        for _, loop, _, of, _ in wanted:
            counts[of, loop] = counts.get((of, loop), 0) + 1
        needs: dict[int, dict[str, dict[str, Any]]] = {}
        for (row, loop, name, _, _), answer in zip(wanted, fetched, strict=True):
            needs.setdefault(row, {}).setdefault(loop, {})[name] = bound(answer)
        return needs


def bound(fetched: Fetched) -> dict[str, Any]:
    """What `need.<name>` is: the answer's fields and `missing`. An answer that is not an object is its `value`."""
    if fetched.missing:
        return {"missing": True, "reason": fetched.reason}
    value = fetched.value
    try:
        _encode(value)
    except (OverflowError, msgspec.MsgspecError):
        return {"missing": True, "reason": "it holds an integer beyond 64 bits, which no record can hold"}
    return {**value, "missing": False} if isinstance(value, Mapping) else {"value": value, "missing": False}


_encode = msgspec.msgpack.Encoder().encode
