"""The express way: signals that need no second look, decoded in one pass and decided in runs.

Most traffic is of types that one loop listens to, under a contract that a struct can say whole, without a context,
masks or needs. Such a signal costs half of what the general way costs, and comes to the same: whatever the express
way does not take goes the general way, which alone refuses, kills and explains (tests/flow/test_express.py compares
the two, byte for byte).
"""

from __future__ import annotations

import functools
import operator
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
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
        their loops waits for the commit.

        Each step is taken for a whole run before the next one is: the processor then has one small loop at a time, and
        what it works on still in its cache.
        """
        raws, now, strict = offer.raws, offer.group.decided_ns, False
        while start < len(raws):
            lines = raws[start : start + RUN_SIGNALS_MAX]
            events = self._decoded(lines)
            for kind, run in _by_kind(events):
                route, type = self._routes[kind], run[0].type
                if type in offer.parking:  # paused, perhaps by what the run before decided
                    return start, strict
                times = _times(run, now)
                strict = strict or type not in self._relaxed
                _decide(offer, route, run[: len(times)], times, start)
                start += len(times)
                if len(times) < len(run):
                    return start, strict
            if len(events) < len(lines):
                return start, strict
        return start, strict

    def _decoded(self, lines: Sequence[bytes]) -> list[Any]:
        """The events of these lines up to the first that is not plain."""
        assert self._decode is not None
        try:
            return list(map(self._decode, lines))
        except _NOT_PLAIN:
            events: list[Any] = []
        for line in lines:
            try:
                try:
                    events.append(self._decode(line))
                except msgspec.ValidationError:
                    assert self._open is not None
                    events.append(self._open(line))
                    self._decode = self._open
            except _NOT_PLAIN:
                break
        return events


def _by_kind(events: list[Any]) -> Iterable[tuple[type, list[Any]]]:
    """Neighbours of one type together, in order."""
    if len(set(map(type, events))) == 1:
        return ((events[0].__class__, events),)
    return ((kind, list(run)) for kind, run in groupby(events, type))


def _times(events: Sequence[Any], now_ns: int) -> list[int]:
    """Their times up to the first that cannot be read. Most signals are of the second of the one before."""
    times: list[int] = []
    fractions, second, second_ns = FRACTIONS_SEEN.get, "never", 0
    for event in events:
        text = event.time
        if text is None:
            times.append(now_ns)
            continue
        fraction = fractions(text[19:])
        if fraction is not None and text.startswith(second):
            times.append(second_ns + fraction)
            continue
        try:
            t = time_from_text(text)
        except SignalRejected:
            break
        times.append(t)
        fraction = fractions(text[19:])
        second, second_ns = ("never", 0) if fraction is None else (text[:19], t - fraction)
    return times


def _decide(offer: Offer, route: Route, events: list[Any], times: list[int], start: int) -> None:
    """Decide signals of one loop together, but for those that were taken before. `start`: the place of the first."""
    repeats = _repeats(offer.marks, events)
    end = start + len(events)
    lines = offer.raws[start:end]
    if repeats:
        gone = set(repeats)
        events, times, lines = (
            [each for place, each in enumerate(all) if place not in gone] for all in (events, times, lines)
        )
        offer.receipts.extend(DUPLICATE if place in gone else ACCEPTED for place in range(end - start))
    else:
        offer.receipts.extend([ACCEPTED] * len(events))
    if not events:
        return
    group = offer.group
    is_new = route.rows is None
    rows = route.rows if route.rows is not None else route.open(group)
    assert route.decide_run is not None
    unusual = functools.partial(offer.unusual, route)
    route.decide_run(events, times, group.decided_ns, route.cells, len(group.raws), rows, unusual)
    group.raws += lines
    if is_new and not rows:
        route.close(group)


def _repeats(marks: Marks, events: Sequence[Any]) -> list[int]:
    """The places of those that were taken before; the others are marked as taken."""
    hot, older = marks.hot, marks.older
    repeats: list[int] = []
    for place, event in enumerate(events):
        ids = hot.get(event.source)
        if ids is None:
            ids = hot[event.source] = set()
        before = len(ids)
        ids.add(event.id)
        if len(ids) == before or (older and _is_older(marks, event, ids)):
            repeats.append(place)
    return repeats


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
