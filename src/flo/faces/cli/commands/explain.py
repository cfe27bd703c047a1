"""`flo explain`."""

from __future__ import annotations

from pathlib import Path

import click

from flo.faces.cli.options import json_option, source_options
from flo.faces.cli.output import print_json, say
from flo.faces.cli.source import open_source


@click.command("explain", short_help="Say why a decision came out as it did.")
@click.argument("decision_id", metavar="ID")
@source_options
@json_option
def command(decision_id: str, to: str | None, data: Path | None, as_json: bool) -> None:
    """Say why decision ID came out as it did: what came, the state, each rule, the commands and their
    outcomes.
    """
    with open_source(to, data) as source:
        explanation = source.explain(decision_id)
    if as_json:
        print_json(explanation)
    else:
        say(str(explanation["text"]).rstrip("\n"))
