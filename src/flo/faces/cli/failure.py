"""How a command ends otherwise than well: one clear line, and the next step."""

from __future__ import annotations

import errno

import click

from flo.core.errors import BundleError, FloError, UnavailableError, UsageError
from flo.ports.service import NotFound

NO = 1
"""The exit code where the answer is no, or the thing was not done."""

WRONG_USE = 2
INTERRUPTED = 130
"""What shells expect of a command that Ctrl-C ended before it was done."""


class CommandFailed(Exception):
    """`message` says what is wrong, `next_step` what to do about it."""

    def __init__(self, message: str, next_step: str = "", exit_code: int = NO) -> None:
        super().__init__(message)
        self.message = message
        self.next_step = next_step
        self.exit_code = exit_code


def failure_of(error: BaseException) -> CommandFailed:
    """Any exception as a failure to print. The one place that decides exit codes."""
    match error:
        case CommandFailed():
            return error
        case click.UsageError():
            command = error.ctx.command_path if error.ctx is not None else "flo"
            return CommandFailed(error.format_message(), f"{command} --help", WRONG_USE)
        case click.ClickException():
            return CommandFailed(error.format_message(), exit_code=WRONG_USE)
        case click.Abort() | KeyboardInterrupt():
            return CommandFailed("stopped", exit_code=INTERRUPTED)
        case UsageError():
            return CommandFailed(str(error), exit_code=WRONG_USE)
        case BundleError():
            count = len(error.problems)
            return CommandFailed(
                f"{count} problem{'s' if count != 1 else ''}:\n{error}", "flo check DIR shows each in place"
            )
        case UnavailableError():
            return CommandFailed(str(error), f"try again in {error.retry_after_s:g} s")
        case FloError():
            return CommandFailed(str(error))
        case NotFound():
            return CommandFailed(str(error.args[0]) if error.args else "not found")
        case OSError():
            where = f"{error.filename}: " if error.filename else ""
            step = "free some space, then do it again" if error.errno == errno.ENOSPC else ""
            return CommandFailed(f"{where}{error.strerror or type(error).__name__}", step)
        case _:
            return CommandFailed(
                f"an error inside FLO: {type(error).__name__}: {error}",
                "FLO_DEBUG=1 shows where; please report it",
            )
