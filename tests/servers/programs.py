"""Where the programs are that `tests/servers/install` got."""

from __future__ import annotations

import importlib.util
import shutil
import sys
from pathlib import Path

import pytest

UNPACKED = Path(__file__).parents[2] / ".servers"


def program(name: str, *, venv: str = "") -> str:
    """The path of a program, or of one in the venv of a Python server; skips the test where it is nowhere."""
    places = [f"{venv}/bin"] if venv else ["usr/bin", "usr/sbin", "bin"]
    found = shutil.which(name, path=":".join(str(UNPACKED / place) for place in places))
    found = found or (None if venv else shutil.which(name))
    if found is None:
        pytest.skip(f"{name} is not here: `make test-all` gets it")
    return found


def client_library(module: str) -> None:
    """Make an extra's client library importable; skips the test where it is nowhere."""
    clients = str(UNPACKED / "clients")
    if clients not in sys.path:
        sys.path.append(clients)  # last: what FLO itself needs comes from its own venv
        importlib.invalidate_caches()
    if importlib.util.find_spec(module) is None:
        pytest.skip(f"{module} is not here: `make test-all` gets it")
