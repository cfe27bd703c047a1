"""Bundles to be watched, and the groups they might have made."""

from collections.abc import Mapping

from flo.core.loop.definition import BundleDefinition
from flo.core.record import Event
from flo.flow.digest import Digest, LoopDigest
from flo.runtimes.simulated.simulation import load

S = 1_000_000_000
MINUTE, HOUR, DAY = 60 * S, 3_600 * S, 86_400 * S
START_NS = 1_767_225_600 * S  # 2026-01-01T00:00:00Z, a Thursday


def bundle(loops: Mapping[str, str], flo_yaml: str = "engines: {}") -> BundleDefinition:
    """A bundle of loops, each given by what follows its name and key."""
    files = {"flo.yaml": flo_yaml.encode()}
    for name, rest in loops.items():
        files[f"loops/{name}.yaml"] = f"loop: {name}\nkey: data.key\n{rest}\n".encode()
    return load(files).definition


def digest(
    at_ns: int, *events: Event, loops: Mapping[str, list[tuple[str, int, int]]] | None = None
) -> Digest:
    """A durable group: events, and the decisions (key, seq, exit) of loops."""
    sections = []
    for loop, rows in (loops or {}).items():
        exits: dict[int, int] = {}
        for _, _, exit in rows:
            exits[exit] = exits.get(exit, 0) + 1
        shown = [(f"0-1-0-{place}", key, seq, exit) for place, (key, seq, exit) in enumerate(rows[:20])]
        sections.append(LoopDigest(loop, exits, shown))
    return Digest(0, 1, at_ns, sections, list(events))
