"""Events that Airflow, dbt and Marquez's seed really hold, posted to a real FLO as they are."""

from __future__ import annotations

import gzip
import json
import os
import re
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from tests.faces.observing import observing

from flo.core.record import decode_group

_DATA = Path(os.environ.get("FLO_DATA") or Path(__file__).parents[3] / "shared" / "data")


def lines(name: str) -> list[bytes]:
    file = _DATA / name
    if not file.exists():
        pytest.skip(f"{file} is absent; set FLO_DATA to the folder that holds {name}")
    text = gzip.decompress(file.read_bytes()) if file.suffix == ".gz" else file.read_bytes()
    return [line for line in text.splitlines() if line.strip()]


JSON = {"Content-Type": "application/json"}


async def test_airflow_events_are_taken_unmodified_and_inlets_are_told_from_what_was_used(
    tmp_path: Path,
) -> None:
    events = lines("openlineage_real/airflow_3.3.2.ndjson")
    async with observing(tmp_path) as flo:
        for event in events:
            status, _, body = await flo.ask("POST", "/api/v1/lineage", data=event, headers=JSON)
            assert (status, body["accepted"]) == (201, 1)
        edges = await flo.edges()
        assert await flo.findings() == {}
        status, _, body = await flo.ask("POST", "/api/v1/lineage", data=events[0], headers=JSON)
        assert (status, body["duplicates"]) == (201, 1)
        exported = [json.loads(raw) for raw in _signals(flo.runtime)]
    features, train = "job:flo/loop_fraud.features", "job:flo/loop_fraud.train"
    source, made = "dataset:file//tmp/rd/integ/af/src.csv", "dataset:file//tmp/rd/integ/af/feat.csv"
    assert {
        name: (edge["status"], list(edge["evidence"])) for name, edge in edges.items() if edge["count"]
    } == {
        f"{source} -> {features}": ("declared", ["declared"]),
        f"{features} -> {made}": ("declared", ["declared"]),
        f"{made} -> {train}": ("declared", ["declared"]),
        f"{features} -> {train}": ("both", ["reported"]),
    }
    assert [signal["data"] for signal in exported] == [json.loads(event) for event in events]
    assert {signal["type"] for signal in exported} == {"openlineage.run"}


def _signals(runtime: Any) -> list[bytes]:
    (view,) = runtime.observing._views().values()
    blocks = range(1, view.last_block() + 1)
    return [raw for block in blocks for raw in decode_group(view.read(block).payload).raws()]


async def test_dbt_events_are_taken_unmodified(tmp_path: Path) -> None:
    events = [json.loads(line) for line in lines("openlineage_real/dbt_1.11.16.ndjson")]
    async with observing(tmp_path) as flo:
        status, body = await flo.lineage(events)
        assert (status, body["status"], body["summary"]["successful"]) == (200, "success", len(events))
        edges = await flo.edges(evidence="reported")
        assert await flo.findings() == {}
    build, test = "job:dbt/f.main.flo.feat.build.run", "job:dbt/f.main.flo.feat.build.test"
    (made,) = {edge["to"] for edge in edges.values() if edge["from"] == build}
    assert made.endswith("f.main.feat")
    assert set(edges) == {f"{build} -> {made}", f"{made} -> {test}"}


async def test_recorded_dbt_runs_without_producer_and_with_odd_run_ids_are_taken(tmp_path: Path) -> None:
    events = [json.loads(line)["event"] for line in lines("openlineage_dbt/dbt_events.ndjson.gz")]
    async with observing(tmp_path) as flo:
        status, body = await flo.lineage(events)
        assert (status, body["rejected"]) == (200, [])
        assert body["accepted"] + body["duplicates"] == len(events) == 400


async def test_the_seed_of_marquez_is_taken_once_its_times_are_filled_in(tmp_path: Path) -> None:
    file = _DATA / "marquez_seed" / "metadata.template.json"
    if not file.exists():
        pytest.skip(f"{file} is absent; set FLO_DATA to the folder that holds marquez_seed")
    start = datetime(2026, 11, 22, 20, tzinfo=UTC)

    def time(match: re.Match[str]) -> str:
        minutes = int(match[1]) if match[1] else 0
        return (start + timedelta(minutes=minutes)).isoformat().replace("+00:00", "Z")

    text = re.sub(r"\{\{RUN_(?:START_TIME|END_TIME_AFTER_(\d+)_MINUTES)\}\}", time, file.read_text())
    events = json.loads(text)
    async with observing(tmp_path) as flo:
        status, body = await flo.lineage(events)
        assert (status, body["accepted"], body["rejected"]) == (200, len(events), [])
        edges = await flo.edges(evidence="reported")
        assert await flo.findings() == {}
    expected = set()
    for event in events:
        job = f"job:{event['job']['namespace']}/{event['job']['name']}"
        for each in event.get("inputs", ()):
            expected.add(f"dataset:{each['namespace']}/{each['name']} -> {job}")
        for each in event.get("outputs", ()):
            expected.add(f"{job} -> dataset:{each['namespace']}/{each['name']}")
    assert set(edges) == expected
    assert len(expected) > 20
