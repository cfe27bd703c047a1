"""Programs that stand in FLO's source tree, beside the package: the demo and the benchmarks."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import flo
from flo.faces.cli.failure import CommandFailed


def find_in_tree(relative: str) -> Path:
    """A file of the source tree: from the working directory upwards, else from where the package lies."""
    starts = (Path.cwd(), Path(flo.__file__).resolve().parent)
    for start in starts:
        for directory in (start, *start.parents):
            if (directory / relative).is_file() and (directory / "pyproject.toml").is_file():
                return directory / relative
    raise CommandFailed(
        f"{relative} is not here: it comes with FLO's source tree, not with the package",
        "run this in a clone of it",
    )


def run_program(path: Path, arguments: list[str]) -> int:
    """Run a Python program in the foreground; its exit code. Ctrl-C reaches it as it reaches us, and we wait
    for it.
    """
    process = subprocess.Popen([sys.executable, str(path), *arguments])
    while True:
        try:
            return process.wait()
        except KeyboardInterrupt:
            continue  # the program has it too, and says what it does about it
