"""What commands print: for people (tables, colours where there is a terminal) or, with --json, one JSON
document.

Results go to stdout, progress and errors to stderr, so that a pipe gets results alone.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Sequence
from typing import Any

import msgspec
from rich.console import Console
from rich.markup import escape
from rich.table import Table

_CELL_CHARS_MAX = 200
_TIME = re.compile(r"(\d{4}-\d\d-\d\d)T(\d\d:\d\d:\d\d)(\.\d+)?Z")


def print_json(value: Any) -> None:
    """One document, indented."""
    sys.stdout.write(msgspec.json.format(msgspec.json.encode(value), indent=2).decode() + "\n")
    sys.stdout.flush()


def console(*, stderr: bool = False) -> Console:
    """A console on the stream as it is now (tests and pipes replace it)."""
    return Console(stderr=stderr, highlight=False, soft_wrap=True)


def say(text: str, style: str | None = None) -> None:
    """A line for people. Its text is never markup: it may quote what somebody sent."""
    console().print(text, style=style, markup=False)


def hint(text: str) -> None:
    """A line beside the result: on stderr."""
    console(stderr=True).print(text, style="dim", markup=False)


_WIDE_CHARS = 4_000


def print_table(
    columns: Sequence[tuple[str, str]], rows: Sequence[dict[str, Any]], empty: str, *, wide: bool = False
) -> None:
    """Rows under (key, heading) columns; `empty` where there are none. `wide`: one line a row, however long."""
    if not rows:
        say(empty, "dim")
        return
    table = Table(box=None, pad_edge=False, header_style="bold")
    for _, heading in columns:
        table.add_column(heading, overflow="fold")
    for row in rows:
        table.add_row(*(escape(_short_time(_cell(row.get(key)))) for key, _ in columns))
    Console(highlight=False, width=_WIDE_CHARS if wide else None).print(table)


def print_fields(fields: dict[str, Any]) -> None:
    """Names and values under each other; nested values as JSON."""
    table = Table(box=None, pad_edge=False, show_header=False)
    table.add_column(style="bold", no_wrap=True)
    table.add_column(overflow="fold")
    for name, value in fields.items():
        table.add_row(escape(name), escape(_cell(value, None)))
    Console(highlight=False).print(table)


def _short_time(text: str) -> str:
    """A time to the second, as a table has room for; the full one is in `--json`."""
    match = _TIME.fullmatch(text)
    return text if match is None else f"{match[1]} {match[2]}Z"


def _cell(value: Any, chars_max: int | None = _CELL_CHARS_MAX) -> str:
    if value is None:
        text = "-"
    elif isinstance(value, bool):
        text = "yes" if value else "no"
    elif isinstance(value, float):
        text = f"{value:.4g}"
    elif isinstance(value, str | int):
        text = str(value)
    else:
        text = msgspec.json.encode(value).decode()
    # Control characters of somebody's data must not drive the reader's terminal.
    text = "".join(character if character.isprintable() or character == "\n" else "�" for character in text)
    if chars_max is not None and len(text) > chars_max:
        return text[: chars_max - 1] + "…"
    return text
