"""`flo check`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from flo.core.bundle.report import nearest
from flo.core.errors import BundleError, Problem
from flo.faces.cli import runtime
from flo.faces.cli.failure import NO, CommandFailed
from flo.faces.cli.options import DIRECTORY, json_option
from flo.faces.cli.output import print_json, say
from flo.faces.http.problems import problem_as_json

if TYPE_CHECKING:
    from flo.flow.reload import LoadedBundle

LINE_CHARS_MAX = 160


@click.command("check", short_help="Check a bundle; print every problem.")
@click.argument("directory", type=DIRECTORY)
@click.option("--code", metavar="LOOP", help="Print the Python function that LOOP is compiled into.")
@json_option
def command(directory: Path, code: str | None, as_json: bool) -> int:
    """Check a bundle: every problem, with file, line and column. Exit code 1 where there are any."""
    try:
        bundle = runtime.load(directory)
    except BundleError as error:
        if as_json:
            print_json({"ok": False, "problems": [problem_as_json(problem) for problem in error.problems]})
        else:
            print_problems(directory, error.problems)
        return NO
    if code is not None:
        print_code(bundle, code, as_json=as_json)
        return 0
    counts = count(bundle)
    if as_json:
        print_json({"ok": True, "problems": [], **counts})
    else:
        say(
            f"{directory}: ok; {_many(counts['loops'], 'loop')}, {_many(counts['rules'], 'rule')}, "
            f"{_many(counts['contracts'], 'contract')}, revision {counts['revision']}",
            "green",
        )
    return 0


def count(bundle: LoadedBundle) -> dict[str, Any]:
    """What a bundle holds, in numbers."""
    return {
        "revision": bundle.revision,
        "loops": len(bundle.programs),
        "rules": sum(len(program.rules) for program in bundle.programs.values()),
        "contracts": len(bundle.contracts),
    }


def print_code(bundle: LoadedBundle, loop: str, *, as_json: bool) -> None:
    """The generated source of one loop."""
    program = bundle.programs.get(loop)
    if program is None:
        near = nearest(loop, bundle.programs)
        step = near or f"there are {', '.join(sorted(bundle.programs))}"
        raise CommandFailed(f"no loop {loop!r} in this bundle", step, 2)
    if as_json:
        print_json({"loop": loop, "revision": bundle.revision, "code": program.source})
    else:
        click.echo(program.source)


def print_problems(directory: Path, problems: list[Problem]) -> None:
    """As a compiler does: the place, what is wrong, the line with a caret under the column."""
    for problem in problems:
        say(f"{directory / problem.file}:{problem.line}:{problem.column}: {problem.message}", "bold")
        excerpt = excerpt_of(directory / problem.file, problem)
        if excerpt:
            say(excerpt)
        if problem.hint:
            say(f"    {problem.hint}", "dim")
    files = len({problem.file for problem in problems})
    say(f"{_many(len(problems), 'problem')} in {_many(files, 'file')}", "red")


def excerpt_of(path: Path, problem: Problem) -> str:
    """The line and a caret, or nothing where the file has no such line to show."""
    try:
        lines = path.read_text("utf-8", errors="replace").split("\n")
    except OSError:
        return ""
    if not 1 <= problem.line <= len(lines) or not lines[problem.line - 1].strip():
        return ""
    line = lines[problem.line - 1].rstrip("\r")
    column = min(problem.column - 1, len(line))
    start = max(0, column - LINE_CHARS_MAX // 2)
    shown = line[start : start + LINE_CHARS_MAX]
    # Tabs stay tabs in front of the caret, so that it stands under its column however wide they are.
    before = "".join(character if character == "\t" else " " for character in line[start:column])
    return f"    {_printable(shown)}\n    {before}^"


def _printable(text: str) -> str:
    return "".join(character if character.isprintable() or character == "\t" else "�" for character in text)


def _many(number: int, noun: str) -> str:
    return f"{number} {noun}{'' if number == 1 else 's'}"
