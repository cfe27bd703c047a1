"""How branches of the same parent lie in time: beside each other, or one after another.

For each parent the last traces (or parent runs) are kept, each with its branches and their times. Whether branches
*should* run in parallel is not seen here but declared (a loop that feeds both, jobs with the same declared parents),
or was seen: two branches that used to overlap.
"""

from __future__ import annotations

from collections import OrderedDict, deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

import msgspec

WINDOW = 32
"""Traces kept of a parent: enough for a rate, few enough that a change shows soon."""

PARENTS_MAX = 1_000
BRANCHES_MAX = 8
"""Of one parent in one trace; with the two above, about 40 MB at most. Those that took longest are kept."""

PARALLEL_SHARE_MIN = 0.8
"""Of the traces in which two branches must have overlapped to say that they used to run in parallel."""

PARALLEL_TRACES_MIN = 20

PAIRS_MAX = 1_000
"""Of one parent, remembered as parallel."""


class Branch(msgspec.Struct, frozen=True, gc=False):
    """One branch in one trace: the node that did the work, and its times, sorted."""

    node: str
    times: tuple[tuple[int, int], ...]

    @property
    def busy_ns(self) -> int:
        return sum(end - start for start, end in merged(self.times))


class Sighting(msgspec.Struct, frozen=True, gc=False):
    """One trace of a parent."""

    branches: tuple[Branch, ...]
    at_ns: int
    example: str


@dataclass(slots=True)
class Family:
    """A parent's last traces. `were_parallel`: pairs that have been seen to overlap as a rule."""

    recent: deque[Sighting] = field(default_factory=lambda: deque(maxlen=WINDOW))
    were_parallel: set[tuple[str, str]] = field(default_factory=set)
    declared: set[tuple[str, str]] = field(default_factory=set)
    since_looked: int = 0


class Siblings:
    """Used on one thread. `changed` names the parents with something new since the watchdog last looked."""

    def __init__(self) -> None:
        self.families: OrderedDict[str, Family] = OrderedDict()
        self.changed: dict[str, None] = {}

    def add(
        self, parent: str, branches: Iterable[Branch], at_ns: int, example: str, *, is_declared: bool
    ) -> None:
        """One trace of a parent with its branches. `is_declared`: they are declared to follow the same."""
        found = sorted(branches, key=lambda branch: branch.busy_ns, reverse=True)[:BRANCHES_MAX]
        if len(found) < 2:
            return
        family = self.families.pop(parent, None) or Family()
        self.families[parent] = family
        while len(self.families) > PARENTS_MAX:
            oldest, _ = self.families.popitem(last=False)
            self.changed.pop(oldest, None)
        family.recent.append(Sighting(tuple(sorted(found, key=lambda branch: branch.node)), at_ns, example))
        for known in (family.declared, family.were_parallel):
            if len(known) > PAIRS_MAX:  # branches whose names never come again
                known.clear()
        if is_declared:
            family.declared.update(pair_names(found))
        self.changed[parent] = None
        family.since_looked += 1
        if family.since_looked >= PARALLEL_TRACES_MIN:
            family.since_looked = 0
            self._remember_parallel(family)

    def _remember_parallel(self, family: Family) -> None:
        counts: dict[tuple[str, str], list[int]] = {}
        for sighting in family.recent:
            for one, other in pairs(sighting.branches):
                count = counts.setdefault((one.node, other.node), [0, 0])
                count[0] += 1
                count[1] += overlap_ns(one, other) > 0
        for pair, (together, overlapped) in counts.items():
            if together >= PARALLEL_TRACES_MIN and overlapped >= PARALLEL_SHARE_MIN * together:
                family.were_parallel.add(pair)


def pairs(branches: tuple[Branch, ...]) -> Iterator[tuple[Branch, Branch]]:
    """Each two of them, in the order of their names."""
    for place, one in enumerate(branches):
        for other in branches[place + 1 :]:
            yield one, other


def pair_names(branches: Iterable[Branch]) -> Iterator[tuple[str, str]]:
    ordered = tuple(sorted(branches, key=lambda branch: branch.node))
    for one, other in pairs(ordered):
        yield one.node, other.node


def merged(times: tuple[tuple[int, int], ...]) -> Iterator[tuple[int, int]]:
    """Sorted times without what is in them twice."""
    start, end = times[0]
    for next_start, next_end in times[1:]:
        if next_start > end:
            yield start, end
            start, end = next_start, next_end
        else:
            end = max(end, next_end)
    yield start, end


def overlap_ns(one: Branch, other: Branch) -> int:
    """How long both were at work."""
    total = 0
    others = list(merged(other.times))
    for start, end in merged(one.times):
        total += sum(max(0, min(end, until) - max(start, since)) for since, until in others)
    return total
