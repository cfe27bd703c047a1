"""A page's commands, run as its reader runs them: one shell a page, in an empty directory.

The page's FLO listens at 8750; here it gets a free port, by a `flo` in front of the real one that adds `--port` and
`--to` where the page relies on the default, and by the address in what `curl` is told. What is printed shows 8750 again.
"""

from __future__ import annotations

import os
import re
import shlex
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from tests.docs.pages import Block

DEFAULT_PORT = "8750"
CURL = Path(__file__).with_name("curl.py")
SENTINEL = "-----the-command-ended-----"

_JOB_ENDED = re.compile(r"bash: line \d+: +\d+ (Killed|Terminated) ")
"""What this bash says of a killed job, whenever it notices; an interactive one words it otherwise."""

WRAPPER = """#!/bin/bash
# `flo` as the page's reader calls it, at the port of this test. Whatever asks a FLO asks this page's and no other.
flo() {{ exec {python} -m flo.faces.cli "$@"; }}
case " $* " in *" --to "*|*" --port "*|*" --data "*--input*|*" --input "*|*" --help "*) flo "$@";; esac
case "$1" in
  init|check|version|"") flo "$@";;
  run) flo "$@" --port {port};;
esac
case " $* " in *" --data "*) flo "$@";; esac
flo "$@" --to http://127.0.0.1:{port}
"""


@dataclass(frozen=True)
class Step:
    """One command and what the page says it prints."""

    command: str
    expected: list[str]


def steps(block: Block) -> list[Step]:
    found: list[Step] = []
    lines = iter(block.text.splitlines())
    for line in lines:
        if line.startswith("$ "):
            command = line[2:]
            while command.endswith("\\"):
                command = command[:-1] + next(lines).lstrip()
            found.append(Step(command, []))
        else:
            assert found, f"{block.place}: a console block begins with a command, `$ ...`"
            found[-1].expected.append(line)
    return found


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


class Shell:
    """One bash; `close` ends it with everything it started."""

    def __init__(self, directory: Path) -> None:
        self.port = str(free_port())
        tools = directory / ".tools"
        tools.mkdir()
        _program(tools / "flo", WRAPPER.format(python=shlex.quote(sys.executable), port=self.port))
        if shutil.which("curl") is None:
            _program(tools / "curl", f'#!/bin/bash\nexec {shlex.quote(sys.executable)} {CURL} "$@"\n')
        home = directory / "work"
        home.mkdir()
        environment = {
            name: value for name, value in os.environ.items() if not name.startswith(("FLO_", "PAYMENTS_"))
        }
        environment |= {
            "PATH": f"{tools}:{Path(sys.executable).parent}:{environment['PATH']}",
            "COLUMNS": "100",
            "TERM": "dumb",
            "PYTHONUNBUFFERED": "1",
        }
        self.directory = home
        self._process = subprocess.Popen(
            ["bash", "--norc", "--noprofile"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            cwd=home,
            env=environment,
            start_new_session=True,
        )

    def run(self, command: str) -> list[str]:
        """Run one command; the lines it printed, on either stream."""
        process = self._process
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write(command.replace(DEFAULT_PORT, self.port) + f"\necho; echo {SENTINEL}\n")
        process.stdin.flush()
        printed: list[str] = []
        for line in process.stdout:
            if line.rstrip("\n") == SENTINEL:
                break
            if not _JOB_ENDED.match(line):
                printed.append(line.rstrip().replace(self.port, DEFAULT_PORT))
        else:
            raise AssertionError(f"`{command}` ended the shell; it printed {printed}")
        return printed[:-1] if printed and not printed[-1] else printed

    def close(self) -> None:
        if self._process.poll() is None:
            os.killpg(self._process.pid, signal.SIGTERM)
        try:
            self._process.wait(timeout=15)
        except subprocess.TimeoutExpired:
            pass
        try:
            os.killpg(self._process.pid, signal.SIGKILL)
        except ProcessLookupError:
            pass
        assert self._process.stdout is not None
        assert self._process.stdin is not None
        self._process.stdout.close()
        self._process.stdin.close()


def _program(path: Path, text: str) -> None:
    path.write_text(text)
    path.chmod(0o755)


_SETTLED = (
    (re.compile(r"\d{4}-\d\d-\d\d[T ]\d\d:\d\d:\d\d([.,]\d+)?Z?"), "<time>"),
    (re.compile(r"(\brevision\"?:? ?\"?)[0-9a-f]{12}\b"), r"\1<revision>"),
    (re.compile(r'"[0-9a-f]{64}"'), '"<digest>"'),
    (re.compile(r"\b\d+(\.\d+)? (ms|s)\b"), "<duration>"),
    (re.compile(r"^(seconds +)[\d.e-]+$"), r"\1<duration>"),
)


def settled(line: str) -> str:
    """A line without what differs from run to run."""
    for pattern, stand_in in _SETTLED:
        line = pattern.sub(stand_in, line)
    return line.rstrip()


def difference(expected: list[str], printed: list[str]) -> str | None:
    """None where `printed` is what the page shows; else the first line of the page that is not there."""
    remaining = iter(printed)
    anywhere = False
    for line in expected:
        if line.strip() == "...":
            anywhere = True
            continue
        pattern = _pattern(line)
        if not _advance(remaining, pattern, anywhere):
            return line
        anywhere = False
    left = [line for line in remaining if line.strip()]
    return None if anywhere or not left else f"(nothing more, but there is: {left[0]!r})"


def _pattern(line: str) -> re.Pattern[str]:
    return re.compile(".*".join(re.escape(part) for part in settled(line).split("…")))


def _advance(printed: Iterator[str], pattern: re.Pattern[str], anywhere: bool) -> bool:
    for line in printed:
        if pattern.fullmatch(settled(line)):
            return True
        if not anywhere and (line.strip() or pattern.pattern):
            return False
    return False
