"""`flo loops`."""

from __future__ import annotations

from pathlib import Path

import click

from flo.faces.cli.options import json_option, source_options
from flo.faces.cli.output import print_fields, print_json, print_table, say
from flo.faces.cli.source import open_source

COLUMNS = (
    ("name", "loop"),
    ("status", "status"),
    ("decisions", "decisions"),
    ("rate_per_s", "per s"),
    ("open_iterations", "open"),
    ("dead_letters", "dead"),
    ("errors", "errors"),
    ("last_decision", "last decision"),
)
"""What fits a terminal of 80 columns; `flo loops NAME` and `--json` show the rest."""


@click.command("loops", short_help="List the loops and how they fare.")
@click.argument("name", required=False)
@source_options
@json_option
def command(name: str | None, to: str | None, data: Path | None, as_json: bool) -> None:
    """List the loops and how they fare, what needs a person first; with NAME, one of them in full."""
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
    if as_json:
        print_json({"loops": loops, "pipelines_paused": paused, "next": None})
    else:
        for row in paused:
            say(
                f"pipeline {row['name']} is {row['status']} since {row['paused_since']} by {row['paused_by']}",
                "red",
            )
            say(f"  why: {row['why'] or 'no reason given'}")
            going_on = (
                f"being decided; resumed with the note: {row['note']}"
                if row["status"] == "draining"
                else f"go on: flo resume {row['name']} --note 'what failed, what was changed'"
            )
            say(f"  {row['parked']:,} parked; {going_on}")
        print_table(COLUMNS, loops, "no loops: the bundle declares none")
