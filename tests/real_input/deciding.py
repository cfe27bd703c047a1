"""Real input through the real runtime: a bundle, a file of signals, and what the ledger holds afterwards."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from flo.core.record import DeadLetter, decode_group
from flo.runtimes.embedded.file_run import run_file
from flo.stores.disk import LocalDisk
from flo.stores.ledger import LedgerReader


def write_bundle(directory: Path, loop: str, contracts: Mapping[str, Any]) -> Path:
    """One loop and its contracts, by `name/version`."""
    name = loop.splitlines()[0].removeprefix("loop: ")
    files = {"flo.yaml": "retention: {ledger: 30d}\n", f"loops/{name}.yaml": loop}
    for contract, schema in contracts.items():
        files[f"contracts/{contract}.json"] = json.dumps(schema)
    for path, text in files.items():
        file = directory / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text, encoding="utf-8")
    return directory


def write_signals(path: Path, lines: Iterable[bytes]) -> Path:
    path.write_bytes(b"\n".join(lines) + b"\n")
    return path


def decide_file(bundle: Path, data: Path, signals: Path) -> dict[str, Any]:
    """What `flo run BUNDLE --input FILE --data DATA` does, without its progress; the summary."""
    return run_file(bundle=bundle, data=data, workers=1, signals=signals, progress=lambda done, total: None)


def decisions(data: Path) -> Iterator[tuple[bytes, str, int, int, dict[str, Any]]]:
    """(signal, key, sequence, exit, state it read) of every decision, in the order they were made."""
    for block in LedgerReader.open(LocalDisk(), str(data)).scan():
        group = decode_group(block.payload)
        raws = group.raws()
        for section in group.sections:
            names = section.state_columns
            for row in section.rows():
                assert row[-1] is None or "error" not in row[-1], row
                yield raws[row[0]], row[1], row[2], row[3], dict(zip(names, row[4:-2], strict=True))


def dead_letters(data: Path) -> Iterator[tuple[bytes, DeadLetter]]:
    """Every dead letter with the signal it is about, oldest first."""
    for block in LedgerReader.open(LocalDisk(), str(data)).scan():
        group = decode_group(block.payload)
        raws = group.raws()
        for event in group.events():
            if isinstance(event, DeadLetter):
                assert event.signal is not None
                yield raws[event.signal], event
