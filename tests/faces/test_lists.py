"""Reading, and the few things that change a running FLO."""

from __future__ import annotations

import json

import pytest
from tests.faces.conftest import Served, line

LINES = "application/x-ndjson"


async def fill(served: Served, count: int = 5) -> None:
    body = b"\n".join(line(number, f"c{number % 2}") for number in range(count))
    assert (await served.post("/v1/signals", body, LINES))[0] == 202


async def test_lists_are_newest_first_and_paged(served: Served) -> None:
    await fill(served)
    _, _, first = await served.ask("GET", "/v1/decisions?limit=2")
    assert [row["decision_id"] for row in first["decisions"]] == ["0-1-0-4", "0-1-0-3"]
    _, _, second = await served.ask("GET", f"/v1/decisions?limit=2&cursor={first['next']}")
    assert [row["decision_id"] for row in second["decisions"]] == ["0-1-0-2", "0-1-0-1"]
    _, _, third = await served.ask("GET", f"/v1/decisions?limit=2&cursor={second['next']}")
    assert ([row["decision_id"] for row in third["decisions"]], third["next"]) == (["0-1-0-0"], None)


async def test_filters_reach_the_service(served: Served) -> None:
    await fill(served)
    _, _, body = await served.ask(
        "GET", "/v1/decisions?loop=velocity&key=c1&result=approve&since=2026-01-01T00:00:00Z"
    )
    assert [row["key"] for row in body["decisions"]] == ["c1", "c1"]


@pytest.mark.parametrize(
    ("query", "says"),
    [
        ("lop=velocity", "did you mean 'loop'"),
        ("limit=0", "from 1 to 1000"),
        ("limit=1001", "from 1 to 1000"),
        ("limit=ten", "from 1 to 1000"),
        ("limit=-1", "from 1 to 1000"),
        ("limit=1&limit=2", "given twice"),
        ("cursor=", "unchanged"),
        ("cursor=%00", "unchanged"),
        ("since=yesterday", "RFC 3339"),
        ("key=", "characters"),
        ("key=" + "x" * 1025, "characters"),
    ],
)
async def test_a_wrong_parameter_is_refused_not_ignored(served: Served, query: str, says: str) -> None:
    status, _, body = await served.ask("GET", f"/v1/decisions?{query}")
    assert (status, says in body["detail"]) == (400, True), body


async def test_each_list_answers_under_its_plural(served: Served) -> None:
    await fill(served)
    await served.post("/v1/signals", line(9, data=1), LINES)
    for path, plural, count in (
        ("/v1/loops", "loops", 1),
        ("/v1/dead-letters", "dead_letters", 1),
        ("/v1/iterations", "iterations", 5),
        ("/v1/commands", "commands", 0),
    ):
        status, _, body = await served.ask("GET", path)
        assert (status, len(body[plural]), body["next"]) == (200, count, None), path


async def test_one_thing_is_read_by_its_id_and_a_missing_one_is_a_404_that_names_it(served: Served) -> None:
    await fill(served, 1)
    await served.post("/v1/signals", line(9, data=1), LINES)
    for path, missing in (
        ("/v1/decisions/0-1-0-0", "/v1/decisions/9-9-9-9"),
        ("/v1/decisions/0-1-0-0/explain", "/v1/decisions/9-9-9-9/explain"),
        ("/v1/dead-letters/0-1-0", "/v1/dead-letters/9-9"),
        ("/v1/loops/velocity", "/v1/loops/velocty"),
    ):
        assert (await served.ask("GET", path))[0] == 200
        status, _, body = await served.ask("GET", missing)
        assert (status, body["type"]) == (404, "urn:flo:problem:not-found")
        assert missing.split("/")[3] in body["detail"]


async def test_an_explanation_is_a_text_for_who_asks_for_one(served: Served) -> None:
    await fill(served, 1)
    status, headers, body = await served.ask(
        "GET", "/v1/decisions/0-1-0-0/explain", headers={"Accept": "text/plain"}
    )
    assert (status, headers["Content-Type"]) == (200, "text/plain; charset=utf-8")
    assert b"approve" in body


async def test_kill_takes_a_key_and_a_note(served: Served) -> None:
    status, _, body = await served.ask("POST", "/v1/loops/velocity/kill", json={"key": "c1", "note": "stuck"})
    assert (status, body["loop"]) == (200, "velocity")
    assert served.service.killed == [("velocity", "c1", "stuck")]
    assert (await served.ask("POST", "/v1/loops/other/kill", json={}))[0] == 404


async def test_kill_asks_for_json_so_that_no_web_page_can_send_it(served: Served) -> None:
    status, _, _ = await served.ask("POST", "/v1/loops/velocity/kill")
    assert status == 415
    status, _, _ = await served.post("/v1/loops/velocity/kill", b"{}", "text/plain")
    assert status == 415
    assert served.service.killed == []


@pytest.mark.parametrize(
    "body", [b"[]", b"{", b'{"kee": 1}', b'{"key": 1}', b'{"note": {}}', b"[" * 5000, b"\xff"]
)
async def test_a_wrong_control_body_is_a_400(served: Served, body: bytes) -> None:
    status, _, answer = await served.post("/v1/loops/velocity/kill", body, "application/json")
    assert (status, answer["type"]) == (400, "urn:flo:problem:bad-request")


async def test_a_bundle_is_read_and_replaced_whole(served: Served) -> None:
    files = {"flo.yaml": "engines: {}\n", "functions.py": "# né\n"}
    status, _, body = await served.ask("PUT", "/v1/bundle", json={"files": files, "note": "first"})
    assert (status, body["files"]) == (200, files)
    assert (await served.ask("GET", "/v1/bundle"))[2]["files"] == files
    for wrong in ({}, {"files": {}}, {"files": {"a": 1}}, {"files": []}, {"files": {"a": "b"}, "x": 1}):
        assert (await served.ask("PUT", "/v1/bundle", json=wrong))[0] == 400, wrong


async def test_probes_say_ready_or_why_not(served: Served) -> None:
    assert (await served.ask("GET", "/healthz"))[0] == 200
    assert (await served.ask("GET", "/readyz"))[2] == {"ready": True, "detail": ""}
    served.service.not_ready = "reading the ledger: 40 %"
    status, _, body = await served.ask("GET", "/readyz")
    assert (status, body["detail"]) == (503, "reading the ledger: 40 %")


async def test_metrics_hold_the_services_own_and_the_requests(served: Served) -> None:
    await fill(served, 1)
    await served.ask("GET", '/v1/nope"}')
    status, headers, body = await served.ask("GET", "/metrics")
    assert (status, headers["Content-Type"]) == (200, "text/plain; version=0.0.4; charset=utf-8")
    assert b"flo_decisions_total 1\n" in body
    assert b'flo_http_requests_total{method="POST",route="/v1/signals",status="202"} 1\n' in body
    assert b'flo_http_requests_total{method="any",route="none",status="404"} 1\n' in body


async def test_no_answer_lets_another_site_read_it(served: Served) -> None:
    for path in ("/v1/decisions", "/healthz", "/nope"):
        _, headers, _ = await served.ask("GET", path)
        assert not [name for name in headers if name.lower().startswith("access-control")]
        assert headers["Server"] == "flo"
        json.dumps(dict(headers))
