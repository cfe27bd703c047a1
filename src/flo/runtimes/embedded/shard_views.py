"""The ledgers of a data directory, to read beside whoever writes them."""

from __future__ import annotations

from pathlib import Path

from flo.core.errors import UsageError
from flo.ports.store import LedgerView
from flo.stores.disk import LocalDisk
from flo.stores.ledger import LedgerReader
from flo.stores.ledger_view import ReaderView


def shards_of(data: Path) -> list[int]:
    """The shards' numbers; `UsageError` where there is none."""
    names = (path.name.removeprefix("shard-") for path in data.glob("shard-*"))
    shards = sorted(int(name) for name in names if name.isdecimal())
    if not shards:
        raise UsageError(f"{data} holds no FLO data: name the directory that `flo run` was given as --data")
    return shards


def open_views(data: Path) -> list[LedgerView]:
    return [ReaderView(LedgerReader.open(LocalDisk(), str(data), shard)) for shard in shards_of(data)]
