from __future__ import annotations

import logging
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from flo.core.errors import CorruptLedger, StorageUnavailable, UsageError
from flo.ports.disk import Disk
from flo.runtimes.simulated.disk import SimulatedDisk
from flo.stores.disk import LocalDisk
from flo.stores.ledger import CODEC_LOST, BlockMissing, Ledger, LedgerReader, salvage
from flo.stores.ledger.frames import PAYLOAD_BYTES_MAX, SUMMARY_BYTES_MAX, parse_segment_name

HOUR_NS = 3600 * 10**9
NOW_NS = 1_800_000_000 * 10**9
DATA = "/data"
FOLDER = f"{DATA}/shard-0/ledger"


def append(ledger: Ledger, payload: bytes = b"payload", *, hour: int = 0, summary: bytes = b"") -> int:
    written_ns = NOW_NS + hour * HOUR_NS
    return ledger.append(
        payload, count=3, time_min_ns=-5, time_max_ns=written_ns, written_ns=written_ns, summary=summary
    )


def fill(ledger: Ledger, blocks: int, *, hour: int = 0) -> None:
    for _ in range(blocks):
        append(ledger, b"%d" % ledger.next_block * 40, hour=hour, summary=b"s%d" % ledger.next_block)
        ledger.commit()


@pytest.fixture
def disk() -> SimulatedDisk:
    return SimulatedDisk(1)


@pytest.fixture
def ledger(disk: SimulatedDisk) -> Iterator[Ledger]:
    with Ledger.open(disk, DATA, allocate_bytes=4096) as ledger:
        yield ledger


def segments(disk: Disk) -> list[str]:
    return [f"{FOLDER}/{name}" for name in disk.listdir(FOLDER) if name.endswith(".seg")]


def test_a_new_ledger_is_empty_and_begins_with_block_1(ledger: Ledger) -> None:
    assert (ledger.next_block, ledger.durable_block, ledger.first_block) == (1, 0, 1)
    assert list(ledger.scan()) == list(ledger.scan(reverse=True)) == []
    assert ledger.commit() == 0
    assert ledger.periods() == []


def test_a_block_comes_back_with_every_field(ledger: Ledger) -> None:
    number = ledger.append(
        b"bytes", count=7, time_min_ns=-9, time_max_ns=12, written_ns=NOW_NS, summary=b"what", codec=2
    )
    assert ledger.commit() == number == 1
    block = ledger.read(1)
    assert (block.number, block.codec, block.count, block.payload, block.summary) == (
        1,
        2,
        7,
        b"bytes",
        b"what",
    )
    assert (block.time_min_ns, block.time_max_ns, block.written_ns) == (-9, 12, NOW_NS)
    (header,) = ledger.scan(headers_only=True)
    assert (header.number, header.payload_bytes, header.summary, header.count) == (1, 5, b"what", 7)


def test_a_block_cannot_be_read_before_it_is_durable(ledger: Ledger) -> None:
    append(ledger)
    with pytest.raises(BlockMissing, match="block 1 is not in the ledger: it holds none"):
        ledger.read(1)
    ledger.commit()
    assert ledger.read(1).payload == b"payload"
    with pytest.raises(BlockMissing, match="it holds blocks 1 to 1"):
        ledger.read(2)


def test_scanning_goes_either_way_over_segments_and_stops_where_it_is_told(disk: SimulatedDisk) -> None:
    with Ledger.open(disk, DATA, segment_bytes_max=8192, allocate_bytes=0) as ledger:
        fill(ledger, 150)
        assert len(segments(disk)) > 3
        for headers_only in (False, True):
            numbers = [item.number for item in ledger.scan(20, 130, headers_only=headers_only)]  # type: ignore[call-overload]
            assert numbers == list(range(20, 131))
        assert [block.number for block in ledger.scan(20, 130, reverse=True)] == list(range(130, 19, -1))
        assert list(ledger.scan(5, 4)) == []


