"""The express way: signals that need no second look, head and data decoded in one pass.

Most traffic is of types that one loop listens to, under a contract that a struct can say whole, without a context,
masks or needs. Such a signal costs half of what the general way costs, and comes to the same: whatever the express
way does not take goes the general way, which alone refuses, kills and explains (tests/flow/test_express.py compares
the two, byte for byte).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from itertools import islice
from typing import Any, Protocol

import msgspec

from flo.core.context import Context
from flo.core.errors import SignalRejected
from flo.core.loop.program import Row
from flo.core.record import Group
from flo.core.signal import FRACTIONS_SEEN, SIGNAL_BYTES_MAX, Envelope, plain_event, time_from_text
from flo.flow.marks import Marks
from flo.flow.router import Route, Router
from flo.ports.service import Receipt

ACCEPTED = Receipt("accepted")
DUPLICATE = Receipt("duplicate")

PATIENCE_MAX = 64
"""Signals that go the general way before the express way is tried again, where it took none."""

_NOT_PLAIN = (msgspec.DecodeError, UnicodeDecodeError, RecursionError, SignalRejected)


class Unusual(Protocol):
    """What the step does with a decision that brings more than its row."""

    def __call__(
        self,
        group: Group,
        route: Route,
        event: Envelope,
        context: Context | None,
        decision: Row,
        place: int,
        t: int,
    ) -> Row: ...


class Express:
    """The types of a router whose signals can go this way, and the decoder of all of them."""

    def __init__(self, router: Router) -> None:
        self._routes: dict[type, Route] = {}
        self._relaxed = router.relaxed_types
        for type, routes in router.routes.items():
            data = _plain_data(routes)
            if data is not None and type not in router.masks and type not in router.select:
                self._routes[plain_event(type, data)] = routes[0]
        self._decode: Callable[[bytes], Any] | None = None
        if self._routes:
            union: Any = tuple(self._routes)
            self._decode = msgspec.json.Decoder(union[0] if len(union) == 1 else _union(union)).decode

    def takes(self, raws: Sequence[bytes]) -> bool:
        """Whether these may go this way at all."""
        return self._decode is not None and (
            len(raws) * 1024 <= SIGNAL_BYTES_MAX or max(map(len, raws)) <= SIGNAL_BYTES_MAX
        )

    def run(
        self,
        raws: Sequence[bytes],
        start: int,
        group: Group,
        receipts: list[Receipt],
        marks: Marks,
        expected: Mapping[str, Any],
        unusual: Unusual,
    ) -> tuple[int, bool]:
        """Decide the signals from `start` on while they are plain: the first place not decided, and whether any of
        their loops waits for the commit."""
        decode, now, row = self._decode, group.decided_ns, len(group.raws)
        assert decode is not None
        hot, older, fractions = marks.hot, marks.older, FRACTIONS_SEEN.get
        kind: type | None = None
        strict = False
        place, second, second_ns = start, "never", 0
        for place, raw in enumerate(islice(raws, start, None), start):
            try:
                event = decode(raw)
                time = event.time
                if time is None:
                    t = now
                else:
                    fraction = fractions(time[19:])
                    if fraction is not None and time.startswith(second):
                        t = second_ns + fraction  # most signals are of the second of the one before
                    else:
                        t = time_from_text(time)
                        fraction = fractions(time[19:])
                        second, second_ns = ("never", 0) if fraction is None else (time[:19], t - fraction)
            except _NOT_PLAIN:
                break
            if event.__class__ is not kind:
                kind = event.__class__
                route = self._routes[kind]
                decide, cells = route.decide, route.cells
                strict = strict or event.type not in self._relaxed
            if expected and event.type in expected:
                break
            ids = hot.get(event.source)
            if ids is None:
                ids = hot[event.source] = set()
            before = len(ids)
            ids.add(event.id)
            if len(ids) == before or (older and _is_older(marks, event, ids)):
                _taken(raws, start, place, group, receipts)
                receipts.append(DUPLICATE)
                start = place + 1
                continue
            decision = decide(event, event.data, t, now, None, None, cells, row)
            row += 1
            if decision is None:
                continue
            rows = route.rows
            if rows is None:
                rows = route.open(group)
            if decision[-1] is not None:
                decision = unusual(group, route, event, None, decision, len(rows), t)
            rows.append(decision)
        else:
            place = len(raws)
        _taken(raws, start, place, group, receipts)
        return place, strict


def _taken(raws: Sequence[bytes], start: int, end: int, group: Group, receipts: list[Receipt]) -> None:
    group.raws += raws[start:end]
    receipts += [ACCEPTED] * (end - start)


def _is_older(marks: Marks, event: Any, ids: set[str]) -> bool:
    """Whether an earlier generation has the mark; then it is not one of this generation."""
    if not marks.seen_before(event.source, event.id):
        return False
    ids.discard(event.id)
    return True


def _plain_data(routes: tuple[Route, ...]) -> Any:
    """The type of the data where one plain loop is all that meets it; None where more is to be done."""
    if len(routes) != 1:
        return None
    (route,) = routes
    if route.needs or route.uses_context or route.contract is None:
        return None
    return route.contract.calm_type


def _union(types: tuple[Any, ...]) -> Any:
    union = types[0]
    for each in types[1:]:
        union = union | each
    return union
