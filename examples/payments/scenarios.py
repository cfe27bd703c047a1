"""Who pays what, drawn at random: honest transactions and three kinds of fraud, an hour at a time, as arrays.

- honest: log-normal around what the card's owner usually pays; two thirds at nearby terminals, one third
  online; now and then abroad, far from home, on a new device, or for much more than usual.
- `amount`: an account taken over, paying many times the usual amount from the owner's own device and country.
- `terminal`: a terminal compromised for some hours, where cloned magnetic stripes pay ordinary amounts far
  from home.
- `stolen`: a burst of small payments, then large ones, within minutes, from a new device abroad.

The idea of the scenarios is that of the simulator in the public Fraud Detection Handbook (2022); this is our
own code.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from population import CATEGORIES, COUNTRIES, Floats, Ints, Population

SECOND_NS = 1_000_000_000
HOUR_NS = 3600 * SECOND_NS

FRAUD_SHARE = 0.012
"""Of all transactions, by number. Card schemes see 0.1 %; the Handbook's simulator 0.8 %. A minute's
demonstration needs enough of them to learn from."""

SCENARIOS = ("amount", "terminal", "stolen")
MIX_BEFORE = (0.92, 0.0, 0.08)
MIX_AFTER = (0.10, 0.50, 0.40)
"""Shares of fraudulent transactions by scenario, before and after the shift."""

STOLEN_BURST = 6
TERMINAL_PERIOD_NS = 6 * HOUR_NS
COMPROMISED_AT_ONCE = 40

CHIP, CONTACTLESS, MAGSTRIPE, ONLINE = range(4)
HONEST_ENTRIES = (0.34, 0.60, 0.06)  # chip, contactless, magnetic stripe
ENTRIES = ("chip", "contactless", "magstripe", "online")
ONLINE_MIX = (0.08, 0.12, 0.0, 0.12, 0.30, 0.18, 0.14, 0.06)
"""Categories of what is bought online, in the order of `CATEGORIES`."""


@dataclass
class Columns:
    """Transactions as arrays, one row each."""

    time: Ints
    card: Ints
    terminal: Ints  # -1: online
    amount: Floats
    country: Ints
    device: Ints  # slot of the card; see population.device_name
    entry: Ints
    category: Ints
    place: Floats
    scenario: Ints  # -1: honest

    @staticmethod
    def join(parts: list[Columns]) -> Columns:
        return Columns(*(np.concatenate([getattr(p, name) for p in parts]) for name in COLUMN_NAMES))

    def pick(self, rows: Any) -> Columns:
        return Columns(*(getattr(self, name)[rows] for name in COLUMN_NAMES))


COLUMN_NAMES = tuple(Columns.__dataclass_fields__)


@dataclass(frozen=True)
class Scenarios:
    """Draws transactions of one population. Rates are expected transactions in the hour that begins at
    `start`."""

    population: Population
    seed: int
    origin_ns: int  # from where periods are counted
    shift_ns: int | None = None

    def honest(self, rng: np.random.Generator, rate: float, start: int) -> Columns:
        people = self.population
        n = int(rng.poisson(rate))
        card = np.searchsorted(people.activity.cumsum()[:-1], rng.random(n)).astype(np.int64)
        online = rng.random(n) < 0.35
        abroad = rng.random(n) < 0.03
        far = rng.random(n) < 0.05
        big = rng.random(n) < 0.015
        amount = people.mean_amount[card] * np.exp(rng.normal(-0.18, 0.6, n)) * np.where(big, 4.0, 1.0)
        home = people.card_country[card]
        country = np.where(abroad, (home + rng.integers(1, len(COUNTRIES), n)) % len(COUNTRIES), home)
        terminal = people.nearby[card, rng.integers(0, people.nearby.shape[1], n)]
        anywhere = self._any_terminal(rng, country)
        terminal = np.where(abroad | far, anywhere, terminal)
        entry = rng.choice(3, n, p=HONEST_ENTRIES)
        category = np.where(
            online, rng.choice(len(CATEGORIES), n, p=ONLINE_MIX), people.terminal_category[terminal]
        )
        own = (rng.random(n) * people.devices[card]).astype(np.int64)
        device = np.where(rng.random(n) < 0.015, rng.integers(3, 4000, n), np.where(online, own, 0))
        return self._columns(
            time=start + (rng.random(n) * HOUR_NS).astype(np.int64),
            card=card,
            terminal=np.where(online, -1, terminal),
            amount=amount,
            country=country,
            device=device,
            entry=np.where(online, ONLINE, entry),
            category=category,
            scenario=np.full(n, -1),
        )

    def frauds(self, rng: np.random.Generator, rate: float, start: int) -> list[Columns]:
        """Both mixes are drawn for every hour and cut at the moment of the shift, so the hour before it is
        the same whether a shift comes or not."""
        made = []
        for mix, after in ((MIX_BEFORE, False), (MIX_AFTER, True)):
            amount = self._amount(rng, rate * mix[0], start)
            terminal = self._terminal(rng, rate * mix[1], start)
            stolen = self._stolen(rng, rate * mix[2], start)
            made.append(amount.pick(self._shifted(amount.time) == after))
            made.append(terminal.pick(self._shifted(terminal.time) == after))
            made.append(stolen.pick(self._shifted(burst_start(stolen)) == after))
        return made

    def _shifted(self, time: Ints) -> Any:
        return np.zeros(len(time), dtype=bool) if self.shift_ns is None else time >= self.shift_ns

    def _amount(self, rng: np.random.Generator, rate: float, start: int) -> Columns:
        n = int(rng.poisson(rate))
        people = self.population
        card = rng.integers(0, people.cards, n)
        online = rng.random(n) < 0.6
        terminal = people.nearby[card, rng.integers(0, people.nearby.shape[1], n)]
        return self._columns(
            time=start + (rng.random(n) * HOUR_NS).astype(np.int64),
            card=card,
            terminal=np.where(online, -1, terminal),
            amount=people.mean_amount[card] * np.exp(rng.normal(1.5, 0.55, n)),
            country=people.card_country[card],
            device=np.zeros(n, dtype=np.int64),
            entry=np.where(online, ONLINE, CHIP),
            category=np.where(
                online, rng.choice(len(CATEGORIES), n, p=ONLINE_MIX), people.terminal_category[terminal]
            ),
            scenario=np.zeros(n, dtype=np.int64),
        )

    def _terminal(self, rng: np.random.Generator, rate: float, start: int) -> Columns:
        n = int(rng.poisson(rate))
        people = self.population
        period = (start - self.origin_ns) // TERMINAL_PERIOD_NS
        which = np.random.default_rng([self.seed, 0x434D50, max(period, 0)])
        bad = which.integers(0, people.terminals, COMPROMISED_AT_ONCE)
        terminal = bad[rng.integers(0, COMPROMISED_AT_ONCE, n)]
        country = people.terminal_country[terminal]
        card = self._card_of_country(rng, country)
        return self._columns(
            time=start + (rng.random(n) * HOUR_NS).astype(np.int64),
            card=card,
            terminal=terminal,
            amount=people.mean_amount[card] * rng.uniform(0.7, 2.5, n),
            country=country,
            device=np.zeros(n, dtype=np.int64),
            entry=np.full(n, MAGSTRIPE),
            category=people.terminal_category[terminal],
            scenario=np.ones(n, dtype=np.int64),
        )

    def _stolen(self, rng: np.random.Generator, rate: float, start: int) -> Columns:
        bursts = int(rng.poisson(rate / STOLEN_BURST))
        n = bursts * STOLEN_BURST
        people = self.population
        step = np.tile(np.arange(STOLEN_BURST), bursts)
        card = np.repeat(rng.integers(0, people.cards, bursts), STOLEN_BURST)
        first = np.repeat(start + (rng.random(bursts) * HOUR_NS).astype(np.int64), STOLEN_BURST)
        home = people.card_country[card]
        away = np.repeat(rng.integers(1, len(COUNTRIES), bursts), STOLEN_BURST)
        large = step >= STOLEN_BURST // 2
        return self._columns(
            time=first
            + step * (45 * SECOND_NS)
            + (rng.random(n) * 30 * SECOND_NS).astype(np.int64) * (step > 0),
            card=card,
            terminal=np.full(n, -1),
            amount=np.where(
                large, people.mean_amount[card] * rng.uniform(1.5, 6.0, n), rng.uniform(1.0, 5.0, n)
            ),
            country=(home + away) % len(COUNTRIES),
            device=np.repeat(rng.integers(4000, 4096, bursts), STOLEN_BURST),
            entry=np.full(n, ONLINE),
            category=rng.choice(len(CATEGORIES), n, p=ONLINE_MIX),
            scenario=np.full(n, 2),
        )

    def _columns(self, *, terminal: Ints, card: Ints, amount: Floats, **rest: Any) -> Columns:
        people = self.population
        place = np.where((terminal < 0)[:, None], people.card_place[card], people.terminal_place[terminal])
        return Columns(
            terminal=terminal, card=card, amount=np.maximum(np.round(amount, 2), 0.5), place=place, **rest
        )

    def _any_terminal(self, rng: np.random.Generator, country: Ints) -> Ints:
        groups = self.population.terminals_of_country
        sizes = np.array([len(ids) for ids in groups])
        offsets = np.concatenate([[0], np.cumsum(sizes)[:-1]])
        flat = np.concatenate(groups)
        return flat[offsets[country] + (rng.random(len(country)) * sizes[country]).astype(np.int64)]  # type: ignore[no-any-return]

    def _card_of_country(self, rng: np.random.Generator, country: Ints) -> Ints:
        """A card of each country; any card where the country has none."""
        result = rng.integers(0, self.population.cards, len(country))
        for code in np.unique(country):
            mine = np.flatnonzero(self.population.card_country == code)
            rows = np.flatnonzero(country == code)
            if len(mine):
                result[rows] = mine[rng.integers(0, len(mine), len(rows))]
        return result


def burst_start(columns: Columns) -> Ints:
    """The first time of each row's burst: a burst belongs wholly to the mix it began in."""
    return np.repeat(columns.time[::STOLEN_BURST], STOLEN_BURST)
