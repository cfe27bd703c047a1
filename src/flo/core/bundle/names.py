"""What the files of a bundle may refer to: the names that exist, gathered before they are checked."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from flo.core.bundle.settings import EngineKind

BARE_VERBS = ("emit", "review", "page")
"""Verbs FLO carries out itself; every other verb names its engine, as `engine.verb`."""


@dataclass(slots=True)
class Names:
    """Names in a bundle. A thing with problems of its own is still a name: one mistake gives one problem."""

    engine_kinds: Mapping[str, EngineKind]
    loops: frozenset[str] = frozenset()
    contracts: Mapping[str, frozenset[int]] = field(default_factory=dict)
    engines: dict[str, EngineKind | None] = field(default_factory=dict)  # None: its kind is unknown
    dependencies: set[str] = field(default_factory=set)
    on_call: dict[str, str | None] = field(default_factory=dict)  # loop -> on_call of its pipeline
    flo_read: bool = True  # False: flo.yaml could not be read, so what it names is not known
