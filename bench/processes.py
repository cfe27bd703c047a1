"""Contestants run as processes of their own, so that none inherits another's warm memory; their costs are measured."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench.machine import TREE


@dataclass(frozen=True, slots=True)
class Ended:
    """A program that ended well: what it printed, how long it took, the processor time of it and of its children."""

    output: dict[str, Any]
    wall_s: float
    cpu_s: float


def measured(command: Sequence[str]) -> Ended:
    """Run to its end; it prints one JSON object. `RuntimeError` with its words where it fails."""
    began = time.perf_counter()
    process = subprocess.Popen(
        [sys.executable, *command], cwd=TREE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    assert process.stderr is not None
    printed = process.stdout.read()
    words = (
        process.stderr.read()
    )  # small by design: a program that writes more than a pipe holds would hang here
    _, status, usage = os.wait4(process.pid, 0)
    wall_s = time.perf_counter() - began
    process.returncode = os.waitstatus_to_exitcode(status)
    process.stdout.close()
    process.stderr.close()
    if process.returncode:
        raise RuntimeError(f"{' '.join(command)} ended with {process.returncode}:\n{words}{printed}")
    return Ended(json.loads(printed), wall_s, usage.ru_utime + usage.ru_stime)


@contextlib.contextmanager
def served(command: Sequence[str]) -> Iterator[str]:
    """A server, until the block ends; it says where it listens in one JSON object, `{"url": ...}`."""
    process = subprocess.Popen(
        [sys.executable, *command], cwd=TREE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    )
    assert process.stdout is not None
    try:
        said = ""
        for line in process.stdout:
            said += line
            if line.rstrip().endswith("}"):
                break
        else:
            raise RuntimeError(f"{' '.join(command)} ended before it listened: {said}")
        yield json.loads(said)["url"]
    finally:
        process.terminate()
        process.wait(30)
        process.stdout.close()


def run_file_command(bundle: Path, signals: Path, data: Path, workers: int) -> list[str]:
    """`flo run BUNDLE --input SIGNALS`, as a user types it."""
    return [
        "-m", "flo.faces.cli", "run", str(bundle), "--input", str(signals), "--data", str(data),
        "--workers", str(workers), "--json",
    ]  # fmt: skip


def size_bytes(directory: Path) -> int:
    """What files take, without what is set aside for growth."""
    return sum(path.stat().st_size for path in directory.rglob("*") if path.is_file())
