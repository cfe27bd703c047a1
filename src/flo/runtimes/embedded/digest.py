"""What the rest of FLO needs to know of a durable group: its events whole, its decisions counted, a few shown."""

from __future__ import annotations

from collections import Counter
from operator import itemgetter

import msgspec

from flo.core.record import Event, Group

_exit_of = itemgetter(3)

SHOWN_MAX = 20
"""Decisions shown to listeners, of one loop in one group; the rest are counted. Nobody reads a thousand lines a second."""


class LoopDigest(msgspec.Struct, frozen=True, array_like=True):
    """One loop's decisions in a group. `exits`: how many left by which way; `shown`: (id, key, seq, exit)."""

    loop: str
    exits: dict[int, int]
    shown: list[tuple[str, str, int, int]]


class Digest(msgspec.Struct, frozen=True, array_like=True):
    """One durable group."""

    shard: int
    block: int
    decided_ns: int
    loops: list[LoopDigest]
    events: list[Event]


def digest_of(group: Group) -> Digest:
    """What figures and the live stream need of a group, without its rows."""
    loops = []
    for number, section in enumerate(group.sections):
        if not section.rows:
            continue
        exits = dict(Counter(map(_exit_of, section.rows)))
        shown = [
            (f"{group.shard}-{group.block}-{number}-{place}", row[1], row[2], row[3])
            for place, row in enumerate(section.rows[:SHOWN_MAX])
        ]
        loops.append(LoopDigest(section.loop, exits, shown))
    return Digest(group.shard, group.block, group.decided_ns, loops, group.events)
