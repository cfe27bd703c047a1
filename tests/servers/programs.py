"""Where the programs are that `tests/servers/install` got."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

UNPACKED = Path(__file__).parents[2] / ".servers"


def program(name: str) -> str:
    """The path of a program; skips the test where it is nowhere."""
    path = [str(UNPACKED / place) for place in ("usr/bin", "usr/sbin", "bin")]
    found = shutil.which(name, path=":".join(path)) or shutil.which(name)
    if found is None:
        pytest.skip(f"{name} is not here: `make test-all` gets it")
    return found
