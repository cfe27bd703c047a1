"""Dead letters that nobody has decided about outlive the ledger's periods, once each, until their own time is over."""

from __future__ import annotations

import asyncio
import json
import os
import signal
from pathlib import Path
from typing import Any

import pytest
from tests.sim.pausing import BEFORE, LENIENT, PAY, decided_ids, files, made

from flo.core.errors import CorruptLedger
from flo.core.record import DeadLetter, DeadLetterDropped, SignalsReplayed, decode_group
from flo.engines.stub import loses_answer, rejects
from flo.ports.service import DeadLetterOrder, NotFound
from flo.runtimes.clock import SteadyClock
from flo.runtimes.embedded import open_reader, start_runtime
from flo.runtimes.embedded.entry import load_directory
from flo.runtimes.embedded.library import Library
from flo.runtimes.embedded.local_shard import LocalShard
from flo.runtimes.embedded.retention import Retention
from flo.runtimes.embedded.runtime import EmbeddedRuntime
from flo.runtimes.embedded.workers.remote_shard import RemoteShard
from flo.runtimes.embedded.workers.starting import check_layout
from flo.runtimes.simulated.simulation import Simulation
from flo.stores.disk import LocalDisk

HOUR = 3600 * 1_000_000_000
FLO = """
engines:
  hook: {kind: webhook, url: "http://127.0.0.1:9/", allow_private: true, honours_key: true}
  mailer: {kind: webhook, url: "http://127.0.0.1:9/", allow_private: true}
dedupe: 1h
retention: {ledger: 2h, dead_letters: 10h}
"""


def given(contract: dict[str, Any] = BEFORE) -> dict[str, bytes]:
    return {**files(contract), "flo.yaml": FLO.encode()}


def lenient() -> dict[str, bytes]:
    return {**LENIENT, "flo.yaml": FLO.encode()}


def retention_of(port: object) -> Retention:
    assert isinstance(port, LocalShard)
    return Retention(port.shard, port._opened.store, lambda: port.book.definition)


async def retain(simulation: Simulation) -> list[str]:
    """What the task does once a minute, after two whole checkpoints."""
    (port,) = simulation.runtime._ports
    assert isinstance(port, LocalShard)
    await port._opened.checkpointer.take(base=True)
    await port._opened.checkpointer.take(base=True)
    retention = retention_of(port)
    await retention.drop_letters()
    return await retention.drop_periods()


def events(simulation: Simulation, kind: type[Any]) -> list[Any]:
    """Of the ledger as far as it is kept, oldest first."""
    view = simulation.runtime._ports[0].view
    groups = (decode_group(view.read(header.number).payload) for header in view.headers(view.last_block()))
    found = [event for group in groups for event in reversed(group.events()) if isinstance(event, kind)]
    return found[::-1]


async def listed(simulation: Simulation, **query: str) -> list[str]:
    """Their ids, newest first, read a page of one at a time."""
    ids: list[str] = []
    cursor = None
    while True:
        page = await simulation.runtime.dead_letters(query, 1, cursor)
        ids += [each["dead_letter_id"] for each in page.items]
        if (cursor := page.next) is None:
            return ids


async def replay(simulation: Simulation, **order: Any) -> dict[str, Any]:
    return await simulation.runtime.replay_dead_letters(DeadLetterOrder(**order))


async def one_an_hour(simulation: Simulation, many: int) -> list[str]:
    """Signals that break the contract, an hour apart: their dead letters, newest first."""
    for number in range(many):
        await simulation.runtime.ingest([made(number, amount=None, total=number)])
        await simulation.advance(HOUR)
    return await listed(simulation)


async def one_an_hour_more(simulation: Simulation, many: int) -> None:
    for number in range(many):
        await simulation.runtime.ingest([made(1_000 + number, amount=None)])
        await simulation.advance(HOUR)


async def started(seed: int) -> Simulation:
    simulation = Simulation(given(), seed=seed)
    await simulation.start()
    return simulation


async def test_a_dead_letter_outlives_its_period_and_is_listed_and_shown_with_its_bytes() -> None:
    simulation = await started(1)
    ids = await one_an_hour(simulation, 6)
    shown = [await simulation.runtime.dead_letter(each) for each in ids]
    items = (await simulation.runtime.dead_letters({}, 10, None)).items
    assert len(await retain(simulation)) == 4
    assert simulation.runtime._ports[0].view.first_block() > int(ids[3].split("-")[1])
    assert await listed(simulation) == ids
    assert (await simulation.runtime.dead_letters({}, 10, None)).items == items
    assert [await simulation.runtime.dead_letter(each) for each in ids] == shown
    assert json.loads(shown[-1]["bytes"])["data"] == {"card": "a", "total": 0}
    assert list(simulation.runtime.every("dead-letters", {})) == items  # what exports are made of
    since = items[-2]["at"]
    assert await listed(simulation, since=since) == ids[:-1]
    assert await listed(simulation, until=since) == ids[-2:]
    assert await listed(simulation, loop="other") == []
    with pytest.raises(NotFound):
        await simulation.runtime.dead_letter("0-1-99")
    await simulation.stop()


