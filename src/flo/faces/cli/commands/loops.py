"""`flo loops`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from flo.faces.cli.options import json_option, source_options
from flo.faces.cli.output import print_fields, print_json, print_table
from flo.faces.cli.source import open_source

FIRST = ("name", "status", "decisions", "rate_per_s", "open_iterations", "dead_letters", "keys")
"""Columns that come first; the others follow in the order FLO gives them, where they are single values."""


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
        print_table(columns_of(loops), loops, "no loops: the bundle declares none")


def columns_of(rows: list[dict[str, Any]]) -> list[tuple[str, str]]:
    """The columns worth a table: those of single values, the telling ones first."""
    keys = {key: None for row in rows for key, value in row.items() if not isinstance(value, dict | list)}
    ordered = [key for key in FIRST if key in keys] + [key for key in keys if key not in FIRST]
    return [(key, key.replace("_", " ")) for key in ordered[:8]]
