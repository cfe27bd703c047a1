"""`flo loops`."""

from __future__ import annotations

import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import click

from flo.core.signal import NS_PER_S, time_from_text
from flo.faces.cli.options import json_option, source_options
from flo.faces.cli.output import hint, print_fields, print_json, print_table, say
from flo.faces.cli.source import open_source
from flo.flow.watchdogs.watch import severity

COLUMNS = (
    ("name", "loop"),
    ("status", "status"),
    ("decisions", "decisions"),
    ("rate_per_s", "per s"),
    ("open_iterations", "open"),
    ("dead_letters", "dead"),
    ("errors", "errors"),
    ("ago", "last"),
)
"""What fits a terminal of 80 columns; `flo loops NAME` and `--json` show the rest."""

AGES = (("d", 86_400), ("h", 3_600), ("min", 60))

SHOWN_MAX = 40
"""Lines without `--all`: a screen. What needs a person is above, so it is the rest that is left out."""

FINDINGS_SHOWN_MAX = 20


@click.command("loops", short_help="The loops and how they fare: what needs a person first.")
@click.argument("name", required=False)
@click.option("--all", "every", is_flag=True, help=f"List them all, not only the first {SHOWN_MAX}.")
@source_options
@json_option
def command(name: str | None, every: bool, to: str | None, data: Path | None, as_json: bool) -> None:
    """How the loops fare, on one screen: what is paused or broken first, then what watchdogs found, worst
    first, then what failed, then the rest. With NAME, one of them in full.
    """
    with open_source(to, data) as source:
        if name is not None:
            loop = source.loop(name)
            if as_json:
                print_json(loop)
            else:
                print_fields(loop)
            return
        loops = source.loops()
        paused = [row for row in source.pipelines() if row["status"] != "running"]
        findings = list(source.rows("watchdogs", {}, FINDINGS_SHOWN_MAX))
    if as_json:
        print_json({"loops": loops, "pipelines_paused": paused, "next": None})
        return
    for row in paused:
        _say_paused(row)
    for finding in sorted(findings, key=lambda finding: severity(finding["type"])):
        say(f"{finding['type']}: {finding['detail']}")
    shown = loops if every else loops[:SHOWN_MAX]
    now_ns = time.time_ns()
    rows = [{**loop, "ago": _ago(loop.get("last_decision"), now_ns)} for loop in shown]
    print_table(COLUMNS, rows, "no loops: the bundle declares none")
    if len(loops) > len(shown):
        hint(f"and {len(loops) - len(shown)} more: flo loops --all")


def _ago(time_text: str | None, now_ns: int) -> str | None:
    """How long ago something was: what a person asks of a time on a screen; the time itself is in `--json`."""
    if time_text is None:
        return None
    seconds = max(0, now_ns - time_from_text(time_text)) // NS_PER_S
    for unit, length in AGES:
        if seconds >= 2 * length:
            return f"{seconds // length} {unit} ago"
    return f"{seconds} s ago"


def _say_paused(row: Mapping[str, Any]) -> None:
    say(f"pipeline {row['name']} is {row['status']} since {row['paused_since']} by {row['paused_by']}", "red")
    say(f"  why: {row['why'] or 'no reason given'}")
    going_on = (
        f"being decided; resumed with the note: {row['note']}"
        if row["status"] == "draining"
        else f"go on: flo resume {row['name']} --note 'what failed, what was changed'"
    )
    say(f"  {row['parked']:,} parked; {going_on}")
