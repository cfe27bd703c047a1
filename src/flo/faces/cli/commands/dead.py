"""`flo dead`: list and show."""

from __future__ import annotations

from pathlib import Path

import click

from flo.faces.cli.options import json_option, period_options, source_options
from flo.faces.cli.output import hint, print_fields, print_json, print_table
from flo.faces.cli.source import open_source

COLUMNS = (
    ("dead_letter_id", "id"),
    ("loop", "loop"),
    ("key", "key"),
    ("reason", "reason"),
    ("at", "at"),
    ("detail", "detail"),
)


@click.group("dead", short_help="Dead letters: list, show.")
def command() -> None:
    """Dead letters: signals and commands that could not be processed."""


@command.command("list")
@click.option("--loop", help="Of this loop.")
@click.option(
    "--reason", help="Parked for this reason: contract, expression, expired, exhausted, rejected ..."
)
@period_options
@click.option("--limit", type=click.IntRange(1, 100_000), default=50, show_default=True, help="How many.")
@source_options
@json_option
def list_command(
    loop: str | None,
    reason: str | None,
    since: str | None,
    until: str | None,
    limit: int,
    to: str | None,
    data: Path | None,
    as_json: bool,
) -> None:
    """List dead letters, newest first."""
    given = {"loop": loop, "reason": reason, "since": since, "until": until}
    query = {name: value for name, value in given.items() if value is not None}
    with open_source(to, data) as source:
        rows = list(source.rows("dead-letters", query, limit))
    if as_json:
        print_json({"dead_letters": rows})
        return
    print_table(COLUMNS, rows, "no dead letters")
    if rows:
        hint("one in full: flo dead show ID")


@command.command("show")
@click.argument("dead_letter_id", metavar="ID")
@source_options
@json_option
def show_command(dead_letter_id: str, to: str | None, data: Path | None, as_json: bool) -> None:
    """Show one dead letter in full, with the bytes that were received."""
    with open_source(to, data) as source:
        letter = source.dead_letter(dead_letter_id)
    if as_json:
        print_json(letter)
    else:
        print_fields(letter)
        if letter.get("decision_id"):
            hint(f"why: flo explain {letter['decision_id']}")
