"""Which loops a signal goes to."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

import msgspec

from flo.core.contract import Contract
from flo.core.loop.program import Cells, LoopProgram, Row
from flo.core.mask import Mask
from flo.core.record import DecisionSection, Group

SELECT_LOOPS_MIN = 4
"""From so many loops on one type that each want another constant of the same field, a table pays."""


class Route:
    """One loop as the step drives it: what it calls, kept at hand."""

    __slots__ = (
        "cells",
        "contract",
        "decide",
        "decide_run",
        "hops",
        "name",
        "needs",
        "program",
        "rows",
        "section",
        "strict",
        "ttl_ns",
        "uses_context",
    )

    def __init__(self, program: LoopProgram, cells: Cells) -> None:
        self.program = program
        self.name = program.name
        self.cells = cells
        self.contract: Contract | None = program.contract
        self.decide = program.decide
        self.decide_run = program.decide_run
        self.needs: Mapping[str, str] = program.needs
        self.strict = program.definition.consistency == "strict"
        self.ttl_ns = program.definition.ttl_ns
        self.uses_context = program.uses_context
        self.hops = program.definition.hops
        self.rows: list[Row] | None = None  # of the group under way
        self.section = -1

    def open(self, group: Group) -> list[Row]:
        """Give this loop its section in the group."""
        program = self.program
        section = DecisionSection(self.name, program.revision, program.state_columns)
        self.section = len(group.sections)
        group.sections.append(section)
        self.rows = section.rows
        return section.rows

    def close(self, group: Group) -> None:
        """Take the section back that was opened last, and into which no row came."""
        assert group.sections.pop().rows is self.rows
        self.rows, self.section = None, -1


Select = Callable[[msgspec.Raw], tuple[Route, ...]]


def _select(field: str, crowd: list[Route], routes: list[Route]) -> Select:
    """Of many loops on one type, those whose `where` can be true: told by one field they all compare with a constant."""
    probe = msgspec.defstruct("Probe", [("value", Any, None)], rename={"value": field}, gc=False)
    decode: Callable[[Any], Any] = msgspec.json.Decoder(probe).decode
    wanted = {route: route.program.where_equals for route in crowd}
    constants: dict[Route, str | None] = {
        route: None if (equality := wanted.get(route)) is None else equality[1] for route in routes
    }
    always = tuple(route for route in routes if constants[route] is None)
    table: dict[str, list[Route]] = {value: [] for value in constants.values() if value is not None}
    for route, constant in constants.items():  # in the bundle's order, as they would be asked one by one
        for value in table if constant is None else (constant,):
            table[value].append(route)
    by_value = {value: tuple(found) for value, found in table.items()}
    everyone = tuple(routes)

    def select(data: msgspec.Raw) -> tuple[Route, ...]:
        try:
            value = decode(data).value
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            return everyone
        # without a text in the field the data breaks the contract, or no loop wants it: both are theirs to say
        return by_value.get(value, always) if type(value) is str else everyone

    return select


class Router:
    """By type; `routes` is read directly on the hot path, `select` narrows crowded types."""

    def __init__(
        self, routes: Iterable[Route], pipelines: Mapping[str, tuple[str, ...]] | None = None
    ) -> None:
        self.all = tuple(routes)
        self.pipelines = pipelines or {}  # their loops
        self._by_name = {route.name: route for route in self.all}
        by_type: dict[str, list[Route]] = {}
        for route in self.all:
            for type in route.program.definition.on:
                by_type.setdefault(type, []).append(route)
        self.routes: dict[str, tuple[Route, ...]] = {}
        self.expected_types = frozenset(
            action.definition.expect.signal
            for route in self.all
            for actions in route.program.actions.values()
            for action in actions
            if action.definition.expect is not None
        )
        self.masks = {type: mask for type, found in by_type.items() if (mask := _mask_of(found)).paths}
        self.select: dict[str, Select] = {}
        relaxed = [type for type, found in by_type.items() if all(not route.strict for route in found)]
        self.relaxed_types = frozenset(relaxed)  # signals of these are acknowledged before the commit
        for type, found in by_type.items():
            self.routes[type] = tuple(found)
            select = _selection(found)
            if select is not None:
                self.select[type] = select

    def named(self, loop: str) -> Route | None:
        return self._by_name.get(loop)

    def close_group(self, group: Group) -> None:
        """The loops that met a signal of this group begin the next one anew; thousands may have met none."""
        for section in group.sections:
            self._by_name[section.loop].rows = None


def _mask_of(routes: Iterable[Route]) -> Mask:
    """What any of these loops masks is masked for all of them: the signal is written once."""
    return Mask(path for route in routes for path in route.program.definition.mask)


def _selection(routes: list[Route]) -> Select | None:
    by_field: dict[str, list[Route]] = {}
    for route in routes:
        if route.program.where_equals is not None:
            by_field.setdefault(route.program.where_equals[0], []).append(route)
    if not by_field:
        return None
    field, crowd = max(by_field.items(), key=lambda item: len(item[1]))
    if len(crowd) < SELECT_LOOPS_MIN:
        return None
    return _select(field, crowd, routes)
