"""Months of cycle times as loops have them: noise with a heavy tail, daily and weekly rhythm, slow days, wandering load."""

from __future__ import annotations

import math
from collections.abc import Iterator
from random import Random
from typing import NamedTuple

from tests.flow.watchdogs.watched import DAY, HOUR, START_NS, S

SAMPLES_A_SPAN = 5
STEP_NS = 39 * 60 * S // SAMPLES_A_SPAN


class Character(NamedTuple):
    """How a loop's cycle times scatter; all on logarithms."""

    noise: float = 0.3
    outliers: float = 0.01  # this share takes 3 to 30 times as long
    daily: float = 0.0  # noon against midnight
    weekend: float = 0.0
    by_day: float = 0.0  # a whole day is slower or faster
    wander: float = 0.0  # load that goes up and down within hours
    base_s: float = 30.0


CHARACTERS = {
    "steady": Character(),
    "hardly noisy": Character(noise=0.02),
    "exact": Character(noise=0.0, outliers=0.0),
    "very noisy": Character(noise=0.8, outliers=0.05),
    "daily rhythm": Character(daily=0.7),
    "daily and weekly rhythm": Character(daily=0.7, weekend=-0.4),
    "slow days": Character(by_day=0.1, daily=0.3),
    "wandering load": Character(wander=0.15, daily=0.3),
    "everything": Character(noise=0.4, daily=0.5, weekend=-0.3, by_day=0.07, wander=0.1),
}


def month(
    character: Character, random: Random, *, days: float = 30, drift_a_day: float = 0.0, from_day: float = 14
) -> Iterator[tuple[int, int, float]]:
    """(time, duration, how much of it is drift): `drift_a_day` is a share of the base, added from a day on."""
    day_effect, wander, today = 0.0, 0.0, -1
    start_ns = START_NS + random.randrange(7) * DAY + random.randrange(24) * HOUR
    for step in range(round(days * DAY / STEP_NS)):
        at_ns = start_ns + step * STEP_NS
        day, hour = at_ns // DAY, at_ns % DAY / HOUR
        if day != today:
            today, day_effect = day, random.gauss(0.0, character.by_day)
        wander += -0.05 * wander + random.gauss(0.0, character.wander * math.sqrt(0.1))
        log = random.gauss(0.0, character.noise) + day_effect + wander
        log += character.daily * -math.cos(hour / 24 * 2 * math.pi) / 2
        log += character.weekend * ((day + 3) % 7 >= 5)
        if random.random() < character.outliers:
            log += math.log(random.uniform(3, 30))
        passed_days = (at_ns - start_ns) / DAY
        drift = 1.0 + drift_a_day * max(0.0, passed_days - from_day)
        yield at_ns, round(character.base_s * math.exp(log) * drift * S), drift
