"""`flo version`."""

from __future__ import annotations

import platform

import click

from flo import __version__
from flo.faces.cli.options import json_option
from flo.faces.cli.output import print_json, say


@click.command("version")
@json_option
def command(as_json: bool) -> None:
    """Say which FLO this is."""
    value = {"flo": __version__, "python": platform.python_version(), "system": platform.platform(terse=True)}
    if as_json:
        print_json(value)
    else:
        say(f"flo {value['flo']} (Python {value['python']}, {value['system']})")
