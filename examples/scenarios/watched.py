"""What the scenarios of watchdogs share: servers that behave as they are told, signals, findings, and how a story ends."""

from __future__ import annotations

import argparse
import itertools
import json
import shutil
import signal
import tempfile
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from stage import RunningFlo, say

Handle = Callable[[str, Any], tuple[int, Any]]
"""(path, body of a POST or None) -> (status, answer)."""


class Server:
    """A real HTTP server on a free port; every request has a thread of its own."""

    def __init__(self, handle: Handle) -> None:
        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def _answer(self, body: Any) -> None:
                status, answer = handle(self.path, body)
                content = json.dumps(answer).encode()
                self.send_response(status)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(content)))
                self.end_headers()
                self.wfile.write(content)

            def do_GET(self) -> None:
                self._answer(None)

            def do_POST(self) -> None:
                self._answer(json.loads(self.rfile.read(int(self.headers["Content-Length"])) or b"null"))

            def log_message(self, format: str, *args: object) -> None:
                """The scenario tells the story."""

            def handle(self) -> None:
                try:
                    super().handle()
                except ConnectionError:
                    """Whoever asked has left: that is part of the story."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True)
        self._thread.start()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


_numbers = itertools.count(1)


def event(type: str, data: Any, **attributes: Any) -> dict[str, Any]:
    """A signal; without an id it is a new one each time."""
    return {
        "specversion": "1.0",
        "type": type,
        "source": "scenario",
        "id": str(next(_numbers)),
        **attributes,
        "data": data,
    }


def send(flo: RunningFlo, events: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """To `POST /v1/signals`, in one request."""
    body = "\n".join(json.dumps(each) for each in events).encode()
    found: dict[str, Any] = flo.ask("POST", "/v1/signals", body, "application/x-ndjson")
    return found


def decide(flo: RunningFlo, signal: Mapping[str, Any]) -> float:
    """To `POST /v1/decisions`; the seconds until it was decided and durable."""
    began_s = time.perf_counter()
    flo.ask("POST", "/v1/decisions", json.dumps(signal).encode(), "application/cloudevents+json")
    return time.perf_counter() - began_s


def findings(flo: RunningFlo, type: str) -> list[dict[str, Any]]:
    """What watchdogs find of a type that holds now."""
    return flo.rows(f"/v1/watchdogs?type={type}")


def commands(flo: RunningFlo, loop: str) -> list[dict[str, Any]]:
    """The newest thousand commands of a loop."""
    return flo.rows(f"/v1/commands?loop={loop}")


def since(began_s: float, at: str) -> float:
    """Seconds from a moment of this machine's clock to one that FLO recorded."""
    return round(datetime.fromisoformat(at).timestamp() - began_s, 1)


def told(
    name: str,
    about: str,
    run: Callable[[argparse.Namespace, Path], dict[str, Any]],
    tell: Callable[[Mapping[str, Any]], str],
    options: Callable[[argparse.ArgumentParser], None] = lambda parser: None,
) -> int:
    """Run a scenario from its command line and tell what happened; exit code 1 where something in its report is a
    problem."""
    parser = argparse.ArgumentParser(prog=f"flo demo {name}", description=about)
    options(parser)
    parser.add_argument("--json", action="store_true", help="print the report as JSON")
    given = parser.parse_args()
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # stop like Ctrl-C: with everything it started
    home = Path(tempfile.mkdtemp(prefix=f"flo-{name}-"))
    try:
        report = run(given, home)
    except KeyboardInterrupt:
        say("demo: stopped")
        return 130
    except (OSError, TimeoutError) as error:
        say(f"demo: {error}")
        return 1
    finally:
        shutil.rmtree(home, ignore_errors=True)
    if given.json:
        print(json.dumps(report, indent=2))
    else:
        print(tell(report))
        for problem in report["problems"]:
            print(f"  NOT WELL: {problem}")
    return 1 if report["problems"] else 0
