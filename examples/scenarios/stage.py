"""What a scenario needs besides its own cause: a real `flo run`, a receiver of its webhooks, and figures of a process."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

START_S = 60.0
STOP_S = 60.0

FLO = [sys.executable, "-m", "flo.faces.cli"]


class Receiver:
    """A webhook receiver on a free port: answers 200, and keeps (seconds since the epoch, body) of all that came."""

    def __init__(self) -> None:
        self.received: list[tuple[float, dict[str, Any]]] = []
        received = self.received

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                received.append((time.time(), body))
                self.send_response(200)
                self.send_header("Content-Length", "2")
                self.end_headers()
                self.wfile.write(b"{}")

            def log_message(self, format: str, *args: object) -> None:
                """The scenario tells the story."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}/"
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True)
        self._thread.start()

    def first(self, verb: str, timeout_s: float) -> tuple[float, dict[str, Any]]:
        """The first call of a verb; `TimeoutError` where none comes in time."""
        end_s = time.monotonic() + timeout_s
        while time.monotonic() < end_s:
            for at_s, body in list(self.received):
                if body["data"]["verb"] == verb:
                    return at_s, body
            time.sleep(0.005)
        raise TimeoutError(f"no {verb} came within {timeout_s:g} s")

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


class RunningFlo:
    """One process of `flo run` on a free port."""

    def __init__(self, bundle: Path, data: Path, *, workers: int = 1) -> None:
        self.data = data
        command = [
            *FLO,
            "run",
            str(bundle),
            "--data",
            str(data),
            "--port",
            "0",
            "--workers",
            str(workers),
            "--json",
        ]
        self.process = subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, start_new_session=True
        )
        self.url = str(json.loads(self._announced())["url"])

    def _announced(self) -> bytes:
        assert self.process.stdout is not None
        said = b""
        while not said.rstrip().endswith(b"}"):
            line = self.process.stdout.readline()
            if not line:
                raise OSError(f"FLO did not start (exit code {self.process.wait()})")
            said += line
        return said

    def get(self, path: str) -> Any:
        with urllib.request.urlopen(self.url + path, timeout=60) as answer:
            return json.load(answer)

    def metric(self, name: str) -> float:
        """The sum of one metric over its labels."""
        with urllib.request.urlopen(self.url + "/metrics", timeout=60) as answer:
            lines = answer.read().decode().splitlines()
        return sum(
            float(line.rpartition(" ")[2]) for line in lines if line.startswith((name + " ", name + "{"))
        )

    def rss_mb(self) -> float:
        """Memory of the process and its workers, in megabytes."""
        return sum(map(_rss_mb, _family(self.process.pid)))

    def stop(self) -> None:
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
            try:
                self.process.wait(STOP_S)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
        if self.process.stdout is not None:
            self.process.stdout.close()


@contextlib.contextmanager
def running(bundle: Path, data: Path, **more: Any) -> Iterator[RunningFlo]:
    flo = RunningFlo(bundle, data, **more)
    try:
        yield flo
    finally:
        flo.stop()


def flo(*arguments: object) -> dict[str, Any]:
    """One command line with `--json`; its answer, and `exit_code`. `OSError` with its words where it is wrong use."""
    done = subprocess.run([*FLO, *map(str, arguments), "--json"], capture_output=True, text=True, check=False)
    if done.returncode not in (0, 1) or not done.stdout:
        raise OSError(f"flo {' '.join(map(str, arguments))}: {done.stderr.strip()}")
    return {**json.loads(done.stdout), "exit_code": done.returncode}


def copied(bundle: Path, to: Path, replaced: dict[str, str], over: Sequence[Path] = ()) -> Path:
    """A bundle with words of its flo.yaml replaced (addresses of this run), and other directories laid over it."""
    shutil.copytree(bundle, to, ignore=shutil.ignore_patterns("__pycache__"))
    for layer in over:
        shutil.copytree(layer, to, dirs_exist_ok=True)
    text = (to / "flo.yaml").read_text(encoding="utf-8")
    for word, by in replaced.items():
        assert word in text, f"{word} does not stand in flo.yaml"
        text = text.replace(word, by)
    (to / "flo.yaml").write_text(text, encoding="utf-8")
    return to


def wait_until(holds: Callable[[], bool], timeout_s: float, what: str) -> float:
    """Seconds until it held; `TimeoutError` names what did not come."""
    began_s = time.monotonic()
    while not holds():
        if time.monotonic() - began_s > timeout_s:
            raise TimeoutError(f"not within {timeout_s:g} s: {what}")
        time.sleep(0.02)
    return time.monotonic() - began_s


def say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def _family(pid: int) -> list[int]:
    children = Path(f"/proc/{pid}/task/{pid}/children")
    found = [int(word) for word in children.read_text().split()] if children.exists() else []
    return [pid, *(each for child in found for each in _family(child))]


def _rss_mb(pid: int) -> float:
    try:
        pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    except (OSError, IndexError):
        return 0.0
    return pages * os.sysconf("SC_PAGE_SIZE") / 1e6
