"""A real FLO, served: what is sent to it over HTTP, and the edges it answers."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp

from flo.faces.http import Limits, build_app, serve
from flo.runtimes.embedded.entry import start_runtime
from flo.runtimes.embedded.runtime import EmbeddedRuntime

LOOPS = {
    "score": "on: tx\nkey: data.card\nfeeds: [retrain]\nreads: [dataset:profiles]\nwrites: [dataset:scores]\n",
    "retrain": "on: label\nkey: data.card\nreads: [dataset:scores]\n",
}
"""Two loops with declared edges; each is told by what follows its name."""


class Observed:
    """A client of one FLO."""

    def __init__(self, runtime: EmbeddedRuntime, session: aiohttp.ClientSession, url: str) -> None:
        self.runtime = runtime
        self.url = url
        self._session = session

    async def ask(self, method: str, path: str, **options: Any) -> tuple[int, Mapping[str, str], Any]:
        """(status, headers, body: decoded where JSON)."""
        async with self._session.request(method, self.url + path, **options) as response:
            body = await response.read()
            is_json = "json" in response.headers.get("Content-Type", "")
            return response.status, response.headers, json.loads(body) if is_json and body else body

    async def lineage(self, value: Any) -> tuple[int, Any]:
        status, _, body = await self.ask("POST", "/api/v1/lineage", json=value)
        return status, body

    async def edges(self, **query: str) -> dict[str, dict[str, Any]]:
        """Edges by `a -> b`."""
        _, _, body = await self.ask("GET", "/v1/edges", params={**query, "limit": "1000"})
        return {f"{edge['from']} -> {edge['to']}": edge for edge in body["edges"]}

    async def findings(self) -> dict[tuple[str, str], dict[str, Any]]:
        """What the watchdogs have found after a look around, by type and subject."""
        await self.runtime.watching.tick()
        _, _, body = await self.ask("GET", "/v1/watchdogs", params={"limit": "1000"})
        return {(finding["type"], finding["subject"]): finding for finding in body["watchdogs"]}


def write_bundle(directory: Path, loops: Mapping[str, str], flo_yaml: str = "engines: {}\n") -> Path:
    """A bundle's directory; a loop is given by what follows its name."""
    (directory / "loops").mkdir(parents=True, exist_ok=True)
    (directory / "flo.yaml").write_text(flo_yaml)
    for name, rest in loops.items():
        (directory / "loops" / f"{name}.yaml").write_text(f"loop: {name}\n{rest}")
    return directory


@asynccontextmanager
async def observing(
    home: Path,
    loops: Mapping[str, str] = LOOPS,
    *,
    flo_yaml: str = "engines: {}\n",
    limits: Limits | None = None,
    workers: int = 1,
) -> AsyncIterator[Observed]:
    """FLO on `home / "data"`, from its start to its orderly end."""
    bundle = write_bundle(home / "bundle", loops, flo_yaml)
    runtime = await start_runtime(bundle=bundle, data=home / "data", workers=workers)
    await runtime.observing.ready()
    runner, port = await serve(build_app(runtime, limits=limits), "127.0.0.1", 0)
    try:
        async with aiohttp.ClientSession() as session:
            yield Observed(runtime, session, f"http://127.0.0.1:{port}")
    finally:
        await runner.cleanup()
        await runtime.stop()


def run_event(
    run: str, state: str, at_s: int, job: str = "etl", inputs: Any = (), outputs: Any = (), **facets: Any
) -> dict[str, Any]:
    """One OpenLineage run event. Datasets are (name) or (name, version)."""
    return {
        "eventType": state,
        "eventTime": f"2026-11-23T05:{at_s // 60:02d}:{at_s % 60:02d}.000Z",
        "producer": "https://example.com/test",
        "schemaURL": "https://openlineage.io/spec/2-0-2/OpenLineage.json#/$defs/RunEvent",
        "run": {"runId": run, "facets": facets},
        "job": {"namespace": "jobs", "name": job},
        "inputs": [_dataset(each) for each in inputs],
        "outputs": [_dataset(each) for each in outputs],
    }


def _dataset(named: str | tuple[str, str]) -> dict[str, Any]:
    name, version = (named, None) if isinstance(named, str) else named
    facet = {"_producer": "https://example.com/test", "_schemaURL": "https://example.com/version"}
    facets = {} if version is None else {"version": {**facet, "datasetVersion": version}}
    return {"namespace": "warehouse", "name": name, "facets": facets}
