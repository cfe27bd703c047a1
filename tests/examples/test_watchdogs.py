"""The bundle of watchdogs at work: a finding pages a person, and a rule acts on one."""

from __future__ import annotations

import asyncio
import json
import time
from pathlib import Path
from typing import Any

import pytest
import yaml
from aiohttp import web

from flo.core.signal import encode_signal
from flo.flow.watchdogs.watch import SEVERITY, Watch
from flo.runtimes.embedded.entry import start_runtime

EXAMPLES = Path(__file__).parents[2] / "examples"
BUNDLE = EXAMPLES / "watchdogs"


@pytest.mark.parametrize(
    "loop", ["watchdogs/loops/page-on-findings.yaml", "scenarios/paging/loops/page.yaml"]
)
def test_the_loops_that_page_listen_to_every_watchdog_there_is(loop: str) -> None:
    types = yaml.safe_load((EXAMPLES / loop).read_text())[True]  # YAML reads `on` as a bool
    assert {dog.type for dog in Watch().dogs} < set(SEVERITY)
    assert sorted(types) == sorted(set(SEVERITY) - {"flo.breaker.opened"}), "the breaker pages by itself"


async def test_a_silent_settlement_pages_once_and_is_stopped(tmp_path: Path) -> None:
    asked: list[tuple[str, dict[str, Any]]] = []

    async def take(request: web.Request) -> web.Response:
        asked.append((request.path, json.loads(await request.read())))
        return web.json_response({"status": "ok"})

    app = web.Application()
    app.router.add_post("/{any}", take)
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    port = runner.addresses[0][1]
    for path in BUNDLE.rglob("*.yaml"):
        target = tmp_path / "bundle" / path.relative_to(BUNDLE)
        target.parent.mkdir(parents=True, exist_ok=True)
        text = path.read_text().replace(":8762/", f":{port}/").replace(":8763/", f":{port}/")
        target.write_text(text)
    runtime = await start_runtime(bundle=tmp_path / "bundle", data=tmp_path / "data")
    try:
        await runtime.ingest([_due("a", 1)])
        async with asyncio.timeout(60):
            while not any(path == "/page" for path, _ in asked):
                await asyncio.sleep(0.05)
            while not (await runtime.decisions({"loop": "settle", "result": "stopped"}, 1, None)).items:
                await asyncio.sleep(0.05)
        settled = sum(path == "/settle" for path, _ in asked)
        await runtime.ingest([_due("b", 2)])
        (decision,) = (await runtime.decisions({"loop": "settle", "key": "b"}, 1, None)).items
        assert decision["result"] == "stopped"
        assert sum(path == "/settle" for path, _ in asked) == settled <= 4
        pages = [body["data"]["arguments"] for path, body in asked if path == "/page"]
        assert {page["found"] for page in pages} <= {"flo.command.silent", "flo.iteration.killed"}
        assert any("reported success and wrote nothing" in page["summary"] for page in pages)
    finally:
        await runtime.stop()
        await runner.cleanup()


def _due(account: str, number: int) -> bytes:
    return encode_signal(
        id=f"d{number}",
        source="test",
        type="settlement.due",
        time_ns=time.time_ns(),
        data={"account": account},
    )
