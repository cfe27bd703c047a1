"""Each scenario of a watchdog brings about its failure for real: it is found, and the damage is bounded."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

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


def was_told_and_knows_why(page: dict[str, Any]) -> bool:
    """Whether a person was paged, after the cause, and `flo explain` names what was found."""
    return page["paged_after_s"] >= 0 and bool(page["summary"]) and page["explained"] is True


def test_a_zombie_stops_at_its_hops_and_at_its_ttl_and_stays_dead_after_a_restart() -> None:
    report = run("zombie", "--seconds", "1")
    assert report["hops"]["asked"] == 5
    assert 0 < report["ttl"]["asked"] <= 14
    assert report["silent_found"] == 2
    assert report["asked_after_restart"] == 0
    assert was_told_and_knows_why(report["page"])
    assert was_told_and_knows_why(report["page_of_the_end"])


@pytest.mark.scenario
def test_a_creeping_cycle_is_found_before_it_has_doubled_and_steady_work_is_not() -> None:
    report = run("creeping")
    assert 1.0 < report["found_ratio"] < 2.0
    assert (report["false_alarms"], report["statuses"]) == (0, ["succeeded"])
    assert was_told_and_knows_why(report["page"])


@pytest.mark.scenario
def test_a_slow_service_is_asked_no_more_often_and_holds_up_nobody() -> None:
    report = run("latency_cascade", "--payments", "200", "--rounds", "1", "--seconds", "3")
    assert report["alone_bad"]["requests"] > report["alone_good"]["requests"], "retries amplify it"
    assert report["amplified"] <= 1.1
    assert report["decided"] == report["sent"] == 400 + 3 * 300
    assert "its idle timeout 1.2 s" in report["found"]
    assert (report["hours"]["logins"], report["hours"]["ratio"] > 0) == (2 * 600, True)
    assert was_told_and_knows_why(report["page"])


def test_yesterdays_logic_ends_stale_until_the_rules_are_changed() -> None:
    report = run("yesterdays_logic")
    assert report["tomorrow"] == {"unguarded": {"succeeded": 20}, "guarded": {"stale": 20}}
    assert was_told_and_knows_why(report["page"])


@pytest.mark.scenario
def test_a_flapping_service_is_frozen_by_a_rule_that_acts_on_the_finding() -> None:
    report = run("flapping", "--measured", "60")
    assert report["guarded"]["changes"] < report["unguarded"]["changes"] == 60
    assert "undo each other" in report["guarded"]["frozen"]
    assert was_told_and_knows_why(report["guarded"]["page"])


@pytest.mark.scenario
def test_the_overhead_of_a_scheduler_is_found_and_direct_work_is_not() -> None:
    report = run("overhead")
    assert report["found"]["overhead_share"] > 0.5
    assert was_told_and_knows_why(report["page"])


@pytest.mark.scenario
def test_a_loop_whose_producer_died_is_found_and_the_other_is_not() -> None:
    report = run("quiet")
    assert (report["errors"], report["dead_letters"]) == (0, 0)
    assert was_told_and_knows_why(report["page"])


@pytest.mark.scenario
def test_fifty_writers_on_a_shared_count_lose_nothing_and_stand_in_no_line_and_a_hot_key_is_found() -> None:
    report = run("state_storm", "--count", "20")
    assert report["unsafe"]["lost"] > 0
    assert report["safe"]["retries"] > 0
    assert (report["flo"]["lost"], report["flo"]["retries"]) == (0, 0)
    assert report["flo"]["looks"] > 0, "staleness is looked at while they write"
    assert 0 < report["flo"]["staleness_s"] <= report["flo"]["staleness_s_max"]
    assert report["hot"]["figures"]["key"] == "k7"
    assert was_told_and_knows_why(report["hot"]["page"])


@pytest.mark.scenario
def test_failed_writes_are_errors_at_once_orphans_cannot_be_and_a_stale_replica_is_named() -> None:
    report = run("orphan_state")
    alone, rows = report["careless"], report["rows"]
    assert (alone["acknowledged"], alone["lost"], alone["errors"], alone["orphans"]) == (120, 40, 0, 12)
    assert (rows["acknowledged"], rows["errors"]) == (121, 41)
    assert (rows["lost"], rows["twice"], rows["orphans"]) == (0, 0, 0)
    assert (rows["rows"], rows["keys"]) == (121, 121)
    assert "EFBIG" in rows["said"]
    assert "EFBIG" in rows["not_ready"]
    assert len(rows["refused"]) + len(rows["dead_letters"]) == 12
    assert 0 < report["found"]["stale_reads"] <= report["stale"]
    assert was_told_and_knows_why(report["page"])
