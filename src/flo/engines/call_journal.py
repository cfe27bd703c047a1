"""Which calls of the python engine have finished, by command key: a file that outlives FLO and its workers.

Workers append a line, durable, when a function has returned and before FLO hears of it. So a FLO that ends in
between finds the result on its next start and does not run the function again. A line cut by a power loss
fails its checksum and counts as not written.
"""

from __future__ import annotations

import os
import zlib
from collections import OrderedDict
from pathlib import Path
from typing import Any

import msgspec

from flo.engines.python_worker import journal_line
from flo.ports.engine import Answer, Status

ENTRIES_MAX = 10_000
"""Calls remembered. The dispatcher asks about commands still owed, which are the newest."""

COMPACT_BYTES_MIN = 8 * 1024 * 1024
"""A file that grew beyond this is rewritten at the next start with the calls still remembered."""


class CallJournal:
    """See the module. `path` None: remembered in memory only, for engines without a data directory."""

    def __init__(self, path: Path | None) -> None:
        self.path = path
        self._answers: OrderedDict[str, Answer] = OrderedDict()
        self._read_bytes = 0

    def load(self) -> None:
        """Read the file; `OSError` where it cannot be. Blocks: call it from a thread."""
        if self.path is None:
            return
        self.path.parent.mkdir(parents=True, exist_ok=True)
        self._end_torn_line(self.path)
        self.refresh()
        if self._read_bytes > COMPACT_BYTES_MIN:
            self._compact(self.path)

    @staticmethod
    def _end_torn_line(path: Path) -> None:
        """A power loss may leave half a line; ended here, the next one starts on a line of its own."""
        with path.open("a+b") as file:
            if file.tell():
                file.seek(-1, os.SEEK_END)
                if file.read(1) != b"\n":
                    file.write(b"\n")

    def refresh(self) -> None:
        """Read what workers have added since."""
        if self.path is None or not self.path.exists():
            return
        with self.path.open("rb") as file:
            file.seek(self._read_bytes)
            added = file.read()
        whole = added[: added.rfind(b"\n") + 1]
        self._read_bytes += len(whole)
        for line in whole.splitlines():
            self._take(line)

    def _take(self, line: bytes) -> None:
        checksum, _, text = line.partition(b" ")
        if checksum != b"%08x" % zlib.crc32(text):
            return
        entry: dict[str, Any] = msgspec.json.decode(text)
        self.remember(
            entry["key"],
            Answer(status=Status(entry["status"]), detail=entry["detail"], result=entry["result"]),
        )

    def remember(self, key: str, answer: Answer) -> None:
        self._answers[key] = answer
        self._answers.move_to_end(key)
        if len(self._answers) > ENTRIES_MAX:
            self._answers.popitem(last=False)

    def get(self, key: str) -> Answer | None:
        return self._answers.get(key)

    def _compact(self, path: Path) -> None:
        fresh = path.with_suffix(".new")
        with fresh.open("wb") as file:
            for key, answer in self._answers.items():
                entry = {
                    "key": key,
                    "status": answer.status.value,
                    "detail": answer.detail,
                    "result": answer.result,
                }
                file.write(journal_line(entry))
            file.flush()
            os.fsync(file.fileno())
            self._read_bytes = file.tell()
        fresh.rename(path)
        directory = os.open(path.parent, os.O_RDONLY)
        try:
            os.fsync(directory)
        finally:
            os.close(directory)
