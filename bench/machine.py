"""What the figures were taken on: without it a figure says nothing."""

from __future__ import annotations

import os
import platform
import resource
import sqlite3
import subprocess
import time
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

PACKAGES = ("msgspec", "zstandard", "aiohttp", "uvloop")
TREE = Path(__file__).resolve().parent.parent


def describe_machine() -> dict[str, str]:
    """Processor, memory, kernel, versions, the commit measured, and how busy the machine was when this began."""
    return {
        "processor": f"{os.cpu_count()} x {_processor()}",
        "memory": f"{os.sysconf('SC_PAGE_SIZE') * os.sysconf('SC_PHYS_PAGES') / 2**30:.0f} GiB",
        "system": f"{platform.system()} {platform.release()}, {platform.python_implementation()} "
        f"{platform.python_version()}",
        "versions": ", ".join(
            [f"{name} {_version(name)}" for name in PACKAGES] + [f"SQLite {sqlite3.sqlite_version}"]
        ),
        "FLO": _commit(),
        "load": " ".join(f"{load:.1f}" for load in os.getloadavg()) + " (1, 5, 15 min, before this run)",
    }


class Neighbours:
    """How much of the machine others take while a benchmark runs: its figures cannot be better than what is left."""

    def __init__(self) -> None:
        self._began = time.perf_counter()
        self._busy_s, self._own_s = _busy_s(), _own_s()

    def text(self) -> str:
        """For the end of a report."""
        if not self._busy_s:
            return "how much others used the processors is not known here"
        others = (_busy_s() - self._busy_s - (_own_s() - self._own_s)) / (time.perf_counter() - self._began)
        count = os.cpu_count() or 1
        warning = "" if others < 0.1 * count else ": these figures are lower than this machine can do"
        return f"Other programs used {max(0.0, others):.2f} of {count} processors meanwhile{warning}."


def _busy_s() -> float:
    """Processor time of all programs since the machine started, time stolen by its host too; 0 where not told."""
    try:
        fields = Path("/proc/stat").read_text().split("\n", 1)[0].split()[1:]
    except OSError:
        return 0.0
    user, nice, system, _idle, _wait, irq, soft_irq, stolen = map(int, fields[:8])
    return (user + nice + system + irq + soft_irq + stolen) / os.sysconf("SC_CLK_TCK")


def _own_s() -> float:
    """Of this program, and of those it started that have ended."""
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(each.ru_utime + each.ru_stime for each in used)


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor() or "unknown"
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.machine()


def _version(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:
        return "missing"


def _commit() -> str:
    described = subprocess.run(
        ["git", "describe", "--always", "--dirty"], cwd=TREE, capture_output=True, text=True, check=False
    )
    return described.stdout.strip() or "not a git clone"
