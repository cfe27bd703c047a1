"""The ceiling of W1: the same decisions by hand in plain Python. `python -m bench.by_hand FILE DATABASE [--whole]`.

What a good programmer writes in a morning: msgspec structs, one deque a card, SQLite with `synchronous=FULL`, one blob
of decisions per 1,000 transactions. It knows one rule set, keeps no signals, refuses no repeats, explains nothing.
`--whole` adds the two things FLO never leaves out: repeats are refused, and the signals are kept beside the decisions
(compressed as FLO compresses them), so that the state can be rebuilt after a crash.
"""

from __future__ import annotations

import gc
import json
import sqlite3
import sys
import time
from collections import deque
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import BinaryIO

import msgspec
import zstandard

BATCH = 1_000
WINDOW_S = 600.0


class Transaction(msgspec.Struct, gc=False):
    card: str
    amount: float
    country: str
    home: str


class Event(msgspec.Struct, gc=False):
    id: str
    source: str
    type: str
    time: datetime
    data: Transaction


class Card:
    """One card's last ten minutes."""

    __slots__ = ("entries", "total")

    def __init__(self) -> None:
        self.entries: deque[tuple[float, float]] = deque()
        self.total = 0.0


Decision = tuple[str, str, int, float, str]
"""Transaction, card, count, sum, result."""


class Decider:
    """Transactions in, decisions out."""

    def __init__(self, refuse_repeats: bool) -> None:
        self.cards: dict[str, Card] = {}
        self.seen: set[tuple[str, str]] | None = set() if refuse_repeats else None
        self.decode = msgspec.json.Decoder(Event).decode

    def decide(self, lines: list[bytes]) -> list[Decision]:
        decisions = []
        cards, decode, seen = self.cards, self.decode, self.seen
        for line in lines:
            event = decode(line)
            if seen is not None:
                identity = (event.source, event.id)
                if identity in seen:
                    continue
                seen.add(identity)
            data = event.data
            t = event.time.timestamp()
            card = cards.get(data.card)
            if card is None:
                card = cards[data.card] = Card()
            entries, amount = card.entries, data.amount
            entries.append((t, amount))
            card.total += amount
            edge = t - WINDOW_S
            while entries[0][0] <= edge:
                card.total -= entries.popleft()[1]
            count = len(entries)
            if (count >= 5 and amount > 900.0) or (data.country != data.home and card.total > 3000.0):
                result = "review"
            else:
                result = "approve"
            decisions.append((event.id, data.card, count, card.total, result))
        return decisions


def batches(file: BinaryIO) -> Iterator[list[bytes]]:
    """Lines, a batch at a time, read in large pieces: FLO reads its input so too."""
    rest = b""
    pending: list[bytes] = []
    while chunk := file.read(1 << 20):
        lines = (rest + chunk).split(b"\n")
        rest = lines.pop()
        pending += lines
        while len(pending) >= BATCH:
            yield pending[:BATCH]
            pending = pending[BATCH:]
    if pending:
        yield pending


def run(path: Path, database: Path, *, whole: bool) -> dict[str, float | int]:
    """Decide a file, durably; seconds of deciding and recording, without the start."""
    connection = sqlite3.connect(database, isolation_level=None)
    connection.execute("PRAGMA journal_mode=WAL")
    connection.execute("PRAGMA synchronous=FULL")
    connection.execute("CREATE TABLE batches (number INTEGER PRIMARY KEY, decisions BLOB, signals BLOB)")
    encode = msgspec.msgpack.Encoder().encode
    compressor = zstandard.ZstdCompressor(level=1)
    decider = Decider(whole)
    count = 0
    began = time.perf_counter()
    with path.open("rb") as file:
        for number, lines in enumerate(batches(file)):
            decisions = decider.decide(lines)
            signals = compressor.compress(encode(lines)) if whole else None
            connection.execute("INSERT INTO batches VALUES (?, ?, ?)", (number, encode(decisions), signals))
            count += len(decisions)
    seconds = time.perf_counter() - began
    connection.close()
    return {"decisions": count, "seconds": seconds}


def read_decisions(database: Path) -> Iterator[Decision]:
    """What was recorded."""
    decode = msgspec.msgpack.Decoder(list[Decision]).decode
    connection = sqlite3.connect(database)
    for (blob,) in connection.execute("SELECT decisions FROM batches ORDER BY number"):
        yield from decode(blob)
    connection.close()


if __name__ == "__main__":
    gc.freeze()
    print(json.dumps(run(Path(sys.argv[1]), Path(sys.argv[2]), whole="--whole" in sys.argv)))
