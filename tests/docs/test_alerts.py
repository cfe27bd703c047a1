"""The alert rules are rules Prometheus can load, and name nothing FLO does not have; the how-to tells every finding."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Iterator

import pytest
import yaml
from tests.docs.pages import DOCS
from tests.docs.test_reference import METRICS
from tests.servers.programs import program

from flo.core.bundle.watchdog_tables import WATCHDOG_TABLES
from flo.faces.cli.commands.demo import find_demos
from flo.flow.watchdogs.watch import SEVERITY, Watch

ALERTS = DOCS / "how-to" / "flo-alerts.yaml"
HOW_TO = DOCS / "how-to" / "act-on-a-watchdog.md"


def rules() -> Iterator[dict[str, object]]:
    for group in yaml.safe_load(ALERTS.read_text())["groups"]:
        assert set(group) == {"name", "rules"}
        yield from group["rules"]


def test_each_alert_has_what_prometheus_wants_and_says_what_to_do() -> None:
    found = list(rules())
    assert len({rule["alert"] for rule in found}) == len(found) > 0
    for rule in found:
        assert set(rule) <= {"alert", "expr", "for", "labels", "annotations"}, rule["alert"]
        assert isinstance(rule["expr"], str)
        assert rule["labels"]["severity"] in ("page", "ticket")  # type: ignore[index]
        assert {"summary", "what_to_do"} == set(rule["annotations"])  # type: ignore[call-overload]


def test_every_metric_of_an_alert_exists() -> None:
    documented = set(re.findall(r"^\| `(flo_\w+)`", METRICS.read_text(), re.MULTILINE))
    for rule in rules():
        named = set(re.findall(r"(?<![.\w])flo_\w+", str(rule["expr"])))
        assert named, rule["alert"]
        assert {re.sub(r"_(bucket|sum|count)$", "", name) for name in named} <= documented, rule["alert"]


def test_every_finding_has_a_severity_and_thresholds() -> None:
    types = {dog.type for dog in Watch().dogs}
    assert types <= set(SEVERITY)
    assert types == set(WATCHDOG_TABLES)


def test_the_how_to_says_of_every_finding_what_to_do_and_which_demo_shows_it() -> None:
    rows = dict(re.findall(r"^\| `(flo\.[a-z_.]+)` \|(.*)\|$", HOW_TO.read_text(), re.MULTILINE))
    assert set(rows) == set(SEVERITY)
    shown = {type: re.findall(r"`flo demo ([a-z-]+)`", row) for type, row in rows.items()}
    assert [type for type, demos in shown.items() if not demos] == ["flo.deadletters.filling"]
    assert {demo for demos in shown.values() for demo in demos} <= set(find_demos())


@pytest.mark.servers
def test_promtool_takes_the_alerts() -> None:
    done = subprocess.run(
        [program("promtool"), "check", "rules", str(ALERTS)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
