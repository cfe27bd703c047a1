"""`flo bench`."""

from __future__ import annotations

import click

from flo.faces.cli.options import json_option
from flo.faces.cli.tree import find_in_tree, run_program


@click.command(
    "bench", short_help="Measure this FLO on this machine.", context_settings={"ignore_unknown_options": True}
)
@click.argument("arguments", nargs=-1, type=click.UNPROCESSED)
@json_option
def command(arguments: tuple[str, ...], as_json: bool) -> int:
    """Measure this FLO on this machine, against the same work written by hand, in one run.

    ARGUMENTS go to the benchmarks (bench/__main__.py).
    """
    return run_program(find_in_tree("bench/__main__.py"), [*arguments, *(["--json"] if as_json else [])])
