"""A secret's value is nowhere: not in the data directory, no answer, no log, no error, whatever its receiver does."""

from __future__ import annotations

import json
import logging
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import pytest
from tests.sim.promises import read_ledger

from flo.runtimes.embedded.entry import open_reader, start_runtime
from flo.stores.disk import LocalDisk

CANARY = "canary-5f1c0a77e9"

FLO_YAML = """
engines:
  hook:
    kind: webhook
    url: "http://127.0.0.1:PORT/"
    allow_private: true
    honours_key: true
    backoff: 10ms
    backoff_max: 20ms
    secret: "${env:CANARY}"
    headers: {Authorization: "${env:CANARY}", X-Plain: plain}
"""
LOOP = """
loop: pay
on: pay.made
key: data.card
rules:
  - id: any
    when: data.amount > 0
    then: [{do: hook.call, attempts: 2, with: {answer: '${data.answer}'}}]
  - id: broken
    when: 1 / data.amount > 0
"""


class Echo(BaseHTTPRequestHandler):
    """The worst receiver: it says back every header it was sent, with the status that the command asks for."""

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        headers = dict(self.headers)
        answer = json.dumps({"you sent": headers, "raw": str(headers)}).encode()
        self.send_response(body["data"]["arguments"]["answer"])
        self.send_header("Content-Length", str(len(answer)))
        self.send_header("Location", f"/runs/{self.headers['Authorization']}")
        self.end_headers()
        self.wfile.write(answer)
        self.server.seen.append(self.headers["Authorization"])  # type: ignore[attr-defined]

    def log_message(self, format: str, *args: object) -> None:
        """Tests print nothing."""


@pytest.fixture
def echo() -> Any:
    server = HTTPServer(("127.0.0.1", 0), Echo)
    server.seen = []  # type: ignore[attr-defined]
    thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
    thread.start()
    yield server
    server.shutdown()
    server.server_close()
    thread.join()


def signal(id: str, answer: int, amount: int = 1) -> bytes:
    event = {"specversion": "1.0", "id": id, "source": "s", "type": "pay.made"}
    return json.dumps(event | {"data": {"card": "c", "amount": amount, "answer": answer}}).encode()


def write_bundle(directory: Path, port: int) -> Path:
    (directory / "loops").mkdir(parents=True)
    (directory / "flo.yaml").write_text(FLO_YAML.replace("PORT", str(port)))
    (directory / "loops/pay.yaml").write_text(LOOP)
    return directory


async def everything_asked(service: Any) -> list[Any]:
    """Every question there is, with every answer."""
    said: list[Any] = [await service.bundle(), await service.loops(), await service.loop("pay")]
    decisions = await service.decisions({}, 100, None)
    letters = await service.dead_letters({}, 100, None)
    said += [decisions, letters]
    said += [await service.commands({}, 100, None), await service.iterations({}, 100, None)]
    for item in decisions.items:
        said += [await service.decision(item["decision_id"]), await service.explain(item["decision_id"])]
    said += [await service.dead_letter(item["dead_letter_id"]) for item in letters.items]
    return said


async def test_the_canary_is_nowhere(
    tmp_path: Path, echo: Any, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    monkeypatch.setenv("CANARY", CANARY)
    bundle, data = write_bundle(tmp_path / "bundle", echo.server_address[1]), tmp_path / "data"
    runtime = await start_runtime(bundle=bundle, data=data)
    answers = (200, 202, 400, 401, 302, 429, 500, 503)
    receipts = await runtime.ingest([signal(f"s{code}", code) for code in answers] + [signal("zero", 200, 0)])
    stream = runtime.stream()
    await runtime.stop()
    said: list[Any] = [receipts, await everything_asked(open_reader(data)), [event async for event in stream]]

    runtime = await start_runtime(bundle=bundle, data=data)
    said += [await everything_asked(runtime), await runtime.metrics()]
    await runtime.stop()
    assert CANARY in echo.seen  # it was really sent

    written = read_ledger(LocalDisk(), str(data))
    assert len(written.outcomes) + len(written.parked) >= len(answers) - 1
    said += [group.events() for _, group in written.blocks]
    said += [group.raws() for _, group in written.blocks]
    said += [caplog.text, *(repr(record.args) for record in caplog.records)]
    for text in map(repr, said):
        assert CANARY not in text, text[max(0, text.index(CANARY) - 300) :][:500]
    for path in data.rglob("*"):
        assert not path.is_file() or CANARY.encode() not in path.read_bytes(), path


async def test_an_error_about_a_secret_does_not_show_it(
    tmp_path: Path, echo: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CANARY", CANARY + "\nX-Injected: 1")
    bundle = write_bundle(tmp_path / "bundle", echo.server_address[1])
    runtime = await start_runtime(bundle=bundle, data=tmp_path / "data")
    await runtime.ingest([signal("s1", 200)])
    await runtime.stop()
    assert CANARY not in repr(read_ledger(LocalDisk(), str(tmp_path / "data")))
