"""Bundles that were in force: whole after a power cut, or not there."""

from __future__ import annotations

from pathlib import Path

import pytest

from flo.core.errors import StorageUnavailable
from flo.runtimes.simulated.disk import PowerCut, SimulatedDisk
from flo.stores.bundle_archive import BundleArchive

FILES = {
    "flo.yaml": b"dedupe: 1h\n",
    "functions.types.json": b"{}",
    "loops/a.yaml": b"loop: a\n" * 200,
    "loops/b.yaml": b"loop: b\n",
    "contracts/x.y/1.json": b"{}",
}
DATA = Path("/data")


def kept(disk: SimulatedDisk, revision: str) -> dict[str, bytes]:
    root = f"{DATA}/bundles/{revision}"
    return {
        name: disk.open(f"{root}/{name}").read(0, 1 << 20) for name in FILES if disk.exists(f"{root}/{name}")
    }


@pytest.mark.parametrize("seed", range(60))
def test_a_kept_bundle_survives_a_power_cut_with_every_nested_file(seed: int) -> None:
    disk = SimulatedDisk(seed)
    BundleArchive(DATA, disk).keep("r1", FILES)
    disk.power_cut()
    assert kept(disk, "r1") == FILES


@pytest.mark.parametrize("seed", range(120))
def test_a_bundle_is_there_whole_or_not_at_all_wherever_the_power_went(seed: int) -> None:
    disk = SimulatedDisk(seed, short_writes=0.1)
    archive = BundleArchive(DATA, disk)
    disk.cut_power_at(1 + seed % 40)
    try:
        archive.keep("r1", FILES)
    except PowerCut:
        pass
    disk.power_cut()
    assert kept(disk, "r1") in ({}, FILES)
    assert disk.exists(f"{DATA}/bundles/r1") == bool(kept(disk, "r1"))
    archive.keep("r1", FILES)  # the next start, over what the last one left
    archive.keep("r1", FILES)
    disk.power_cut()
    assert kept(disk, "r1") == FILES


def test_a_refusing_disk_is_named_and_the_bundle_is_kept_when_it_is_well_again(tmp_path: Path) -> None:
    disk = SimulatedDisk(1)
    archive = BundleArchive(DATA, disk)
    disk.fail("sync", 5, nth=3)
    with pytest.raises(StorageUnavailable, match="could not be kept in /data/bundles"):
        archive.keep("r1", FILES)
    assert kept(disk, "r1") == {}
    archive.keep("r1", FILES)
    assert kept(disk, "r1") == FILES


def test_what_was_kept_is_read_back(tmp_path: Path) -> None:
    archive = BundleArchive(tmp_path)
    assert not archive.has("r1")
    archive.keep("r1", FILES)
    assert archive.has("r1")
    assert archive.files("r1") == {name: FILES[name] for name in FILES if name != "functions.types.json"}
    assert archive.extra("r1", "functions.types.json") == b"{}"
    assert [path.name for path in (tmp_path / "bundles").iterdir()] == ["r1"]
