"""`flo dead`: list, show, replay, drop."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any, TypeVar

import click

from flo.faces.cli.failure import INTERRUPTED, NO, WRONG_USE, CommandFailed
from flo.faces.cli.letters import act_on_all
from flo.faces.cli.options import Rate, json_option, period_options, source_options, to_option
from flo.faces.cli.output import console, hint, print_fields, print_json, print_table, say
from flo.faces.cli.source import client, open_source

F = TypeVar("F", bound=Callable[..., Any])

COLUMNS = (
    ("dead_letter_id", "id"),
    ("loop", "loop"),
    ("key", "key"),
    ("reason", "reason"),
    ("at", "at"),
    ("detail", "detail"),
)


@click.group("dead", short_help="Dead letters: list, show, replay, drop.")
def command() -> None:
    """Dead letters: signals and commands that could not be processed.

    list and show read a running FLO or a data directory; replay and drop need a running FLO. `flo export dead-letters`
    writes them to a file.
    """


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


def _which(command: F) -> F:
    """The options that say which dead letters are meant."""
    for option in (
        click.option("--loop", help="Of this loop."),
        click.option("--reason", help="Parked for this reason."),
        click.option("--key", help="Of this key."),
        click.option("--id", "ids", multiple=True, metavar="ID", help="This one; may be given many times."),
        click.option("--all", "everything", is_flag=True, help="All of them, where no filter is given."),
        click.option("--dry-run", is_flag=True, help="Only say how many, and which cannot be."),
    ):
        command = option(command)
    return period_options(command)


@command.command("replay")
@_which
@click.option("--rate", type=Rate(), help="At most this many a time, as in 100/s.")
@click.option("--note", default="", help="What was changed since: kept in the ledger.")
@click.option(
    "--resend",
    is_flag=True,
    help="Also commands whose engine neither honours keys nor can be asked: they may be done twice. Needs --note.",
)
@to_option
@json_option
def replay_command(
    rate: float | None, note: str, resend: bool, to: str | None, as_json: bool, dry_run: bool, **which: Any
) -> int:
    """Replay dead letters, oldest first, each once: signals under the bundle in force, commands under their own keys.

    One that fails again becomes a new dead letter that names the old. Exit code 1 where any failed or was kept.
    """
    if resend and not note.strip() and not dry_run:
        raise CommandFailed("--resend needs --note", "say how you know that they were not done", WRONG_USE)
    body = {**_filter(which), "note": note, "resend": resend, "dry_run": dry_run}
    done = _act(to, "/v1/dead-letters/replay", body, rate, "replaying", as_json=as_json)
    if as_json:
        print_json(done)
    else:
        _say_replayed(done, dry_run)
    return _code(done, done.get("failed", 0) or done.get("kept", 0))


@command.command("drop")
@_which
@click.option("--note", default="", help="Why they may go: kept in the ledger.")
@to_option
@json_option
def drop_command(note: str, to: str | None, as_json: bool, dry_run: bool, **which: Any) -> int:
    """Drop dead letters: they are listed no more. The ledger keeps them, and the note, as long as it keeps anything."""
    if not note.strip() and not dry_run:
        raise CommandFailed("--note is missing", "say why they may go: --note TEXT", WRONG_USE)
    body = {**_filter(which), "note": note, "dry_run": dry_run}
    done = _act(to, "/v1/dead-letters/drop", body, None, "dropping", as_json=as_json)
    if as_json:
        print_json(done)
    elif dry_run:
        say(f"{done.get('would_drop', 0):,} would be dropped")
    else:
        stopped = "; stopped by Ctrl-C, the others are still there" if done["interrupted"] else ""
        say(f"{done.get('dropped', 0):,} dropped{stopped}")
    return _code(done, not done["matched"])


def _filter(which: dict[str, Any]) -> dict[str, Any]:
    ids, everything = list(which.pop("ids")), which.pop("everything")
    given = {name: value for name, value in which.items() if value is not None}
    if not given and not ids and not everything:
        raise CommandFailed(
            "which dead letters?", "name some with --loop, --reason, --id ..., or give --all", WRONG_USE
        )
    return {**given, **({"ids": ids} if ids else {})}


def _act(
    to: str | None, path: str, body: dict[str, Any], rate: float | None, doing: str, *, as_json: bool
) -> dict[str, Any]:
    out = console(stderr=True)
    shown = out.is_terminal and not as_json

    def told(counts: Counter[str]) -> None:
        if shown:
            out.print(f"\r{doing}: {counts['matched']:,}", end="")

    with closing(client(to)) as asked:
        done = act_on_all(asked, path, body, rate, told)
    if shown:
        out.print()
    return done


def _say_replayed(done: dict[str, Any], dry_run: bool) -> None:
    if dry_run:
        say(f"{done.get('would_replay', 0):,} would be replayed, {done.get('kept', 0):,} cannot be")
    else:
        parts = [f"{done.get('replayed', 0):,} replayed"]
        parts += [
            f"{done[name]:,} {told}"
            for name, told in (
                ("failed", "failed again (new dead letters)"),
                ("overtaken", "overtaken by a corrected signal of the same id"),
                ("kept", "cannot be replayed"),
            )
            if done.get(name)
        ]
        say(", ".join(parts), "green" if len(parts) == 1 else None)
    for each in done["not_replayed"][:5]:
        say(f"  {each['dead_letter_id']}: {each['why']}", "yellow")
    if done["interrupted"]:
        say(
            "stopped by Ctrl-C between two pages: the others are as they were, replay them with the same command",
            "yellow",
        )


def _code(done: dict[str, Any], is_no: object) -> int:
    return INTERRUPTED if done["interrupted"] else NO if is_no else 0
