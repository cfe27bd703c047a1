"""What the bundle declares about edges, in a form that observed edges can be held against.

A job or a service that bears a loop's name is that loop at work. A declared dataset or model without a namespace
stands for those of its name in any; with one (`dataset:warehouse/labels`) for that one alone.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field

from flo.core.loop.definition import ActionDefinition, LoopDefinition


@dataclass(frozen=True, slots=True)
class DeclaredLoop:
    """One loop's edges, by names without their kind."""

    name: str
    feeds: frozenset[str]
    reads: frozenset[str]
    writes: frozenset[str]
    needs: frozenset[str]  # dependencies
    engines: frozenset[str]
    edges: tuple[tuple[str, str, str], ...]  # (source, target, which key declares it), as written

    def knows(self, name: str) -> bool:
        """Whether the loop says that it has to do with a service of this name."""
        return name in self.needs or name in self.engines or name in self.reads or name in self.writes


@dataclass(frozen=True, slots=True)
class Declared:
    """All loops of a bundle."""

    loops: Mapping[str, DeclaredLoop] = field(default_factory=dict)
    follows: Mapping[str, frozenset[str]] = field(
        default_factory=dict
    )  # name -> names that data goes to from it

    def edges(self) -> Iterator[tuple[str, str, str, str]]:
        """(source, target, key, the loop that declares it)."""
        for loop in self.loops.values():
            for source, target, key in loop.edges:
                yield source, target, key, loop.name


NOTHING_DECLARED = Declared()


def declared_by(loops: Mapping[str, LoopDefinition]) -> Declared:
    """What a bundle's loops declare."""
    found = {name: _loop(loop) for name, loop in loops.items()}
    follows: dict[str, set[str]] = {}
    for loop in found.values():
        follows.setdefault(loop.name, set()).update(loop.feeds | loop.writes)
        for name in loop.reads | loop.needs:
            follows.setdefault(name, set()).add(loop.name)
    return Declared(found, {name: frozenset(to) for name, to in follows.items()})


def _loop(loop: LoopDefinition) -> DeclaredLoop:
    own = f"loop:{loop.name}"
    edges = (
        *((own, f"loop:{name}", "feeds") for name in loop.feeds),
        *((name, own, "reads") for name in loop.reads),
        *((own, name, "writes") for name in loop.writes),
        *((f"dependency:{name}", own, "needs") for name in loop.needs.values()),
    )
    return DeclaredLoop(
        name=loop.name,
        feeds=frozenset(loop.feeds),
        reads=_without_kind(loop.reads),
        writes=_without_kind(loop.writes),
        needs=frozenset(loop.needs.values()),
        engines=frozenset(_engines(action for rule in loop.rules for action in rule.then)),
        edges=tuple(dict.fromkeys(edges)),
    )


def _without_kind(names: Iterable[str]) -> frozenset[str]:
    return frozenset(name.partition(":")[2] for name in names)


def _engines(actions: Iterable[ActionDefinition]) -> Iterator[str]:
    for action in actions:
        if action.engine is not None:
            yield action.engine
        yield from _engines(action.on_silent)
