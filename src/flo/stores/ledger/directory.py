"""A data directory: where a shard's files are, the format they have, and the lock its one writer holds."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import NoReturn

import msgspec

from flo.core.errors import UsageError
from flo.ports.disk import Disk, Lock, Locked
from flo.stores.ledger.frames import FORMAT_VERSION
from flo.stores.ledger.segment import refused, write_all


def shard_directory(directory: str, shard: int) -> str:
    return f"{directory}/shard-{shard}"


def ledger_directory(directory: str, shard: int) -> str:
    return f"{shard_directory(directory, shard)}/ledger"


def letters_directory(directory: str, shard: int) -> str:
    """Of dead letters kept longer than the ledger."""
    return f"{shard_directory(directory, shard)}/letters"


def prepare(disk: Disk, directory: str, shard: int, now_ns: Callable[[], int] = time.time_ns) -> Lock:
    """The directories, the format file and the writer's lock."""
    path = shard_directory(directory, shard)
    try:
        disk.makedirs(ledger_directory(directory, shard))
        lock = disk.lock(f"{path}/lock")
    except Locked as error:
        raise UsageError(
            f"{path} is being written by process {error.holder}: stop it first, or read with LedgerReader, "
            "which needs no lock"
        ) from error
    except OSError as error:
        raise refused("opening", path, error) from error
    try:
        _check_format(disk, directory, shard, now_ns)
    except BaseException:
        lock.release()
        raise
    return lock


def _check_format(disk: Disk, directory: str, shard: int, now_ns: Callable[[], int]) -> None:
    path, temporary = f"{directory}/format.json", f"{directory}/format.json.shard-{shard}.tmp"
    try:
        if disk.exists(path):
            _refuse_foreign_format(path, disk.open(path).read(0, 4096))
            return
        if disk.exists(temporary):
            disk.remove(temporary)
        file = disk.create(temporary)
        write_all(file, 0, msgspec.json.encode({"format": FORMAT_VERSION, "created_ns": now_ns()}) + b"\n")
        file.sync()
        file.close()
        disk.rename(temporary, path)
        disk.sync_directory(directory)
    except OSError as error:
        raise refused("preparing", path, error) from error


def _refuse_foreign_format(path: str, data: bytes) -> None:
    def refuse(found: str) -> NoReturn:
        raise UsageError(
            f"{path} says {found}, and this FLO reads format {FORMAT_VERSION}: use the FLO that wrote it, "
            "or another data directory"
        )

    try:
        stored = msgspec.json.decode(data, type=dict[str, int])
    except msgspec.DecodeError:
        refuse(repr(data[:100]))
    if stored.get("format") != FORMAT_VERSION:
        refuse(f"format {stored.get('format')}")
