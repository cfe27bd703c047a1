"""`flo send`."""

from __future__ import annotations

import sys
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import closing, nullcontext
from pathlib import Path
from typing import Any, BinaryIO

import click
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeElapsedColumn

from flo.faces.cli.failure import NO
from flo.faces.cli.options import PATH, Duration, Rate, json_option, to_option
from flo.faces.cli.output import console, print_json, say
from flo.faces.cli.sending import Batch, Sender, Sent, batches
from flo.faces.cli.source import client

REASONS_SHOWN = 5


@click.command("send", short_help="Send a file of signals.")
@click.argument("file", type=PATH)
@to_option
@click.option("--rate", type=Rate(), help="At most this many signals a time, as in 500/s.")
@click.option(
    "--batch", type=click.IntRange(1, 10_000), default=1000, show_default=True, help="Signals in one request."
)
@click.option(
    "--patience",
    type=Duration(),
    default="30s",
    show_default=True,
    help="How long to try again where FLO is full, refuses or is not there.",
)
@json_option
def command(
    file: Path, to: str | None, rate: float | None, batch: int, patience: float, as_json: bool
) -> int:
    """Send the signals of FILE (one CloudEvent a line; - for stdin). Exit code 1 where any was rejected.

    What FLO has already is counted as a duplicate and changes nothing, so sending a file again is safe.
    """
    sender = Sender(client(to), patience_s=patience, rate_per_s=rate)
    began_s = time.monotonic()
    with _opened(file) as stream, closing(sender), _progress(file, as_json=as_json) as progress:
        task = progress.add_task("sending", total=_size(file))
        interrupted = _send_all(sender, batches(stream, batch), lambda size: progress.advance(task, size))
    sent = sender.sent
    summary = summarise(sent, time.monotonic() - began_s, interrupted=interrupted)
    if as_json:
        print_json(summary)
    else:
        print_summary(summary)
    return NO if sent.rejected_count or interrupted else 0


def _send_all(sender: Sender, waiting: Iterator[Batch], advance: Any) -> bool:
    """Whether Ctrl-C ended it: what was under way may have been taken."""
    try:
        for batch in waiting:
            sender.send(batch)
            advance(batch.read_bytes)
    except KeyboardInterrupt:
        return True
    return False


def _opened(file: Path) -> Any:
    if str(file) == "-":
        stream: BinaryIO = sys.stdin.buffer
        return nullcontext(stream)
    return file.open("rb")


def _size(file: Path) -> int | None:
    return file.stat().st_size if file.is_file() else None


def _progress(file: Path, *, as_json: bool) -> Progress:
    out = console(stderr=True)
    return Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        TaskProgressColumn(),
        TimeElapsedColumn(),
        console=out,
        transient=True,
        disable=as_json or not out.is_terminal,
    )


def summarise(sent: Sent, took_s: float, *, interrupted: bool) -> dict[str, Any]:
    """What became of the signals, as `--json` prints it."""
    count = sent.accepted + sent.duplicates + sent.rejected_count
    return {
        "accepted": sent.accepted,
        "duplicates": sent.duplicates,
        "rejected": sent.rejected_count,
        "reasons": dict(Counter(sent.reasons).most_common()),
        "first_rejected": sent.first_rejected,
        "retries": sent.retries,
        "seconds": round(took_s, 3),
        "per_second": round(count / took_s, 1) if took_s > 0 else None,
        "interrupted": interrupted,
    }


def print_summary(summary: dict[str, Any]) -> None:
    """What became of the signals, for people."""
    say(
        f"{summary['accepted']} accepted, {summary['duplicates']} duplicates, {summary['rejected']} rejected "
        f"in {summary['seconds']:.1f} s"
    )
    if summary["interrupted"]:
        say(
            "stopped by Ctrl-C before the end; send the file again, what was taken counts as duplicates",
            "yellow",
        )
    for row in summary["first_rejected"][:REASONS_SHOWN]:
        say(f"  line {row['line']}: {row['reason']}: {row['detail']}", "yellow")
    more = summary["rejected"] - min(REASONS_SHOWN, len(summary["first_rejected"]))
    if more > 0:
        say(
            f"  and {more} more: "
            + ", ".join(f"{count} {reason}" for reason, count in summary["reasons"].items())
        )
    if any(reason not in ("json", "cloudevent", "too-large", "too-deep") for reason in summary["reasons"]):
        say("  those that broke a contract are kept: flo dead list", "dim")
