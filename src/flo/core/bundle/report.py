"""Collecting every problem of a bundle, so that one `flo check` shows them all, in file order."""

from __future__ import annotations

import difflib
from collections.abc import Iterable

from flo.core.errors import Problem
from flo.core.loop.definition import Place

PROBLEMS_MAX = 500
"""A file of noise could produce a problem a line; nobody reads more, and the answer stays small."""


class Report:
    """The problems found so far; `problems()` gives them in file order, without repeats."""

    def __init__(self) -> None:
        self._found: dict[Problem, None] = {}

    def add(self, place: Place, message: str, hint: str | None = None) -> None:
        if len(self._found) < PROBLEMS_MAX:
            self._found[Problem(place.file, place.line, place.column, message, hint)] = None

    def __len__(self) -> int:
        return len(self._found)

    def problems(self) -> list[Problem]:
        return sorted(self._found, key=_file_order)


def _file_order(problem: Problem) -> tuple[bool, str, int, int]:
    return (problem.file != "flo.yaml", problem.file, problem.line, problem.column)


def meant(name: str, known: Iterable[str]) -> str | None:
    """The known name that `name` is nearest to, if any is near."""
    by_lower = {candidate.lower(): candidate for candidate in sorted(known)}
    close = difflib.get_close_matches(name[:64].lower(), by_lower, n=1, cutoff=0.6)
    return by_lower[close[0]] if close else None


def nearest(name: str, known: Iterable[str]) -> str | None:
    """A hint naming the nearest of the known names, or all of them where none is near and they are few."""
    names = sorted(known)
    if not names:
        return None
    near = meant(name, names)
    if near is not None:
        return f"did you mean `{near}`?"
    if len(names) <= 25:
        return "known here: " + ", ".join(names)
    return None
