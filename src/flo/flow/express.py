"""The express way: signals that need no second look, decoded in one pass and decided in runs.

Most traffic is of types that one loop listens to, under a contract that a struct can say whole, without a context,
masks or needs. Such a signal costs half of what the general way costs, and comes to the same: whatever the express
way does not take goes the general way, which alone refuses, kills and explains (tests/flow/test_express.py compares
the two, byte for byte).
"""

from __future__ import annotations

import functools
import operator
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any

import msgspec

from flo.core.errors import SignalRejected
from flo.core.loop.program import Row
from flo.core.record import Group
from flo.core.signal import FRACTIONS_SEEN, SIGNAL_BYTES_MAX, Envelope, plain_event, time_from_text
from flo.flow.marks import Marks
from flo.flow.router import Route, Router
from flo.ports.service import ACCEPTED, DUPLICATE, Receipt

PATIENCE_MAX = 64
"""Signals that go the general way before the express way is tried again, where it took none."""

RUN_SIGNALS_MAX = 100
"""Decided at a time: enough to share what a call costs, few enough that they are still in the processor's cache."""

_NOT_PLAIN = (msgspec.DecodeError, UnicodeDecodeError, RecursionError, SignalRejected)

Decode = Callable[[bytes], Any]


Unusual = Callable[[Route, Envelope, int, Row, int], Row]
"""What the step does with a decision that brings more than its row: (route, event, its time, row, its place)."""


@dataclass(slots=True, frozen=True)
class Offer:
    """A batch on its way: where its signals, their receipts and what becomes unusual go."""

    raws: Sequence[bytes]
    receipts: list[Receipt]
    group: Group
    marks: Marks
    parking: Collection[str]  # types that are not decided now; grows while a batch is decided
    unusual: Unusual

    def taken(self, start: int, end: int) -> None:
        self.group.raws += self.raws[start:end]
        self.receipts.extend([ACCEPTED] * (end - start))


class Express:
    """The types of a router whose signals can go this way, and the decoders of all of them."""

    def __init__(self, router: Router) -> None:
        self._routes: dict[type, Route] = {}
        self._relaxed = router.relaxed_types
        self.types = frozenset(
            type for type, routes in router.routes.items() if _is_plain(type, routes, router)
        )
        kinds: list[tuple[Any, ...]] = []
        for type in self.types:
            (route,) = router.routes[type]
            assert route.contract is not None
            each = [plain_event(type, route.contract.calm_type, closed=closed) for closed in (True, False)]
            self._routes |= dict.fromkeys(each, route)
            kinds.append(tuple(each))
        # what allows no attribute but the common ones is faster; once others were seen, more are expected
        decoders = [_decoder(of_form) for of_form in zip(*kinds, strict=True)] if kinds else [None, None]
        self._decode: Decode | None = decoders[0]
        self._open: Decode | None = decoders[1]

    def takes(self, raws: Sequence[bytes], expected: Mapping[str, Any]) -> bool:
        """Whether these may go this way at all. `expected`: types that some command waits for."""
        if self._decode is None or (expected and not self.types.isdisjoint(expected)):
            return False
        return max(map(len, raws), default=0) <= SIGNAL_BYTES_MAX

    def run(self, offer: Offer, start: int) -> tuple[int, bool]:
        """Decide the signals from `start` on while they are plain: the first place not decided, and whether any of
        their loops waits for the commit."""
        raws, marks, parking, now = offer.raws, offer.marks, offer.parking, offer.group.decided_ns
        hot, older, fractions = marks.hot, marks.older, FRACTIONS_SEEN.get
        decode, open_decode = self._decode, self._open
        assert decode is not None
        assert open_decode is not None
        run = _Run(offer)
        events, times = run.events, run.times
        kind: type | None = None
        strict = False
        place, second, second_ns = start, "never", 0
        for place, raw in enumerate(islice(raws, start, None), start):
            try:
                try:
                    event = decode(raw)
                except msgspec.ValidationError:
                    event = open_decode(raw)
                    decode = self._decode = open_decode
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
            if event.__class__ is not kind or len(events) == RUN_SIGNALS_MAX:
                run.decide()
                kind = event.__class__
                run.route = self._routes[kind]
                strict = strict or event.type not in self._relaxed
            if parking and event.type in parking:
                break  # paused, perhaps by what this run decided
            ids = hot.get(event.source)
            if ids is None:
                ids = hot[event.source] = set()
            before = len(ids)
            ids.add(event.id)
            if len(ids) == before or (older and _is_older(marks, event, ids)):
                offer.taken(start, place)
                offer.receipts.append(DUPLICATE)
                start = place + 1
                continue
            events.append(event)
            times.append(t)
        else:
            place = len(raws)
        run.decide()
        offer.taken(start, place)
        return place, strict


class _Run:
    """Signals of one loop that wait to be decided together."""

    def __init__(self, offer: Offer) -> None:
        self.events: list[Any] = []
        self.times: list[int] = []
        self.route: Route | None = None
        self._offer = offer
        self._row = len(offer.group.raws)

    def decide(self) -> None:
        if not self.events:
            return
        route, group = self.route, self._offer.group
        assert route is not None
        assert route.decide_run is not None
        is_new = route.rows is None
        rows = route.rows if route.rows is not None else route.open(group)
        unusual = functools.partial(self._offer.unusual, route)
        route.decide_run(self.events, self.times, group.decided_ns, route.cells, self._row, rows, unusual)
        if is_new and not rows:
            route.close(group)
        self._row += len(self.events)
        self.events.clear()
        self.times.clear()


def _is_older(marks: Marks, event: Any, ids: set[str]) -> bool:
    """Whether an earlier generation has the mark; then it is not one of this generation."""
    if not marks.seen_before(event.source, event.id):
        return False
    ids.discard(event.id)
    return True


def _is_plain(type: str, routes: tuple[Route, ...], router: Router) -> bool:
    """Whether one plain loop is all that meets this type, and nothing of this bundle waits for it."""
    if len(routes) != 1 or type in router.masks or type in router.select or type in router.expected_types:
        return False
    (route,) = routes
    return (
        route.decide_run is not None and route.contract is not None and route.contract.calm_type is not None
    )


def _decoder(types: Sequence[Any]) -> Decode:
    return msgspec.json.Decoder(functools.reduce(operator.or_, types)).decode
