"""365,558 real measurements of 58 series through one loop: every flag and every figure as computed without FLO.

The series have gaps, several measurements at one time, uneven steps and, where a clock was set back in November 2013,
an hour that comes twice. The computation here reads the file itself, in exact arithmetic where FLO rounds.
"""

from __future__ import annotations

import json
import math
import os
from bisect import bisect_right
from collections import Counter
from collections.abc import Iterator
from datetime import UTC, datetime
from fractions import Fraction
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from flo.faces.cli.exporting import write_columns
from flo.runtimes.embedded import export_decisions

from .deciding import decide_file, decisions, write_bundle, write_signals

_DATA = Path(os.environ.get("FLO_DATA") or Path(__file__).parents[3] / "shared" / "data")
FILE = _DATA / "nab" / "nab.parquet"

CONTRACT = {
    "$schema": "https://json-schema.org/draft/2020-12/schema",
    "type": "object",
    "required": ["series", "value"],
    "properties": {"series": {"type": "string"}, "value": {"type": "number"}},
}
LOOP = """loop: metrics
on: metric.measured
contract: metric.measured/1
key: data.series
state:
  count_1d: {count: true, over: 1d}
  mean_1d: {mean: data.value, over: 1d}
  std_1d: {std: data.value, over: 1d}
  sum_2h: {sum: data.value, over: 2h}
  low_6h: {min: data.value, over: 6h}
  high_6h: {max: data.value, over: 6h}
  levels_12h: {distinct: data.value, over: 12h}
  median_3h: {quantile: data.value, q: 0.5, over: 3h}
  dark_1d: {share: data.value <= 0.0, over: 1d}
  last: {last: data.value}
rules:
  - {id: flat, when: state.count_1d >= 20 && state.levels_12h == 1}
  - {id: outlier, when: state.count_1d >= 20 && math.abs(data.value - state.mean_1d) > 3.0 * state.std_1d}
  - {id: jump, when: state.count_1d >= 20 && math.abs(state.last.delta) > 0.5 * (state.high_6h - state.low_6h)}
  - {id: high, when: state.median_3h > 0.0 && data.value > 2.0 * state.median_3h}
  - {id: dark, when: state.dark_1d > 0.5}
  - {id: burst, when: state.sum_2h > 1e7}
otherwise: normal
"""
RESULTS = ("flat", "outlier", "jump", "high", "dark", "burst", "normal")
HOUR = 3_600_000_000
"""In microseconds, as the file has its times."""


class Point(NamedTuple):
    time_us: int
    value: float


class Figures(NamedTuple):
    """What the state must read; mean and deviation as the exact sums they follow from."""

    count_1d: int
    total_1d: int
    squares_1d: int
    sum_2h: float
    low_6h: float
    high_6h: float
    levels_12h: int
    median_3h: float
    dark_1d: float
    last: float
    previous: float


@pytest.fixture(scope="module")
def series() -> dict[str, list[Point]]:
    """The points of each series, in the order of the file."""
    if not FILE.exists():
        pytest.skip(f"{FILE} is absent; set FLO_DATA to the folder that holds nab/nab.parquet")
    parquet = pytest.importorskip("pyarrow.parquet", reason="reading nab.parquet needs pyarrow")
    columns = parquet.read_table(FILE).to_pydict()
    found: dict[str, list[Point]] = {}
    epoch = datetime(1970, 1, 1)
    for name, at, value in zip(columns["series"], columns["timestamp"], columns["value"], strict=True):
        since = at - epoch
        time_us = (since.days * 86_400 + since.seconds) * 1_000_000 + since.microseconds
        found.setdefault(name, []).append(Point(time_us, value))
    return found


# -- the same, without FLO ------------------------------------------------------------------------------------


