from __future__ import annotations

import numpy as np
import pytest
from features import NAMES, Transaction, features, rows
from network import HONEST_DECLINED, HONEST_REVIEWED, Network, Scorer, auc, recall_at, train

RNG = np.random.default_rng(5)
X = RNG.normal(size=(6_000, 5))
Y = ((X[:, 0] > 1.2) & (X[:, 1] > 0.8)).astype(float)


@pytest.fixture(scope="module")
def network() -> Network:
    return train(X, Y, seed=1, steps=600)


def test_it_learns_what_no_single_input_shows(network: Network) -> None:
    assert auc(network.logits(X), Y) > 0.97


def test_one_row_scores_as_many_do(network: Network) -> None:
    scorer = Scorer(network)
    many = network.scores(X[:500])
    assert [scorer.score(row) for row in X[:500].tolist()] == pytest.approx(many, abs=1e-9)


def test_scores_stay_finite_for_absurd_rows(network: Network) -> None:
    scorer = Scorer(network)
    for size in (1e12, -1e12):
        assert 0.0 <= scorer.score([size] * 5) <= 1.0


def test_the_thresholds_mean_the_same_share_of_honest_rows_for_every_network(network: Network) -> None:
    honest = network.scores(X[Y == 0])
    assert (honest > 0.5).mean() == pytest.approx(HONEST_REVIEWED, abs=0.002)
    assert (honest > 0.9).mean() == pytest.approx(HONEST_DECLINED, abs=0.001)


def test_the_same_seed_trains_the_same_network(network: Network) -> None:
    again = train(X, Y, seed=1, steps=600)
    assert again.to_bytes() == network.to_bytes()


def test_a_network_survives_its_file(network: Network) -> None:
    data = network.to_bytes()
    assert len(data) < 50_000
    assert (Network.from_bytes(data).logits(X) == network.logits(X)).all()


def test_rows_of_one_kind_teach_nothing_and_are_refused() -> None:
    with pytest.raises(ValueError, match="0 frauds"):
        train(X, np.zeros(len(X)), seed=1)


def test_auc_is_how_often_a_fraud_scores_higher() -> None:
    scores = RNG.integers(0, 20, 300).astype(float)
    y = (RNG.random(300) < 0.3).astype(float)
    frauds, honest = scores[y > 0], scores[y == 0]
    naive = np.mean([(f > h) + 0.5 * (f == h) for f in frauds for h in honest])
    assert auc(scores, y) == pytest.approx(naive)


def test_recall_is_counted_at_a_fixed_share_of_honest_rows() -> None:
    honest, frauds = np.arange(1000.0), np.array([998.5, 999.5, 3.0, 990.0])
    scores, y = np.concatenate([honest, frauds]), np.concatenate([np.zeros(1000), np.ones(4)])
    assert recall_at(scores, y, 0.015) == 0.75
    assert recall_at(scores, y, 0.001) == pytest.approx(0.5)


def _transaction(card: str, amount: float, device: str = "d1") -> Transaction:
    return Transaction("t", card, amount, "GB", device, "chip", "grocery", 0.0, 0.0)


PROFILE = {"home": "GB", "x": 3.0, "y": 4.0, "mean_amount": 20.0, "known_devices": ["d1"]}


def test_training_rows_hold_the_windows_that_deciding_saw() -> None:
    second = 1_000_000_000
    steps = [(0, "d1"), (1, "d2"), (599, "d1"), (600, "d1"), (601, "d3"), (86_400, "d1"), (86_401, "d1")]
    pairs = [(at * second, _transaction("c", 10.0 + at, device)) for at, device in steps]
    found = rows(pairs, lambda card: PROFILE)
    for index, (at, device) in enumerate(steps):
        recent = [10.0 + t for t, _ in steps[: index + 1] if at - 600 < t]
        devices = {d for t, d in steps[: index + 1] if at - 86_400 < t}
        expected = features(
            10.0 + at,
            "GB",
            device,
            "chip",
            "grocery",
            0.0,
            0.0,
            len(recent),
            sum(recent),
            len(devices),
            PROFILE,
        )
        assert found[index] == pytest.approx(expected), at


def test_a_missing_profile_is_an_input_of_its_own() -> None:
    row = features(50.0, "GB", "d9", "magstripe", "travel", 1.0, 1.0, 1, 50.0, 1, {"missing": True})
    named = dict(zip(NAMES, row, strict=True))
    assert named["profile_missing"] == 1.0
    assert (named["foreign"], named["new_device"], named["log_distance_from_home"]) == (0.0, 0.0, 0.0)
    known = dict(
        zip(NAMES, features(50.0, "FR", "d9", "chip", "fuel", 0.0, 0.0, 1, 50.0, 1, PROFILE), strict=True)
    )
    assert (known["profile_missing"], known["foreign"], known["new_device"]) == (0.0, 1.0, 1.0)
