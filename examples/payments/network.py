"""A small neural network: one hidden layer of rectified units, trained with Adam on weighted cross-entropy.

Its answer is calibrated so that the thresholds of a bundle outlive the models: 0.5 is where 1.5 % of honest
transactions would be reviewed, 0.9 where 0.2 % would be declined, whatever the training data were.
"""

from __future__ import annotations

import io
import math
import operator
from dataclasses import dataclass
from typing import Any

import numpy as np
from population import Floats

HIDDEN = 16
HONEST_REVIEWED = 0.015
HONEST_DECLINED = 0.002
"""Shares of honest transactions above the scores 0.5 and 0.9."""

POSITIVE_WEIGHT_MAX = 20.0
"""A fraud weighs as much as the honest rows it is rarer than, up to this: beyond it a single odd label bends
the net."""

BATCH = 512
STEPS = 1500
RATE = 0.01

_ARRAYS = ("mean", "scale", "w1", "b1", "w2", "b2")


@dataclass(frozen=True, eq=False)
class Network:
    """Weights, with the standardisation of the inputs. `b2` is an array of one."""

    mean: Floats
    scale: Floats
    w1: Floats
    b1: Floats
    w2: Floats
    b2: Floats

    def logits(self, x: Floats) -> Floats:
        hidden = np.maximum((x - self.mean) / self.scale @ self.w1 + self.b1, 0.0)
        return hidden @ self.w2 + self.b2[0]  # type: ignore[no-any-return]

    def scores(self, x: Floats) -> Floats:
        """0 to 1 for each row."""
        return 1.0 / (1.0 + np.exp(-np.clip(self.logits(x), -40.0, 40.0)))

    def to_bytes(self) -> bytes:
        buffer = io.BytesIO()
        np.savez(buffer, **{name: getattr(self, name) for name in _ARRAYS})
        return buffer.getvalue()

    @staticmethod
    def from_bytes(data: bytes) -> Network:
        """`ValueError` or `KeyError` where the bytes are not a network's; nothing in them is executed."""
        with np.load(io.BytesIO(data), allow_pickle=False) as arrays:
            return Network(*(arrays[name] for name in _ARRAYS))


class Scorer:
    """One network, for one row at a time. Plain Python: for a single row numpy's calls cost as much as the
    sums."""

    def __init__(self, network: Network) -> None:
        # The standardisation is folded into the first layer: w·(x - m)/s + b = (w/s)·x + (b - (w/s)·m).
        weights = network.w1 / network.scale[:, None]
        biases = network.b1 - network.mean @ weights
        self._units = [
            (tuple(weights[:, unit].tolist()), float(biases[unit]), float(network.w2[unit]))
            for unit in range(weights.shape[1])
        ]
        self._bias = float(network.b2[0])

    def score(self, row: list[float]) -> float:
        """0 to 1, to within rounding what `Network.scores` gives."""
        total = self._bias
        multiply = operator.mul
        for weights, bias, out in self._units:
            unit = sum(map(multiply, weights, row), bias)
            if unit > 0.0:
                total += out * unit
        return 1.0 / (1.0 + math.exp(-min(max(total, -40.0), 40.0)))


def train(x: Floats, y: Floats, *, seed: int, weights: Floats | None = None, steps: int = STEPS) -> Network:
    """A calibrated network. `y` is 1 for fraud; `weights` says how much each row counts.

    The same arguments give the same network on the same machine. Raises `ValueError` where a class is
    missing.
    """
    frauds = int(y.sum())
    if not 0 < frauds < len(y):
        raise ValueError(f"{frauds} frauds in {len(y)} rows: training needs rows of both kinds")
    rng = np.random.default_rng(seed)
    mean, scale = x.mean(axis=0), x.std(axis=0)
    scale = np.where(scale < 1e-6, 1.0, scale)
    z = (x - mean) / scale
    each = np.ones(len(y)) if weights is None else weights
    each = each * np.where(y > 0, min((len(y) - frauds) / frauds, POSITIVE_WEIGHT_MAX), 1.0)
    parameters = [
        rng.normal(0.0, math.sqrt(2.0 / x.shape[1]), (x.shape[1], HIDDEN)),
        np.zeros(HIDDEN),
        rng.normal(0.0, math.sqrt(1.0 / HIDDEN), HIDDEN),
        np.zeros(1),
    ]
    _descend(parameters, z, y, each / each.mean(), rng, steps)
    return _calibrated(Network(mean, scale, *parameters), x[y == 0])


def _descend(
    parameters: list[Any], z: Floats, y: Floats, weights: Floats, rng: np.random.Generator, steps: int
) -> None:
    """Adam (Kingma and Ba, 2015) with a linearly falling rate; changes the parameters in place."""
    first = [np.zeros_like(p) for p in parameters]
    second = [np.zeros_like(p) for p in parameters]
    for step in range(1, steps + 1):
        rows = rng.integers(0, len(y), BATCH)
        rate = RATE * (1.0 - step / (steps + 1)) * math.sqrt(1.0 - 0.999**step) / (1.0 - 0.9**step)
        gradients = _gradients(parameters, z[rows], y[rows], weights[rows])
        for p, g, m, v in zip(parameters, gradients, first, second, strict=True):
            m += 0.1 * (g - m)
            v += 0.001 * (g * g - v)
            p -= rate * m / (np.sqrt(v) + 1e-8)


def _gradients(parameters: list[Any], z: Floats, y: Floats, weights: Floats) -> tuple[Any, ...]:
    w1, b1, w2, b2 = parameters
    hidden = np.maximum(z @ w1 + b1, 0.0)
    logits = np.clip(hidden @ w2 + b2[0], -40.0, 40.0)
    delta = weights * (1.0 / (1.0 + np.exp(-logits)) - y) / len(y)
    back = np.outer(delta, w2) * (hidden > 0)
    return z.T @ back + 1e-5 * w1, back.sum(axis=0), hidden.T @ delta + 1e-5 * w2, np.array([delta.sum()])


def _calibrated(network: Network, honest: Floats) -> Network:
    """The same ranking, with logits shifted and scaled to meet the two shares of honest rows."""
    logits = network.logits(honest)
    review, decline = np.quantile(logits, [1.0 - HONEST_REVIEWED, 1.0 - HONEST_DECLINED])
    slope = math.log(0.9 / 0.1) / max(float(decline - review), 1e-3)
    return Network(
        network.mean,
        network.scale,
        network.w1,
        network.b1,
        network.w2 * slope,
        (network.b2 - review) * slope,
    )


def auc(scores: Floats, y: Floats) -> float:
    """Area under the ROC curve: how often a fraud scores above an honest row (ties count half)."""
    _, inverse, counts = np.unique(scores, return_inverse=True, return_counts=True)
    ranks = (np.cumsum(counts) - (counts - 1) / 2.0)[inverse]
    frauds = float(y.sum())
    honest = len(y) - frauds
    if not frauds or not honest:
        return math.nan
    return float((ranks[y > 0].sum() - frauds * (frauds + 1) / 2) / (frauds * honest))


def recall_at(scores: Floats, y: Floats, honest_share: float = HONEST_REVIEWED) -> float:
    """Share of frauds above the score that this share of honest rows exceeds: recall at a fixed cost of
    review."""
    if not (y > 0).any() or not (y == 0).any():
        return math.nan
    threshold = np.quantile(scores[y == 0], 1.0 - honest_share)
    return float((scores[y > 0] > threshold).mean())