def test_one_commit_may_hold_many_blocks_and_span_periods(disk: SimulatedDisk, ledger: Ledger) -> None:
    for hour in (0, 0, 1, 1, 3):
        append(ledger, hour=hour)
    assert ledger.commit() == 5
    assert [(period.first_block, period.last_block) for period in ledger.periods()] == [
        (1, 2),
        (3, 4),
        (5, 5),
    ]
    assert [len(period.files) for period in ledger.periods()] == [1, 1, 1]
    disk.power_cut()
    with Ledger.open(disk, DATA) as again:
        assert [block.number for block in again.scan()] == [1, 2, 3, 4, 5]


def test_a_clock_that_went_back_does_not_bring_an_old_period_back(ledger: Ledger) -> None:
    fill(ledger, 1, hour=5)
    fill(ledger, 1, hour=2)
    assert len(ledger.periods()) == 1


def test_a_restart_goes_on_with_the_next_number_in_a_new_segment(disk: SimulatedDisk) -> None:
    for life in range(1, 4):
        with Ledger.open(disk, DATA) as ledger:
            assert ledger.next_block == life
            fill(ledger, 1)
        assert len(segments(disk)) == life


def test_whole_periods_are_dropped_and_never_one_that_is_needed(disk: SimulatedDisk, ledger: Ledger) -> None:
    for hour in range(6):
        fill(ledger, 10, hour=hour)
    start_ns = ledger.periods()[0].start_ns
    assert ledger.drop_periods(start_ns + HOUR_NS - 1, keep_from_block=60) == []
    assert len(ledger.drop_periods(start_ns + 3 * HOUR_NS, keep_from_block=21)) == 2
    assert ledger.first_block == 21
    with pytest.raises(BlockMissing, match="it holds blocks 21 to 60"):
        ledger.read(20)
    assert len(ledger.drop_periods(start_ns + 99 * HOUR_NS, keep_from_block=1000)) == 3
    assert ledger.first_block == 51  # the period being written stays
    ledger.close()
    disk.power_cut()
    with Ledger.open(disk, DATA) as again:
        assert (again.first_block, again.next_block) == (51, 61)


def test_an_old_period_keeps_the_length_it_was_written_with(disk: SimulatedDisk) -> None:
    with Ledger.open(disk, DATA, period_ns=24 * HOUR_NS) as ledger:
        fill(ledger, 1)
    with Ledger.open(disk, DATA, period_ns=HOUR_NS) as ledger:
        fill(ledger, 1, hour=30)
        start_ns = ledger.periods()[0].start_ns
        assert ledger.drop_periods(start_ns + 2 * HOUR_NS, keep_from_block=2) == []
        assert len(ledger.drop_periods(start_ns + 24 * HOUR_NS, keep_from_block=2)) == 1


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"payload": bytes(PAYLOAD_BYTES_MAX + 1)}, "payload bytes 67108865"),
        ({"summary": bytes(SUMMARY_BYTES_MAX + 1)}, "summary bytes 65537"),
        ({"count": -1}, "records -1"),
        ({"codec": 256}, "codec 256"),
        ({"written_ns": -1}, "written -1"),
        ({"time_max_ns": 2**63}, "times 0, 9223372036854775808"),
    ],
)
def test_what_does_not_fit_the_format_is_refused_and_numbers_nothing(
    ledger: Ledger, change: dict[str, object], words: str
) -> None:
    fields = {"payload": b"", "count": 0, "time_min_ns": 0, "time_max_ns": 0, "written_ns": 0, **change}
    payload = fields.pop("payload")
    with pytest.raises(UsageError, match=words):
        ledger.append(payload, **fields)  # type: ignore[arg-type]
    assert ledger.next_block == 1


def test_a_closed_ledger_says_so_and_can_be_opened_again(disk: SimulatedDisk, ledger: Ledger) -> None:
    append(ledger)
    ledger.close()
    ledger.close()
    with pytest.raises(UsageError, match="is closed"):
        append(ledger)
    with pytest.raises(UsageError, match="is closed"):
        ledger.commit()
    with Ledger.open(disk, DATA) as again:
        assert again.next_block == 1


def test_one_writer_a_shard_and_any_number_of_shards(disk: SimulatedDisk, ledger: Ledger) -> None:
    with pytest.raises(UsageError, match="is being written by process"):
        Ledger.open(disk, DATA)
    with Ledger.open(disk, DATA, shard=1) as other:
        fill(other, 1)
    assert ledger.durable_block == 0


