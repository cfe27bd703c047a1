"""What a scenario stands on: programs of its own, a real `flo run` among them, bundles with addresses of this run, time."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

STOP_S = 60.0

FLO = ["-m", "flo.faces.cli"]
"""How Python is told to be `flo`."""


class Program:
    """A Python program that runs beside the scenario, from when it says in one JSON object that it is ready.

    It has a session of its own, so that Ctrl-C reaches the scenario alone, which then stops what it started.
    """

    def __init__(self, *command: str) -> None:
        self._words = tempfile.TemporaryFile()  # noqa: SIM115
        self.process = subprocess.Popen(
            [sys.executable, *command], stdout=subprocess.PIPE, stderr=self._words, start_new_session=True
        )
        try:
            self.said = self._announced(" ".join(command))
        except BaseException:
            self.stop()
            raise

    def _announced(self, command: str) -> dict[str, Any]:
        assert self.process.stdout is not None
        text = b""
        for line in self.process.stdout:
            text += line
            with contextlib.suppress(json.JSONDecodeError):
                found: dict[str, Any] = json.loads(text)
                return found
        code = self.process.wait()
        self._words.seek(0)
        words = self._words.read().decode(errors="replace").strip()
        raise OSError(f"{command} did not start (exit code {code}): {words[-2_000:]}")

    def stop(self) -> None:
        """End it, in order where it will; again does nothing."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
            try:
                self.process.wait(STOP_S)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
        if self.process.stdout is not None:
            self.process.stdout.close()
        self._words.close()


class RunningFlo(Program):
    """One `flo run` on a free port, and what its HTTP API says."""

    def __init__(self, bundle: Path, data: Path, *, workers: int = 1) -> None:
        place = ("--data", str(data), "--port", "0", "--workers", str(workers))
        super().__init__(*FLO, "run", str(bundle), *place, "--json")
        self.data = data
        self.url = str(self.said["url"])

    def ask(self, method: str, path: str, body: bytes | None = None, media: str = "application/json") -> Any:
        """Its answer to one request; what is refused for want of room is asked again, as any sender does."""
        while True:
            request = urllib.request.Request(self.url + path, body, {"Content-Type": media}, method=method)
            try:
                with urllib.request.urlopen(request, timeout=60) as answer:
                    content = answer.read()
                    return json.loads(content) if content else None
            except urllib.error.HTTPError as error:
                if error.code != 429:
                    raise OSError(f"{error.code} to {method} {path}: {error.read().decode()}") from None
                time.sleep(float(error.headers.get("Retry-After") or 0.1))

    def get(self, path: str) -> Any:
        return self.ask("GET", path)

    def rows(self, path: str) -> list[dict[str, Any]]:
        """The first page of a list, at most a thousand."""
        answer = self.get(f"{path}{'&' if '?' in path else '?'}limit=1000")
        return next(value for value in answer.values() if isinstance(value, list))

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


@contextlib.contextmanager
def running(bundle: Path, data: Path, **more: Any) -> Iterator[RunningFlo]:
    flo = RunningFlo(bundle, data, **more)
    try:
        yield flo
    finally:
        flo.stop()


def flo(*arguments: object) -> dict[str, Any]:
    """One command line with `--json`; its answer, and `exit_code`. `OSError` with its words where it is wrong use."""
    command = [sys.executable, *FLO, *map(str, arguments), "--json"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
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


def wait_for(look: Callable[[], Any], timeout_s: float, what: str) -> Any:
    """What `look` answers as soon as it is anything; `TimeoutError` names what did not come."""
    found: list[Any] = []

    def is_there() -> bool:
        found[:] = [look()]
        return bool(found[0])

    wait_until(is_there, timeout_s, what)
    return found[0]


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
