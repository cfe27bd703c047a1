"""The committer: a thread that makes groups durable, several with one sync, in the order they were decided.

Encoding, compressing, writing and syncing happen here, so deciding goes on meanwhile. When the disk refuses, the
groups stay here and are tried again; nobody is answered before they are durable.
"""

from __future__ import annotations

import logging
import queue
import threading
import time
from collections.abc import Callable
from functools import partial

from flo.core.errors import StorageUnavailable
from flo.core.record import Group, encode_group
from flo.runtimes.embedded.crash_points import Reached, pass_by
from flo.stores.ledger import Ledger

log = logging.getLogger("flo.commit")

GROUPS_PER_SYNC_MAX = 64
RETRY_S = (0.05, 0.1, 0.25, 0.5, 1.0)
"""Pauses while the disk refuses: it heals when someone frees space, which takes seconds, not milliseconds."""


class Committer:
    """Call `put` from the deciding thread. `durable(groups)` and `refused(error)` are called on the commit thread."""

    def __init__(
        self,
        ledger: Ledger,
        *,
        durable: Callable[[list[Group]], None],
        refused: Callable[[StorageUnavailable], None],
        broken: Callable[[BaseException], None],
        reached: Reached = pass_by,
    ) -> None:
        self._reached = reached
        self._ledger = ledger
        self._durable = durable
        self._refused = refused
        self._broken = broken
        self._groups: queue.SimpleQueue[Group | None] = queue.SimpleQueue()
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="flo-commit", daemon=True)
        self.commits = 0
        self.commit_ns_total = 0

    def start(self) -> None:
        self._thread.start()

    def put(self, group: Group) -> None:
        self._groups.put(group)

    def stop(self, timeout_s: float) -> bool:
        """Commit what was put, then end; False where the disk kept refusing until the time was over."""
        self._groups.put(None)
        self._thread.join(timeout_s)
        self._stopping.set()
        if self._thread.is_alive():
            self._thread.join(2.0)
            return False
        return True

    def _run(self) -> None:
        try:
            while self._commit_next():
                pass
        except BaseException as error:
            log.exception("the commit thread failed: nothing more can be recorded")
            self._broken(error)

    def _commit_next(self) -> bool:
        first = self._groups.get()
        if first is None:
            return False
        groups, last = [first], False
        while len(groups) < GROUPS_PER_SYNC_MAX:
            try:
                group = self._groups.get_nowait()
            except queue.Empty:
                break
            if group is None:
                last = True
                break
            groups.append(group)
        began = time.perf_counter_ns()
        for group in groups:
            if not group.is_empty() and not self._until_done(partial(self._append, group)):
                return False
        self._reached("appended")
        if not self._until_done(self._ledger.commit):
            return False
        self.commits += 1
        self.commit_ns_total += time.perf_counter_ns() - began
        self._reached("durable")
        self._durable(groups)
        return not last

    def _append(self, group: Group) -> None:
        payload, summary = encode_group(group)
        number = self._ledger.append(
            payload,
            count=group.records(),
            time_min_ns=group.decided_ns,
            time_max_ns=group.decided_ns,
            written_ns=group.decided_ns,
            summary=summary,
        )
        if number != group.block:
            raise AssertionError(f"group {group.block} became block {number}: two writers on one ledger?")

    def _until_done(self, attempt: Callable[[], object]) -> bool:
        """Try until the disk takes it; False when FLO stops first."""
        tries = 0
        while True:
            try:
                attempt()
                return True
            except StorageUnavailable as error:
                if tries == 0:
                    log.error("%s; what is not acknowledged is kept in memory and tried again", error)
                self._refused(error)
                if self._stopping.wait(RETRY_S[min(tries, len(RETRY_S) - 1)]):
                    return False
                tries += 1
