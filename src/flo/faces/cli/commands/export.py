"""`flo export`."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click

from flo.faces.cli import exporting, runtime
from flo.faces.cli.failure import WRONG_USE, CommandFailed
from flo.faces.cli.options import PATH, json_option, period_options, source_options
from flo.faces.cli.output import hint, print_json
from flo.faces.cli.source import open_source

LISTS = ("decisions", "commands", "dead-letters", "iterations")
LEDGER_ONLY = ("signals", "state")


@click.command("export", short_help="Write out decisions, commands and other rows.")
@click.argument(
    "kind", type=click.Choice(["signals", "decisions", "commands", "dead-letters", "iterations", "state"])
)
@click.option("--loop", help="Of this loop.")
@period_options
@click.option(
    "--format", "form", type=click.Choice(["ndjson", "parquet"]), default="ndjson", show_default=True
)
@click.option(
    "-o",
    "--output",
    type=PATH,
    metavar="FILE",
    help="Write to FILE rather than stdout; it appears once complete.",
)
@source_options
@json_option
def command(
    kind: str,
    loop: str | None,
    since: str | None,
    until: str | None,
    form: str,
    output: Path | None,
    to: str | None,
    data: Path | None,
    as_json: bool,
) -> None:
    """Write rows, newest first, as JSON lines or Parquet. `signals` and `state` need --data."""
    if form == "parquet":
        exporting.require_parquet()
        if output is None:
            raise CommandFailed("--format parquet needs a file", "name one with -o FILE", WRONG_USE)
    if as_json and output is None:
        raise CommandFailed(
            "--json prints the summary, which needs -o FILE for the rows", "rows are JSON anyway", WRONG_USE
        )
    if kind in LEDGER_ONLY and data is None:
        raise CommandFailed(
            f"{kind} are read from the ledger itself", "name its directory with --data PATH", WRONG_USE
        )
    given = {"loop": loop, "since": since, "until": until}
    query = {name: value for name, value in given.items() if value is not None}
    if kind in LEDGER_ONLY:
        assert data is not None
        count = _write(runtime.export_rows(data, kind, query), form, output)
    else:
        with open_source(to, data) as source:
            count = _write(source.rows(kind, query), form, output)
    if as_json:
        print_json({"kind": kind, "rows": count, "format": form, "file": str(output)})
    elif output is not None:
        hint(f"{count} {kind} in {output}")


def _write(rows: Iterator[dict[str, Any]], form: str, output: Path | None) -> int:
    if output is None:
        return exporting.write_ndjson(rows, sys.stdout.buffer)
    with exporting.replacing(output) as file:
        return (
            exporting.write_parquet(rows, file) if form == "parquet" else exporting.write_ndjson(rows, file)
        )
