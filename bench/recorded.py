"""What FLO recorded, read back from its ledger: the proof that a benchmark did the work it claims."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec

from flo.core.record import decode_group
from flo.stores.disk import LocalDisk
from flo.stores.ledger import LedgerReader


class _Identity(msgspec.Struct):
    id: str


def recorded_decisions(data: Path, loop: str) -> Iterator[tuple[str, dict[str, Any]]]:
    """(signal id, the row by column) of every decision of a loop, shard by shard."""
    identity = msgspec.json.Decoder(_Identity).decode
    for shard in sorted(int(path.name.removeprefix("shard-")) for path in data.glob("shard-*")):
        for block in LedgerReader.open(LocalDisk(), str(data), shard).scan():
            group = decode_group(block.payload)
            ids = [identity(raw).id for raw in group.raws()]
            for section in group.sections:
                if section.loop == loop and section.count:
                    for row in section.rows():
                        yield ids[row[0]], dict(zip(section.names, row, strict=True))


def ledger_bytes(data: Path) -> int:
    """The ledger's files alone: the records, without checkpoints and the archive of bundles."""
    return sum(path.stat().st_size for path in data.rglob("*") if path.is_file() and path.suffix == ".seg")
