"""`flo edges`."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import click

from flo.faces.cli.options import json_option, source_options
from flo.faces.cli.output import hint, print_json, print_table
from flo.faces.cli.source import open_source
from flo.flow.observe.graph import EVIDENCE, PHANTOM
from flo.flow.observe.listing import STATUSES

COLUMNS = (
    ("status", "status"),
    ("count", "count"),
    ("evidence", "evidence"),
    ("first_seen", "first seen"),
    ("last_seen", "last seen"),
    ("edge", "edge"),
)

MEANINGS = {
    "phantom": "observed, declared by nobody",
    "both": "observed and declared",
    "declared": "declared, not observed so far",
    "never-seen": "declared, and should have been observed by now",
    "observed": "observed, of no loop",
}


@click.command("edges", short_help="Edges: what feeds what, declared and observed.")
@click.option("--phantom", is_flag=True, help="Only those that nobody declared.")
@click.option("--status", type=click.Choice(STATUSES), help="Only those in this status.")
@click.option("--evidence", type=click.Choice(EVIDENCE), help="Only those with this evidence.")
@click.option("--loop", help="Only those of this loop.")
@click.option("--limit", type=click.IntRange(1, 100_000), default=200, show_default=True, help="How many.")
@source_options
@json_option
def command(
    phantom: bool,
    status: str | None,
    evidence: str | None,
    loop: str | None,
    limit: int,
    to: str | None,
    data: Path | None,
    as_json: bool,
) -> None:
    """What feeds, reads, writes and calls what: as declared in the bundle, and as observed.

    Evidence, the strongest first: context (FLO carried it), fetched (FLO fetched it), traced (a span),
    reported (lineage says so), declared (a producer of lineage lists it, used or not).
    """
    given = {"status": PHANTOM if phantom else status, "evidence": evidence, "loop": loop}
    query = {name: value for name, value in given.items() if value is not None}
    with open_source(to, data) as source:
        rows = list(source.rows("edges", query, limit))
    if as_json:
        print_json({"edges": rows, "next": None})
        return
    print_table(
        COLUMNS, [_line(row) for row in rows], "no edges" if not phantom else "no phantom edges", wide=True
    )
    counts = Counter(row["status"] for row in rows)
    if rows:
        hint("; ".join(f"{counts[name]} {name} ({MEANINGS[name]})" for name in STATUSES if counts[name]))


def _line(row: dict[str, Any]) -> dict[str, Any]:
    """An edge as a line: its evidence by name, with the mean time where calls were timed."""
    kinds = [
        f"{name} {seen['mean_ms']:g} ms" if "mean_ms" in seen else name
        for name, seen in row["evidence"].items()
    ]
    under = row["declared_under"]
    return {
        **row,
        "edge": f"{row['from']} -> {row['to']}",
        "evidence": ", ".join(kinds) or (f"(under `{under}`)" if under else None),
    }
