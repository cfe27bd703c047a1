"""The writer of a shard's ledger: append, commit, recover, drop old periods."""

from __future__ import annotations

import logging
import secrets
import threading
import time
from collections.abc import Callable
from typing import Final

from flo.core.errors import CorruptLedger, UsageError
from flo.core.record import KeptPeriod
from flo.ports.disk import Disk, Lock
from flo.stores.ledger.active import ALLOCATE_BYTES, ActiveSegment
from flo.stores.ledger.chain import Chain, Period, list_segments
from flo.stores.ledger.directory import ledger_directory, letters_directory, prepare
from flo.stores.ledger.frames import (
    CODEC_COLUMNS,
    Block,
    SegmentHeader,
    SegmentName,
    frame_size_bytes,
)
from flo.stores.ledger.letters import LetterStore
from flo.stores.ledger.pending import PENDING_BYTES_MAX, PendingBlocks
from flo.stores.ledger.reading import ReadableBlocks
from flo.stores.ledger.recovery import recover
from flo.stores.ledger.segment import DISK_FULL, Segment, refused

log = logging.getLogger("flo.ledger")

PERIOD_NS: Final = 3600 * 10**9
SECOND_NS: Final = 10**9
SEGMENT_BYTES_MAX: Final = 256 << 20
WRITE_BYTES_MAX: Final = 8 << 20  # a batch is joined in memory before it is written: bound the copy
SHARDS_MAX: Final = 1024