def expected(points: list[Point]) -> Iterator[tuple[str, Figures]]:
    """(result, figures) after each point. Values become whole numbers of the series' finest binary unit: no rounding."""
    unit = max(Fraction(point.value).denominator for point in points)
    times: list[int] = []
    values: list[float] = []
    exact: list[int] = []
    for point in points:
        at = bisect_right(times, point.time_us)  # behind those of its own time
        times.insert(at, point.time_us)
        values.insert(at, point.value)
        exact.insert(at, int(Fraction(point.value) * unit))
        figures = _figures(times, values, exact, at + 1, point.time_us)
        yield _result(point.value, figures, unit), figures


def _figures(times: list[int], values: list[float], exact: list[int], end: int, time_us: int) -> Figures:
    """Windows `(t - over, t]` over what came so far; `last` over all of it, by time."""

    def first(hours: int) -> int:
        return bisect_right(times, time_us - hours * HOUR)

    day = exact[first(24) : end]
    half_day = values[first(12) : end]
    quarter = values[first(6) : end]
    median = sorted(values[first(3) : end])
    return Figures(
        count_1d=len(day),
        total_1d=sum(day),
        squares_1d=sum(value * value for value in day),
        sum_2h=math.fsum(values[first(2) : end]),
        low_6h=min(quarter),
        high_6h=max(quarter),
        levels_12h=len(set(half_day)),
        median_3h=median[math.ceil(len(median) / 2) - 1],
        dark_1d=sum(value <= 0 for value in day) / len(day),
        last=values[-1],
        previous=values[-2] if len(values) > 1 else values[-1],
    )


def _result(value: float, figures: Figures, unit: int) -> str:
    """The rules in their order; the deviation in whole numbers: |v - S/n| > 3·std  ⇔  (nv - S)² > 9(nQ - S²)."""
    n, total = figures.count_1d, figures.total_1d
    distance = n * int(Fraction(value) * unit) - total
    if n >= 20 and figures.levels_12h == 1:
        return "flat"
    if n >= 20 and distance**2 > 9 * (n * figures.squares_1d - total**2):
        return "outlier"
    if n >= 20 and abs(figures.last - figures.previous) > 0.5 * (figures.high_6h - figures.low_6h):
        return "jump"
    if figures.median_3h > 0 and value > 2 * figures.median_3h:
        return "high"
    if figures.dark_1d > 0.5:
        return "dark"
    return "burst" if figures.sum_2h > 1e7 else "normal"


# -- the tests ------------------------------------------------------------------------------------------------


class Run(NamedTuple):
    bundle: Path
    signals: Path
    data: Path
    summary: dict[str, Any]


@pytest.fixture(scope="module")
def run(series: dict[str, list[Point]], tmp_path_factory: pytest.TempPathFactory) -> Run:
    here = tmp_path_factory.mktemp("nab")
    bundle = write_bundle(here / "bundle", LOOP, {"metric.measured/1": CONTRACT})
    signals = write_signals(here / "nab.ndjson", _signals(series))
    data = here / "data"
    return Run(bundle, signals, data, decide_file(bundle, data, signals))


def _signals(series: dict[str, list[Point]]) -> Iterator[bytes]:
    """All series as they would come in together: ordered by time, but each as its file has it, also where it goes back."""
    feed = []
    for name, points in series.items():
        due = 0
        for index, point in enumerate(points):
            due = max(due, point.time_us)
            feed.append((due, name, index, point))
    for _, name, index, point in sorted(feed):
        seconds, rest = divmod(point.time_us, 1_000_000)
        assert rest == 0
        event = {
            "specversion": "1.0",
            "id": f"{name}#{index}",
            "source": "nab",
            "type": "metric.measured",
            "time": datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
            "data": {"series": name, "value": point.value},
        }
        yield json.dumps(event).encode()


