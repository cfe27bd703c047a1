"""The gateway's own record: what it authorised, and what became of it. A real one would be a feature store.

FLO moves no data: it commands a training and names nothing but the store. The gateway appends here; the
trainer reads.

    store/population.json      which population's profiles belong to these cards
    store/history.npz          rows and labels of the days before
    store/transactions.ndjson  the tx.authorized events since
    store/labels.ndjson        the label events since

Files are only ever appended to, in whole lines; a reader leaves a line that is not yet ended for the next
time.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
from features import NAMES, Transaction, rows
from population import Floats, Ints, Population, card_number

MATURE_NS = 2 * 3600 * 1_000_000_000
"""A transaction this old without a fraud label is honest; a younger one is not yet known. Twice the usual
delay."""


class _Event(msgspec.Struct, gc=False):
    time: str
    data: Transaction


class _LabelData(msgspec.Struct, gc=False):
    tx_id: str
    label: str


class _Label(msgspec.Struct, gc=False):
    data: _LabelData


@dataclass(frozen=True)
class Rows:
    """Rows for training: features, 1.0 for fraud, who they are and when they were."""

    x: Floats
    y: Floats
    ids: list[str]
    time_ns: Ints


class Store:
    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self._population = directory / "population.json"
        self._history = directory / "history.npz"
        self._transactions = directory / "transactions.ndjson"
        self._labels = directory / "labels.ndjson"

    def create(self, population: Population, x: Floats, y: Floats) -> None:
        """A new store with the days before; what was in it is gone."""
        self.directory.mkdir(parents=True, exist_ok=True)
        sizes = {"seed": population.seed, "cards": population.cards, "terminals": population.terminals}
        self._population.write_bytes(msgspec.json.encode(sizes))
        np.savez(self._history, x=x, y=y)
        self._transactions.write_bytes(b"")
        self._labels.write_bytes(b"")

    def append(self, transactions: bytes, labels: bytes) -> None:
        """Add events, as NDJSON whose every line is ended."""
        for path, lines in ((self._transactions, transactions), (self._labels, labels)):
            if lines:
                with path.open("ab") as file:
                    file.write(lines)

    def history(self) -> Rows:
        with np.load(self._history, allow_pickle=False) as arrays:
            return Rows(arrays["x"], arrays["y"], [], np.empty(0, dtype=np.int64))

    def recent(self) -> Rows:
        """The transactions since whose label is known: frauds as reported, others once they are `MATURE_NS`
        old."""
        labels = {line.data.tx_id: line.data.label for line in _lines(self._labels, _Label)}
        events = _lines(self._transactions, _Event)
        if not events:
            return Rows(np.empty((0, len(NAMES))), np.empty(0), [], np.empty(0, dtype=np.int64))
        times: Ints = np.array([event.time.rstrip("Z") for event in events], dtype="datetime64[ns]").astype(
            np.int64
        )
        order = np.argsort(times, kind="stable").tolist()
        pairs = [(int(times[i]), events[i].data) for i in order]
        newest_ns = pairs[-1][0]
        x = np.array(rows(pairs, self.profiles()))
        keep = [time_ns <= newest_ns - MATURE_NS or tx.tx_id in labels for time_ns, tx in pairs]
        ids = [tx.tx_id for (_, tx), kept in zip(pairs, keep, strict=True) if kept]
        y = np.array([1.0 if labels.get(tx_id) == "fraud" else 0.0 for tx_id in ids])
        return Rows(x[keep], y, ids, times[order][keep])

    def profiles(self) -> Any:
        """card name -> profile, as the profile service answers."""
        population = Population(**msgspec.json.decode(self._population.read_bytes()))
        seen: dict[str, dict[str, Any]] = {}

        def profile(card: str) -> dict[str, Any]:
            found = seen.get(card)
            if found is None:
                number = card_number(card)
                known = number is not None and number < population.cards
                found = seen[card] = population.profile(number) if known and number is not None else {}
            return found

        return profile


def _lines(path: Path, kind: type) -> list[Any]:
    data = path.read_bytes() if path.exists() else b""
    return msgspec.json.Decoder(kind).decode_lines(data[: data.rfind(b"\n") + 1])
