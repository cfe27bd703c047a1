"""`flo demo phantom` and `flo demo recompute`, short: real processes, real spans and lineage over HTTP."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import Any

import pytest
from tests.faces.commands import REPOSITORY


def demo(*arguments: str) -> Any:
    """What a demo prints, run as its users run it."""
    command = [sys.executable, "-m", "flo.faces.cli", "demo", *arguments, "--json"]
    result = subprocess.run(command, capture_output=True, text=True, cwd=REPOSITORY, timeout=300)
    assert result.returncode == 0, result.stdout + result.stderr
    return json.loads(result.stdout)


@pytest.mark.scenario
def test_phantom_names_every_hidden_step_the_stalled_one_and_the_branches_that_wait() -> None:
    found = demo("phantom", "--runs", "11")
    assert (found["declared"], found["hidden"], len(found["named"])) == (3, 27, 27)
    assert found["all_named"] is True
    assert found["stalled"] == "nightly-export"
    assert found["stalled_ms"] >= 400
    serialised = found["serialised"]
    assert serialised["branches"] == ["service:ledger", "service:notify", "service:risk"]
    assert (serialised["overlap_share"], serialised["declared_parallel"]) == (0.0, True)
    assert serialised["traces"] >= 10
    assert serialised["lost_ms_per_trace"] > 5
    assert found["reviews"] >= 28, "27 edges, and the branches"
    assert found["explained"] is True
    assert found["after_s"] < found["before_s"] - 0.3, "the exporter's stall is gone"


def test_recompute_says_who_computed_the_same_how_often_and_for_how_long() -> None:
    found = demo("recompute", "--days", "2")
    assert (found["computations_before"], found["recomputations"]) == (6, 4)
    assert found["by"] == [f"job:recompute/{name}" for name in ("report", "retrain", "score")]
    assert found["wasted_s"] > 0
    assert (found["reviews"], found["explained"]) == (1, True)
    assert (found["computations_after"], found["recomputations_after"]) == (2, 0)
    assert found["fed"] == {"loop:score -> loop:retrain": "both", "loop:score -> loop:report": "both"}
    assert found["phantoms"] == []
