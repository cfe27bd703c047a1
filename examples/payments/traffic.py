"""Seeded card traffic: authorisations, and the fraud labels that follow them, as CloudEvents.

    python traffic.py --count 50000 --seed 7 > traffic.ndjson

Cards are busy by a Zipf law and make `TX_PER_CARD_DAY` transactions a day each on average, more by day than
by night; what they buy, and what thieves do, is drawn in scenarios.py. The mix of fraud shifts once, at
`Plan.shift_ns`. For every fraud a label (`tx.chargeback`) follows, late by `LABEL_DELAY_MEDIAN_S`,
log-normally spread.

Time. Event time runs at its natural rate inside the events: 20,000 cards make 40,000 transactions a day.
Whoever sends them chooses the speed: at 833 a second, one second of the wall is half an hour of event time,
and a minute is 30 hours. Label delays are compressed besides: a chargeback takes weeks in life, and an hour
here.

The same (seed, plan) gives the same events, byte for byte, however many are taken.
"""

from __future__ import annotations

import argparse
import heapq
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import Any

import msgspec
import numpy as np
from population import CATEGORIES, COUNTRIES, Population, card_name, device_name, terminal_name
from scenarios import ENTRIES, FRAUD_SHARE, HOUR_NS, ONLINE, SCENARIOS, SECOND_NS, Columns, Scenarios

TX_PER_CARD_DAY = 2.0
LABEL_DELAY_MEDIAN_S = 3600.0
LABEL_DELAY_SIGMA = 0.35
LABEL_DELAY_MAX_S = 4 * 3600.0

_NIGHT_AND_MORNING = (0.35, 0.22, 0.15, 0.12, 0.14, 0.25, 0.5, 0.85, 1.1, 1.25, 1.35, 1.5)
_AFTERNOON_AND_EVENING = (1.65, 1.6, 1.45, 1.4, 1.45, 1.6, 1.75, 1.65, 1.35, 1.05, 0.75, 0.51)
DIURNAL = np.array([*_NIGHT_AND_MORNING, *_AFTERNOON_AND_EVENING])
"""Relative rate by hour of the day."""

DEFAULT_START_NS = 1_767_571_200 * SECOND_NS  # 2026-01-05, a Monday, 00:00 UTC


@dataclass(frozen=True)
class Plan:
    """What to generate. Times are nanoseconds since the epoch, UTC."""

    seed: int = 7
    cards: int = 20_000
    terminals: int = 2_000
    start_ns: int = DEFAULT_START_NS
    shift_ns: int | None = None  # when the mix of fraud changes; None: it never does
    source: str = "gateway"  # of the CloudEvents; another run against the same FLO needs another one
    tx_per_card_day: float = TX_PER_CARD_DAY
    stream: int = 0  # another number: other days of the same population


