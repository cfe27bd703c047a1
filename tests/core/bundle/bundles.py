"""Small bundles for the tests of the reader."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from flo.core.bundle import EngineKind, Setting, read_bundle
from flo.core.errors import Problem
from flo.core.loop.definition import BundleDefinition

DESIGN = Path(__file__).parent / "design"

KINDS: Mapping[str, EngineKind] = {
    kind.name: kind
    for kind in (
        EngineKind(
            "airflow",
            frozenset({"trigger", "rerun", "cancel"}),
            {"url": Setting("url", True), "username": Setting("secret"), "password": Setting("secret")},
        ),
        EngineKind("mlflow", frozenset({"swap"}), {"url": Setting("url", True)}),
        EngineKind("pagerduty", frozenset({"page"}), {"routing_key": Setting("secret", True)}),
        EngineKind("python", frozenset({"call", "trigger", "swap"})),
        EngineKind(
            "webhook",
            frozenset({"call", "page"}),
            {
                "url": Setting("url", True),
                "body_max": Setting("size", default="64KiB", maximum="1MiB"),
                "headers": Setting("map", default={}),
                "hosts": Setting("list"),
                "honours_key": Setting("bool", default=False),
            },
        ),
    )
}
SOURCE_KINDS = {"kafka": {name: Setting("text", True) for name in ("brokers", "topic", "group")}}

LOOP = b"loop: cards\non: tx\nkey: data.card\n"


def read(
    files: Mapping[str, str | bytes], *, flo: str | bytes = "", kinds: Mapping[str, EngineKind] = KINDS
) -> tuple[BundleDefinition | None, list[Problem]]:
    whole = {"flo.yaml": flo, **files}
    return read_bundle(
        {path: text.encode() if isinstance(text, str) else text for path, text in whole.items()}, kinds
    )


def read_loop(lines: str, *, flo: str = "") -> tuple[BundleDefinition | None, list[Problem]]:
    """A bundle of one loop `cards` with `lines` after its first three lines."""
    return read({"loops/cards.yaml": LOOP + lines.encode()}, flo=flo)


def messages(problems: list[Problem]) -> str:
    return "\n".join(str(problem) for problem in problems)
