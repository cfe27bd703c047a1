from __future__ import annotations

import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import msgspec
import numpy as np
import pytest
from features import Transaction, rows
from models import Models
from network import Network
from store import Store
from traffic import Plan, Traffic
from training import BASE_VERSION, prepare, retrain, version_of

SHIFT = 20_000
LEARNED = 30_000
END = 42_000


class World:
    """A run's traffic, and a store as the gateway fills it."""

    def __init__(self, home: Path) -> None:
        plan = Plan(seed=7)
        self.plan = replace(plan, shift_ns=Traffic(plan).time_after(SHIFT))
        self.home = home
        prepare(home, self.plan)
        self.store = Store(home / "store")
        self.models = Models(home / "models")
        self.traffic = Traffic(self.plan)
        self._events: Iterator[dict] = self.traffic.events(END)
        self.body: list[dict] = []

    def pass_until(self, count: int) -> None:
        """Let transactions and labels come until `count` transactions are there; the store gets them all."""
        encode = msgspec.json.encode
        transactions, labels = b"", b""
        for event in self._events:
            if event["type"] == "tx.authorized":
                self.body.append(event)
                transactions += encode(event) + b"\n"
                if len(self.body) == count:
                    break
            else:
                labels += encode(event) + b"\n"
        self.store.append(transactions, labels)

    def rows(self) -> tuple[np.ndarray, np.ndarray]:
        """What came so far: features, and whether it was fraud."""
        pairs = [
            (
                int(np.datetime64(e["time"][:-1], "ns").astype(np.int64)),
                msgspec.convert(e["data"], Transaction),
            )
            for e in self.body
        ]
        fraud = np.array([e["id"] in self.traffic.truth for e in self.body])
        return np.array(rows(pairs, self.store.profiles())), fraud


def caught(network: Network, x: np.ndarray, fraud: np.ndarray) -> float:
    """Share of the frauds that the network would not let pass."""
    assert fraud.sum() > 80
    return float((network.scores(x[fraud]) >= 0.5).mean())


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> World:
    return World(tmp_path_factory.mktemp("payments"))


def test_a_shift_makes_the_first_network_stale_and_retraining_recovers(world: World) -> None:
    base = world.models.load(BASE_VERSION)
    world.pass_until(SHIFT)
    unneeded = retrain(world.home, "payments-retrain/fraud/1/missing-fraud/0")
    assert not unneeded["better"], unneeded

    world.pass_until(LEARNED)
    note = retrain(world.home, "payments-retrain/fraud/2/missing-fraud/0")
    assert note["better"], note
    assert note["champion"] == BASE_VERSION
    world.models.swap(note["version"], 1)

    world.pass_until(END)
    fresh = world.models.load(note["version"])
    x, fraud = world.rows()
    before = caught(base, x[:SHIFT], fraud[:SHIFT])
    stale = caught(base, x[LEARNED:], fraud[LEARNED:])
    recovered = caught(fresh, x[LEARNED:], fraud[LEARNED:])
    assert before > 0.65
    assert stale < before - 0.2
    assert recovered > stale + 0.2
    assert recovered > before - 0.05


def test_the_same_command_trains_once_however_often_it_comes(world: World) -> None:
    key = "payments-retrain/fraud/9/missing-fraud/0"
    notes: list[dict] = []
    threads = [threading.Thread(target=lambda: notes.append(retrain(world.home, key))) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    path = world.models.artifact(version_of(key))
    written = path.stat().st_mtime_ns
    assert len({note["trained_ns"] for note in [*notes, retrain(world.home, key)]}) == 1
    assert path.stat().st_mtime_ns == written


def test_a_training_cut_short_is_done_again(world: World) -> None:
    key = "payments-retrain/fraud/10/missing-fraud/0"
    world.models.artifact(version_of(key)).write_bytes(b"half a mod")  # weights are written before the note
    note = retrain(world.home, key)
    assert world.models.load(note["version"]).w1.shape == (12, 16)


def test_only_frauds_and_old_transactions_have_labels(tmp_path: Path) -> None:
    plan = Plan(seed=2, cards=3_000, terminals=300)
    prepare(tmp_path, plan)
    store = Store(tmp_path / "store")
    events = [e for e in Traffic(plan).events(600) if e["type"] == "tx.authorized"]
    label = {"type": "tx.chargeback", "data": {"tx_id": events[-1]["id"], "label": "fraud"}}
    lines = b"".join(msgspec.json.encode(e) + b"\n" for e in events)
    store.append(lines, msgspec.json.encode(label) + b"\n")
    recent = store.recent()
    known = dict(zip(recent.ids, recent.y.tolist(), strict=True))
    assert known[events[-1]["id"]] == 1.0
    assert known[events[0]["id"]] == 0.0
    assert events[-2]["id"] not in known
    assert len(recent.ids) == len(recent.x) == len(recent.time_ns)


def test_a_line_that_is_still_being_written_waits_for_the_next_time(tmp_path: Path) -> None:
    plan = Plan(seed=2, cards=3_000, terminals=300)
    prepare(tmp_path, plan)
    store = Store(tmp_path / "store")
    events = [e for e in Traffic(plan).events(900) if e["type"] == "tx.authorized"]
    lines = b"".join(msgspec.json.encode(e) + b"\n" for e in events)
    store.append(lines, b"")
    whole = store.recent().ids
    store.append(lines[:100], b'{"data": {"tx_id"')
    assert store.recent().ids == whole


def test_the_same_plan_prepares_the_same_network(tmp_path: Path) -> None:
    plan = Plan(seed=4, cards=3_000, terminals=300)
    for name in ("one", "two"):
        prepare(tmp_path / name, plan)
    one, two = (Models(tmp_path / name / "models").load(BASE_VERSION) for name in ("one", "two"))
    assert one.to_bytes() == two.to_bytes()