def test_every_flag_and_every_figure_of_all_points_is_that_of_an_independent_computation(
    series: dict[str, list[Point]], run: Run
) -> None:
    assert run.summary["signals"] == run.summary["accepted"] == run.summary["decisions"] == 365_558
    assert (run.summary["rejected"], run.summary["dead_letters"]) == (0, 0)
    wanted = {name: list(expected(points)) for name, points in series.items()}
    units = {name: max(Fraction(p.value).denominator for p in points) for name, points in series.items()}
    counts: Counter[tuple[str, str]] = Counter()
    flags: Counter[tuple[str, str]] = Counter()
    for signal, key, seq, exit, state in decisions(run.data):
        result, figures = wanted[key][seq - 1]
        assert json.loads(signal)["id"] == f"{key}#{seq - 1}"
        assert RESULTS[exit] == result, (key, seq, state, figures)
        _check_state(state, figures, units[key], (key, seq))
        flags[key, RESULTS[exit]] += 1
    for name, each in wanted.items():
        counts.update((name, result) for result, _ in each)
    assert flags == counts
    assert len({name for name, _ in flags}) == 58
    assert {result for _, result in flags} == set(RESULTS)  # every rule acted somewhere


def _check_state(state: dict[str, Any], figures: Figures, unit: int, where: tuple[str, int]) -> None:
    """Counts, extremes, sums and ranks to the last bit; mean and deviation to what a double can say."""
    exactly = {
        "count_1d": figures.count_1d,
        "sum_2h": figures.sum_2h,
        "low_6h": figures.low_6h,
        "high_6h": figures.high_6h,
        "levels_12h": figures.levels_12h,
        "median_3h": figures.median_3h,
        "dark_1d": figures.dark_1d,
        "last.delta": figures.last - figures.previous,
    }
    for name, value in exactly.items():
        assert state[name] == value, (where, name)
    n, total = figures.count_1d, figures.total_1d
    assert math.isclose(state["mean_1d"], total / n / unit, rel_tol=1e-15, abs_tol=5e-15), where
    variance = Fraction(n * figures.squares_1d - total**2, (n * unit) ** 2)
    assert math.isclose(state["std_1d"], math.sqrt(variance), rel_tol=1e-15), where


def test_the_hour_that_comes_twice_is_counted_where_its_time_says(
    series: dict[str, list[Point]], run: Run
) -> None:
    """The clock of one machine was set back by 55 minutes: twelve of its measurements lie among earlier ones."""
    name = "realKnownCause/machine_temperature_system_failure.csv"
    points = series[name]
    (back,) = [at for at in range(1, len(points)) if points[at].time_us < points[at - 1].time_us]
    assert points[back - 1].time_us - points[back].time_us == 55 * 60 * 1_000_000
    counts = [state["count_1d"] for _, key, _, _, state in decisions(run.data) if key == name]
    # each is answered with the window at its own time, in which its twin and those of the hour before it lie
    assert counts[back - 1 : back + 14] == [288, *range(289, 301), 300, 300]


def test_the_flags_counted_in_an_exported_parquet_file_are_the_same(run: Run, tmp_path: Path) -> None:
    pyarrow = pytest.importorskip("pyarrow.parquet")
    columns = export_decisions(run.data, {"loop": "metrics"}, lambda done, total: None)
    with (tmp_path / "flags.parquet").open("wb") as file:
        assert write_columns(columns.fields, columns.batches, file) == 365_558
    table = pyarrow.read_table(tmp_path / "flags.parquet")
    counted = table.group_by(["key", "result"]).aggregate([([], "count_all")]).to_pylist()
    flags = Counter((key, RESULTS[exit]) for _, key, _, exit, _ in decisions(run.data))
    assert {(row["key"], row["result"]): row["count_all"] for row in counted} == flags
    assert str(table.schema.field("state.mean_1d").type) == "double"


def test_the_file_offered_again_changes_nothing(run: Run) -> None:
    again = decide_file(run.bundle, run.data, run.signals)
    assert (again["accepted"], again["duplicates"]) == (0, 365_558)
