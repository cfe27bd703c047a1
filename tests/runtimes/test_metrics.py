"""`/metrics` of a running FLO: what it reads from and commands is in it, and Prometheus' own tool finds no fault."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest
from aiohttp import web
from prometheus_client.parser import text_string_to_metric_families
from tests.faces.observing import Observed, observing
from tests.flow.looping import event
from tests.servers.programs import program

LOOP = {
    "enrich": "on: tx\nkey: data.card\nneeds: {profile: profiles}\n"
    "rules: [{id: call, when: 'true', then: [{do: desk.call}]}]\n"
}


async def scraped(home: Path) -> str:
    """The text after five signals of two cards, each fetched and called, from a real service on loopback."""

    async def answer(request: web.Request) -> web.Response:
        return web.json_response({"age": 3})

    app = web.Application()
    app.router.add_route("*", "/{key}", answer)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    url = f"http://127.0.0.1:{runner.addresses[0][1]}"
    outside = (
        f"engines: {{desk: {{kind: webhook, url: '{url}/desk', allow_private: true, honours_key: true}}}}\n"
        f"dependencies: {{profiles: {{kind: http, url: '{url}/{{key}}', deadline: 2s, cache: 1m, idle_timeout: 5s}}}}\n"
    )
    try:
        async with observing(home, LOOP, flo_yaml=outside) as flo:
            for number in range(5):
                await flo.runtime.ingest([event({"card": f"c{number % 2}"}, id=str(number), type="tx")])
            assert flo.runtime._engines.dispatcher is not None
            assert await flo.runtime._engines.dispatcher.drain(10.0)
            return await text(flo)
    finally:
        await runner.cleanup()


async def text(flo: Observed) -> str:
    _, _, body = await flo.ask("GET", "/metrics")
    return str(body.decode())


async def test_dependencies_and_engines_are_counted(tmp_path: Path) -> None:
    values = {
        (sample.name, *sample.labels.values()): sample.value
        for family in text_string_to_metric_families(await scraped(tmp_path))
        for sample in family.samples
    }
    assert values["flo_dependency_fetches_total", "profiles"] == 5
    assert values["flo_dependency_requests_total", "profiles"] == 2
    assert values["flo_dependency_cached_total", "profiles"] == 3
    assert values["flo_dependency_idle_timeout_seconds", "profiles"] == 5.0
    assert 0 < values["flo_dependency_p99_seconds", "profiles"] < 2
    assert values["flo_engine_sends_total", "desk"] == 5
    assert values["flo_engine_circuit_open", "desk"] == 0.0


@pytest.mark.servers
async def test_promtool_finds_no_fault_with_names_and_units(tmp_path: Path) -> None:
    done = subprocess.run(
        [program("promtool"), "check", "metrics"],
        input=await scraped(tmp_path),
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stdout + done.stderr) == (0, "")
