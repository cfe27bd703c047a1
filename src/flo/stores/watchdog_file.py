"""What watchdogs know, in one small file of the data directory: a derived view that may be lost."""

from __future__ import annotations

import logging
import os
from pathlib import Path
from zlib import crc32

log = logging.getLogger("flo.watchdogs")

NAME = "watchdogs.snapshot"
SIZE_BYTES_MAX = 256 << 20
"""More than ten thousand loops and ten thousand findings take; a larger file is none of ours."""


class WatchdogFile:
    """`<data>/watchdogs.snapshot`: a checksum, then the snapshot. Replaced whole: a crash leaves the old one."""

    def __init__(self, data: Path) -> None:
        self._path = data / NAME

    def read(self) -> bytes | None:
        """The last snapshot; None where there is none, or it is damaged (which is logged: watchdogs begin anew)."""
        try:
            if self._path.stat().st_size > SIZE_BYTES_MAX:
                raise OSError(f"it is larger than {SIZE_BYTES_MAX} bytes")
            content = self._path.read_bytes()
        except FileNotFoundError:
            return None
        except OSError as error:
            log.warning("%s cannot be read, watchdogs begin anew: %s", self._path, error)
            return None
        if int.from_bytes(content[:4], "big") != crc32(content[4:]) or len(content) <= 4:
            log.warning("%s is damaged, watchdogs begin anew", self._path)
            return None
        return content[4:]

    def write(self, snapshot: bytes) -> None:
        """Durable on return. A disk that refuses is logged and changes nothing: the ledger does not depend on this."""
        temporary = self._path.with_suffix(".new")
        try:
            with temporary.open("wb") as file:
                file.write(crc32(snapshot).to_bytes(4, "big") + snapshot)
                file.flush()
                os.fsync(file.fileno())
            temporary.replace(self._path)
        except OSError as error:
            log.warning("%s cannot be written: %s", self._path, error)
