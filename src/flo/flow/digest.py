"""What the rest of FLO needs to know of a durable group: its events whole, its decisions counted, a few shown."""

from __future__ import annotations

import re
from collections import Counter
from operator import itemgetter

import msgspec

from flo.core.record import DecisionSection, Event, Group

_exit_of = itemgetter(3)

SHOWN_MAX = 20
"""Decisions shown of one loop in one group, evenly spread over it; the rest are counted. Nobody reads a thousand lines a
second, and watchdogs judge by samples."""

CAUSED_MAX = 1_000
"""Pairs of causes and loops told of one group."""

_DECISION_ID = re.compile(r"(\d{1,9}-\d{1,18}-\d{1,9})-\d{1,9}", re.ASCII)

RETURNS_MAX = 20
"""Round trips shown of one loop in one group."""


class LoopDigest(msgspec.Struct, frozen=True, array_like=True):
    """One loop's decisions in a group. `exits`: how many left by which way; `shown`: (id, key, seq, exit).

    `skewed_ns`: how much older than its data the logic was, where that is too much, in the decisions shown.
    `returns`: of signals that came back to FLO, (hops, time since their root was born in ns).
    """

    loop: str
    exits: dict[int, int]
    shown: list[tuple[str, str, int, int]]
    returns: list[tuple[int, int]] = []
    skewed_ns: int = 0


class Caused(msgspec.Struct, frozen=True, array_like=True):
    """Signals of a group that decisions in one place of the ledger caused, as one loop decided them.

    `section` is that place, `<shard>-<block>-<section>`: all decisions in it are of one loop. `decision_id` is one example.
    """

    section: str
    loop: str
    count: int
    decision_id: str


class Digest(msgspec.Struct, frozen=True, array_like=True):
    """One durable group."""

    shard: int
    block: int
    decided_ns: int
    loops: list[LoopDigest]
    events: list[Event]
    caused: list[Caused] = []


def digest_of(group: Group) -> Digest:
    """What figures, watchdogs and the live stream need of a group, without its rows."""
    loops = []
    for number, section in enumerate(group.sections):
        rows = section.rows
        if not rows:
            continue
        exits = dict(Counter(map(_exit_of, rows)))
        places = range(0, len(rows), -(-len(rows) // SHOWN_MAX))
        shown = [
            (f"{group.shard}-{group.block}-{number}-{place}", rows[place][1], rows[place][2], rows[place][3])
            for place in places
        ]
        returns = _returns(group, section) if group.contexts else []
        skewed_ns = max((rows[place][-1].get("skewed", 0) for place in places if rows[place][-1]), default=0)
        loops.append(LoopDigest(section.loop, exits, shown, returns, skewed_ns))
    caused = _caused(group) if group.contexts else []
    return Digest(group.shard, group.block, group.decided_ns, loops, group.events, caused)


def _caused(group: Group) -> list[Caused]:
    """Whose decisions caused the signals of this group, and who decided them. Costs what carries a context, no more."""
    parents = {
        row: match[1]
        for row, context in group.contexts.items()
        if context[1] is not None and (match := _DECISION_ID.fullmatch(context[1])) is not None
    }
    if not parents:
        return []
    found: dict[tuple[str, str], tuple[int, str]] = {}
    for number, section in enumerate(group.sections):
        for place, row in enumerate(section.rows):
            parent = parents.get(row[0])
            if parent is not None:
                count, _ = found.get((parent, section.loop), (0, ""))
                example = f"{group.shard}-{group.block}-{number}-{place}"
                found[parent, section.loop] = (count + 1, example)
        if len(found) > CAUSED_MAX:
            break
    return [Caused(parent, loop, count, example) for (parent, loop), (count, example) in found.items()]


def _returns(group: Group, section: DecisionSection) -> list[tuple[int, int]]:
    """How long the contexts that this loop met have been under way. A context is (root, parent, born, deadline, hops,
    seq)."""
    found: list[tuple[int, int]] = []
    for row in section.rows:
        context = group.contexts.get(row[0])
        if context is not None and context[4]:
            found.append((context[4], group.decided_ns - context[2]))
            if len(found) == RETURNS_MAX:
                break
    return found