@pytest.mark.parametrize("power_cut", [False, True])
async def test_a_kept_dead_letter_is_replayed_once_whatever_goes_down(power_cut: bool) -> None:
    simulation = await started(2)
    ids = await one_an_hour(simulation, 6)
    await retain(simulation)
    await simulation.runtime.put_bundle(lenient(), "amount may be missing")
    first = await replay(simulation, limit=1, note="mended")
    assert (first["replayed"], await listed(simulation)) == (1, ids[:-1])
    await simulation.crash(power_cut=power_cut)
    await simulation.start(lenient())
    assert await listed(simulation) == ids[:-1]
    rest = await replay(simulation, note="mended")
    assert (rest["replayed"], rest["next"], await listed(simulation)) == (5, None, [])
    assert decided_ids(simulation) == [f"p{n}" for n in range(6)]
    assert (await replay(simulation))["matched"] == 0
    taken = [each for event in events(simulation, SignalsReplayed) for each in event.rows]
    assert [run[2] for run in taken] == [int(each.split("-")[1]) for each in reversed(ids)]
    await simulation.stop()


async def test_what_left_stays_away_when_the_period_that_says_so_goes_too() -> None:
    simulation = await started(3)
    ids = await one_an_hour(simulation, 2)
    await simulation.advance(2 * HOUR)
    await retain(simulation)
    await simulation.runtime.put_bundle(lenient(), "")
    assert (await replay(simulation, ids=(ids[1],)))["replayed"] == 1
    await simulation.runtime.drop_dead_letters(DeadLetterOrder(ids=(ids[0],), note="seen"))
    await simulation.runtime.ingest([made(9, amount="much")])
    last = await listed(simulation)
    for number in range(3):
        await simulation.advance(HOUR)
        await simulation.runtime.ingest([made(100 + number)])
    assert await retain(simulation)
    assert events(simulation, DeadLetterDropped) == []  # gone from the ledger
    await simulation.crash(power_cut=True)
    await simulation.start(lenient())
    assert await listed(simulation) == last
    assert (await replay(simulation, dry_run=True, ids=tuple(ids)))["matched"] == 0
    assert (await simulation.runtime.dead_letter(ids[0]))["reason"] == "contract"
    await simulation.stop()


async def test_a_dead_letter_of_a_command_keeps_the_command_though_it_was_issued_a_period_before() -> None:
    simulation = await started(4)
    simulation.engines["hook"].script(rejects("no such job"))
    simulation.engines["mailer"].script(loses_answer(done=False))
    await simulation.advance(HOUR - 10 * 1_000_000_000)  # of the hour that the simulation began in
    await simulation.runtime.ingest([made(1, amount=7), made(2, card="b", amount=8)])
    await simulation.advance(4 * HOUR)
    await simulation.runtime.ingest([made(3)])
    letters = sorted(event.reason for event in events(simulation, DeadLetter))
    assert letters == ["rejected", "unknown-fate"]
    assert await retain(simulation)
    assert events(simulation, DeadLetter) == []
    assert (await replay(simulation, note="the job is there now"))["replayed"] == 1
    await simulation.settle()
    assert simulation.engines["hook"].effects == ["pay/a/1/call/0"]
    assert (await replay(simulation, resend=True, note="no mail went out"))["replayed"] == 1
    await simulation.settle()
    assert simulation.engines["mailer"].effects == ["pay/b/1/mail/0"]
    assert not simulation.runtime._open_commands()
    await simulation.stop()


async def test_kept_dead_letters_expire_by_whole_periods_and_that_is_said(
    caplog: pytest.LogCaptureFixture,
) -> None:
    simulation = await started(5)
    simulation.engines["mailer"].script(loses_answer(done=False))
    await simulation.runtime.ingest([made(50, amount=8)])
    ids = await one_an_hour(simulation, 3)
    assert simulation.runtime._open_commands()
    await simulation.advance(4 * HOUR)
    await simulation.runtime.ingest([made(100)])
    await retain(simulation)
    assert await listed(simulation) == ids
    await simulation.advance(4 * HOUR)  # the oldest is eleven hours old
    with caplog.at_level("WARNING", "flo.retention"):
        await retain(simulation)
    left = await listed(simulation)
    assert 0 < len(left) < len(ids)
    assert left == ids[: len(left)]
    gone = [event for event in events(simulation, DeadLetterDropped) if event.how == "expired"]
    assert [event.dead_letter_id for event in gone] == ids[len(left) :][::-1]
    assert "older than 0.416667 days (retention: dead_letters): 2 of pay" in caplog.text
    metrics = (await simulation.runtime.metrics()).decode()
    assert f'flo_dead_letters_left_total{{how="expired",loop="pay"}} {len(gone)}.0' in metrics
    assert not simulation.runtime._open_commands()  # that of unknown fate is waited for no more
    with pytest.raises(NotFound):
        await simulation.runtime.dead_letter(ids[-1])
    await simulation.advance(20 * HOUR)
    await retain(simulation)
    await retain(simulation)
    assert await listed(simulation) == []
    assert simulation.disk.listdir("/simulated/shard-0/letters") == []
    await simulation.stop()


