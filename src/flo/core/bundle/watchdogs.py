"""`watchdogs` in `flo.yaml`: each off, or with thresholds of its own."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from flo.core.bundle.document import Node, ScalarNode
from flo.core.bundle.report import Report, nearest
from flo.core.bundle.section import map_entries, read_section
from flo.core.bundle.settings import Setting
from flo.core.bundle.watchdog_tables import WATCHDOG_TABLES
from flo.core.loop.definition import BundleDefinition

OFF = "off"


def read_watchdogs(node: Node, report: Report) -> dict[str, Mapping[str, Any] | None]:
    """The thresholds that are written, by type of finding; None where it is `off`."""
    read: dict[str, Mapping[str, Any] | None] = {}
    for key, value in map_entries(node, "watchdogs", report):
        table = WATCHDOG_TABLES.get(key.text)
        if table is None:
            message = f"`watchdogs`: no watchdog finds `{key.text[:60]}`"
            report.add(key.place, message, nearest(key.text, WATCHDOG_TABLES))
        elif isinstance(value, ScalarNode):
            read[key.text] = None
            if value.text != OFF:
                message = f"watchdog `{key.text}`: `{value.text[:60]}` is neither `off` nor thresholds"
                report.add(value.place, message, f"write `{key.text}: off`")
        else:
            read[key.text] = dict(read_section(value, table, f"watchdog `{key.text}`", report).values)
    return read


def thresholds(definition: BundleDefinition, type: str) -> Mapping[str, Any] | None:
    """What a watchdog goes by under a bundle; None where it is off."""
    if type in definition.watchdogs:
        return definition.watchdogs[type]
    return _defaults(WATCHDOG_TABLES[type])


def _defaults(table: Mapping[str, Setting]) -> dict[str, Any]:
    return {name: setting.default_value() for name, setting in table.items()}
