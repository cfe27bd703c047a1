"""`flo init`."""

from __future__ import annotations

from pathlib import Path

import click

from flo.faces.cli.options import PATH, json_option
from flo.faces.cli.output import print_json, say
from flo.faces.scaffold import write_scaffold


@click.command("init", short_help="Write a first bundle.")
@click.argument("directory", type=PATH)
@json_option
def command(directory: Path, as_json: bool) -> None:
    """Write a first bundle into DIRECTORY: one loop, its contract, signals to try it on."""
    written = write_scaffold(directory)
    if as_json:
        print_json({"directory": str(directory), "files": [str(path) for path in written]})
        return
    for path in written:
        say(f"  {path}")
    say("next:")
    say(f"  flo check {directory}")
    say(f"  flo run {directory}")
