"""The cards and terminals of the example: who pays, where, with what.

Everything follows from (seed, cards, terminals), so the traffic generator, the profile service and the
trainer agree about every card without sharing a file. Countries are planes of 1,000 x 1,000 km; a card lives
somewhere in one.

The shape (customers with a home, a usual amount and nearby terminals) is that of the simulator in the public
Fraud Detection Handbook (Le Borgne, Siblini, Lebichot, Bontempi, 2022); countries, devices and entry modes
are added here.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]

COUNTRIES = ("GB", "FR", "DE", "ES", "IT", "NL", "PL", "US")
COUNTRY_WEIGHTS = (0.26, 0.19, 0.17, 0.13, 0.10, 0.06, 0.05, 0.04)
CATEGORIES = ("grocery", "restaurant", "fuel", "transport", "fashion", "electronics", "travel", "giftcards")
CATEGORY_WEIGHTS = (0.30, 0.20, 0.12, 0.12, 0.12, 0.07, 0.05, 0.02)

COUNTRY_SIZE_KM = 1000.0
NEARBY_TERMINALS = 6
ACTIVITY_EXPONENT = 0.6
"""Zipf over 20,000 cards: the busiest card makes 0.8 % of all transactions (a company's purchasing card,
some ten an hour). With an exponent of 1 it would make 10 %, several a minute, which no card does."""


@dataclass(frozen=True)
class Population:
    """Arrays over cards and terminals; an index is a card's or a terminal's number."""

    seed: int
    cards: int = 20_000
    terminals: int = 2_000

    @cached_property
    def _draws(self) -> dict[str, Any]:
        rng = np.random.default_rng([self.seed, 0x504F50])
        n, m = self.cards, self.terminals
        ranks = rng.permutation(n) + 1.0
        activity = ranks**-ACTIVITY_EXPONENT
        return {
            "card_country": rng.choice(len(COUNTRIES), n, p=COUNTRY_WEIGHTS),
            "card_place": rng.uniform(0.0, COUNTRY_SIZE_KM, (n, 2)),
            "mean_amount": np.exp(rng.normal(3.4, 0.6, n)),
            "activity": activity / activity.sum(),
            "devices": rng.integers(1, 4, n),
            "opened_day": rng.integers(0, 3650, n),
            "terminal_country": rng.choice(len(COUNTRIES), m, p=COUNTRY_WEIGHTS),
            "terminal_place": rng.uniform(0.0, COUNTRY_SIZE_KM, (m, 2)),
            "terminal_category": rng.choice(len(CATEGORIES), m, p=CATEGORY_WEIGHTS),
        }

    @property
    def card_country(self) -> Ints:
        return self._draws["card_country"]  # type: ignore[no-any-return]

    @property
    def card_place(self) -> Floats:
        """Home, (x, y) in km."""
        return self._draws["card_place"]  # type: ignore[no-any-return]

    @property
    def mean_amount(self) -> Floats:
        """What the card's owner usually pays; log-normal over cards, median 30."""
        return self._draws["mean_amount"]  # type: ignore[no-any-return]

    @property
    def activity(self) -> Floats:
        """Share of all transactions, summing to 1."""
        return self._draws["activity"]  # type: ignore[no-any-return]

    @property
    def devices(self) -> Ints:
        """How many devices the owner has used before: 1 to 3."""
        return self._draws["devices"]  # type: ignore[no-any-return]

    @property
    def terminal_country(self) -> Ints:
        return self._draws["terminal_country"]  # type: ignore[no-any-return]

    @property
    def terminal_place(self) -> Floats:
        return self._draws["terminal_place"]  # type: ignore[no-any-return]

    @property
    def terminal_category(self) -> Ints:
        return self._draws["terminal_category"]  # type: ignore[no-any-return]

    @cached_property
    def terminals_of_country(self) -> list[Ints]:
        """Terminal numbers by country; a country without one borrows all, so that small populations work."""
        found = [np.flatnonzero(self.terminal_country == c) for c in range(len(COUNTRIES))]
        return [ids if len(ids) else np.arange(self.terminals) for ids in found]

    @cached_property
    def nearby(self) -> Ints:
        """(cards, 6): the terminals a card uses, the nearest in its country."""
        result = np.empty((self.cards, NEARBY_TERMINALS), dtype=np.int64)
        for country, ids in enumerate(self.terminals_of_country):
            mine = np.flatnonzero(self.card_country == country)
            here, there = self.card_place[mine], self.terminal_place[ids]
            apart = (here**2).sum(axis=1)[:, None] - 2.0 * here @ there.T + (there**2).sum(axis=1)
            some = min(NEARBY_TERMINALS, len(ids))
            nearest = np.sort(np.argpartition(apart, some - 1, axis=1)[:, :some], axis=1)
            result[mine] = ids[nearest][:, np.arange(NEARBY_TERMINALS) % some]
        return result

    def profile(self, card: int) -> dict[str, Any]:
        """What the profile service answers for one card."""
        return {
            "card": card_name(card),
            "home": COUNTRIES[self.card_country[card]],
            "x": round(float(self.card_place[card, 0]), 1),
            "y": round(float(self.card_place[card, 1]), 1),
            "mean_amount": round(float(self.mean_amount[card]), 2),
            "since": f"{2015 + int(self._draws['opened_day'][card]) // 365}-01-01",
            "known_devices": [device_name(card, slot) for slot in range(int(self.devices[card]))],
        }


def card_name(card: int) -> str:
    return f"c{card:06d}"


def card_number(name: str) -> int | None:
    """The number of a card's name, or None where it is not one."""
    digits = name[1:]
    if name[:1] == "c" and len(digits) == 6 and digits.isascii() and digits.isdecimal():
        return int(digits)
    return None


def terminal_name(terminal: int) -> str:
    return f"t{terminal:05d}"


def device_name(card: int, slot: int) -> str:
    """A device's fingerprint. Slots 0 to 2 are a card's own; higher ones are devices nobody has seen before.

    The number is mixed by murmur3's 32-bit finaliser, a bijection: a fingerprint gives neither card nor slot
    away.
    """
    h = (card * 4096 + slot) & 0xFFFFFFFF
    h = ((h ^ h >> 16) * 0x85EBCA6B) & 0xFFFFFFFF
    h = ((h ^ h >> 13) * 0xC2B2AE35) & 0xFFFFFFFF
    return f"d{h ^ h >> 16:08x}"