def test_a_ledger_that_ends_before_a_checkpoint_is_refused(disk: SimulatedDisk, ledger: Ledger) -> None:
    fill(ledger, 3)
    ledger.close()
    with pytest.raises(CorruptLedger, match="ends with block 3, but a checkpoint has seen block 4"):
        Ledger.open(disk, DATA).must_reach(4)
    with Ledger.open(disk, DATA) as ledger:
        ledger.must_reach(3)


def test_another_format_is_refused_by_name(disk: SimulatedDisk, ledger: Ledger) -> None:
    ledger.close()
    disk.remove(f"{DATA}/format.json")
    disk.create(f"{DATA}/format.json").write(0, b'{"format": 9}')
    with pytest.raises(UsageError, match="says format 9, and this FLO reads format 1"):
        Ledger.open(disk, DATA)


def test_a_torn_end_is_cut_off_and_logged(
    disk: SimulatedDisk, ledger: Ledger, caplog: pytest.LogCaptureFixture
) -> None:
    fill(ledger, 3)
    ledger.close()
    (path,) = segments(disk)
    disk.open(path, writable=True).write(disk.size(path), b"FLOB and then the power went")
    with caplog.at_level(logging.WARNING), Ledger.open(disk, DATA) as again:
        assert again.next_block == 4
    assert "cutting off 28 bytes behind block 3" in caplog.text


def test_a_segment_whose_creation_was_cut_short_is_removed(disk: SimulatedDisk, ledger: Ledger) -> None:
    fill(ledger, 2)
    ledger.close()
    name = "20270115T080000Z-00000000000000000003-00000002.seg"
    assert parse_segment_name(name) is not None
    disk.create(f"{FOLDER}/{name}").write(0, b"FLOLEDG1 half a hea")
    assert LedgerReader.open(disk, DATA).last_block == 2
    with Ledger.open(disk, DATA) as again:
        assert again.next_block == 3
    assert f"{FOLDER}/{name}" not in segments(disk)


def damage(disk: SimulatedDisk, path: str, needle: bytes) -> None:
    at = disk.open(path).read(0, disk.size(path)).find(needle)
    assert at > 0
    disk.flip_bit(path, at * 8)


def test_a_damaged_block_is_named_with_its_place_and_the_way_out(disk: SimulatedDisk, ledger: Ledger) -> None:
    fill(ledger, 30)
    ledger.close()
    (path,) = segments(disk)
    damage(disk, path, b"12" * 40)
    with pytest.raises(CorruptLedger, match=r"\.seg at byte \d+, block 12: .*salvage"):
        Ledger.open(disk, DATA)


def test_a_missing_file_is_found_when_its_blocks_are_read(disk: SimulatedDisk) -> None:
    with Ledger.open(disk, DATA) as ledger:
        for hour in range(3):
            fill(ledger, 4, hour=hour)
    disk.remove(segments(disk)[1])
    with Ledger.open(disk, DATA) as ledger:
        assert ledger.read(4)
        with pytest.raises(CorruptLedger, match="block 5"):
            list(ledger.scan())
    assert [lost[1:] for lost in salvage(disk, DATA)] == [(5, 8)]


def test_salvage_keeps_every_whole_block_and_names_the_lost_ones(disk: SimulatedDisk) -> None:
    with Ledger.open(disk, DATA, allocate_bytes=0) as ledger:
        fill(ledger, 30)
        fill(ledger, 10, hour=1)
        fill(ledger, 10, hour=2)
    old, middle, new = segments(disk)
    for number in (5, 6, 30):
        damage(disk, old, b"%d" % number * 40)
    for half in (0, 2048):
        disk.flip_bit(middle, (half + 9) * 8)  # both headers
    damage(disk, new, b"s45")
    lost = salvage(disk, DATA)
    expected = [(old, 5, 6), (old, 30, 30), (middle, 31, 40), (new, 45, 45)]
    assert [tuple(gap) for gap in lost] == expected
    assert disk.exists(f"{old}.damaged")
    disk.power_cut()
    with Ledger.open(disk, DATA) as ledger:
        blocks = list(ledger.scan())
        assert [block.number for block in blocks] == list(range(1, 51))
        gone = {5, 6, 30, *range(31, 41), 45}
        assert {block.number for block in blocks if block.codec == CODEC_LOST} == gone
        for block in blocks:
            assert block.payload == (b"" if block.number in gone else b"%d" % block.number * 40)
    assert salvage(disk, DATA) == []


