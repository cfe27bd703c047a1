"""`flo resume`."""

from __future__ import annotations

import time
from contextlib import closing
from typing import Any
from urllib.parse import quote

import click
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from flo.faces.cli.client import Client
from flo.faces.cli.failure import INTERRUPTED, NO
from flo.faces.cli.options import json_option, to_option
from flo.faces.cli.output import console, hint, print_json, say
from flo.faces.cli.source import client

LOOK_EVERY_S = 0.2


@click.command("resume", short_help="Resume a paused pipeline.")
@click.argument("pipeline")
@click.option(
    "--note", required=True, help="What failed and what was changed: kept in the ledger.", metavar="TEXT"
)
@click.option("--no-wait", is_flag=True, help="Do not wait until what is parked has been decided.")
@to_option
@json_option
def command(pipeline: str, note: str, no_wait: bool, to: str | None, as_json: bool) -> int:
    """Resume PIPELINE in a running FLO: what was parked is decided, in order, once each; then it runs.

    Ctrl-C ends the waiting alone: FLO goes on. Exit code 1 where it was not paused, or was paused again meanwhile.
    """
    with closing(client(to)) as asked:
        row = asked.ask("POST", f"/v1/pipelines/{quote(pipeline, safe='')}/resume", {"note": note})
        if row["changed"] and not no_wait:
            try:
                row = {**_until_drained(asked, pipeline, row, as_json=as_json), "changed": True}
            except KeyboardInterrupt:
                hint(f"FLO goes on deciding what {pipeline} had parked: flo loops shows how much is left")
                return INTERRUPTED
    if as_json:
        print_json(row)
    elif not row["changed"]:
        say(f"{pipeline} is {row['status']}: nothing to resume")
    elif row["status"] == "running":
        say(f"{pipeline} runs again", "green")
    elif row["status"] == "draining":
        say(f"{pipeline} is resumed: {row['parked']:,} parked signals are decided first")
    else:
        say(f"{pipeline} is paused again, {row['parked']:,} signals are still parked: {row['why']}", "yellow")
    return 0 if row["changed"] and row["status"] != "paused" else NO


def _until_drained(asked: Client, pipeline: str, row: dict[str, Any], *, as_json: bool) -> dict[str, Any]:
    out = console(stderr=True)
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=out, transient=True, disable=as_json or not out.is_terminal) as progress:
        task = progress.add_task("deciding what was parked", total=row["parked"])
        while row["status"] == "draining":
            done = row["decided_since_resumed"]
            progress.update(task, completed=done, total=done + row["parked"])
            time.sleep(LOOK_EVERY_S)
            rows = asked.ask("GET", "/v1/pipelines")["pipelines"]
            found = next((each for each in rows if each["name"] == pipeline), None)
            row = found if found is not None else {**row, "status": "running", "parked": 0}
    return row