async def test_a_damaged_file_of_kept_dead_letters_is_named_and_does_not_keep_the_ledger_from_dropping() -> (
    None
):
    simulation = await started(7)
    await one_an_hour(simulation, 4)
    assert await retain(simulation)
    directory = "/simulated/shard-0/letters"
    path = f"{directory}/{simulation.disk.listdir(directory)[0]}"
    simulation.disk.flip_bit(path, 8 * (simulation.disk.size(path) - 30))
    with pytest.raises(CorruptLedger, match=path):
        await listed(simulation)
    await one_an_hour_more(simulation, 10)
    retention = retention_of(simulation.runtime._ports[0])
    with pytest.raises(CorruptLedger, match=path):
        await retention.drop_letters()
    (port,) = simulation.runtime._ports
    assert isinstance(port, LocalShard)
    for _ in range(2):
        await port._opened.checkpointer.take(base=True)
    assert await retention.drop_periods()
    simulation.disk.remove(path)  # as the message says
    assert await listed(simulation)
    await simulation.stop()


async def test_two_dead_letters_of_one_signal_are_both_replayed_one_before_and_one_after_the_period_went() -> (
    None
):
    twin = PAY.replace("loop: pay", "loop: twin").encode()
    mended = lenient()
    mended["loops/twin.yaml"] = mended["loops/pay.yaml"].replace(b"loop: pay", b"loop: twin")
    for when in ("before", "after"):
        simulation = Simulation({**given(), "loops/twin.yaml": twin}, seed=6)
        await simulation.start()
        await simulation.runtime.ingest([made(1, amount=None)])
        await simulation.advance(3 * HOUR)
        await simulation.runtime.put_bundle(mended, "")
        if when == "before":
            assert (await replay(simulation, query={"loop": "twin"}))["replayed"] == 1
        assert await retain(simulation)
        if when == "after":
            assert (await replay(simulation, query={"loop": "twin"}))["replayed"] == 1
        assert (await replay(simulation))["replayed"] == 1
        assert (decided_ids(simulation), decided_ids(simulation, "twin")) == (["p1"], ["p1"])
        await simulation.stop()


class PastClock(SteadyClock):
    """Six hours ago."""

    def now_ns(self) -> int:
        return super().now_ns() - 6 * HOUR


async def test_kept_dead_letters_are_found_beside_workers_and_replayed_once(tmp_path: Path) -> None:
    bundle, data = tmp_path / "bundle", tmp_path / "data"
    for name, content in given().items():
        (bundle / name).parent.mkdir(parents=True, exist_ok=True)
        (bundle / name).write_bytes(content)
    check_layout(data, 2)
    loaded = load_directory(bundle)
    past = await EmbeddedRuntime.start(
        loaded, Library(data, loaded, bundle), data, LocalDisk(), new_clock=lambda ledger_ns: PastClock()
    )
    await past.ingest([made(n, amount=None, total=n) for n in range(3)])
    await past.stop()
    today = LocalShard(LocalDisk(), str(data), 0, Library(data, loaded, bundle), lambda digests: None)
    today.shard.start()
    await today.offer([made(9)])
    for _ in range(2):
        await today._opened.checkpointer.take(base=True)
    assert await retention_of(today).drop_periods()
    await today.stop()
    (line,) = await open_reader(data).loops()
    assert (line["decisions"], line["needs_attention"]) == (1, ["3 dead letters"])
    for name, content in lenient().items():
        (bundle / name).write_bytes(content)
    runtime = await start_runtime(bundle=bundle, data=data, workers=2)
    try:
        ids = [each["dead_letter_id"] for each in (await runtime.dead_letters({}, 10, None)).items]
        assert len(ids) == 3
        shown = await runtime.dead_letter(ids[-1])
        assert json.loads(shown["bytes"])["data"]["total"] == 0
        answer = await runtime.replay_dead_letters(DeadLetterOrder(limit=2, note="mended"))
        assert answer["replayed"] == 2
        port = runtime._ports[0]
        assert isinstance(port, RemoteShard)
        assert port._process is not None
        before = port._process.pid
        os.kill(before, signal.SIGKILL)
        async with asyncio.timeout(30):
            while port.problem() is not None or port._process.pid == before:
                await asyncio.sleep(0.02)
        answer = await runtime.replay_dead_letters(DeadLetterOrder(note="mended"))
        assert (answer["replayed"], answer["matched"]) == (1, 1)
        decided = (await runtime.decisions({"loop": "pay"}, 100, None)).items
        assert sorted(each["signal"]["id"] for each in decided) == ["p0", "p1", "p2", "p9"]
    finally:
        await runtime.stop()