def test_salvage_of_a_sound_or_empty_ledger_changes_nothing(disk: SimulatedDisk, ledger: Ledger) -> None:
    ledger.close()
    assert salvage(disk, DATA) == []
    with Ledger.open(disk, DATA) as again:
        fill(again, 3)
        with pytest.raises(UsageError, match="is being written"):
            salvage(disk, DATA)
    assert salvage(disk, DATA) == []


def test_a_reader_needs_a_ledger_and_no_lock(disk: SimulatedDisk, ledger: Ledger) -> None:
    with pytest.raises(UsageError, match="holds no ledger of shard 3"):
        LedgerReader.open(disk, DATA, shard=3)
    reader = LedgerReader.open(disk, DATA)
    assert (reader.last_block, list(reader.scan())) == (0, [])
    fill(ledger, 5)
    assert reader.refresh() == 5
    assert reader.proven_block == 4
    assert [block.number for block in reader.scan()] == [1, 2, 3, 4, 5]
    assert reader.read(3) == ledger.read(3)
    assert reader.periods()[0].last_block == 5


def test_a_reader_finds_its_way_after_the_writer_gave_a_segment_up(
    disk: SimulatedDisk, ledger: Ledger
) -> None:
    fill(ledger, 3)
    reader = LedgerReader.open(disk, DATA)
    append(ledger, b"four")
    disk.fail("sync", 5)
    disk.fail("create", 5)
    with pytest.raises(StorageUnavailable):
        ledger.commit()
    reader.refresh()
    ledger.commit()
    assert reader.read(3).payload == b"3" * 40
    assert reader.refresh() == 4
    assert reader.read(4).payload == b"four"


def test_a_reader_is_told_when_what_it_reads_was_dropped(disk: SimulatedDisk, ledger: Ledger) -> None:
    for hour in range(3):
        fill(ledger, 4, hour=hour)
    reader = LedgerReader.open(disk, DATA)
    ledger.drop_periods(NOW_NS + 2 * HOUR_NS, keep_from_block=5)
    with pytest.raises(BlockMissing):
        reader.read(2)
    assert reader.first_block == 5


def test_more_segments_than_may_be_open_can_be_read(disk: SimulatedDisk) -> None:
    with Ledger.open(disk, DATA, period_ns=10**9, allocate_bytes=0) as ledger:
        for hour in range(150):
            append(ledger, b"%d" % hour, hour=hour)
        ledger.commit()
        assert len(segments(disk)) == 150
        for _ in range(2):
            assert [block.payload for block in ledger.scan()] == [b"%d" % hour for hour in range(150)]
        assert ledger.read(1).payload == b"0"


def test_threads_append_commit_and_read_at_once(tmp_path: Path) -> None:
    with Ledger.open(LocalDisk(), str(tmp_path), segment_bytes_max=50_000) as ledger:
        done = threading.Event()

        def keep_appending() -> None:
            for _ in range(2000):
                append(ledger, b"%d" % ledger.next_block)
            done.set()

        def keep_committing() -> None:
            while not done.is_set() or ledger.pending_blocks:
                ledger.commit()

        with ThreadPoolExecutor(4) as pool:
            jobs = [pool.submit(keep_appending), pool.submit(keep_committing), pool.submit(keep_committing)]
            while not jobs[1].done():
                last = ledger.durable_block
                numbers = [int(block.payload) for block in ledger.scan(max(1, last - 50), last)]
                assert numbers == list(range(max(1, last - 50), last + 1))
            for job in jobs:
                job.result()
        assert [int(block.payload) for block in ledger.scan()] == list(range(1, 2001))
