"""Every dependency says why it is here, and none is listed that is not there."""

from __future__ import annotations

import re
import tomllib
from typing import Any

from tests.docs.pages import DOCS, REPOSITORY

_NAME = re.compile(r"^[A-Za-z0-9_.-]+")


def project() -> dict[str, Any]:
    found: dict[str, Any] = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())["project"]
    return found


def names(requirements: list[str]) -> set[str]:
    return {match[0] for each in requirements if (match := _NAME.match(each))}


def rows() -> list[list[str]]:
    lines = (DOCS / "dependencies.md").read_text().splitlines()
    return [re.findall(r"`([^`]+)`", line)[:2] for line in lines if line.startswith("| `")]


def test_the_page_lists_what_the_project_needs() -> None:
    declared = project()
    extras = declared["optional-dependencies"]
    listed = {row[0] for row in rows() if row[0] not in extras}
    assert listed == names(declared["dependencies"])
    listed_extras = {(row[0], row[1]) for row in rows() if row[0] in extras}
    assert listed_extras == {
        (extra, name) for extra, needed in extras.items() if extra != "dev" for name in names(needed)
    }


def test_the_lock_pins_all_of_it_and_names_no_place() -> None:
    pins = (REPOSITORY / "requirements-dev.lock").read_text().splitlines()
    pinned = [line for line in pins if not line.startswith("#")]
    assert all(re.fullmatch(r"[A-Za-z0-9_.-]+==[A-Za-z0-9_.!+-]+", line) for line in pinned)
    declared = project()
    needed = names(declared["dependencies"]) | names(declared["optional-dependencies"]["dev"])
    normal = {re.sub(r"[-_.]+", "-", line.partition("==")[0]).lower() for line in pinned}
    assert {re.sub(r"[-_.]+", "-", name).lower() for name in needed} <= normal
