"""`flo`: finds the command, runs it, and turns whatever goes wrong into one line and an exit code.

Exit codes: 0 done, 1 the answer is no (or it was not done), 2 wrong use, 130 stopped by Ctrl-C.
"""

from __future__ import annotations

import importlib
import logging
import os
import sys
from collections.abc import Sequence
from typing import Any

import click
import msgspec

from flo import __version__
from flo.faces.cli.failure import CommandFailed, failure_of
from flo.faces.cli.output import console

COMMANDS: dict[str, str] = {
    "init": "init",
    "check": "check",
    "run": "run",
    "send": "send",
    "apply": "apply",
    "explain": "explain",
    "loops": "loops",
    "edges": "edges",
    "dead": "dead",
    "pause": "pause",
    "resume": "resume",
    "kill": "kill",
    "export": "export",
    "demo": "demo",
    "bench": "bench",
    "version": "version",
}
"""Command to its module in `flo.faces.cli.commands`, in the order of the help. Modules load when they are
run.
"""


class Flo(click.Group):
    """The group whose commands are loaded by name: `flo version` should not wait for an HTTP server to
    import.
    """

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        module = COMMANDS.get(cmd_name)
        if module is None:
            return None
        command = importlib.import_module(f"flo.faces.cli.commands.{module}").command
        assert isinstance(command, click.Command)
        return command

    def invoke(self, ctx: click.Context) -> Any:
        """Run the command; a reader that has enough (head, less) is no error."""
        try:
            result = super().invoke(ctx)
            sys.stdout.flush()
            return result
        except BrokenPipeError:
            # Python would complain once more when it flushes at exit.
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            return 0


@click.version_option(__version__, message="flo %(version)s")
@click.command(cls=Flo, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
def cli() -> None:
    """FLO decides: feedback loops beside the engines that execute them."""


def main(arguments: Sequence[str] | None = None) -> None:
    """The entry point; ends the process with the exit code."""
    sys.exit(run(sys.argv[1:] if arguments is None else list(arguments)))


def run(arguments: list[str]) -> int:
    """Run one command line; its exit code. Prints failures, with FLO_DEBUG=1 the traceback first."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    try:
        result = cli.main(arguments, prog_name="flo", standalone_mode=False)
        return result if isinstance(result, int) else 0
    except click.exceptions.Exit as ended:
        return ended.exit_code
    except click.exceptions.NoArgsIsHelpError as error:
        console(stderr=True).print(error.format_message(), markup=False)
        return 2
    except (Exception, KeyboardInterrupt) as error:
        if os.environ.get("FLO_DEBUG") == "1":
            logging.getLogger("flo.cli").exception("the traceback:")
        failure = failure_of(error)
        _print_failure(failure, as_json="--json" in arguments)
        return failure.exit_code


def _print_failure(failure: CommandFailed, *, as_json: bool) -> None:
    if as_json:
        document = {"error": failure.message, "next": failure.next_step or None}
        sys.stderr.write(msgspec.json.encode(document).decode() + "\n")
        return
    out = console(stderr=True)
    out.print(f"flo: {failure.message}", markup=False)
    if failure.next_step:
        out.print(f"     {failure.next_step}", markup=False, style="dim")
