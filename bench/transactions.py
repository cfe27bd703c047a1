"""W1's input: card transactions as CloudEvents, one a line, seeded and kept between runs.

Amounts are quarters of a unit, which binary fractions hold exactly: so a running sum of floats, as the ceiling keeps
it, has no rounding, and the ceiling must agree with FLO to the last bit.
"""

from __future__ import annotations

import hashlib
import os
import tempfile
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np

CARDS = 20_000
ZIPF = 1.0
"""Share of the k-th card: 1 / k^ZIPF. The busiest card makes 9.5 % of the traffic, the last half of all cards 6.6 %."""

STEP_MS = 5
"""Event time between transactions: 200 a second, so a run of 200,000 is 17 minutes and windows empty as they fill."""

BEGIN = datetime(2026, 1, 5, 8, 0, tzinfo=UTC)
COUNTRIES = ("DE", "FR", "IT", "ES", "NL", "PL", "AT", "BE")
ABROAD_SHARE = 0.06


def transactions(count: int, seed: int) -> Iterator[bytes]:
    """Lines of structured CloudEvents, in order of time."""
    random = np.random.default_rng(seed)
    shares = 1.0 / np.arange(1, CARDS + 1) ** ZIPF
    ranks = random.choice(CARDS, size=count, p=shares / shares.sum())
    numbers = random.permutation(CARDS)[ranks]  # a card's number says nothing of its traffic
    quarters = np.maximum(1, random.lognormal(4.0, 1.2, size=count) * 4).astype(np.int64)
    homes = random.integers(0, len(COUNTRIES), size=CARDS)
    strays = np.where(random.random(count) < ABROAD_SHARE, random.integers(1, len(COUNTRIES), size=count), 0)
    jitter_ms = random.integers(0, STEP_MS, size=count)
    for row in range(count):
        card = int(numbers[row])
        home = int(homes[card])
        country = COUNTRIES[(home + int(strays[row])) % len(COUNTRIES)]
        time = BEGIN + timedelta(milliseconds=row * STEP_MS + int(jitter_ms[row]))
        yield (
            f'{{"specversion":"1.0","id":"tx-{seed}-{row}","source":"/terminals/{card % 400}",'
            f'"type":"tx.authorized","time":"{time:%Y-%m-%dT%H:%M:%S}.{time.microsecond // 1000:03d}Z",'
            f'"datacontenttype":"application/json","data":{{"card":"card-{card:05d}",'
            f'"amount":{int(quarters[row]) / 4},"country":"{country}","home":"{COUNTRIES[home]}"}}}}\n'
        ).encode()


def transactions_file(count: int, seed: int) -> Path:
    """The file of `transactions`, made once: its name holds what it was made from, this program included."""
    made_by = hashlib.sha256(Path(__file__).read_bytes()).hexdigest()[:8]
    path = cache_directory() / f"transactions-{count}-{seed}-{made_by}.ndjson"
    if not path.is_file():
        unfinished = path.with_suffix(f".{os.getpid()}")
        with unfinished.open("wb") as file:
            file.writelines(transactions(count, seed))
        unfinished.rename(path)
    return path


def cache_directory() -> Path:
    directory = Path(tempfile.gettempdir()) / f"flo-bench-{os.getuid()}"
    directory.mkdir(mode=0o700, exist_ok=True)
    return directory
