"""Dead letters kept beside the ledger: found in order, whole or refused, gone with their period."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flo.core.errors import CorruptLedger, StorageUnavailable
from flo.core.record import DeadLetter, KeptLetter, KeptPeriod, LetterLeft
from flo.runtimes.simulated.disk import SimulatedDisk
from flo.stores.ledger.letters import LetterStore

HOUR = 3600 * 10**9
LAST = (1 << 60, 0)


def letter(block: int, place: int) -> KeptLetter:
    event = DeadLetter(loop="pay", reason="contract", detail="d", at_ns=block, signal=place)
    raw = b"%d-%d" % (block, place) * 50
    return KeptLetter(block, place, block, event, raw=raw, row=place, context=("r", None, 1, None, 2, 3))


def read_all(store: LetterStore) -> list[KeptLetter]:
    found = list(store.find((0, -1), LAST))
    list(store.left())
    return found


def store_of(places: list[tuple[int, int]], disk: SimulatedDisk) -> LetterStore:
    """Ten blocks a period."""
    store = LetterStore(disk, "/data/shard-0/letters")
    for first in range(0, 60, 10):
        of_period = [letter(*place) for place in sorted(places) if first <= place[0] < first + 10]
        store.write(KeptPeriod(first, first + 9, (first + 1) * HOUR), [], of_period)
    return store


places = st.tuples(st.integers(0, 59), st.integers(0, 3))


@given(st.lists(places, unique=True, max_size=30), places, places)
def test_letters_are_found_between_two_places_in_either_order(
    kept: list[tuple[int, int]], after: tuple[int, int], before: tuple[int, int]
) -> None:
    store = store_of(kept, SimulatedDisk(1))
    expected = [letter(*place) for place in sorted(kept) if after < place < before]
    assert list(store.find(after, before)) == expected
    assert list(store.find(after, before, reverse=True)) == expected[::-1]


def test_nothing_to_keep_leaves_no_file_and_a_removed_period_is_gone() -> None:
    disk = SimulatedDisk(1)
    store = store_of([(12, 0)], disk)
    store.write(KeptPeriod(60, 69, HOUR), [LetterLeft(12, 0, True, "pay")], [])
    assert [period.first_block for period in store.periods()] == [10, 60]
    assert list(store.left()) == [LetterLeft(12, 0, True, "pay")]
    found = store.find((0, -1), LAST)
    assert next(found) == letter(12, 0)
    for period in store.periods():
        store.remove(period)
    assert (list(store.find((0, -1), LAST)), list(store.left()), store.periods()) == ([], [], [])
    store.remove(KeptPeriod(60, 69, HOUR))  # removing twice is allowed


def test_a_changed_byte_is_found_and_named_with_the_way_out() -> None:
    disk = SimulatedDisk(1)
    store = store_of([(12, 0), (13, 1)], disk)
    (name,) = disk.listdir(store.directory)
    path = f"{store.directory}/{name}"
    data = disk.open(path).read(0, 1 << 20)
    for at in range(len(data)):
        disk.open(path, writable=True).write(at, bytes([data[at] ^ 0x40]))
        with pytest.raises(CorruptLedger, match=r"damaged.*move it away"):
            read_all(store)
        disk.open(path, writable=True).write(at, data[at : at + 1])
    disk.open(path, writable=True).truncate(len(data) - 1)
    with pytest.raises(CorruptLedger):
        list(store.find((0, -1), LAST))


def test_a_full_disk_refuses_openly_and_leaves_no_half_file() -> None:
    disk = SimulatedDisk(1, capacity_bytes=4_000)
    store = LetterStore(disk, "/data/shard-0/letters")
    event = DeadLetter(loop="pay", reason="contract", detail="d", at_ns=1, signal=0)
    large = KeptLetter(1, 0, 1, event, raw=bytes(range(256)) * 400)
    many = [KeptLetter(n, 0, 1, event, raw=bytes([n]) + large.raw[:200]) for n in range(1, 60) if large.raw]
    with pytest.raises(StorageUnavailable):
        store.write(KeptPeriod(1, 60, HOUR), [], many)
    assert store.periods() == []
    assert list(store.find((0, -1), LAST)) == []
    assert disk.listdir(store.directory) == []  # nor takes it any room
    disk.capacity_bytes = None
    store.write(KeptPeriod(1, 60, HOUR), [], many)
    assert list(store.find((0, -1), LAST)) == many
