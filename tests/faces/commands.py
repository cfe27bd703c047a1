"""Running `flo` in tests: in this process against a FLO served from a thread, or as a process of its own."""

from __future__ import annotations

import asyncio
import contextlib
import io
import json
import sys
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from aiohttp import web
from tests.faces.conftest import line
from tests.faces.memory import MemoryService

from flo.faces.cli.main import run
from flo.faces.http import Limits, TokenTable, build_app, serve
from flo.runtimes.embedded import start_runtime

REPOSITORY = Path(__file__).parents[2]


@dataclass(frozen=True)
class Result:
    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)


class _Bytes(io.TextIOWrapper):
    """A text stream over bytes, as stdout is: commands write both."""

    def __init__(self) -> None:
        super().__init__(io.BytesIO(), "utf-8", write_through=True)

    def text(self) -> str:
        buffer = self.buffer
        assert isinstance(buffer, io.BytesIO)
        return buffer.getvalue().decode()


def flo(*arguments: object) -> Result:
    """One command line, run to its end."""
    out, err = _Bytes(), _Bytes()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        code = run([str(argument) for argument in arguments])
    assert "Traceback" not in err.text(), err.text()
    return Result(code, out.text(), err.text())


class Background:
    """A FLO served from a thread: in memory, or the real one where `bundle` and `data` are given."""

    def __init__(
        self,
        tokens: TokenTable | None = None,
        limits: Limits | None = None,
        bundle_and_data: tuple[Path, Path] | None = None,
    ) -> None:
        self.service = MemoryService()
        self._bundle_and_data = bundle_and_data
        self.port = 0
        self._tokens = tokens
        self._limits = limits
        self._ready = threading.Event()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._stop: asyncio.Event | None = None
        self._thread = threading.Thread(target=lambda: asyncio.run(self._serve()))

    async def _serve(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._stop = asyncio.Event()
        runtime = None
        if self._bundle_and_data is not None:
            bundle, data = self._bundle_and_data
            runtime = await start_runtime(bundle=bundle, data=data)
        service = self.service if runtime is None else runtime.service
        app: web.Application = build_app(service, tokens=self._tokens, limits=self._limits)
        runner, self.port = await serve(app, "127.0.0.1", self.port)
        self._ready.set()
        await self._stop.wait()
        await runner.cleanup()
        if runtime is not None:
            await runtime.stop()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def start(self) -> None:
        self._thread.start()
        assert self._ready.wait(20)

    def stop(self) -> None:
        if self._loop is not None and self._stop is not None:
            self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join(20)


@contextlib.contextmanager
def background(
    tokens: TokenTable | None = None,
    limits: Limits | None = None,
    bundle_and_data: tuple[Path, Path] | None = None,
) -> Iterator[Background]:
    served = Background(tokens, limits, bundle_and_data)
    served.start()
    try:
        yield served
    finally:
        served.stop()


PROGRAM = """
import sys
from pathlib import Path
from flo.faces.cli import runtime
from flo.faces.cli.main import main
from tests.faces.conftest import line
from tests.faces.memory import MemoryService


class Running:
    def __init__(self):
        self.service = MemoryService()

    async def stop(self):
        import asyncio, os
        sys.stderr.write(f"drained {len(self.service.raws)}\\n")
        if os.environ.get("SLOW_STOP"):
            await asyncio.sleep(600)


async def start_runtime(options):
    return Running()

runtime.start_runtime = start_runtime
main(sys.argv[1:])
"""
"""`flo` as a process, the service in memory in place of the embedded runtime: for signals and exit codes."""


def process_arguments(*arguments: object) -> list[str]:
    return [sys.executable, "-c", PROGRAM, *(str(argument) for argument in arguments)]


def fill(served: Background, count: int = 5) -> None:
    """Signals that are decided, and one whose data is no object."""

    async def take() -> None:
        await served.service.ingest([line(number, f"c{number % 2}") for number in range(count)])
        await served.service.ingest([line(99, data="\x1b[31mred")])

    asyncio.run(take())
