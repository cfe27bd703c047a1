"""`flo pause`."""

from __future__ import annotations

from contextlib import closing
from urllib.parse import quote

import click

from flo.faces.cli.failure import NO
from flo.faces.cli.options import json_option, to_option
from flo.faces.cli.output import hint, print_json, say
from flo.faces.cli.source import client


@click.command("pause", short_help="Pause a pipeline.")
@click.argument("pipeline")
@click.option("--note", default="", help="Why: kept in the ledger.")
@to_option
@json_option
def command(pipeline: str, note: str, to: str | None, as_json: bool) -> int:
    """Pause PIPELINE in a running FLO: its signals are parked in the ledger, in order, until `flo resume`.

    Jobs of the pipeline are paused where their engine can; those that cannot are named.
    """
    with closing(client(to)) as asked:
        row = asked.ask("POST", f"/v1/pipelines/{quote(pipeline, safe='')}/pause", {"note": note})
    if as_json:
        print_json(row)
        return 0 if row["changed"] else NO
    if not row["changed"]:
        say(
            f"{pipeline} is {row['status']} already, since {row['paused_since']}: {row['why'] or 'no reason given'}"
        )
        return NO
    say(f"{pipeline} is paused: signals for {', '.join(row['loops']) or 'no loop'} are parked", "green")
    if row["jobs"]:
        say(f"its engines are told to pause {', '.join(row['jobs'])}")
    if row["jobs_that_cannot_pause"]:
        say(f"NOT paused, for their engines cannot: {', '.join(row['jobs_that_cannot_pause'])}", "yellow")
    hint(f"go on with it: flo resume {pipeline} --note 'what failed, what was changed'")
    return 0
