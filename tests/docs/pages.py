"""The documentation's pages and their fenced blocks.

A block's info string is its language and what is to be done with it:

    ```console run          commands after `$ `, and what they print; run in order, one shell a page
    ```yaml                 part of a bundle: a loop, keys of a loop, or keys of flo.yaml; checked as FLO would
    ```yaml skip            YAML that is no bundle (a token file)
    ```<language> file=PATH a file the reader writes; written before the commands that follow

In what a command prints, `…` stands for any text within a line, and a line `...` for any lines. Times, durations,
revisions, process ids and sizes on disk may differ from what the page shows: see `shell.settled`.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

REPOSITORY = Path(__file__).parents[2]
DOCS = REPOSITORY / "docs"
PAGES = sorted(
    [
        *(REPOSITORY / name for name in ("README.md", "CHANGELOG.md", "examples/payments/README.md")),
        *DOCS.rglob("*.md"),
    ]
)

_FENCE = re.compile(r"^(?P<indent> *)(?P<ticks>```+)(?P<info>[^`]*)$")


@dataclass(frozen=True)
class Block:
    """One fenced block. `line` is the line of its first fence, from 1."""

    page: Path
    line: int
    language: str
    marks: frozenset[str]
    file: str | None
    text: str

    @property
    def place(self) -> str:
        return f"{self.page.relative_to(REPOSITORY)}:{self.line}"


def blocks(page: Path) -> list[Block]:
    found: list[Block] = []
    opened: tuple[int, str, str, str] | None = None
    content: list[str] = []
    for number, line in enumerate(page.read_text().splitlines(), 1):
        match = _FENCE.match(line)
        if opened is None:
            if match is not None:
                opened, content = (number, match["ticks"], match["info"].strip(), match["indent"]), []
        elif match is not None and match["ticks"] == opened[1] and not match["info"].strip():
            found.append(_block(page, opened[0], opened[2], content))
            opened = None
        else:
            content.append(line.removeprefix(opened[3]))
    assert opened is None, f"{page}:{opened and opened[0]}: the block is not closed"
    return found


def _block(page: Path, line: int, info: str, content: list[str]) -> Block:
    language, *marks = info.split() or [""]
    file = next((mark.removeprefix("file=") for mark in marks if mark.startswith("file=")), None)
    plain = frozenset(mark for mark in marks if not mark.startswith("file="))
    return Block(page, line, language, plain, file, "".join(f"{each}\n" for each in content))


def page_id(page: Path) -> str:
    return str(page.relative_to(REPOSITORY))
