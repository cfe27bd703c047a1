"""Any flipped bit is found or harmless: no changed byte is ever returned."""

from __future__ import annotations

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from flo.core.errors import CorruptLedger
from flo.runtimes.simulated.disk import SimulatedDisk
from flo.stores.checkpoints import CheckpointStore
from flo.stores.ledger import CODEC_LOST, Ledger, LedgerReader, salvage

pytestmark = pytest.mark.crash

DATA = "/data"
BLOCKS = 45
PAYLOADS = {n: random.Random(n).randbytes(n * 37 % 400) for n in range(1, BLOCKS + 1)}
LAST_COMMIT = 3  # blocks in it: nothing vouches for them, so damage there looks like a torn write


def written_disk() -> SimulatedDisk:
    disk = SimulatedDisk(1)
    with Ledger.open(disk, DATA, segment_bytes_max=10_000, allocate_bytes=512, new_salt=lambda: 77) as ledger:
        for number, payload in PAYLOADS.items():
            ledger.append(
                payload, count=number, time_min_ns=0, time_max_ns=0, written_ns=number, summary=payload[:9]
            )
            if number % LAST_COMMIT == 0:
                ledger.commit()
    return disk


def segment_paths(disk: SimulatedDisk) -> list[str]:
    folder = f"{DATA}/shard-0/ledger"
    return [f"{folder}/{name}" for name in disk.listdir(folder) if name.endswith(".seg")]


SOUND = written_disk()
SIZES = [(path, SOUND.size(path)) for path in segment_paths(SOUND)]
places = st.sampled_from(SIZES).flatmap(lambda at: st.tuples(st.just(at[0]), st.integers(0, at[1] * 8 - 1)))


def check(blocks: list[int], payloads: list[bytes], *, may_miss_last_commit: bool) -> None:
    assert payloads == [PAYLOADS[number] for number in blocks]
    least = BLOCKS - LAST_COMMIT if may_miss_last_commit else BLOCKS
    assert blocks == list(range(1, len(blocks) + 1))
    assert len(blocks) >= least


@settings(max_examples=250, deadline=None, print_blob=True)
@given(st.lists(places, min_size=1, max_size=3))
def test_flipped_bits_in_a_segment_are_found_and_never_returned(flips: list[tuple[str, int]]) -> None:
    disk = written_disk()
    for path, bit in flips:
        disk.flip_bit(path, bit)
    try:
        blocks = list(LedgerReader.open(disk, DATA).scan())
        check([b.number for b in blocks], [b.payload for b in blocks], may_miss_last_commit=True)
        assert [b.summary for b in blocks] == [b.payload[:9] for b in blocks]
        assert [b.count for b in blocks] == [b.number for b in blocks]
    except CorruptLedger:
        pass
    try:
        with Ledger.open(disk, DATA) as ledger:
            for header in ledger.scan(headers_only=True):
                assert header.summary == PAYLOADS[header.number][:9]
            assert all(PAYLOADS[block.number] == block.payload for block in ledger.scan())
    except CorruptLedger:
        pass
    salvage(disk, DATA)
    with Ledger.open(disk, DATA) as ledger:
        kept = [block for block in ledger.scan() if block.codec != CODEC_LOST]
        assert all(block.payload == PAYLOADS[block.number] for block in kept)
        both_headers_gone = len(flips) > 1
        assert ledger.durable_block >= BLOCKS - LAST_COMMIT or both_headers_gone
        assert len(kept) >= BLOCKS - LAST_COMMIT - len(flips) or both_headers_gone


@settings(max_examples=100, deadline=None, print_blob=True)
@given(st.data())
def test_flipped_bits_in_a_checkpoint_bring_back_the_one_before(data: st.DataObject) -> None:
    disk = SimulatedDisk(1)
    store = CheckpointStore(disk, DATA)
    held: dict[bytes, dict[str, dict[str, bytes]]] = {}
    states: dict[str, bytes] = {}
    for serial in range(4):
        changed = {f"k{n}": b"%d-%d" % (n, serial) * 20 for n in range(serial * 3, serial * 3 + 9)}
        states = states | changed
        with_base = serial == 2
        writer = store.begin(serial + 1, base=with_base)
        entries = states if writer.is_base else changed
        writer.put_many(("loop", key, serial + 1, state) for key, state in entries.items())
        writer.finish(b"%d" % serial)
        held[b"%d" % serial] = {"loop": states}
    folder = f"{DATA}/shard-0/checkpoints"
    name = data.draw(st.sampled_from(disk.listdir(folder)))
    disk.flip_bit(f"{folder}/{name}", data.draw(st.integers(0, disk.size(f"{folder}/{name}") * 8 - 1)))
    latest = CheckpointStore(disk, DATA).latest()
    assert latest is not None
    assert latest.load().states == held[latest.meta]
    if name.startswith(f"{1:020d}") or name.startswith(f"{2:020d}"):
        assert latest.meta == b"3"
