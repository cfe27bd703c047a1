"""Where the time goes: each stage of a signal's way by itself, batch by batch, then the step whole.

The stages run in one process on the structures the runtime uses; what they add up to is the processor time of one
worker, but for the event loop between them. Syncing is waiting, not work, and stands apart.
"""

from __future__ import annotations

import contextlib
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TypeVar

import msgspec
import zstandard

from bench.report import Report, table
from flo.core.record import Group, encode_group
from flo.core.record.group import COMPRESS_BYTES_MIN
from flo.core.signal import parse_signal, time_from_text
from flo.flow.digest import digest_of
from flo.flow.inputs import decode_data
from flo.flow.marks import Marks
from flo.flow.reconcile import Reconciler
from flo.flow.router import Route, Router
from flo.flow.step import Step, Submission
from flo.runtimes.embedded.collector import rare_collections
from flo.runtimes.embedded.entry import load_directory
from flo.runtimes.embedded.figures import Figures
from flo.runtimes.embedded.file_run import batches
from flo.stores.disk import LocalDisk
from flo.stores.ledger import Ledger

WINDOW_NS = 86_400 * 10**9
NOW_NS = 1_800_000_000 * 10**9
SYNC = "sync (waiting)"
STEP = "the step whole"
INSIDE_STEP = ("decode the envelope", "read the time", "decode by contract", "state and rules")
REST_OF_STEP = "marks, routing, rows, receipts"

Made = TypeVar("Made")


class Stages:
    """A stopwatch with a hand for every stage."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}

    def time(self, stage: str, call: Callable[[], Made]) -> Made:
        began = time.perf_counter()
        made = call()
        self.seconds[stage] = self.seconds.get(stage, 0.0) + time.perf_counter() - began
        return made


def profile(report: Report, bundle: Path, signals: Path) -> None:
    """Fill `report` with a table of stages."""
    stages = Stages()
    count = 0
    program = load_directory(bundle).programs["score"]
    parts, whole = Route(program, program.new_cells()), Route(program, program.new_cells())
    step = Step(Router([whole]), Marks(WINDOW_NS), Reconciler(lambda loop, rule, n: None))
    figures, results = Figures(), {"score": program.result}
    with tempfile.TemporaryDirectory(prefix="flo-bench-") as scratch, contextlib.ExitStack() as stack:
        ledger = Ledger.open(LocalDisk(), scratch, 0)
        stack.enter_context(rare_collections())
        for block, lines in enumerate(_read(stages, signals), 1):
            count += len(lines)
            _inside_step(stages, parts, lines)
            group = Group(block=block, shard=0, decided_ns=NOW_NS)
            submission = Submission(lines, lambda result: None)
            stages.time(STEP, lambda: step.run([submission], group))  # noqa: B023
            _record(stages, ledger, group)
            digest = stages.time("digest and figures", lambda: digest_of(group))  # noqa: B023
            stages.time("digest and figures", lambda: figures.observe([digest], results, NOW_NS))  # noqa: B023
        ledger.close()
    _tell(stages, count, report)


def _read(stages: Stages, signals: Path) -> Iterator[list[bytes]]:
    reading = batches(signals)
    while (read := stages.time("read and split the file", lambda: next(reading, None))) is not None:
        yield read[0]


def _inside_step(stages: Stages, route: Route, lines: list[bytes]) -> None:
    """What the step does with each signal, one thing at a time for the whole batch."""
    decide, cells = route.decide, route.cells
    envelope, clock, contract, rules = INSIDE_STEP
    events = stages.time(envelope, lambda: [parse_signal(line) for line in lines])
    times = stages.time(
        clock, lambda: [NOW_NS if each.time is None else time_from_text(each.time) for each in events]
    )
    data = stages.time(contract, lambda: [decode_data(route, event) for event in events])
    stages.time(
        rules,
        lambda: [
            decide(event, value, t, NOW_NS, None, None, cells, row)
            for row, (event, value, t) in enumerate(zip(events, data, times, strict=True))
        ],
    )


def _record(stages: Stages, ledger: Ledger, group: Group) -> None:
    """Encoding, compressing, framing, writing and syncing one group, as the commit thread does."""
    encode = msgspec.msgpack.Encoder().encode
    compressor = zstandard.ZstdCompressor(level=1)

    def columns() -> list[bytes]:
        rows = [column for section in group.sections for column in zip(*section.rows, strict=True)]
        return [encode(group.raws), *map(encode, rows)]

    packed = stages.time("encode the columns", columns)
    stages.time(
        "compress them",
        lambda: [compressor.compress(part) for part in packed if len(part) >= COMPRESS_BYTES_MIN],
    )
    payload, summary = encode_group(group)
    ledger.append(
        payload,
        count=group.records(),
        time_min_ns=NOW_NS,
        time_max_ns=NOW_NS,
        written_ns=NOW_NS,
        summary=summary,
    )
    stages.time(SYNC, ledger.commit)


def _tell(stages: Stages, count: int, report: Report) -> None:
    seconds = stages.seconds
    seconds[REST_OF_STEP] = seconds.pop(STEP) - sum(seconds[name] for name in INSIDE_STEP)
    total = sum(each for name, each in seconds.items() if name != SYNC)
    order = sorted(seconds, key=lambda name: -seconds[name])
    rows = [
        [name, f"{seconds[name] / count * 1e6:.2f}", "" if name == SYNC else f"{seconds[name] / total:.0%}"]
        for name in order
    ]
    rows.append(["all but sync", f"{total / count * 1e6:.2f}", ""])
    report.tables.append(table(["stage", "µs/signal", "share"], rows))
    report.figures["stages_us"] = {name: each / count * 1e6 for name, each in seconds.items()}
