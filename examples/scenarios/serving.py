"""What scenarios of observed edges share: a FLO of their own, programs beside it, and everything stopped at the end."""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

START_S = 60.0
STOP_S = 20.0


class Flo:
    """A running FLO, by its HTTP API."""

    def __init__(self, url: str) -> None:
        self.url = url

    def ask(self, method: str, path: str, value: Any = None, media: str = "application/json") -> Any:
        parts = urlsplit(self.url)
        connection = http.client.HTTPConnection(parts.hostname or "", parts.port, timeout=30)
        try:
            body = None if value is None else json.dumps(value).encode()
            connection.request(method, path, body, {"Content-Type": media} if body else {})
            response = connection.getresponse()
            content = response.read()
        finally:
            connection.close()
        if response.status >= 300:
            raise SystemExit(f"FLO answered {response.status} to {method} {path}: {content.decode()}")
        return json.loads(content) if content else None

    def rows(self, path: str) -> list[dict[str, Any]]:
        """The first page of a list."""
        answer = self.ask("GET", path)
        return next(value for value in answer.values() if isinstance(value, list))


class Programs:
    """Processes of one scenario. All are ended with it, the last one first."""

    def __init__(self, home: Path) -> None:
        self.home = home
        self._running: list[subprocess.Popen[str]] = []

    def start(self, *command: str) -> dict[str, Any]:
        """Start a Python program; what it prints as its first JSON object, once it is ready."""
        log = (self.home / f"program-{len(self._running)}.log").open("w")
        process = subprocess.Popen(
            [sys.executable, *command], stdout=subprocess.PIPE, stderr=log, text=True, env=os.environ
        )
        log.close()
        self._running.append(process)
        assert process.stdout is not None
        text, until = "", time.monotonic() + START_S
        while time.monotonic() < until:
            line = process.stdout.readline()
            if not line:
                break
            text += line
            with contextlib.suppress(json.JSONDecodeError):
                found: dict[str, Any] = json.loads(text)
                return {**found, "pid": process.pid}
        raise SystemExit(f"{' '.join(command)} did not start; see {log.name}")

    def flo(self, bundle: Path) -> Flo:
        data = self.home / "data"
        started = self.start(
            "-m", "flo.faces.cli", "run", str(bundle), "--data", str(data), "--port", "0", "--json"
        )
        return Flo(started["url"])

    def stop(self, pid: int | None = None) -> None:
        """End one program, or all."""
        for process in [each for each in reversed(self._running) if pid in (None, each.pid)]:
            process.send_signal(signal.SIGTERM)
            try:
                process.wait(STOP_S)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
            if process.stdout is not None:
                process.stdout.close()
            self._running.remove(process)


@contextlib.contextmanager
def programs() -> Iterator[Programs]:
    """A place for a scenario, and the end of all it started, however it ends."""
    with tempfile.TemporaryDirectory(prefix="flo-scenario-") as home:
        running = Programs(Path(home))
        try:
            yield running
        finally:
            running.stop()


def wait_for(what: str, look: Callable[[], Any], within_s: float = 60.0) -> Any:
    """What `look` answers as soon as it is anything; ends the scenario where it stays nothing."""
    until = time.monotonic() + within_s
    while time.monotonic() < until:
        found = look()
        if found:
            return found
        time.sleep(0.25)
    raise SystemExit(f"waited {within_s:g} s in vain for {what}")
