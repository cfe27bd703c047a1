"""`flo apply`."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path
from typing import Any

import click
import msgspec

from flo.core.errors import Problem, UsageError
from flo.faces.cli.client import failure_of_answer
from flo.faces.cli.commands.check import print_problems
from flo.faces.cli.failure import NO
from flo.faces.cli.options import DIRECTORY, json_option, to_option
from flo.faces.cli.output import print_json, say
from flo.faces.cli.source import client
from flo.stores.bundle_directory import read_directory

UNPROCESSABLE = 422


@click.command("apply", short_help="Put a bundle in force in a running FLO.")
@click.argument("directory", type=DIRECTORY)
@click.option("--note", default="", help="What was changed and why: kept in the ledger.")
@to_option
@json_option
def command(directory: Path, note: str, to: str | None, as_json: bool) -> int:
    """Put the bundle in DIRECTORY in force in a running FLO, between two signals and all at once.

    FLO checks it first; a bundle with problems changes nothing, and they are printed with file, line and
    column. State whose definition did not change goes on. The token needs the scope `admin`: functions.py runs.
    """
    files = {path: _text(path, content) for path, content in read_directory(directory).items()}
    with closing(client(to)) as asked:
        body = msgspec.json.encode({"files": files, "note": note})
        answer = asked.exchange("PUT", "/v1/bundle", body, "application/json")
        if answer.status >= 300 and not _lists_problems(answer.status, answer.body):
            raise failure_of_answer(asked.url, answer)
    if as_json:
        print_json(answer.body)
    if answer.status == UNPROCESSABLE:
        if not as_json:
            print_problems(directory, [Problem(**problem) for problem in answer.body["problems"]])
            say("the running bundle is unchanged")
        return NO
    if not as_json:
        before, revision = answer.body["before"], answer.body["revision"]
        if answer.body["changed"]:
            say(f"revision {revision} is in force, instead of revision {before}", "green")
        else:
            say(f"revision {revision} was in force already: nothing changed")
    return 0


def _lists_problems(status: int, body: Any) -> bool:
    return status == UNPROCESSABLE and isinstance(body, dict) and isinstance(body.get("problems"), list)


def _text(path: str, content: bytes) -> str:
    try:
        return content.decode()
    except UnicodeDecodeError as error:
        raise UsageError(f"{path}: not UTF-8 at byte {error.start}: save it as UTF-8") from None
