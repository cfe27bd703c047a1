"""The published page of keys is made from the tables that check a bundle."""

import os
from pathlib import Path

from flo.core.bundle.reference import reference_page
from flo.core.bundle.tables import TABLES
from flo.engines import engine_kinds

PAGE = Path(__file__).parents[3] / "docs" / "reference" / "bundle-keys.md"


def test_the_page_of_keys_is_current() -> None:
    page = reference_page(engine_kinds())
    if os.environ.get("FLO_UPDATE_DOCS"):
        PAGE.write_text(page)
    assert PAGE.read_text() == page, "run this test with FLO_UPDATE_DOCS=1 to write the page anew"


def test_every_key_has_help() -> None:
    for title, keys in TABLES.values():
        for name, key in keys.items():
            assert key.help, f"{title}: {name}"


def test_every_nested_table_is_on_the_page() -> None:
    for _, keys in TABLES.values():
        for key in keys.values():
            assert not key.table or key.table in TABLES
