"""`flo demo`."""

from __future__ import annotations

import ast
from pathlib import Path

import click

from flo.core.bundle.report import nearest
from flo.faces.cli.failure import WRONG_USE, CommandFailed
from flo.faces.cli.options import json_option
from flo.faces.cli.output import print_json, print_table
from flo.faces.cli.tree import find_in_tree, run_program

DEFAULT = "payments"
SCENARIOS = "examples/scenarios"
"""A folder here is a scenario: its `run.py` runs it, the first line of that program's docstring says what it shows."""


@click.command(
    "demo",
    short_help="Run an example or a failure, for real.",
    context_settings={"ignore_unknown_options": True, "allow_interspersed_args": False},
)
@click.option("--list", "listed", is_flag=True, help="List what can be run.")
@click.argument("arguments", metavar="[NAME] [ARGUMENTS]...", nargs=-1, type=click.UNPROCESSED)
@json_option
def command(arguments: tuple[str, ...], listed: bool, as_json: bool) -> int:
    """Run the example or the scenario NAME, for real; without a name the payments example, for about a minute.

    `payments` shows traffic, decisions, fraud, a retraining and what it changed. A scenario brings about a failure,
    without FLO's guard and with it, and prints what happened. ARGUMENTS go to its program (`flo demo NAME --help`).
    """
    demos = find_demos()
    if listed:
        rows = [{"name": name, "about": about(program)} for name, program in demos.items()]
        if as_json:
            print_json({"demos": rows})
        else:
            print_table((("name", "name"), ("about", "what it shows")), rows, "none")
        return 0
    name, rest = DEFAULT, arguments
    if arguments and not arguments[0].startswith("-"):
        name, rest = arguments[0], arguments[1:]
    if name not in demos:
        hint = nearest(name, demos) or "flo demo --list"
        raise CommandFailed(f"there is no demo `{name[:60]}`", hint, WRONG_USE)
    return run_program(demos[name], [*rest, *(["--json"] if as_json else [])])


def find_demos() -> dict[str, Path]:
    """Every program that can be run, by name: the payments example, then the scenarios."""
    payments = find_in_tree("examples/payments/run.py")
    demos = {DEFAULT: payments}
    for program in sorted((payments.parents[2] / SCENARIOS).glob("*/run.py")):
        demos[program.parent.name.replace("_", "-")] = program
    return demos


def about(program: Path) -> str:
    """What a program says it shows: the first line of its docstring."""
    text = ast.get_docstring(ast.parse(program.read_text(encoding="utf-8"))) or ""
    return text.partition("\n")[0]
