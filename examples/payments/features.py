"""What the network sees of a transaction: one definition for deciding (one row) and for training (many).

Deciding takes the windows from FLO's state; training rebuilds them from the gateway's own record of
transactions, over the same windows `(t - over, t]` with the transaction itself included, so that a row looks
the same in both places.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import msgspec

NAMES = (
    "log_amount",
    "log_amount_over_usual",
    "foreign",
    "new_device",
    "more_devices_1d",
    "log_count_10m",
    "log_sum_10m_over_usual",
    "online",
    "magstripe",
    "log_distance_from_home",
    "risky_category",
    "profile_missing",
)

USUAL_AMOUNT = 36.0
"""Stands in for a card's usual amount where its profile did not come in time: the mean over all cards."""

_RISKY = frozenset({"electronics", "giftcards", "travel"})
_COUNT_NS = 600_000_000_000
_DEVICES_NS = 86_400_000_000_000


def features(
    amount: float,
    country: str,
    device: str,
    entry: str,
    category: str,
    x: float,
    y: float,
    count_10m: int,
    sum_10m: float,
    devices_1d: int,
    profile: Mapping[str, Any],
) -> list[float]:
    """One row, in the order of `NAMES`. A profile without `home` is a missing one."""
    known = "home" in profile
    usual = float(profile["mean_amount"]) if known else USUAL_AMOUNT
    online = entry == "online"
    distance_km = 0.0 if online or not known else math.hypot(x - profile["x"], y - profile["y"])
    return [
        math.log1p(amount),
        math.log((amount + 0.01) / usual),
        1.0 if known and country != profile["home"] else 0.0,
        1.0 if known and device not in profile["known_devices"] else 0.0,
        float(min(devices_1d, 6) - 1),
        math.log1p(count_10m),
        math.log1p(sum_10m / usual),
        1.0 if online else 0.0,
        1.0 if entry == "magstripe" else 0.0,
        math.log1p(distance_km / 10.0),
        1.0 if category in _RISKY else 0.0,
        0.0 if known else 1.0,
    ]


class Transaction(msgspec.Struct, gc=False):
    """The data of a `tx.authorized` event."""

    tx_id: str
    card: str
    amount: float
    country: str
    device: str
    entry: str
    category: str
    x: float
    y: float


class _Card:
    """One card's windows."""

    __slots__ = ("devices", "entries")

    def __init__(self) -> None:
        self.entries: deque[tuple[int, float]] = deque()
        self.devices: dict[str, int] = {}  # -> last seen


def rows(
    transactions: Iterable[tuple[int, Transaction]], profile: Callable[[str], Mapping[str, Any]]
) -> list[list[float]]:
    """The rows of `(time_ns, transaction)` pairs, which come in order of time."""
    cards: dict[str, _Card] = {}
    result = []
    for time_ns, tx in transactions:
        card = cards.get(tx.card)
        if card is None:
            card = cards[tx.card] = _Card()
        entries = card.entries
        entries.append((time_ns, tx.amount))
        while entries[0][0] <= time_ns - _COUNT_NS:
            entries.popleft()
        card.devices[tx.device] = time_ns
        devices_1d = sum(seen > time_ns - _DEVICES_NS for seen in card.devices.values())
        result.append(
            features(
                tx.amount,
                tx.country,
                tx.device,
                tx.entry,
                tx.category,
                tx.x,
                tx.y,
                len(entries),
                math.fsum(amount for _, amount in entries),
                devices_1d,
                profile(tx.card),
            )
        )
    return result
