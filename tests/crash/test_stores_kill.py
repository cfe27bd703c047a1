"""A writing process is killed for real, at any moment; and a reader looks on beside a writing one."""

from __future__ import annotations

import os
import random
import subprocess
import sys
import time
from pathlib import Path

import pytest

from flo.core.errors import UsageError
from flo.stores.disk import LocalDisk
from flo.stores.ledger import Block, Ledger, LedgerReader

pytestmark = pytest.mark.crash

KILLS = max(12, int(os.environ.get("FLO_CRASH_RUNS", "100")) // 10)
SECOND_NS = 10**9

WRITER = """
import random, sys
from flo.stores.disk import LocalDisk
from flo.stores.ledger import Ledger

data, commits = sys.argv[1], int(sys.argv[2])
ledger = Ledger.open(LocalDisk(), data, period_ns=10**9, segment_bytes_max=400_000, allocate_bytes=65536)
for commit in range(commits):
    for _ in range(1 + commit % 3):
        number = ledger.next_block
        payload = random.Random(number).randbytes(number * 7919 % 30_000)
        ledger.append(payload, count=number, time_min_ns=0, time_max_ns=0, written_ns=number * 10**7)
    print(ledger.commit(), flush=True)
ledger.close()
"""


def is_what_the_writer_wrote(block: Block) -> bool:
    payload = random.Random(block.number).randbytes(block.number * 7919 % 30_000)
    return block.payload == payload and block.count == block.number


def start_writer(data: Path, commits: int) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", WRITER, str(data), str(commits)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True)


def test_kill_9_loses_no_acknowledged_block(tmp_path: Path) -> None:
    dice = random.Random(5)
    acknowledged = 0
    for kill in range(KILLS):
        with start_writer(tmp_path, 1_000_000) as writer:
            assert writer.stdout is not None
            for _ in range(dice.randrange(1, 60)):
                acknowledged = int(writer.stdout.readline())
            time.sleep(dice.random() * 0.003)
            writer.kill()
            for line in writer.stdout:  # acknowledged before the kill, read after it
                acknowledged = int(line) if line.endswith("\n") else acknowledged
        with Ledger.open(LocalDisk(), str(tmp_path), period_ns=SECOND_NS) as ledger:
            assert ledger.durable_block >= acknowledged, f"seed 5, kill {kill}"
            assert [block.number for block in ledger.scan()] == list(range(1, ledger.durable_block + 1))
            assert all(map(is_what_the_writer_wrote, ledger.scan()))


def test_a_reader_beside_a_writer_sees_only_whole_blocks_in_order(tmp_path: Path) -> None:
    Ledger.open(LocalDisk(), str(tmp_path), period_ns=SECOND_NS).close()
    reader = LedgerReader.open(LocalDisk(), str(tmp_path))
    seen = looks = 0
    with start_writer(tmp_path, 600) as writer:
        while writer.poll() is None or reader.refresh() > seen:
            looks += 1
            last = reader.refresh()
            assert last >= seen
            assert reader.proven_block <= last
            for block in reader.scan(seen + 1, last):
                seen += 1
                assert block.number == seen
                assert is_what_the_writer_wrote(block)
        assert writer.stdout is not None
        assert seen == int(writer.stdout.readlines()[-1]) == 1200
    assert looks > 20
    headers = list(reader.scan(headers_only=True, reverse=True))
    assert [header.number for header in headers] == list(range(1200, 0, -1))


def test_a_second_writer_is_told_who_the_first_is_and_a_dead_one_holds_nothing(tmp_path: Path) -> None:
    with start_writer(tmp_path, 1_000_000) as writer:
        assert writer.stdout is not None
        writer.stdout.readline()
        with pytest.raises(UsageError, match=f"process {writer.pid}: stop it first"):
            Ledger.open(LocalDisk(), str(tmp_path))
        writer.kill()
        writer.stdout.read()
    Ledger.open(LocalDisk(), str(tmp_path), period_ns=SECOND_NS).close()
