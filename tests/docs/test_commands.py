"""What the documentation tells its reader to type works, and prints what the page shows."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.docs.pages import PAGES, blocks, page_id
from tests.docs.shell import Shell, Step, difference, settled, steps

RUN = [page for page in PAGES if any("run" in block.marks for block in blocks(page))]


@pytest.mark.parametrize("page", RUN, ids=page_id)
def test_the_commands_of_a_page_print_what_it_shows(page: Path, tmp_path: Path) -> None:
    shell = Shell(tmp_path)
    try:
        for block in blocks(page):
            if block.file is not None:
                path = shell.directory / block.file
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_text(block.text)
            elif "run" in block.marks:
                for step in steps(block):
                    _follow(shell, step, block.place)
    finally:
        shell.close()


def _follow(shell: Shell, step: Step, place: str) -> None:
    printed = shell.run(step.command)
    missing = difference(step.expected, printed)
    shown = "\n".join(settled(line) for line in printed)
    assert missing is None, f"{place}: $ {step.command}\nthe page shows\n{missing}\nit printed\n{shown}"


def test_a_page_that_shows_something_else_is_noticed() -> None:
    printed = ["decided review", "took 12 ms", "key card-7"]
    assert difference(["decided review", "took 3 ms", "key card-…"], printed) is None
    assert difference(["...", "key card-7"], printed) is None
    assert difference(["decided review", "..."], printed) is None
    assert difference(["decided approve", "..."], printed) == "decided approve"
    assert difference(["decided review"], printed) is not None
    assert difference(["...", "key card-8"], printed) == "key card-8"


def test_every_console_block_is_run_or_says_that_it_is_not() -> None:
    for page in PAGES:
        for block in blocks(page):
            if block.language == "console":
                assert block.marks & {"run", "skip"}, f"{block.place}: write `console run` or `console skip`"
