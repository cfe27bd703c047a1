"""The benchmarks' ceiling is worth something only while it decides what FLO decides."""

from __future__ import annotations

from pathlib import Path

from bench.arrivals import poisson
from bench.by_hand import read_decisions
from bench.by_hand import run as run_by_hand
from bench.recorded import recorded_decisions
from bench.report import quantile
from bench.transactions import transactions
from bench.w1 import BUNDLE

from flo.runtimes.embedded import run_file

SEED = 7


def test_the_work_by_hand_decides_what_flo_decides(tmp_path: Path) -> None:
    signals = tmp_path / "signals.ndjson"
    signals.write_bytes(b"".join(transactions(4_000, SEED)))
    summary = run_file(
        bundle=BUNDLE, data=tmp_path / "flo", workers=1, signals=signals, progress=lambda done, total: None
    )
    assert summary["decisions"] == 4_000
    results = ("review", "review", "approve")
    flo = {
        id: (row["key"], row["count_10m"], row["sum_10m"], results[row["exit"]])
        for id, row in recorded_decisions(tmp_path / "flo", "score")
    }
    for whole in (False, True):
        database = tmp_path / f"by-hand-{whole}"
        assert run_by_hand(signals, database, whole=whole)["decisions"] == 4_000
        assert {decision[0]: decision[1:] for decision in read_decisions(database)} == flo
    assert {decision[3] for decision in flo.values()} == {"review", "approve"}


def test_the_same_seed_gives_the_same_transactions() -> None:
    assert list(transactions(50, SEED)) == list(transactions(50, SEED)) != list(transactions(50, SEED + 1))


def test_independent_arrivals_come_at_the_rate_asked_for() -> None:
    offsets_s = poisson(500.0, 20.0, SEED)
    assert offsets_s == sorted(offsets_s)
    assert 18.0 < offsets_s[-1] < 22.0


def test_a_quantile_is_a_value_that_was_measured() -> None:
    assert quantile([1.0, 2.0, 3.0, 4.0], 0.5) == 2.0
    assert quantile([1.0, 2.0, 3.0, 4.0], 0.99) == 4.0
    assert quantile([1.0], 0.0) == 1.0
