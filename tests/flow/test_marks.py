from __future__ import annotations

import contextlib
import errno
import json
import random
from collections.abc import Callable

import pytest

from flo.core.errors import StorageUnavailable
from flo.flow import marks as marks_module
from flo.flow.mark_filter import MarkFilter
from flo.flow.mark_hash import MarkHasher
from flo.runtimes.simulated.disk import PowerCut, SimulatedDisk
from flo.runtimes.simulated.simulation import Simulation

from .marking import HOUR, T0, Marker, Oracle, S

FOLDER = "/data/shard-0/marks"
DAY = 24 * HOUR


@pytest.fixture
def disk() -> SimulatedDisk:
    return SimulatedDisk(1)


def ids(first: int, count: int) -> list[tuple[str, str]]:
    return [("s", f"id-{n}") for n in range(first, first + count)]


def three_hours(marker: Marker) -> None:
    """Ten signals an hour; the first two hours are frozen then."""
    for hour in range(3):
        assert all(marker.take(T0 + hour * HOUR, ids(hour * 10, 10)))
    assert marker.freeze() == 2


def restarted(disk: SimulatedDisk, now_ns: int, checkpoint: int, window_ns: int = DAY) -> Marker:
    disk.kill_process()
    return Marker(disk, window_ns, now_ns, checkpoint)


# -- the window -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("frozen", [False, True])
def test_a_mark_counts_to_the_last_nanosecond_of_the_window_and_no_longer(
    disk: SimulatedDisk, frozen: bool
) -> None:
    marker = Marker(disk, DAY, T0)
    marker.take(T0, ids(0, 1))
    marker.take(T0 + 1, ids(1, 1))
    marker.take(T0 + 2 * HOUR, ids(2, 1))
    if frozen:
        assert marker.freeze() == 1
    assert marker.take(T0 + DAY, ids(0, 2)) == [False, False]
    assert marker.take(T0 + DAY + 1, ids(0, 2)) == [True, False]
    assert marker.take(T0 + DAY + 2, ids(0, 2)) == [False, True]


def test_the_edge_runs_through_a_generation_that_could_not_be_frozen(disk: SimulatedDisk) -> None:
    """Nothing comes for most of the window, so the generation in memory is old when it is closed."""
    marker = Marker(disk, DAY, T0)
    marker.take(T0, ids(0, 1))
    marker.take(T0 + HOUR - 1, ids(1, 1))
    now = T0 + DAY + HOUR // 2
    assert marker.take(now, ids(0, 2)) == [True, False]


