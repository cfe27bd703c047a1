"""A server of other people, in a process of its own on a free loopback port."""

from __future__ import annotations

import socket
import subprocess
import time
import urllib.request
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from urllib.error import HTTPError, URLError

UP_S_MAX = 300.0
"""The slowest (MLflow, its first start on a fresh database) takes 16 s on an idle machine, and minutes on a busy one."""


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


class ServerProcess:
    """Starts with `start`, answers on `port` from then on, ends with `stop`. `start` after `stop` is a restart, on
    another port. What it prints goes to a file that a failed start shows.
    """

    def __init__(
        self,
        command: Callable[[int], Sequence[str]],
        ready_path: str,
        log: Path,
        *,
        environ: Mapping[str, str] | None = None,
        directory: Path | None = None,
    ) -> None:
        self._command = command
        self._ready_path = ready_path
        self._log = log
        self._environ = environ
        self._directory = directory
        self._process: subprocess.Popen[bytes] | None = None
        self.port = 0

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def start(self) -> None:
        self.port = free_port()
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(
                list(self._command(self.port)),
                stdout=log,
                stderr=log,
                env=self._environ,
                cwd=self._directory,
                start_new_session=True,
            )
        limit_s = time.monotonic() + UP_S_MAX
        while not self._answers():
            if self._process.poll() is not None or time.monotonic() > limit_s:
                self.stop()
                raise AssertionError(f"the server did not come up:\n{self._log.read_text()[-4000:]}")
            time.sleep(0.05)

    def stop(self) -> None:
        process, self._process = self._process, None
        if process is not None:
            process.terminate()
            try:
                process.wait(10)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()

    def _answers(self) -> bool:
        try:
            with urllib.request.urlopen(self.url + self._ready_path, timeout=5):
                return True
        except HTTPError:
            return True  # it speaks
        except (URLError, OSError):
            return False
