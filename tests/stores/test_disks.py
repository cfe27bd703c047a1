"""One suite for every disk: what the stores rely on holds on the real one and on the simulated one."""

from __future__ import annotations

from pathlib import Path

import pytest

from flo.ports.disk import Disk, Locked
from flo.runtimes.simulated.disk import PowerCut, SimulatedDisk
from flo.stores.disk import LocalDisk


@pytest.fixture(params=["local", "simulated"])
def disk(request: pytest.FixtureRequest) -> Disk:
    return LocalDisk() if request.param == "local" else SimulatedDisk(1)


@pytest.fixture
def folder(disk: Disk, tmp_path: Path) -> str:
    folder = f"{tmp_path}/a/b"
    disk.makedirs(folder)
    disk.makedirs(folder)
    return folder


def test_bytes_are_read_where_they_were_written(disk: Disk, folder: str) -> None:
    file = disk.create(f"{folder}/f")
    assert file.write(4, b"abc") == 3
    assert file.read(0, 100) == b"\0\0\0\0abc"
    assert file.read(5, 1) == b"b"
    assert file.read(99, 1) == b""
    file.allocate(0, 10)
    assert (file.size(), file.read(7, 9)) == (10, b"\0\0\0")
    file.truncate(5)
    file.sync()
    file.close()
    file.close()
    assert (disk.size(f"{folder}/f"), disk.open(f"{folder}/f").read(0, 9)) == (5, b"\0\0\0\0a")


def test_names_are_created_once_renamed_over_and_removed(disk: Disk, folder: str) -> None:
    disk.create(f"{folder}/old").write(0, b"old")
    disk.create(f"{folder}/new").write(0, b"new")
    with pytest.raises(FileExistsError):
        disk.create(f"{folder}/new")
    disk.rename(f"{folder}/new", f"{folder}/old")
    disk.sync_directory(folder)
    assert disk.listdir(folder) == ["old"]
    assert disk.open(f"{folder}/old").read(0, 9) == b"new"
    disk.remove(f"{folder}/old")
    assert not disk.exists(f"{folder}/old")
    assert disk.exists(folder)


def test_what_is_not_there_is_said_to_be_missing(disk: Disk, folder: str) -> None:
    for missing in (
        lambda: disk.open(f"{folder}/f"),
        lambda: disk.size(f"{folder}/f"),
        lambda: disk.remove(f"{folder}/f"),
        lambda: disk.listdir(f"{folder}/g"),
        lambda: disk.create(f"{folder}/g/f"),
    ):
        with pytest.raises(FileNotFoundError):
            missing()


def test_an_open_file_outlives_its_name(disk: Disk, folder: str) -> None:
    disk.create(f"{folder}/f").write(0, b"still here")
    file = disk.open(f"{folder}/f")
    disk.remove(f"{folder}/f")
    assert file.read(0, 99) == b"still here"


def test_a_file_opened_for_reading_takes_no_bytes(disk: Disk, folder: str) -> None:
    disk.create(f"{folder}/f")
    with pytest.raises(OSError, match="Bad file descriptor"):
        disk.open(f"{folder}/f").write(0, b"x")


def test_a_lock_is_held_by_one_until_it_is_released(disk: Disk, folder: str) -> None:
    lock = disk.lock(f"{folder}/lock")
    with pytest.raises(Locked, match="locked by process"):
        disk.lock(f"{folder}/lock")
    lock.release()
    disk.lock(f"{folder}/lock").release()
    assert disk.free_bytes(folder) > 0


def test_only_synced_bytes_and_names_are_sure_to_survive_a_power_cut() -> None:
    fates = set()
    for seed in range(60):
        disk = SimulatedDisk(seed)
        disk.makedirs("/d")
        file = disk.create("/d/kept")
        file.write(0, b"a" * 2048)
        file.sync()
        disk.sync_directory("/d")
        file.write(0, b"b" * 2048)
        disk.create("/d/new")
        disk.power_cut()
        data = disk.open("/d/kept").read(0, 4096)
        assert len(data) == 2048
        sectors = [data[at : at + 512] for at in range(0, 2048, 512)]
        assert set(sectors) <= {b"a" * 512, b"b" * 512}
        fates.add((data.count(b"b") // 512, disk.exists("/d/new")))
    assert {(0, True), (0, False), (4, True), (4, False)} < fates
    assert any(0 < torn < 4 for torn, _ in fates)


def test_a_failed_sync_loses_bytes_that_reads_still_show() -> None:
    lost = 0
    for seed in range(20):
        disk = SimulatedDisk(seed)
        file = disk.create("/f")
        disk.sync_directory("/")
        file.write(0, b"bytes")
        disk.fail("sync", 5)
        with pytest.raises(OSError, match="Input/output error"):
            file.sync()
        file.sync()
        assert file.read(0, 5) == b"bytes"
        disk.power_cut()
        lost += disk.open("/f").read(0, 5) != b"bytes"
    assert lost > 0


def test_power_can_be_cut_at_an_operation_and_stays_off_until_it_comes_back() -> None:
    disk = SimulatedDisk(1)
    file = disk.create("/f")
    disk.cut_power_at(disk.operations + 2)
    file.write(0, b"one")
    with pytest.raises(PowerCut):
        file.write(3, b"two")
    with pytest.raises(PowerCut):
        file.read(0, 1)
    disk.power_cut()
    with pytest.raises(OSError, match="Bad file descriptor"):
        file.read(0, 1)