def test_a_short_window_is_kept_in_short_generations(disk: SimulatedDisk) -> None:
    marker, oracle = Marker(disk, S, T0), Oracle(S)
    dice = random.Random(5)
    now = T0
    for _ in range(300):
        now += dice.choice((1, S // 10, S // 3, S, 3 * S))
        signals = ids(dice.randrange(6), 2)
        assert marker.take(now, signals) == oracle.take(now, signals)
        if dice.random() < 0.2:
            marker.freeze()
    assert len(disk.listdir(FOLDER)) < 10


def test_expired_files_are_removed(disk: SimulatedDisk) -> None:
    marker = Marker(disk, DAY, T0)
    three_hours(marker)
    assert len(disk.listdir(FOLDER)) == 2
    marker.take(T0 + 3 * DAY, ids(100, 1))
    marker.freeze()
    assert disk.listdir(FOLDER) == []
    assert marker.marks.frozen() == ()


def test_a_shorter_window_is_in_force_at_once_and_a_longer_one_reads_the_ledger_again(
    disk: SimulatedDisk,
) -> None:
    marker = Marker(disk, DAY, T0)
    three_hours(marker)
    now = T0 + 3 * HOUR
    marker.marks.window_ns = HOUR
    marker.take(now, ids(100, 1))
    marker.freeze()
    assert marker.take(now, ids(0, 1)) == [True]
    marker.marks.window_ns = DAY
    marker.take(now + 1, ids(101, 1))
    marker.freeze()
    assert not any(marker.take(now + 2, ids(0, 30)))


# -- collisions -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("hash_of", [lambda source, id: 7, lambda source, id: len(id) << 60])
def test_signals_whose_hashes_collide_are_told_apart(
    disk: SimulatedDisk, hash_of: Callable[[str, str], int]
) -> None:
    marker = Marker(disk, DAY, T0, hash_of=hash_of)
    three_hours(marker)
    assert all(marker.take(T0 + 3 * HOUR, ids(500, 20)))
    assert all(marker.take(T0 + 3 * HOUR, [("other", id) for _, id in ids(0, 20)]))
    assert not any(marker.take(T0 + 3 * HOUR, ids(0, 30)))


def test_source_and_id_do_not_run_into_each_other() -> None:
    hash_of = MarkHasher()
    assert len({hash_of("ab", "c"), hash_of("a", "bc"), hash_of("", "abc"), hash_of("abc", "")}) == 4
    assert hash_of("a", "é") == MarkHasher()("a", "é")


def test_the_filter_forgets_nothing_and_lets_little_else_through() -> None:
    numpy = pytest.importorskip("numpy")
    dice = numpy.random.default_rng(3)
    hashes = dice.integers(0, 2**64, 100_000, dtype=numpy.uint64, endpoint=False)
    filter = MarkFilter(100_000)
    filter.add(hashes)
    assert all(filter.may_hold(int(hash)) for hash in hashes)
    others = dice.integers(0, 2**64, 100_000, dtype=numpy.uint64, endpoint=False)
    assert sum(filter.may_hold(int(hash)) for hash in others) < 300  # 0.14 % expected


def test_the_filter_grows_with_what_is_frozen(disk: SimulatedDisk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("flo.flow.mark_filter.CAPACITY_MIN", 8)
    marker = Marker(disk, DAY, T0)
    for hour in range(6):
        marker.take(T0 + hour * HOUR, ids(hour * 10, 10))
        marker.freeze()
    assert marker.marks.filter.capacity >= 50
    assert not any(marker.take(T0 + 6 * HOUR, ids(0, 60)))
    assert all(marker.take(T0 + 6 * HOUR, ids(60, 60)))


# -- refused signals ------------------------------------------------------------------------------------------


def test_a_refused_signal_is_a_repeat_only_with_the_very_same_bytes_also_when_frozen(
    disk: SimulatedDisk,
) -> None:
    marker = Marker(disk, DAY, T0)
    assert marker.refuse(T0, "s", "a", 1)
    assert marker.refuse(T0, "s", "a", 2)
    assert not marker.refuse(T0, "s", "a", 1)
    marker.take(T0 + HOUR, ids(0, 1))
    assert not marker.refuse(T0 + HOUR, "s", "a", 1)
    assert marker.freeze() == 1
    assert not marker.refuse(T0 + HOUR, "s", "a", 2)
    assert marker.refuse(T0 + HOUR, "s", "a", 3)
    assert marker.take(T0 + HOUR, [("s", "a")]) == [True]  # corrected at last
    again = restarted(disk, T0 + HOUR, 3)
    assert not again.refuse(T0 + HOUR, "s", "a", 1)
    assert again.take(T0 + HOUR, [("s", "a")]) == [False]


def test_a_flood_of_refused_signals_ends_a_generation(
    disk: SimulatedDisk, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(marks_module, "GENERATION_MARKS_MAX", 20)
    monkeypatch.setattr(marks_module, "COUNT_EVERY_TURNS", 1)
    marker = Marker(disk, DAY, T0)
    for n in range(100):
        assert marker.refuse(T0 + n, "s", f"bad-{n}", n)
        marker.freeze()
        assert len(marker.marks) <= 21
    assert not any(marker.refuse(T0 + 200, "s", f"bad-{n}", n) for n in range(100))


# -- restarts -------------------------------------------------------------------------------------------------


def test_a_restart_reads_only_what_is_not_frozen(disk: SimulatedDisk) -> None:
    three_hours(Marker(disk, DAY, T0))
    again = restarted(disk, T0 + 2 * HOUR, checkpoint=3)
    assert again.read_blocks == [3]
    assert not any(again.take(T0 + 3 * HOUR, ids(0, 30)))


def test_without_its_files_or_with_damaged_ones_they_are_made_again(disk: SimulatedDisk) -> None:
    three_hours(Marker(disk, DAY, T0))
    first, second = disk.listdir(FOLDER)
    disk.remove(f"{FOLDER}/{first}")
    disk.flip_bit(f"{FOLDER}/{second}", 8 * (disk.size(f"{FOLDER}/{second}") - 30))
    again = restarted(disk, T0 + 2 * HOUR, checkpoint=3)
    assert disk.listdir(FOLDER) == [first, second]
    assert not any(again.take(T0 + 3 * HOUR, ids(0, 30)))


def test_every_flipped_bit_of_a_file_is_noticed(disk: SimulatedDisk) -> None:
    three_hours(Marker(disk, DAY, T0))
    path = f"{FOLDER}/{disk.listdir(FOLDER)[0]}"
    dice = random.Random(9)
    for _ in range(30):
        disk.flip_bit(path, dice.randrange(8 * disk.size(path)))
        again = restarted(disk, T0 + 2 * HOUR, checkpoint=3)
        assert not any(again.take(T0 + 3 * HOUR, ids(0, 30)))


def test_a_file_that_belongs_to_another_ledger_is_not_believed(disk: SimulatedDisk) -> None:
    """The ledger was put back from a backup and went on differently: the same numbers, other blocks."""
    three_hours(Marker(disk, DAY, T0))
    name = disk.listdir(FOLDER)[0]
    other = SimulatedDisk(2)
    marker = Marker(other, DAY, T0)
    for hour in range(3):
        marker.take(T0 + hour * HOUR, ids(1000 + hour * 10, 10))
    copy, file = other, disk.open(f"{FOLDER}/{name}")
    copy.makedirs(FOLDER)
    copy.create(f"{FOLDER}/{name}").write(0, file.read(0, file.size()))
    again = restarted(other, T0 + 2 * HOUR, checkpoint=3)
    assert not any(again.take(T0 + 3 * HOUR, ids(1000, 30)))
    assert all(again.take(T0 + 3 * HOUR, ids(0, 30)))


def test_while_the_disk_refuses_marks_stay_in_memory(disk: SimulatedDisk) -> None:
    marker = Marker(disk, DAY, T0)
    for hour in range(3):
        marker.take(T0 + hour * HOUR, ids(hour * 10, 10))
    disk.fail("create", errno.EIO, forever=True)
    with pytest.raises(StorageUnavailable):
        marker.freeze()
    assert not any(marker.take(T0 + 3 * HOUR, ids(0, 30)))
    again = restarted(disk, T0 + 3 * HOUR, checkpoint=3)
    assert not any(again.take(T0 + 3 * HOUR, ids(0, 30)))
    disk.heal()
    assert again.freeze() == 3
    assert not any(again.take(T0 + 3 * HOUR, ids(0, 30)))


def test_a_frozen_file_that_cannot_be_read_is_no_reason_to_decide_twice(disk: SimulatedDisk) -> None:
    marker = Marker(disk, DAY, T0)
    three_hours(marker)
    disk.fail("read", errno.EIO)
    assert marker.take(T0 + 3 * HOUR, ids(0, 1)) == [False]


@pytest.mark.parametrize("seed", range(40))
def test_whatever_is_killed_when_the_answers_are_those_of_an_oracle(seed: int) -> None:
    dice = random.Random(seed)
    disk, window = SimulatedDisk(seed), dice.choice((HOUR, 5 * HOUR, DAY))
    oracle, now, checkpoint = Oracle(window), T0, 0
    hash_of = dice.choice((None, lambda source, id: hash(id) % 5 << 61, lambda source, id: 1))
    marker = Marker(disk, window, now, hash_of=hash_of)
    for step in range(120):
        now += dice.choice((1, S, HOUR // 3, HOUR, 2 * HOUR, window // 2))
        signals = ids(dice.randrange(40), dice.randrange(1, 5))
        assert marker.take(now, signals) == oracle.take(now, signals), (seed, step)
        match dice.randrange(6):
            case 0 | 1:
                marker.freeze()
            case 2:
                checkpoint = marker.ledger.durable_block
            case 3:  # the power goes somewhere while freezing
                disk.cut_power_at(disk.operations + dice.randrange(1, 12))
                with contextlib.suppress(PowerCut):
                    marker.freeze()
                disk.power_cut()
                marker = Marker(disk, window, now, checkpoint, hash_of)
            case 4 if dice.random() < 0.3:
                disk.kill_process()
                for name in disk.listdir(FOLDER) if disk.exists(FOLDER) else []:
                    if dice.random() < 0.5:
                        disk.flip_bit(f"{FOLDER}/{name}", dice.randrange(8 * disk.size(f"{FOLDER}/{name}")))
                marker = Marker(disk, window, now, checkpoint, hash_of)


# -- in the runtime -------------------------------------------------------------------------------------------

LOOP = b"loop: all\non: t\nkey: string(data.value)\notherwise: taken\n"


def bundle(dedupe: str) -> dict[str, bytes]:
    return {"flo.yaml": f"dedupe: {dedupe}\n".encode(), "loops/all.yaml": LOOP}


def event(id: str, value: int = 1) -> bytes:
    head = {"specversion": "1.0", "id": id, "source": "s", "type": "t"}
    return json.dumps({**head, "data": {"value": value}}).encode()


async def test_the_window_is_that_of_the_bundle_in_force_and_survives_a_crash() -> None:
    simulation = Simulation(bundle("3h"), seed=4)
    await simulation.start()

    async def offer(id: str) -> str:
        (receipt,) = await simulation.runtime.ingest([event(id)])
        return receipt.status

    assert await offer("a") == "accepted"
    await simulation.advance(2 * HOUR)
    assert [await offer("a"), await offer("b")] == ["duplicate", "accepted"]
    await simulation.crash(power_cut=True)
    await simulation.start()
    assert [await offer("a"), await offer("b")] == ["duplicate", "duplicate"]
    await simulation.runtime.put_bundle(bundle("1h"), "shorter")
    assert await offer("a") == "accepted"
    await simulation.runtime.stop()
