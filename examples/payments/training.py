"""Training, for real: the first model from the days before, and new ones from what the labels taught
since."""

from __future__ import annotations

import hashlib
import time
import zlib
from dataclasses import replace
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
from features import Transaction, rows
from models import Models
from network import Network, auc, recall_at, train
from population import Floats
from scenarios import HOUR_NS
from store import Rows, Store
from traffic import Plan, Traffic

HISTORY_COUNT = 40_000
HISTORY_HOURS = 30
HISTORY_STREAM = 9

RECENT_WEIGHT = 3.0
"""What was seen since weighs more than the days before, as fraud of yesterday is likelier than fraud of last
month."""
HOLD_OUT = 3
"""One in so many recent transactions is kept from training."""
JUDGED_NS = 5 * HOUR_NS
"""Champion and challenger are judged on those kept in the newest hours: the question is who does better from
now on."""
MARGIN = 0.03
"""A challenger must catch this much more of the held-out fraud: below it, a swap is noise."""
FRAUDS_MIN = 8
"""With fewer held-out frauds the comparison says nothing."""

BASE_VERSION = "base"


def prepare(home: Path, plan: Plan) -> dict[str, Any]:
    """Make store and first model under `home`, as they are before the traffic of `plan` begins; what was
    there goes.

    Takes about two seconds. The same plan gives the same model.
    """
    before = replace(
        plan, start_ns=plan.start_ns - HISTORY_HOURS * HOUR_NS, shift_ns=None, stream=HISTORY_STREAM
    )
    traffic = Traffic(before)
    pairs = []
    for event in traffic.events(HISTORY_COUNT):
        if event["type"] == "tx.authorized":
            time_ns = int(np.datetime64(event["time"][:-1], "ns").astype(np.int64))
            pairs.append((time_ns, msgspec.convert(event["data"], Transaction)))
    store = Store(home / "store")
    y = np.array([1.0 if tx.tx_id in traffic.truth else 0.0 for _, tx in pairs])
    store.create(traffic.population, np.empty((0, 0)), np.empty(0))
    x = np.array(rows(pairs, store.profiles()))
    store.create(traffic.population, x, y)
    models = Models(home / "models")
    for old in (home / "models").glob("*"):
        old.unlink()
    network = train(x, y, seed=plan.seed)
    meta = {"version": BASE_VERSION, "trained_ns": time.time_ns(), "rows": len(y), "frauds": int(y.sum())}
    meta |= _figures(network, x, y, "")
    models.save(BASE_VERSION, network, meta)
    models.swap(BASE_VERSION)
    return meta


def version_of(key: str) -> str:
    """The version a command makes: the same key, the same version."""
    return "m-" + hashlib.sha256(key.encode()).hexdigest()[:12]


def retrain(home: Path, key: str) -> dict[str, Any]:
    """Train a challenger on everything labelled, judge it against the champion, keep it; does not put it in
    use.

    The version is made from `key`: told twice, or by two processes at once, one model is trained, and both
    get its note. A crash before the note is written leaves nothing that counts.
    """
    models, store = Models(home / "models"), Store(home / "store")
    version = version_of(key)
    with models.lock(version):
        done = models.meta(version)
        if done is not None:
            return done
        started_s = time.monotonic()
        history, recent = store.history(), store.recent()
        alias = models.alias()
        champion = models.load(alias.version) if alias else None
        network, meta = _challenge(history, recent, champion, seed=zlib.crc32(key.encode()))
        meta |= {
            "version": version,
            "key": key,
            "champion": alias.version if alias else "none",
            "trained_ns": time.time_ns(),
            "took_s": round(time.monotonic() - started_s, 3),
        }
        models.save(version, network, meta)
        return meta


def _challenge(
    history: Rows, recent: Rows, champion: Network | None, seed: int
) -> tuple[Network, dict[str, Any]]:
    """A challenger, and how both do on recent transactions that neither was trained on."""
    held = np.array([zlib.crc32(tx_id.encode()) % HOLD_OUT == 0 for tx_id in recent.ids], dtype=bool)
    x = np.concatenate([history.x, recent.x[~held]])
    y = np.concatenate([history.y, recent.y[~held]])
    weights = np.where(np.arange(len(y)) < len(history.y), 1.0, RECENT_WEIGHT)
    network = train(x, y, seed=seed, weights=weights)
    judged = held & (recent.time_ns > recent.time_ns.max(initial=0) - JUDGED_NS)
    judged_x, judged_y = recent.x[judged], recent.y[judged]
    meta: dict[str, Any] = {
        "rows": len(y),
        "frauds": int(y.sum()),
        "held_out": len(judged_y),
        "held_out_frauds": int(judged_y.sum()),
        "better": False,
    }
    if meta["held_out_frauds"] < FRAUDS_MIN or champion is None:
        return network, meta | {"better": champion is None, "recall": 0.0, "champion_recall": 0.0}
    meta |= _figures(network, judged_x, judged_y, "") | _figures(champion, judged_x, judged_y, "champion_")
    meta["better"] = meta["recall"] >= meta["champion_recall"] + MARGIN
    return network, meta


def _figures(network: Network, x: Floats, y: Floats, prefix: str) -> dict[str, float]:
    scores = network.scores(x)
    return {
        f"{prefix}recall": round(recall_at(scores, y), 4),
        f"{prefix}auc": round(auc(scores, y), 4),
    }
