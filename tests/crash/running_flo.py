"""A real `flo run`, a real receiver of its webhooks, and a sender that keeps every 202."""

from __future__ import annotations

import http.client
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

START_S = 30.0
REQUEST_S = 60.0
"""FLO does not answer before a sync is over, and one sync of a busy machine was seen to take 30 seconds."""

OWED_S = 60.0
"""The engines answer at once and a crash costs no retry budget: what takes this long is stuck."""


class Receiver:
    """Answers every command with 200 and honours nothing; `keys` counts what came."""

    def __init__(self) -> None:
        self.keys: Counter[str] = Counter()
        keys, lock = self.keys, threading.Lock()

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                with lock:
                    keys[body["id"]] += 1
                self.send_response(200)
                self.send_header("Content-Length", "2")
                self.end_headers()
                self.wfile.write(b"{}")

            def log_message(self, format: str, *args: object) -> None:
                """Tests print nothing."""

        class Server(ThreadingHTTPServer):
            daemon_threads = True

            def handle_error(self, request: object, client_address: object) -> None:
                """A killed FLO cuts its connections; that is what is tested."""

        self._server = Server(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}/commands"
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True)
        self._thread.start()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


def write_bundle(directory: Path, files: Mapping[str, bytes]) -> None:
    for name, content in files.items():
        path = directory / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)


class RunningFlo:
    """One process of `flo run` on a data directory."""

    def __init__(self, bundle: Path, data: Path, crash_at: str | None = None, *, workers: int = 1) -> None:
        environ = {name: value for name, value in os.environ.items() if name != "FLO_CRASH_AT"}
        if crash_at is not None:
            environ["FLO_CRASH_AT"] = crash_at
        command = [sys.executable, "-m", "flo.faces.cli", "run", str(bundle), "--data", str(data)]
        command += ["--workers", str(workers)]
        self.said = ""  # on its standard error, once it has ended
        self.refusal = ""
        self.errors = (data.parent / "errors.txt").open("w+b")
        self.process = subprocess.Popen(
            [*command, "--port", "0", "--json"], stdout=subprocess.PIPE, stderr=self.errors, env=environ
        )
        self.port = self._port()

    def _port(self) -> int | None:
        """None where it died before it listened."""
        assert self.process.stdout is not None
        text = b""
        while line := self.process.stdout.readline():
            text += line
            if line.startswith(b"}"):
                return int(json.loads(text)["url"].rpartition(":")[2])
        self.process.wait(START_S)
        return None

    @property
    def alive(self) -> bool:
        return self.process.poll() is None

    def send(self, raws: Sequence[bytes]) -> bool:
        """Whether it said 202 to all of them; False, and `refusal` says why, where it died or could not take them."""
        if self.port is None:
            self.refusal = "it never listened"
            return False
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=REQUEST_S)
        try:
            body = b"[" + b",".join(raws) + b"]"
            headers = {"Content-Type": "application/cloudevents-batch+json"}
            connection.request("POST", "/v1/signals", body, headers)
            response = connection.getresponse()
            answer = json.loads(response.read())
        except (OSError, http.client.HTTPException, ValueError) as error:
            self.refusal = repr(error)
            return False
        finally:
            connection.close()
        if response.status != 202:
            assert response.status in (429, 503), answer
            self.refusal = f"{response.status} {answer}"
            return False
        assert not answer["rejected"], answer
        return True

    def owed(self) -> list[str]:
        """Commands that are neither with their engine nor ended, as the API lists them."""
        assert self.port is not None
        keys: list[str] = []
        for status in ("pending", "attempted"):
            connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=REQUEST_S)
            try:
                connection.request("GET", f"/v1/commands?status={status}&limit=100")
                response = connection.getresponse()
                answer = json.loads(response.read())
            finally:
                connection.close()
            assert response.status == 200, answer
            keys += [command["command_key"] for command in answer["commands"]]
        return keys

    def pay_what_is_owed(self) -> None:
        """Wait until every command is with its engine or ended; no end of that within `OWED_S` is a failure.

        A graceful stop may leave commands for the next start, so whoever asks for all of them asks before it.
        """
        until_s = time.monotonic() + OWED_S
        while owed := self.owed():
            assert time.monotonic() < until_s, f"after {OWED_S:g} s these are still owed: {owed}"
            time.sleep(0.05)

    def kill(self) -> None:
        if self.alive:
            self.process.kill()
        self.end()

    def stop(self) -> int:
        """SIGTERM, and its exit code."""
        if self.alive:
            self.process.send_signal(signal.SIGTERM)
        return self.end()

    def end(self) -> int:
        assert self.process.stdout is not None
        code = self.process.wait(60)
        if self.errors.closed:  # told already
            return code
        self.process.stdout.close()
        self.errors.seek(0)
        self.said = self.errors.read().decode()
        self.errors.close()
        assert "Traceback" not in self.said, self.said
        return code
