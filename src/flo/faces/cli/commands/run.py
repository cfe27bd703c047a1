"""`flo run`."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import sys
from pathlib import Path
from typing import Any

import click
import uvloop
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn

from flo.core.errors import UsageError
from flo.faces.cli import runtime
from flo.faces.cli.failure import INTERRUPTED
from flo.faces.cli.options import DIRECTORY, PATH, json_option
from flo.faces.cli.output import console, hint, print_fields, print_json, say
from flo.faces.http import TokenTable, build_app, check_bind, load_tokens, serve

DATA_NAME = "flo-data"


@click.command("run", short_help="Run a bundle.")
@click.argument("directory", type=DIRECTORY)
@click.option(
    "--data", type=DIRECTORY, metavar="PATH", help=f"Where the ledger lives.  [default: ./{DATA_NAME}]"
)
@click.option(
    "--host",
    default="127.0.0.1",
    show_default=True,
    help="Address to listen on; beyond loopback needs --tokens.",
)
@click.option(
    "--port", type=click.IntRange(0, 65535), default=8750, show_default=True, help="0 takes a free one."
)
@click.option(
    "--workers",
    type=click.IntRange(1, 64),
    default=1,
    show_default=True,
    help="Processes that decide, by key.",
)
@click.option(
    "--input", "signals", type=PATH, metavar="FILE", help="Decide this file of signals and stop; no server."
)
@click.option(
    "--tokens",
    type=PATH,
    envvar="FLO_TOKENS",
    metavar="FILE",
    help="Who may ask, and for what.  [env: FLO_TOKENS]",
)
@json_option
def command(
    directory: Path,
    data: Path | None,
    host: str,
    port: int,
    workers: int,
    signals: Path | None,
    tokens: Path | None,
    as_json: bool,
) -> int:
    """Run the bundle in DIRECTORY.

    Ctrl-C or SIGTERM stops it gracefully: no new signals, what was taken is committed, commands are
    dispatched or kept for the next start. A second Ctrl-C ends it at once; what was acknowledged is safe even
    then.
    """
    options = runtime.RunOptions(bundle=directory, data=data or Path(DATA_NAME), workers=workers)
    if signals is not None:
        return decide_file(options, signals, as_json=as_json)
    table = load_tokens(tokens, os.environ) if tokens is not None else None
    check_bind(host, table)
    return uvloop.run(run_server(options, host, port, table, as_json=as_json))


async def run_server(
    options: runtime.RunOptions, host: str, port: int, tokens: TokenTable | None, *, as_json: bool
) -> int:
    """Start, say so, wait for a signal, stop. The server ends before the runtime, so nothing is taken and
    dropped.
    """
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, _on_signal, stop)
    running = await runtime.start_runtime(options)
    try:
        if stop.is_set():
            return 0
        runner, actual_port = await serve(build_app(running.service, tokens=tokens), host, port)
        try:
            _announce(options, host, actual_port, as_json=as_json)
            with runtime.rare_collections():
                await stop.wait()
            hint("stopping: no new signals; finishing what was taken (Ctrl-C again to end at once)")
        finally:
            await runner.cleanup()
    finally:
        await running.stop()
    hint("stopped")
    return 0


def _on_signal(stop: asyncio.Event) -> None:
    if stop.is_set():
        # Asked twice: leave now. The ledger is made for it, and nothing acknowledged depends on what follows.
        sys.stderr.write("ended at once\n")
        sys.stderr.flush()
        os._exit(INTERRUPTED)
    stop.set()


def _announce(options: runtime.RunOptions, host: str, port: int, *, as_json: bool) -> None:
    name = f"[{host}]" if ":" in host else host
    url = f"http://{name}:{port}"
    if as_json:
        print_json({"url": url, "data": str(options.data), "pid": os.getpid()})
        return
    to = "" if url == "http://127.0.0.1:8750" else f" --to {url}"
    say(f"FLO runs {options.bundle} at {url}, ledger in {options.data}", "bold")
    say("try:")
    sample = options.bundle / "signals.ndjson"
    for line in (
        f"flo send {sample if sample.is_file() else 'FILE'}{to}",
        f"flo loops{to}",
        f"curl {url}/v1/decisions?limit=5",
        f"flo explain DECISION_ID{to}",
        f"flo dead list{to}",
    ):
        say(f"  {line}")
    sys.stdout.flush()


def decide_file(options: runtime.RunOptions, signals: Path, *, as_json: bool) -> int:
    """Decide a file of signals; print the summary."""
    if not signals.is_file():
        raise UsageError(f"--input {signals}: there is no such file")
    logging.getLogger("flo").setLevel(logging.WARNING)  # the summary says the rest
    out = console(stderr=True)
    columns = (TextColumn("deciding"), BarColumn(), TaskProgressColumn(), TimeRemainingColumn())
    with Progress(*columns, console=out, transient=True, disable=as_json or not out.is_terminal) as progress:
        task = progress.add_task("deciding", total=signals.stat().st_size)

        def advance(done_bytes: int, total_bytes: int) -> None:
            progress.update(task, completed=done_bytes, total=total_bytes)

        summary: dict[str, Any] = runtime.run_file(options, signals, advance)
    if as_json:
        print_json(summary)
    else:
        refusals = summary.pop("refusals", [])
        print_fields(summary)
        for refusal in refusals:
            say(f"signal {refusal['signal']} refused, {refusal['reason']}: {refusal['detail']}")
        if summary["rejected"] > len(refusals):
            say(f"and {summary['rejected'] - len(refusals)} more")
        hint(f"look into it: flo loops --data {options.data}, flo dead list --data {options.data}")
    return 0
