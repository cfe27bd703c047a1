"""A job of one loop: an HTTP server that takes FLO's commands, computes for real, and reports its runs as OpenLineage.

python job.py NAME FLO-URL

A command's arguments: `source` and `features` (files), `day`, and `compute`. With `compute` the job makes the features
of the day itself; without, it reads those that are there. Either way it goes on to its own result.
"""

from __future__ import annotations

import asyncio
import csv
import hashlib
import json
import math
import signal
import sys
import uuid
from collections import defaultdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import aiohttp
from aiohttp import web

NAMESPACE = "recompute"
ROUNDS = 40
"""Of the smoothing of a card's amounts: what makes it take a while, as features do."""

CONTEXT = ("floroot", "floparent", "floborn", "flodeadline", "flohops", "floseq")


def version_of(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()[:16]


def compute_features(source: Path, features: Path) -> None:
    """Mean, spread and a smoothed trend of each card's amounts. The same input gives the same bytes."""
    amounts: dict[str, list[float]] = defaultdict(list)
    with source.open(newline="") as file:
        for card, amount in csv.reader(file):
            amounts[card].append(float(amount))
    with features.open("w", newline="") as file:
        out = csv.writer(file)
        for card, values in sorted(amounts.items()):
            mean = sum(values) / len(values)
            spread = math.sqrt(sum((value - mean) ** 2 for value in values) / len(values))
            trend = values
            for _ in range(ROUNDS):
                trend = [
                    0.5 * one + 0.5 * other for one, other in zip(trend, trend[1:] + trend[:1], strict=True)
                ]
            out.writerow([card, f"{mean:.6f}", f"{spread:.6f}", f"{trend[0]:.6f}"])


def own_result(name: str, features: Path) -> Path:
    """What the job is there for: a score, a model, a report; here the cards that stand out."""
    result = features.with_name(f"{name}-{features.stem}.csv")
    with features.open(newline="") as file:
        odd = [row[0] for row in csv.reader(file) if float(row[2]) > float(row[1])]
    result.write_text("\n".join(odd))
    return result


def do_work(name: str, arguments: dict[str, Any]) -> tuple[list[tuple[str, str]], list[tuple[str, str]]]:
    """(inputs, outputs) with versions, once the work is done. Computed features go where everybody looks for them."""
    source, shared = Path(arguments["source"]), Path(arguments["features"])
    inputs, outputs = [("tx", version_of(source))], []
    features = shared
    if arguments["compute"]:
        features = shared.with_name(f"{shared.stem}-{name}.tmp")
        compute_features(source, features)
        features.replace(shared)
        outputs.append(("features", version_of(shared)))
    else:
        inputs = [("features", version_of(shared))]
    result = own_result(name, shared)
    outputs.append((f"{name}-result", version_of(result)))
    return inputs, outputs


class Job:
    """Takes commands, one at a time."""

    def __init__(self, name: str, flo: str, session: aiohttp.ClientSession) -> None:
        self._name = name
        self._flo = flo
        self._session = session

    async def handle(self, request: web.Request) -> web.Response:
        command = await request.json()
        arguments = command["data"]["arguments"]
        run = str(uuid.uuid4())
        await self._report(run, "START", [], [])
        inputs, outputs = await asyncio.to_thread(do_work, self._name, arguments)
        await self._report(run, "COMPLETE", inputs, outputs)
        if arguments["compute"]:
            await self._tell(command, arguments)
        return web.json_response({"run": run, "outputs": dict(outputs)})

    async def _report(
        self, run: str, state: str, inputs: list[tuple[str, str]], outputs: list[tuple[str, str]]
    ) -> None:
        event = {
            "eventType": state,
            "eventTime": datetime.now(UTC).isoformat(timespec="microseconds").replace("+00:00", "Z"),
            "producer": "https://example.com/flo/recompute",
            "schemaURL": "https://openlineage.io/spec/2-0-2/OpenLineage.json#/$defs/RunEvent",
            "run": {"runId": run, "facets": {}},
            "job": {"namespace": NAMESPACE, "name": self._name, "facets": {}},
            "inputs": [dataset(name, version) for name, version in inputs],
            "outputs": [dataset(name, version) for name, version in outputs],
        }
        async with self._session.post(f"{self._flo}/api/v1/lineage", json=event) as response:
            assert response.status == 201, await response.text()

    async def _tell(self, command: dict[str, Any], arguments: dict[str, Any]) -> None:
        """The features are there: a signal, in the context of the command that asked for them."""
        event = {
            "specversion": "1.0",
            "id": f"features/{command['id']}",
            "source": f"/jobs/{self._name}",
            "type": "features.computed",
            **{name: command[name] for name in CONTEXT if name in command},
            "data": {name: arguments[name] for name in ("day", "source", "features")},
        }
        async with self._session.post(f"{self._flo}/v1/signals", json=event) as response:
            assert response.status == 202, await response.text()


def dataset(name: str, version: str) -> dict[str, Any]:
    facet = {
        "_producer": "https://example.com/flo/recompute",
        "_schemaURL": "https://openlineage.io/spec/facets/1-0-1/DatasetVersionDatasetFacet.json",
        "datasetVersion": version,
    }
    return {"namespace": NAMESPACE, "name": name, "facets": {"version": facet}}


async def main(name: str, flo: str) -> None:
    async with aiohttp.ClientSession() as session:
        app = web.Application()
        app.router.add_post("/", Job(name, flo, session).handle)
        runner = web.AppRunner(app, access_log=None)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        print(json.dumps({"url": f"http://127.0.0.1:{runner.addresses[0][1]}/"}), flush=True)
        ended = asyncio.Event()
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, ended.set)
        await ended.wait()
        await runner.cleanup()


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:3]))
