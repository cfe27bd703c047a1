"""`flo export`."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn

from flo.faces.cli import exporting, runtime
from flo.faces.cli.failure import WRONG_USE, CommandFailed
from flo.faces.cli.options import PATH, json_option, period_options, source_options
from flo.faces.cli.output import console, hint, print_json
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
    """Write rows as JSON lines or Parquet: lists newest first, `signals` and, in Parquet, the decisions of --data oldest
    first. `signals` and `state` need --data. With --loop, each piece of state is a Parquet column of its own."""
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
    elif kind == "decisions" and form == "parquet" and data is not None and to is None:
        assert output is not None
        count = _write_decisions(data, query, output)
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


def _write_decisions(data: Path, query: dict[str, str], output: Path) -> int:
    out = console(stderr=True)
    parts = (TextColumn("exporting"), BarColumn(), TaskProgressColumn(), TimeRemainingColumn())
    with Progress(*parts, console=out, transient=True, disable=not out.is_terminal) as progress:
        task = progress.add_task("exporting")
        columns = runtime.export_decisions(
            data, query, lambda done, total: progress.update(task, completed=done, total=total)
        )
        with exporting.replacing(output) as file:
            return exporting.write_columns(columns.fields, columns.batches, file)
