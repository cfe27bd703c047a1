"""What a bundle declares, as frozen values: the reader of the YAML makes them, the compiler and the runtime use them.

Durations are nanoseconds (`_ns`), rates are per second. Every text that is an expression keeps where it stands,
so that a problem found by the type checker names file, line and column.
"""

from __future__ import annotations

import sys
from bisect import bisect_right
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, TypeAlias


@dataclass(frozen=True, slots=True)
class Place:
    """Where something stands in the bundle. Lines and columns count from 1."""

    file: str
    line: int
    column: int


Turn: TypeAlias = tuple[int, int, int]
"""(offset in a text, line, column): from this offset on, the text's characters stand one after the other from there."""


def place_at(place: Place, turns: tuple[Turn, ...], offset: int) -> Place:
    """Where the character at `offset` of a text stands in its file, escapes and folded lines included."""
    at = bisect_right(turns, (offset, sys.maxsize, sys.maxsize)) - 1
    if at < 0:
        return Place(place.file, place.line, place.column + (offset if turns else 0))
    start, line, column = turns[at]
    return Place(place.file, line, column + offset - start)


def _offset(text: str, line: int, column: int) -> int:
    return sum(len(one) + 1 for one in text.split("\n")[: line - 1]) + column - 1


@dataclass(frozen=True, slots=True)
class ExpressionText:
    """An expression as written, and where its first character stands."""

    text: str
    place: Place
    turns: tuple[Turn, ...] = ()

    def place_at(self, line: int, column: int) -> Place:
        """Where line and column of the text (both from 1) stand in the bundle's file."""
        return place_at(self.place, self.turns, _offset(self.text, line, column))


@dataclass(frozen=True, slots=True)
class TemplateText:
    """A JSON-like value whose strings may hold `${expression}`; `places` maps a path in it to where that stands."""

    value: Any
    place: Place
    places: Mapping[tuple[str | int, ...], Place] = field(default_factory=dict)
    turns: Mapping[tuple[str | int, ...], tuple[Turn, ...]] = field(default_factory=dict)

    def place_at(self, path: tuple[str | int, ...], line: int = 1, column: int = 1) -> Place:
        """Where the value at `path` stands; for a string, where line and column of its text (from 1) do."""
        text = self.value
        for step in path:
            text = text[step]
        offset = _offset(text, line, column) if isinstance(text, str) else 0
        return place_at(self.places.get(path, self.place), self.turns.get(path, ()), offset)


STATE_KINDS = ("count", "sum", "mean", "min", "max", "std", "share", "ewma", "last", "quantile", "distinct")
VERBS = ("trigger", "rerun", "restart", "cancel", "pause", "resume", "swap", "review", "page", "emit", "call")
MODES = ("off", "shadow", "live")


@dataclass(frozen=True, slots=True)
class StateDefinition:
    """One named piece of a loop's state. `expression` is the condition of a count or share, else the value measured."""

    name: str
    kind: str  # one of STATE_KINDS
    expression: ExpressionText
    place: Place
    over_ns: int | None = None  # window length; None: since ever
    q: float | None = None  # quantile only, 0..1
    half_life_ns: int | None = None  # ewma only
    shared: bool = False  # one value for the whole loop, across keys


@dataclass(frozen=True, slots=True)
class ExpectDefinition:
    """The effect a command must show: a signal of a type, in time; `wrote` names the dataset it must have written."""

    signal: str
    within_ns: int
    place: Place
    where: ExpressionText | None = None
    wrote: str | None = None


@dataclass(frozen=True, slots=True)
class ActionDefinition:
    """One command a rule issues. `engine` is a name of flo.yaml, or None for what FLO does itself (emit, review, page)."""

    verb: str  # one of VERBS
    place: Place
    engine: str | None = None
    arguments: TemplateText | None = None
    target: TemplateText | None = None
    root_new: bool = False  # the command's effects start a new context
    expect: ExpectDefinition | None = None
    attempts: int = 3
    blocking: bool = True  # False: its failure is `tolerated`
    on_silent: tuple[ActionDefinition, ...] = ()


