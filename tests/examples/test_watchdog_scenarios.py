"""Each scenario of a watchdog brings about its failure for real: it is found, and the damage is bounded."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

SCENARIOS = Path(__file__).parents[2] / "examples" / "scenarios"


def run(name: str, *arguments: str) -> dict[str, Any]:
    program = SCENARIOS / name / "run.py"
    done = subprocess.run(
        [sys.executable, str(program), *arguments, "--json"], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    report: dict[str, Any] = json.loads(done.stdout)
    assert report["problems"] == []
    return report


def test_a_zombie_stops_at_its_hops_and_at_its_ttl_and_stays_dead_after_a_restart() -> None:
    report = run("zombie", "--seconds", "1")
    assert report["hops"]["asked"] == 5
    assert 0 < report["ttl"]["asked"] <= 8
    assert report["silent_found"] == 2
    assert report["asked_after_restart"] == 0


def test_a_creeping_cycle_is_found_before_it_has_doubled_and_steady_work_is_not() -> None:
    report = run("creeping")
    assert 1.0 < report["found_ratio"] < 2.0
    assert (report["false_alarms"], report["statuses"]) == (0, ["succeeded"])


def test_a_slow_service_is_asked_no_more_often_and_holds_up_nobody() -> None:
    report = run("latency_cascade", "--payments", "200")
    assert report["alone_bad"]["requests"] > report["alone_good"]["requests"], "retries amplify it"
    assert report["amplified"] <= 1.1
    assert report["decided"] == 400


def test_yesterdays_logic_ends_stale_until_the_rules_are_changed() -> None:
    report = run("yesterdays_logic")
    assert report["tomorrow"] == {"unguarded": {"succeeded": 20}, "guarded": {"stale": 20}}


def test_a_flapping_service_is_frozen_by_a_rule_that_acts_on_the_finding() -> None:
    report = run("flapping", "--measured", "60")
    assert report["guarded"]["changes"] < report["unguarded"]["changes"] == 60
    assert "undo each other" in report["guarded"]["frozen"]


def test_the_overhead_of_a_scheduler_is_found_and_direct_work_is_not() -> None:
    report = run("overhead")
    assert report["found"]["overhead_share"] > 0.5


def test_a_loop_whose_producer_died_is_found_and_the_other_is_not() -> None:
    report = run("quiet")
    assert (report["errors"], report["dead_letters"]) == (0, 0)


def test_fifty_writers_on_a_shared_count_lose_nothing_and_stand_in_no_line() -> None:
    report = run("state_storm", "--count", "20")
    assert report["unsafe"]["lost"] > 0
    assert report["safe"]["retries"] > 0
    assert (report["flo"]["lost"], report["flo"]["retries"]) == (0, 0)
    assert report["flo"]["staleness_s"] >= 0


def test_a_replica_that_is_not_written_to_any_more_is_named() -> None:
    report = run("orphan_state")
    assert 0 < report["found"]["stale_reads"] <= report["stale"]
