"""`flo kill`."""

from __future__ import annotations

from contextlib import closing
from urllib.parse import quote

import click

from flo.faces.cli.options import json_option, to_option
from flo.faces.cli.output import print_fields, print_json
from flo.faces.cli.source import client


@click.command("kill", short_help="End the open iterations of a loop.")
@click.argument("loop")
@click.option("--key", help="Of this key alone.")
@click.option("--note", default="", help="Why: kept in the ledger.")
@to_option
@json_option
def command(loop: str, key: str | None, note: str, to: str | None, as_json: bool) -> None:
    """End the open iterations of LOOP: commands still queued are dropped, each with a `killed` row."""
    with closing(client(to)) as asked:
        answer = asked.ask("POST", f"/v1/loops/{quote(loop, safe='')}/kill", {"key": key, "note": note})
    if as_json:
        print_json(answer)
    else:
        print_fields(answer)
