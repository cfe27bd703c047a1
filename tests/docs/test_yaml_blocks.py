"""YAML in the documentation is YAML that FLO takes: every block is checked the way `flo check` does it.

A page's blocks belong together: keys of flo.yaml are there for the loops that follow, and a `functions.py` shown on
the page is theirs too. A block may be a whole loop, some keys of one, or some keys of flo.yaml.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml
from tests.docs.pages import PAGES, Block, blocks, page_id

from flo.engines.registry import engine_kinds
from flo.flow.reload import load_bundle
from flo.stores.bundle_functions import load_functions

FLO_KEYS = {"engines", "sources", "pipelines", "dependencies", "retention", "dedupe", "watchdogs"}


class _Loader(yaml.SafeLoader):
    """YAML's core as FLO reads it: `on` is a text."""


_Loader.yaml_implicit_resolvers = {
    letter: [(tag, pattern) for tag, pattern in resolvers if tag != "tag:yaml.org,2002:bool"]
    for letter, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
}
_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:bool", __import__("re").compile("^(true|false)$"), list("tf")
)


def yaml_blocks(page: Path) -> list[Block]:
    return [each for each in blocks(page) if each.language == "yaml" and "skip" not in each.marks]


@pytest.mark.parametrize("page", [page for page in PAGES if yaml_blocks(page)], ids=page_id)
def test_the_yaml_of_a_page_is_a_bundle_flo_takes(page: Path) -> None:
    shared: dict[str, Any] = {}
    contracts = {
        str(Path(*Path(each.file).parts[-3:])): each.text
        for each in blocks(page)
        if each.file and each.language == "json" and "contracts" in Path(each.file).parts
    }
    functions = "\n".join(
        each.text for each in blocks(page) if each.language == "python" and "functions" in (each.file or "")
    )
    for block in yaml_blocks(page):
        content = yaml.load(block.text, _Loader)
        assert isinstance(content, Mapping), f"{block.place}: a map is expected"
        loop: dict[str, Any] = {"loop": "example", "on": "example", "key": "data.key"}
        if set(content) <= FLO_KEYS:
            shared |= {
                key: {**shared.get(key, {}), **value} if isinstance(value, dict) else value
                for key, value in content.items()
            }
        else:
            loop |= content
        files = {
            "flo.yaml": yaml.safe_dump(_without_unknown_loops(shared, loop["loop"])).encode(),
            f"loops/{loop['loop']}.yaml": yaml.safe_dump(loop).encode(),
            **{path: text.encode() for path, text in contracts.items()},
        }
        if functions:
            files["functions.py"] = functions.encode()
        contract = loop.get("contract")
        if contract and f"contracts/{contract}.json" not in files:
            files[f"contracts/{contract}.json"] = b"{}"
        load_bundle(files, engine_kinds(), load_functions)


def _without_unknown_loops(shared: Mapping[str, Any], loop: str) -> dict[str, Any]:
    """Pipelines name loops; on a page that shows only flo.yaml those are not there."""
    pipelines = {name: {**value, "loops": [loop]} for name, value in shared.get("pipelines", {}).items()}
    first = dict(list(pipelines.items())[:1])
    return {**shared, **({"pipelines": first} if first else {})}
