"""`flo demo`."""

from __future__ import annotations

import click

from flo.faces.cli.options import json_option
from flo.faces.cli.tree import find_in_tree, run_program


@click.command(
    "demo", short_help="Run the payments example.", context_settings={"ignore_unknown_options": True}
)
@click.argument("arguments", nargs=-1, type=click.UNPROCESSED)
@json_option
def command(arguments: tuple[str, ...], as_json: bool) -> int:
    """Run the payments example for about a minute: traffic, decisions, fraud, a retraining, and what it
    changed.

    ARGUMENTS go to the example (examples/payments/run.py); it leaves its data directory for `flo explain`.
    """
    return run_program(
        find_in_tree("examples/payments/run.py"), [*arguments, *(["--json"] if as_json else [])]
    )
