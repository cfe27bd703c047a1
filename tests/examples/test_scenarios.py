"""Each scenario brings about its failure for real, and FLO bounds the damage."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

SCENARIOS = Path(__file__).parents[2] / "examples" / "scenarios"


def run(name: str, *arguments: str) -> dict[str, object]:
    program = SCENARIOS / name / "run.py"
    done = subprocess.run(
        [sys.executable, str(program), *arguments, "--json"], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    report: dict[str, object] = json.loads(done.stdout)
    return report


@pytest.mark.parametrize("workers", [1, 2])
def test_schema_drift_costs_few_dead_letters_one_page_and_no_signal(workers: int) -> None:
    report = run("schema_drift", "--signals", "12000", "--workers", str(workers), "--page-within", "60")
    assert report["unguarded_dead_letters"] == 2_000  # as many as were sent: there is no end of it
    assert 5 <= report["dead_letters"] <= 5 * workers
    assert report["parked"] == 10_000 - report["dead_letters"]
    assert report["replayed"] == report["dead_letters"]
    assert (report["pages"], report["problems"]) == (1, [])
    assert (report["decided"], report["missing"], report["twice"], report["out_of_order"]) == (
        12_000,
        0,
        0,
        0,
    )
