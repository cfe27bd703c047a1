"""The README's picture of FLO is a real one."""

from __future__ import annotations

from pathlib import Path

from tests.docs.pages import REPOSITORY, blocks
from tests.docs.shell import Shell, difference, settled, steps


def test_the_explanation_at_the_top_is_what_flo_says(tmp_path: Path) -> None:
    (shown,) = steps(blocks(REPOSITORY / "README.md")[0])
    shell = Shell(tmp_path)
    try:
        shell.run("flo init my-loops")
        shell.run("flo run my-loops --input my-loops/signals.ndjson --data data")
        printed = shell.run(shown.command)
    finally:
        shell.close()
    missing = difference(shown.expected, printed)
    assert missing is None, f"README.md shows\n{missing}\nit printed\n" + "\n".join(map(settled, printed))
