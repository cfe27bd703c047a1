"""Watchdogs in a running FLO: a finding is recorded as a signal, a rule acts on it, and a restart forgets nothing."""

from __future__ import annotations

import asyncio
import logging
from pathlib import Path
from typing import Any

import pytest
from tests.flow.looping import event

from flo.runtimes.embedded.entry import open_reader, start_runtime
from flo.runtimes.embedded.runtime import EmbeddedRuntime
from flo.stores.watchdog_file import NAME

FILES = {
    "flo.yaml": "engines: {stub: {kind: stub}}\n",
    "loops/settle.yaml": """
loop: settle
on: settle
key: data.card
ttl: 1m
""",
    "loops/alarm.yaml": """
loop: alarm
on: flo.iteration.killed
key: data.subject
state: {alarms: {count: true}}
rules:
  - id: alarm
    when: data.figures.killed > 0
    then: [{do: stub.call, with: {about: '${data.detail}'}}]
""",
}


@pytest.fixture
def home(tmp_path: Path) -> Path:
    for name, content in FILES.items():
        path = tmp_path / "bundle" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content)
    return tmp_path


def zombie() -> bytes:
    old = {"floroot": "r", "floborn": "2026-01-01T00:00:00Z", "flohops": 1}
    return event({"card": "x"}, type="settle", **old)


async def rows(runtime: EmbeddedRuntime) -> list[dict[str, Any]]:
    return (await runtime.watchdogs({}, 50, None)).items


async def test_a_finding_becomes_a_signal_that_a_rule_acts_on(home: Path) -> None:
    runtime = await start_runtime(bundle=home / "bundle", data=home / "data")
    try:
        await runtime.ingest([zombie() for _ in range(20)])
        await runtime.watching.tick()
        (finding,) = await rows(runtime)
        assert (finding["type"], finding["subject"], finding["figures"]["killed"]) == (
            "flo.iteration.killed",
            "settle",
            20,
        )
        (decision,) = (await runtime.decisions({"loop": "alarm"}, 50, None)).items
        assert (decision["key"], decision["result"]) == ("settle", "alarm")
        (command,) = (await runtime.commands({"loop": "alarm"}, 50, None)).items
        assert "20 contexts died at settle" in command["arguments"]["about"]
        await runtime.ingest([zombie()])
        await runtime.watching.tick()
        assert len((await runtime.decisions({"loop": "alarm"}, 50, None)).items) == 1, (
            "it holds, it is no news"
        )
        first, *_ = await runtime.loops()
        assert (first["name"], first["findings"][0]["type"]) == ("settle", "flo.iteration.killed")
        metrics = (await runtime.metrics()).decode()
        assert 'flo_watchdog_findings{type="flo.iteration.killed"} 1.0' in metrics
        assert 'flo_watchdog_raised_total{type="flo.iteration.killed"} 1.0' in metrics
    finally:
        await runtime.stop()


async def test_a_restart_knows_what_held_and_a_data_directory_tells_it(home: Path) -> None:
    runtime = await start_runtime(bundle=home / "bundle", data=home / "data")
    await runtime.ingest([zombie() for _ in range(3)])
    await runtime.watching.tick()
    before = await rows(runtime)
    await runtime.stop()
    assert (await open_reader(home / "data").watchdogs({}, 50, None)).items == before
    again = await start_runtime(bundle=home / "bundle", data=home / "data")
    try:
        assert await rows(again) == before
        await again.ingest([zombie()])
        await again.watching.tick()
        (finding,) = await rows(again)
        assert (finding["first"], finding["figures"]["killed"]) == (before[0]["first"], 4)
        assert len((await again.decisions({"loop": "alarm"}, 50, None)).items) == 1
    finally:
        await again.stop()


@pytest.mark.parametrize("damage", [b"", b"xyz", b"\x00\x00\x00\x01something else"])
async def test_a_damaged_snapshot_is_a_line_in_the_log_and_no_more(
    home: Path, damage: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    (home / "data").mkdir()
    (home / "data" / NAME).write_bytes(damage)
    with caplog.at_level(logging.WARNING, "flo.watchdogs"):
        runtime = await start_runtime(bundle=home / "bundle", data=home / "data")
    try:
        assert "is damaged, watchdogs begin anew" in caplog.text
        assert await rows(runtime) == []
        await runtime.ingest([zombie()])
        await runtime.watching.tick()
        assert len(await rows(runtime)) == 1
    finally:
        await runtime.stop()


async def test_the_watch_ticks_by_itself(home: Path) -> None:
    runtime = await start_runtime(bundle=home / "bundle", data=home / "data", workers=2)
    try:
        await runtime.ingest([zombie()])
        async with asyncio.timeout(30):
            while not await rows(runtime):
                await asyncio.sleep(0.05)
            while not (await runtime.decisions({"loop": "alarm"}, 50, None)).items:
                await asyncio.sleep(0.05)
    finally:
        await runtime.stop()
