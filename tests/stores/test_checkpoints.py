from __future__ import annotations

import random

import pytest

from flo.core.errors import StorageUnavailable, UsageError
from flo.runtimes.simulated.disk import SimulatedDisk
from flo.stores.checkpoints import CheckpointStore, Entry, store

DATA = "/data"
FOLDER = f"{DATA}/shard-0/checkpoints"


@pytest.fixture
def disk() -> SimulatedDisk:
    return SimulatedDisk(1)


def write(
    disk: SimulatedDisk, block: int, entries: list[tuple[str, str, int, bytes | None]], **how: bool
) -> bool:
    writer = CheckpointStore(disk, DATA).begin(block, **how)
    writer.put_many(entries)
    writer.finish(b"meta %d" % block)
    return writer.is_base


def test_without_a_checkpoint_there_is_nothing_to_restart_from(disk: SimulatedDisk) -> None:
    store = CheckpointStore(disk, DATA)
    assert store.latest() is None
    assert store.keep_from_block() == 1
    store.compact()


def test_the_first_is_a_base_and_the_next_a_delta_on_it(disk: SimulatedDisk) -> None:
    assert write(disk, 10, [("a", "x", 10, b"1"), ("a", "y", 9, b"2"), ("b", "x", 3, b"3")])
    assert not write(disk, 20, [("a", "y", 20, None), ("a", "z", 20, b""), ("b", "x", 20, b"4")])
    latest = CheckpointStore(disk, DATA).latest()
    assert latest is not None
    assert (latest.block, latest.meta, latest.deltas) == (20, b"meta 20", 1)
    assert latest.load() == ({"a": {"x": b"1", "z": b""}, "b": {"x": b"4"}}, {})
    assert sorted(latest.entries()) == [
        Entry("a", "x", 10, b"1"),
        Entry("a", "z", 20, b""),
        Entry("b", "x", 20, b"4"),
    ]
    assert CheckpointStore(disk, DATA).keep_from_block() == 11


def test_entries_taken_after_the_block_was_fixed_are_named(disk: SimulatedDisk) -> None:
    write(disk, 10, [("a", "early", 10, b"1"), ("a", "late", 12, b"2"), ("a", "gone", 11, None)])
    latest = CheckpointStore(disk, DATA).latest()
    assert latest is not None
    assert latest.load() == ({"a": {"early": b"1", "late": b"2"}}, {"a": {"late": 12, "gone": 11}})


def test_compaction_merges_a_generation_and_keeps_the_one_before(disk: SimulatedDisk) -> None:
    dice = random.Random(3)
    for block in range(1, 30):
        keys = dice.sample(range(50), 12)
        states = [None if dice.random() < 0.2 else dice.randbytes(30) for _ in keys]
        entries = [("loop", f"k{key}", block, state) for key, state in zip(keys, states, strict=True)]
        write(disk, block, [entry for entry in entries if block > 1 or entry[3] is not None])
        if block % 7 == 0:
            before = CheckpointStore(disk, DATA).latest()
            CheckpointStore(disk, DATA).compact()
            after = CheckpointStore(disk, DATA).latest()
            assert before
            assert after
            assert (after.deltas, after.block, after.meta) == (0, before.block, before.meta)
            assert after.load() == before.load()
            assert after.sequence > before.sequence
    assert sum(name.endswith(".base") for name in disk.listdir(FOLDER)) == 2
    assert CheckpointStore(disk, DATA).keep_from_block() == 22


def test_too_many_deltas_make_the_next_one_a_base(
    disk: SimulatedDisk, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(store, "DELTAS_MAX", 3)
    kinds = [write(disk, block, []) for block in range(1, 7)]
    assert kinds == [True, False, False, False, True, False]


def test_an_unfinished_checkpoint_is_no_checkpoint_and_is_cleared_away(disk: SimulatedDisk) -> None:
    write(disk, 1, [("a", "x", 1, b"1")])
    writer = CheckpointStore(disk, DATA).begin(2)
    writer.put_many([("a", "x", 2, b"2" * 2_000_000)])
    assert any(name.endswith(".tmp") for name in disk.listdir(FOLDER))
    disk.kill_process()
    latest = CheckpointStore(disk, DATA).latest()
    assert latest is not None
    assert latest.load().states == {"a": {"x": b"1"}}
    write(disk, 3, [])
    assert not any(name.endswith(".tmp") for name in disk.listdir(FOLDER))


def test_after_abort_or_finish_a_writer_takes_nothing_more(disk: SimulatedDisk) -> None:
    writer = CheckpointStore(disk, DATA).begin(1)
    writer.abort()
    writer.abort()
    with pytest.raises(UsageError, match="begin another"):
        writer.finish()
    assert disk.listdir(FOLDER) == []


@pytest.mark.parametrize("operation", ["create", "write", "sync", "rename", "sync_directory"])
def test_a_refused_checkpoint_leaves_the_one_before(disk: SimulatedDisk, operation: str) -> None:
    write(disk, 1, [("a", "x", 1, b"1")])
    store = CheckpointStore(disk, DATA)
    store.latest()
    disk.fail(operation, 28, nth=1, forever=True)  # type: ignore[arg-type]
    with pytest.raises(StorageUnavailable, match=r"ENOSPC.*free some space"):
        write(disk, 2, [("a", "x", 2, b"2" * 3_000_000)])
    disk.heal()
    disk.kill_process()
    assert not write(disk, 3, [("a", "x", 3, b"3")])
    latest = CheckpointStore(disk, DATA).latest()
    assert latest is not None
    assert latest.load().states == {"a": {"x": b"3"}}


def test_columns_must_be_equally_long_and_blocks_real(disk: SimulatedDisk) -> None:
    writer = CheckpointStore(disk, DATA).begin(1)
    writer.put_columns("a", ["x", "y"], [1, 1], [b"1", b"2"])
    with pytest.raises(UsageError, match="2 keys, 1 blocks"):
        writer.put_columns("a", ["x", "y"], [1], [b"1", b"2"])
    with pytest.raises(UsageError, match="loop a, key 'x'"):
        writer.put_many([("a", "x", -1, b"")])
    with pytest.raises(UsageError, match="a checkpoint of block -1"):
        CheckpointStore(disk, DATA).begin(-1)
    writer.finish()
    latest = CheckpointStore(disk, DATA).latest()
    assert latest is not None
    assert latest.stored_entries == 2
