"""Observed edges in a running FLO: what loops do to each other, what they fetch, and what a restart knows again."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

import pytest
from aiohttp import web
from tests.faces.observing import LOOPS, observing, run_event
from tests.faces.test_observed import call
from tests.flow.looping import event

from flo.core.record import decode_group
from flo.core.span import INTERNAL, Span
from flo.runtimes.embedded import observing as module
from flo.runtimes.embedded.entry import open_reader

EMITTING = {
    "a": "on: start\nkey: data.card\nfeeds: [b]\nrules:\n"
    "  - {id: go, when: 'true', then: [{do: emit, with: {type: next, data: {card: '${data.card}'}}}]}\n",
    "b": "on: next\nkey: data.card\n",
    "c": "on: next\nkey: data.card\n",
}


async def eventually(flo: module.Observing, name: str, count: int) -> None:
    """Wait until an edge was seen so often: emits are commands, and take their way."""
    source, target = name.split(" -> ")
    async with asyncio.timeout(10):
        while (edge := flo.observer.graph.get(source, target)) is None or edge.count < count:
            await asyncio.sleep(0.01)


@pytest.mark.parametrize("workers", [1, 2])
async def test_what_a_loop_emits_and_another_decides_is_an_edge(tmp_path: Path, workers: int) -> None:
    async with observing(tmp_path, EMITTING, workers=workers) as flo:
        await flo.runtime.ingest([event({"card": f"c{n}"}, id=str(n), type="start") for n in range(20)])
        for name in ("loop:a -> loop:b", "loop:a -> loop:c"):
            await eventually(flo.runtime.observing, name, 20)
        edges = await flo.edges(evidence="context")
        assert {name: (edge["status"], edge["count"]) for name, edge in edges.items()} == {
            "loop:a -> loop:b": ("both", 20),
            "loop:a -> loop:c": ("phantom", 20),
        }
        example = edges["loop:a -> loop:c"]["evidence"]["context"]["example"]
        status, _, decision = await flo.ask("GET", f"/v1/decisions/{example}")
        assert (status, decision.get("loop")) == (200, "c"), decision
        (finding,) = (await flo.findings()).values()
        assert "under `feeds` of loop a" in finding["detail"]


async def test_whose_signal_it_was_is_known_after_a_restart(tmp_path: Path) -> None:
    async with observing(tmp_path, EMITTING) as flo:
        await flo.runtime.ingest([event({"card": "x"}, id="1", type="start")])
        await eventually(flo.runtime.observing, "loop:a -> loop:b", 1)
        (decision,) = (await flo.runtime.decisions({"loop": "a"}, 10, None)).items
    async with observing(tmp_path, EMITTING) as flo:
        late = event({"card": "x"}, id="2", type="next", floparent=decision["decision_id"])
        await flo.runtime.ingest([late])
        await eventually(flo.runtime.observing, "loop:a -> loop:b", 2)
        stranger = event({"card": "x"}, id="3", type="next", floparent="0-999999-0-0")
        nonsense = event({"card": "x"}, id="4", type="next", floparent="no decision")
        await flo.runtime.ingest([stranger, nonsense])
        assert (await flo.edges(evidence="context"))["loop:a -> loop:b"]["count"] == 2


async def test_a_fetch_is_an_edge(tmp_path: Path) -> None:
    async def profile(request: web.Request) -> web.Response:
        return web.json_response({"age": 3})

    app = web.Application()
    app.router.add_get("/{key}", profile)
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    port = runner.addresses[0][1]
    needs = {"enrich": "on: tx\nkey: data.card\nneeds: {profile: profiles}\n"}
    dependencies = (
        f"dependencies: {{profiles: {{kind: http, url: 'http://127.0.0.1:{port}/{{key}}', deadline: 2s}}}}\n"
    )
    try:
        async with observing(tmp_path, needs, flo_yaml=dependencies) as flo:
            await flo.runtime.ingest([event({"card": f"c{n}"}, id=str(n), type="tx") for n in range(5)])
            assert await flo.findings() == {}
            edge = (await flo.edges())["dependency:profiles -> loop:enrich"]
            assert (edge["status"], edge["count"], list(edge["evidence"])) == ("both", 5, ["fetched"])
    finally:
        await runner.cleanup()


async def test_a_restart_knows_again_what_was_observed(tmp_path: Path) -> None:
    async with observing(tmp_path, {**LOOPS, **EMITTING}) as flo:
        await flo.runtime.ingest([event({"card": "x"}, id="1", type="start")])
        await eventually(flo.runtime.observing, "loop:a -> loop:c", 1)
        for request in call("score", "exporter"):
            await flo.ask("POST", "/v1/traces", json=request)
        await flo.lineage(run_event("r1", "START", 1, job="score", inputs=["blocklist"]))
        found = await flo.findings()
        before = await flo.edges()
    async with observing(tmp_path, {**LOOPS, **EMITTING}) as flo:
        assert await flo.edges() == before
        assert (await flo.findings()).keys() == found.keys()
        await flo.lineage(run_event("r1", "COMPLETE", 9, job="score", inputs=["blocklist"]))
        edge = (await flo.edges())["dataset:warehouse/blocklist -> job:jobs/score"]
        assert edge["count"] == 1, "the same run goes on"
        signals = sum(json.loads(raw)["type"].startswith("flo.") for raw in _recorded(flo.runtime))
    reader = open_reader(tmp_path / "data")
    rows = (await reader.edges({}, 1_000, None)).items
    shown = {f"{row['from']} -> {row['to']}": row["status"] for row in rows}
    assert shown == {name: edge["status"] for name, edge in before.items()}
    async with observing(tmp_path, {**LOOPS, **EMITTING}) as flo:
        again = sum(json.loads(raw)["type"].startswith("flo.") for raw in _recorded(flo.runtime))
        assert again == signals, "what was read back is not recorded a second time"


def _recorded(runtime: object) -> list[bytes]:
    (view,) = runtime.observing._views().values()  # type: ignore[attr-defined]
    blocks = range(1, view.last_block() + 1)
    return [raw for block in blocks for raw in decode_group(view.read(block).payload).raws()]


async def test_lineage_that_comes_while_the_ledger_is_read_back_waits_for_it(tmp_path: Path) -> None:
    """Else a run's end would be told before its start."""
    async with observing(tmp_path) as flo:
        await flo.lineage(run_event("r1", "START", 1, inputs=[("tx", "1")]))
    async with observing(tmp_path) as flo:
        flo.runtime.observing.start()
        await flo.lineage(run_event("r1", "COMPLETE", 61, outputs=[("f", "1")]))
        await flo.lineage(run_event("r2", "START", 70, job="other", inputs=[("tx", "1")]))
        await flo.lineage(run_event("r2", "COMPLETE", 90, job="other", outputs=[("f", "1")]))
        await flo.runtime.observing.ready()
        (computed,) = flo.runtime.observing.observer.computations.repeated("dataset:warehouse/f", 0)
        assert {done.took_ns for done in computed.by_job.values()} == {60_000_000_000, 20_000_000_000}


async def test_spans_beyond_what_may_wait_are_refused_with_when_to_come_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "SPANS_IN_HAND_MAX", 1_500)

    def spans(first: int) -> list[Span]:
        return [
            Span(
                trace_id=f"{n:032x}",
                span_id="1" * 16,
                parent_id="",
                service="s",
                name="n",
                kind=INTERNAL,
                start_ns=1,
                end_ns=2,
            )
            for n in range(first, first + 1_000)
        ]

    async with observing(tmp_path) as flo:
        answers = await asyncio.gather(
            flo.runtime.traces(spans(0)), flo.runtime.traces(spans(5_000)), return_exceptions=True
        )
        assert [type(answer).__name__ for answer in answers] == ["NoneType", "Overloaded"]
        assert flo.runtime.observing.observer.traces.taken == 1_000
        await flo.runtime.traces(spans(5_000))