@dataclass
class Traffic:
    """The stream of one plan. `truth` grows as transactions are taken: tx id -> scenario, frauds only."""

    plan: Plan
    truth: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        plan = self.plan
        self.population = Population(plan.seed, plan.cards, plan.terminals)
        self._scenarios = Scenarios(self.population, plan.seed, plan.start_ns, plan.shift_ns)

    def tx_in_hour(self, hour: int) -> float:
        """Expected transactions in an hour, counted from the plan's start."""
        hour_of_day = (self.plan.start_ns // HOUR_NS + hour) % 24
        per_hour = self.plan.cards * self.plan.tx_per_card_day / 24.0
        return per_hour * float(DIURNAL[hour_of_day] / DIURNAL.mean())

    def time_after(self, count: int) -> int:
        """About when the `count`-th transaction comes, in event time."""
        hour, left = 0, float(count)
        while left > (rate := self.tx_in_hour(hour)):
            left -= rate
            hour += 1
        return self.plan.start_ns + int((hour + left / rate) * HOUR_NS)

    def events(self, count: int | None = None) -> Iterator[dict[str, Any]]:
        """Transactions and labels in order of time.

        Ends after `count` transactions and the labels they have coming; never, where no count is given.
        """
        labels: list[tuple[int, int, dict[str, Any]]] = []
        number = 0
        for columns in self._hours():
            for time_ns, event, scenario in self._render(columns, number):
                if number == count:
                    break
                while labels and labels[0][0] <= time_ns:
                    yield heapq.heappop(labels)[2]
                if scenario >= 0:
                    self.truth[event["id"]] = SCENARIOS[scenario]
                    due_ns, label = self._label(time_ns, number, event)
                    heapq.heappush(labels, (due_ns, number, label))
                number += 1
                yield event
            if number == count:
                break
        while labels:
            yield heapq.heappop(labels)[2]

    def _hours(self) -> Iterator[Columns]:
        """One hour of event time after the other, each drawn from a generator of its own, in order of
        time."""
        hour = 0
        held: list[Columns] = []
        while True:
            start = self.plan.start_ns + hour * HOUR_NS
            rng = np.random.default_rng([self.plan.seed, 0x545258, self.plan.stream, hour])
            rate = self.tx_in_hour(hour)
            honest = self._scenarios.honest(rng, rate * (1.0 - FRAUD_SHARE), start)
            rows = Columns.join([*held, honest, *self._scenarios.frauds(rng, rate * FRAUD_SHARE, start)])
            rows = rows.pick(np.argsort(rows.time, kind="stable"))
            now = rows.time < start + HOUR_NS
            held = [rows.pick(~now)]  # bursts that run on into the next hour
            yield rows.pick(now)
            hour += 1

    def _render(self, rows: Columns, number: int) -> Iterator[tuple[int, dict[str, Any], int]]:
        source, stream = self.plan.source, self.plan.stream
        columns = zip(
            rows.time.tolist(), _times(rows.time), (rows.time // HOUR_NS % 24).tolist(), rows.card.tolist(),
            rows.terminal.tolist(), rows.amount.tolist(), rows.country.tolist(), rows.device.tolist(),
            rows.entry.tolist(), rows.category.tolist(), np.round(rows.place, 1).tolist(),
            rows.scenario.tolist(), strict=True,
        )  # fmt: skip
        for (
            time_ns,
            time,
            hour,
            card,
            terminal,
            amount,
            country,
            device,
            entry,
            category,
            place,
            scenario,
        ) in columns:
            tx_id = f"{stream}-{number:07d}"
            number += 1
            data = {
                "tx_id": tx_id,
                "card": card_name(card),
                "terminal": terminal_name(terminal) if terminal >= 0 else "web",
                "amount": amount,
                "country": COUNTRIES[country],
                "device": device_name(card, device),
                "channel": "online" if entry == ONLINE else "pos",
                "entry": ENTRIES[entry],
                "category": CATEGORIES[category],
                "x": place[0],
                "y": place[1],
                "hour": hour,
            }
            yield time_ns, _event("tx.authorized", source, tx_id, time, data), scenario

    def _label(self, time_ns: int, number: int, event: dict[str, Any]) -> tuple[int, dict[str, Any]]:
        rng = np.random.default_rng([self.plan.seed, 0x4C4142, self.plan.stream, number])
        delay_s = min(
            LABEL_DELAY_MEDIAN_S * float(np.exp(rng.normal(0.0, LABEL_DELAY_SIGMA))), LABEL_DELAY_MAX_S
        )
        due_ns = time_ns + int(delay_s * SECOND_NS)
        data = event["data"]
        label = {
            "tx_id": data["tx_id"],
            "card": data["card"],
            "model": "fraud",
            "amount": data["amount"],
            "label": "fraud",
            "decided": "unknown",  # the gateway knows, and writes it here before it sends the label
            "version": "unknown",
            "authorized_at": event["time"],
        }
        (time,) = _times(np.array([due_ns]))
        return due_ns, _event("tx.chargeback", self.plan.source, f"{data['tx_id']}/label", time, label)


def _times(time_ns: Any) -> list[str]:
    """RFC 3339 with microseconds."""
    texts = np.datetime_as_string(time_ns.astype("datetime64[ns]").astype("datetime64[us]"), timezone="UTC")
    return texts.tolist()  # type: ignore[no-any-return]


def _event(kind: str, source: str, id: str, time: str, data: dict[str, Any]) -> dict[str, Any]:
    return {"specversion": "1.0", "id": id, "source": source, "type": kind, "time": time, "data": data}


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description="Write seeded card traffic as NDJSON of CloudEvents.")
    parser.add_argument("--count", type=int, default=50_000, help="transactions; their labels come besides")
    parser.add_argument("--seed", type=int, default=7)
    parser.add_argument("--cards", type=int, default=20_000)
    parser.add_argument("--shift-after", type=int, help="transactions after which the mix of fraud shifts")
    parser.add_argument("--source", default="gateway")
    options = parser.parse_args(arguments)
    plan = Plan(seed=options.seed, cards=options.cards, source=options.source)
    if options.shift_after is not None:
        plan = replace(plan, shift_ns=Traffic(plan).time_after(options.shift_after))
    encode = msgspec.json.Encoder().encode
    write = sys.stdout.buffer.write
    for event in Traffic(plan).events(options.count):
        write(encode(event) + b"\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
