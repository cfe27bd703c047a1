"""The reference pages say what the tables and commands say."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from flo.faces.cli.main import COMMANDS
from flo.faces.cli.reference import reference_page as command_line_page
from flo.faces.http.reference import reference_page as http_api_page
from flo.faces.http.routes import ROUTES

DOCS = Path(__file__).parents[2] / "docs" / "reference"


@pytest.mark.parametrize(
    ("name", "page"), [("http-api.md", http_api_page), ("command-line.md", command_line_page)]
)
def test_the_page_is_current(name: str, page: Callable[[], str]) -> None:
    if os.environ.get("FLO_UPDATE_DOCS") == "1":
        (DOCS / name).write_text(page())
    assert (DOCS / name).read_text() == page(), "run this test with FLO_UPDATE_DOCS=1 to write the page anew"


def test_every_route_and_every_command_has_its_section() -> None:
    for route in ROUTES:
        assert f"### `{route.method} {route.path}`" in http_api_page()
    for name in COMMANDS:
        assert f"## `flo {name}`" in command_line_page()