@dataclass(frozen=True, slots=True)
class RuleDefinition:
    """A condition, what it means, and the commands to issue."""

    id: str
    when: ExpressionText
    place: Place
    result: str  # the rule's id where the bundle gives none
    means: str | None = None
    then: tuple[ActionDefinition, ...] = ()
    priority: int = 0  # higher first; equal ones as written
    mode: str = "live"  # one of MODES
    once_within_ns: int | None = None
    once_scope: str = "key"  # key | loop


@dataclass(frozen=True, slots=True)
class LoopDefinition:
    """One loop of a bundle."""

    name: str
    on: tuple[str, ...]
    key: ExpressionText
    place: Place
    about: str = ""
    owner: str = ""
    where: ExpressionText | None = None
    contract: tuple[str, int] | None = None
    ttl_ns: int = 3_600_000_000_000
    hops: int = 8
    consistency: str = "strict"  # strict | relaxed
    fresh_data_ns: int | None = None
    fresh_logic_ns: int | None = None
    reads: tuple[str, ...] = ()
    writes: tuple[str, ...] = ()
    feeds: tuple[str, ...] = ()
    needs: Mapping[str, str] = field(default_factory=dict)  # name bound under `need` -> dependency
    state: tuple[StateDefinition, ...] = ()
    rules: tuple[RuleDefinition, ...] = ()
    otherwise: str | None = None
    match: str = "first"  # first | all
    mask: tuple[str, ...] = ()  # paths of data that never reach the disk


@dataclass(frozen=True, slots=True)
class EngineDefinition:
    """One engine of flo.yaml. `settings` are the keys of its kind, already checked against that kind's table."""

    name: str
    kind: str
    place: Place
    settings: Mapping[str, Any] = field(default_factory=dict)
    rate_per_s: float | None = None
    concurrency: int = 8
    timeout_s: float = 30.0
    backoff_s: float = 0.2  # first pause between attempts; doubles, jittered, up to backoff_s_max
    backoff_s_max: float = 30.0
    retry_budget: float = 0.1  # retries add at most this share to the base load


@dataclass(frozen=True, slots=True)
class DependencyDefinition:
    """A shared service that loops read before deciding. `url` holds `{key}`."""

    name: str
    kind: str
    url: str
    place: Place
    concurrency: int = 32
    rate_per_s: float | None = None
    deadline_s: float = 0.05
    cache_s: float = 0.0
    idle_timeout_s: float | None = None
    version: str | None = None  # field of its answers that only grows: an older one is a stale read


@dataclass(frozen=True, slots=True)
class BreakerDefinition:
    """So many dead letters of one loop within a time pause its pipeline."""

    dead_letters: int = 5
    within_ns: int = 60_000_000_000


@dataclass(frozen=True, slots=True)
class PipelineDefinition:
    """A group of loops and engine jobs that is paused and resumed as one."""

    name: str
    loops: tuple[str, ...]
    place: Place
    jobs: tuple[str, ...] = ()
    pausable: frozenset[str] = frozenset()  # those of the jobs whose engine can pause and resume
    on_call: str | None = None
    breaker: BreakerDefinition | None = BreakerDefinition()  # None: turned off


@dataclass(frozen=True, slots=True)
class RetentionDefinition:
    """How long things are kept: the ledger's periods, and the dead letters in them that nobody has decided about."""

    ledger_ns: int = 30 * 86_400_000_000_000
    dead_letters_ns: int = 90 * 86_400_000_000_000


@dataclass(frozen=True, slots=True)
class BundleDefinition:
    """All of a bundle, read and checked for shape. `revision` is the hash of its files' content."""

    revision: str
    files: Mapping[str, bytes]
    loops: Mapping[str, LoopDefinition]
    engines: Mapping[str, EngineDefinition]
    dependencies: Mapping[str, DependencyDefinition]
    pipelines: Mapping[str, PipelineDefinition]
    retention: RetentionDefinition
    dedupe_ns: int = 86_400_000_000_000
    sources: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    watchdogs: Mapping[str, Mapping[str, Any] | None] = field(
        default_factory=dict
    )  # None: off; absent: as usual
