"""The public Python API is one short list: what is on it is there, documented, and loads only when used."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

import flo
from flo.core import errors
from flo.core.errors import FloError

PAGE = Path(__file__).parents[1] / "docs" / "reference" / "python-api.md"

PUBLIC = {
    "__version__",
    # bundles and running
    "load_directory",
    "start_runtime",
    "open_reader",
    "run_file",
    # tests of one's own loops
    "Simulation",
    "StubEngine",
    # receivers of webhooks
    "verify_signature",
    # errors
    "FloError",
    "InputError",
    "SignalRejected",
    "ContractViolation",
    "BundleError",
    "Problem",
    "UsageError",
    "UnavailableError",
    "Overloaded",
    "StorageUnavailable",
    "EngineError",
    "CorruptLedger",
}


def test_the_public_list_is_this_one() -> None:
    assert set(flo.__all__) == PUBLIC
    assert set(dir(flo)) == PUBLIC


def test_every_public_name_is_there_and_on_the_page() -> None:
    page = PAGE.read_text()
    for name in PUBLIC:
        assert getattr(flo, name) is not None
        assert f"`{name}" in page, f"{PAGE.name} does not mention {name}"


def test_every_error_of_the_tree_is_public() -> None:
    defined = {
        name
        for name, value in vars(errors).items()
        if isinstance(value, type) and issubclass(value, FloError) and value.__module__ == errors.__name__
    }
    assert defined <= PUBLIC


def test_an_unknown_name_is_named() -> None:
    with pytest.raises(AttributeError, match="load_bundel"):
        getattr(flo, "load_bundel")  # noqa: B009


def test_importing_flo_loads_no_web_server() -> None:
    code = "import sys, flo; sys.exit(any(name in sys.modules for name in ('aiohttp', 'numpy', 'msgspec')))"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
