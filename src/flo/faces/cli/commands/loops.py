"""`flo loops`."""

from __future__ import annotations

from pathlib import Path

import click

from flo.faces.cli.options import json_option, source_options
from flo.faces.cli.output import print_fields, print_json, print_table
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
    """List the loops and how they fare; with NAME, one of them in full."""
    with open_source(to, data) as source:
        if name is not None:
            loop = source.loop(name)
            if as_json:
                print_json(loop)
            else:
                print_fields(loop)
            return
        loops = source.loops()
    if as_json:
        print_json({"loops": loops, "next": None})
    else:
        print_table(COLUMNS, loops, "no loops: the bundle declares none")
