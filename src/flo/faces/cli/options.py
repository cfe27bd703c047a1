"""Options that several commands share."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click

from flo.core.bundle.quantities import duration_ns, rate_per_s
from flo.core.errors import SignalRejected
from flo.core.signal import text_from_time, time_from_text
from flo.faces.cli.client import DEFAULT_URL

F = TypeVar("F", bound=Callable[..., Any])

PATH = click.Path(path_type=Path)
DIRECTORY = click.Path(path_type=Path, file_okay=False)


class Rate(click.ParamType[float]):
    """`500/s` as a rate per second."""

    name = "rate"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        try:
            return value if isinstance(value, float) else rate_per_s(value)
        except ValueError as error:
            self.fail(str(error), param, ctx)


class Duration(click.ParamType[float]):
    """`30s` as seconds."""

    name = "duration"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        try:
            return value if isinstance(value, float) else duration_ns(value) / 1e9
        except ValueError as error:
            self.fail(str(error), param, ctx)


class Moment(click.ParamType[str]):
    """An RFC 3339 time, a date, or a duration before now; given on as RFC 3339."""

    name = "time"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        text = str(value)
        try:
            time_from_text(text if "T" in text else f"{text}T00:00:00Z")
            return text if "T" in text else f"{text}T00:00:00Z"
        except SignalRejected:
            pass
        try:
            return text_from_time(time.time_ns() - duration_ns(text))
        except ValueError:
            self.fail(
                f"{text!r}: write 2026-11-23T05:10:12Z, 2026-11-23, or 15m for 15 minutes ago", param, ctx
            )


def json_option(command: F) -> F:
    return click.option("--json", "as_json", is_flag=True, help="Print one JSON document.")(command)


def to_option(command: F) -> F:
    return click.option("--to", metavar="URL", help=f"A running FLO.  [default: {DEFAULT_URL}]")(command)


def source_options(command: F) -> F:
    """--to or --data, for whatever reads."""
    data = click.option(
        "--data", type=DIRECTORY, metavar="PATH", help="Read this data directory, also while FLO is down."
    )
    return to_option(data(command))


def period_options(command: F) -> F:
    """--since and --until."""
    since = click.option(
        "--since", type=Moment(), help="Not before: RFC 3339, a date, or a duration ago (15m)."
    )
    until = click.option("--until", type=Moment(), help="Before: the same forms.")
    return since(until(command))