class Ledger(ReadableBlocks):
    """A shard's append-only log of blocks. One writer at a time, held by a lock file; readers need no lock.

    Promises, on any `Disk`:

    - A block is durable once `commit()` has returned its number: it is read back byte for byte, in order and
      without a gap, after any crash, power cut or disk fault that leaves synced bytes alone; if those change,
      `CorruptLedger` says so and no changed byte is ever returned.
    - A block is there whole or not at all. Blocks appended and not acknowledged may or may not survive a
      crash; those that do are the first of them, in order.
    - When the disk refuses, `commit()` raises `StorageUnavailable` and keeps what was appended; calling it
      again later writes it. Numbers do not change.

    Threads: `append` from any, `commit` from one at a time (others wait), everything that reads from any.
    `close()` commits nothing: what was appended and not committed is gone.
    """

    def __init__(
        self,
        disk: Disk,
        directory: str,
        shard: int,
        lock: Lock,
        segments: list[Segment],
        *,
        period_ns: int,
        segment_bytes_max: int,
        pending_bytes_max: int,
        allocate_bytes: int,
        new_salt: Callable[[], int],
    ) -> None:
        """Use `Ledger.open`."""
        self.shard = shard
        self.directory = ledger_directory(directory, shard)
        self.letters = LetterStore(disk, letters_directory(directory, shard))
        self._disk = disk
        self._lock = lock
        self._period_ns = period_ns
        self._segment_bytes_max = segment_bytes_max
        self._allocate_bytes = allocate_bytes
        self._new_salt = new_salt
        self._sequence = segments[-1].name.sequence if segments else 0
        super().__init__(Chain(disk, segments))
        self._chain.last_block = segments[-1].end_block - 1 if segments else 0
        self._pending = PendingBlocks(self.directory, self._chain.last_block + 1, pending_bytes_max)
        self._active: ActiveSegment | None = None  # None: the next commit begins a new segment
        self._writing = threading.Lock()  # commit, drop_periods and close exclude each other
        self._closed = False

    @classmethod
    def open(
        cls,
        disk: Disk,
        directory: str,
        shard: int = 0,
        *,
        period_ns: int = PERIOD_NS,
        segment_bytes_max: int = SEGMENT_BYTES_MAX,
        pending_bytes_max: int = PENDING_BYTES_MAX,
        allocate_bytes: int = ALLOCATE_BYTES,
        new_salt: Callable[[], int] = lambda: secrets.randbits(32),
        now_ns: Callable[[], int] = time.time_ns,
    ) -> Ledger:
        """Open a shard for writing: take the lock, recover, make what was recovered durable.

        Raises `UsageError` if another process writes this shard (its cause is `Locked`), `StorageUnavailable`
        if the disk refuses, `CorruptLedger` if synced bytes changed.
        """
        if not 0 <= shard < SHARDS_MAX:
            raise UsageError(f"shard {shard}: shards are numbered 0 to {SHARDS_MAX - 1}")
        if period_ns < SECOND_NS or period_ns % SECOND_NS:
            raise UsageError(f"period_ns {period_ns}: a period is a whole number of seconds")
        lock = prepare(disk, directory, shard, now_ns)
        path = ledger_directory(directory, shard)
        try:
            segments = recover(disk, path, list_segments(disk, path))
            return cls(
                disk,
                directory,
                shard,
                lock,
                segments,
                period_ns=period_ns,
                segment_bytes_max=segment_bytes_max,
                pending_bytes_max=pending_bytes_max,
                allocate_bytes=allocate_bytes,
                new_salt=new_salt,
            )
        except BaseException:
            lock.release()
            raise

    def must_reach(self, block: int) -> None:
        """Close, with `CorruptLedger`, where it ends before a block that a checkpoint has seen.

        Ask with the lock held: a checkpoint found before may be of a writer that went on since.
        """
        if self.durable_block < block:
            self.close()
            raise CorruptLedger(
                f"{self.directory} ends with block {self.durable_block}, but a checkpoint has seen block "
                f"{block}: committed blocks are missing. Restore the ledger's files from a backup, or remove "
                "the checkpoint to go on from what is left"
            )

    # -- writing

    @property
    def next_block(self) -> int:
        """The number the next `append` returns. The first block is 1."""
        return self._pending.next_block

    @property
    def durable_block(self) -> int:
        """The last block that survives a power cut; 0 if there is none."""
        return self._chain.last_block

    @property
    def pending_blocks(self) -> int:
        """Appended and not durable yet."""
        return self._pending.next_block - 1 - self._chain.last_block

    def append(
        self,
        payload: bytes,
        *,
        count: int,
        time_min_ns: int,
        time_max_ns: int,
        written_ns: int,
        summary: bytes = b"",
        codec: int = CODEC_COLUMNS,
    ) -> int:
        """Number a block and keep it in memory until `commit`. Does no I/O.

        `written_ns` places the block in its period. Raises `UsageError` for what does not fit the format and
        `StorageUnavailable` if too much is waiting for the disk already; then nothing was appended.
        """
        return self._pending.append(
            Block(
                number=0,  # given there
                codec=codec,
                count=count,
                time_min_ns=time_min_ns,
                time_max_ns=time_max_ns,
                written_ns=written_ns,
                summary=bytes(summary),
                payload=bytes(payload),
            )
        )

    def commit(self) -> int:
        """Make everything appended so far durable, usually with one write and one sync; returns the last
        durable block.

        Raises `StorageUnavailable` if the disk refuses. What was appended stays, and the next call writes it:
        after a full disk to the same file, after any other failure to a new one, since a file whose sync
        failed cannot be trusted again. One such failure is healed here without raising.
        """
        with self._writing:
            if self._closed:
                raise UsageError(f"{self.directory} is closed: open the ledger again to commit")
            upto = self._pending.next_block - 1
            failed_before = False
            while self._chain.last_block < upto:
                try:
                    self._commit_batch(self._next_batch(upto))
                except OSError as error:
                    if error.errno not in DISK_FULL:
                        self._close_active()
                        if not failed_before:
                            failed_before = True
                            log.warning("writing %s failed (%s): trying a new segment", self.directory, error)
                            continue
                    raise refused("writing", self.directory, error) from error
            return self._chain.last_block

    def _next_batch(self, upto: int) -> list[Block]:
        """The next blocks that go into one segment and one write; begins a segment if need be."""
        pending = self._pending.first(upto - self._chain.last_block)
        first = pending[0]
        size_bytes = frame_size_bytes(len(first.payload), len(first.summary))
        if self._active is None or not self._active.is_trusted or self._belongs_elsewhere(first, size_bytes):
            self._begin_segment(first)
        batch = [first]
        for block in pending[1:]:
            size_bytes += frame_size_bytes(len(block.payload), len(block.summary))
            if size_bytes > WRITE_BYTES_MAX or self._belongs_elsewhere(block, size_bytes):
                break
            batch.append(block)
        return batch

    def _belongs_elsewhere(self, block: Block, size_bytes: int) -> bool:
        segment = self._chain.segments[-1]
        if block.written_ns >= segment.name.period_start_ns + self._period_ns:
            return True  # a clock that went back does not bring an old period back
        began = segment.end_block > segment.name.first_block  # one block always fits, whatever the limit
        return began and segment.end_offset + size_bytes > self._segment_bytes_max

    def _commit_batch(self, batch: list[Block]) -> None:
        assert self._active is not None
        size_bytes = self._active.commit(batch, self._chain.last_block)
        self._pending.remove(len(batch), size_bytes)
        self._chain.last_block = batch[-1].number

    def _begin_segment(self, first: Block) -> None:
        """Create the next segment file: durable, name and header, before any block goes into it."""
        start_ns = first.written_ns - first.written_ns % self._period_ns
        if self._chain.segments:
            start_ns = max(start_ns, self._chain.segments[-1].name.period_start_ns)
        self._close_active()
        self._sequence += 1
        header = SegmentHeader(
            shard=self.shard,
            sequence=self._sequence,
            first_block=first.number,
            period_start_ns=start_ns,
            period_ns=self._period_ns,
            created_ns=first.written_ns,
            salt=self._new_salt(),
        )
        segment = Segment(self._disk, self.directory, SegmentName(first.number, self._sequence, start_ns))
        try:
            self._active = ActiveSegment(self._disk, self.directory, segment, header, self._allocate_bytes)
        except OSError:
            self._remove_if_possible(segment.path)
            raise
        superseded = [old for old in self._chain.segments if old.name.first_block >= first.number]
        self._chain.replace([*self._chain.segments, segment])
        for old in superseded:
            self._remove_if_possible(old.path)

    def _remove_if_possible(self, path: str) -> None:
        """Remove a file no block is read from; if the disk refuses, the file is only litter."""
        try:
            self._disk.remove(path)
            self._disk.sync_directory(self.directory)
        except OSError as error:
            log.warning(
                "could not remove %s (%s): it holds no block in use and may be removed by hand", path, error
            )

    def _close_active(self) -> None:
        active, self._active = self._active, None
        if active is not None:
            active.close()

    # -- retention

    def expired_periods(self, before_ns: int, *, keep_from_block: int) -> list[KeptPeriod]:
        """Those that `drop_periods` would remove, oldest first."""
        found: list[KeptPeriod] = []
        for period in self._chain.periods()[:-1]:
            end_ns = self._period_end_ns(period)
            if end_ns > before_ns or period.last_block >= keep_from_block:
                break
            found.append(KeptPeriod(period.first_block, period.last_block, end_ns))
        return found

    def drop_periods(self, before_ns: int, *, keep_from_block: int) -> list[str]:
        """Remove every whole period that ends at or before `before_ns` and lies before `keep_from_block`.

        Oldest first, and each removal is durable before the next begins, so a crash leaves no gap. The period
        being written always stays. Returns the removed paths. Raises `StorageUnavailable` if the disk
        refuses; what it had removed until then is removed.
        """
        dropped: list[str] = []
        with self._writing:
            expired = self.expired_periods(before_ns, keep_from_block=keep_from_block)
            for period in self._chain.periods()[: len(expired)]:
                for path in period.files:
                    try:
                        self._disk.remove(path)
                        self._chain.replace([kept for kept in self._chain.segments if kept.path != path])
                        self._disk.sync_directory(self.directory)
                    except OSError as error:
                        raise refused("removing", path, error) from error
                    dropped.append(path)
        return dropped

    def _period_end_ns(self, period: Period) -> int:
        """By the files' own headers: the ledger may have been opened with another period length since."""
        lengths = [
            segment.header().period_ns for segment in self._chain.segments if segment.path in period.files
        ]
        return period.start_ns + max(lengths)

    def close(self) -> None:
        """Give up the files and the lock. Idempotent. Appended and uncommitted blocks are gone."""
        with self._writing:
            if self._closed:
                return
            self._closed = True
            self._pending.close()
            self._close_active()
            self._lock.release()

    def __enter__(self) -> Ledger:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
