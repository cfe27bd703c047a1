"""What the worker processes of the tests run: functions that behave, and functions that do not."""

from __future__ import annotations

import os
import resource
import signal
import subprocess
import sys
import time
from pathlib import Path


def add(arguments):
    return {"sum": arguments["a"] + arguments["b"]}


def nothing():
    return None


async def add_slowly(arguments):
    return arguments["a"] + arguments["b"]


def tell(arguments, command):
    return {
        "key": command.key,
        "loop": command.loop,
        "verb": command.verb,
        "deadline_ns": command.deadline_ns,
    }


def pid(arguments):
    return os.getpid()


def note(arguments, command):
    """Leave a line a call, so that a test can count what was truly run."""
    with Path(arguments["file"]).open("a") as file:
        file.write(f"{command.key}\n")
    time.sleep(arguments.get("sleep_s", 0))
    if arguments.get("die"):
        os.kill(os.getpid(), signal.SIGKILL)
    if (
        arguments.get("fail_until")
        and len(Path(arguments["file"]).read_text().splitlines()) < arguments["fail_until"]
    ):
        raise ValueError("not yet")
    return {"noted": True}


def fail(arguments):
    raise ValueError("the learning rate is negative")


def crash(arguments):
    os.kill(os.getpid(), signal.SIGSEGV)


def leave(arguments):
    sys.exit(3)


def leave_at_once(arguments):
    os._exit(7)


def hang(arguments):
    child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
    Path(arguments["file"]).write_text(f"{os.getpid()} {child.pid}")
    time.sleep(600)


def chat(arguments):
    print("to standard output")
    os.write(1, b"to its descriptor\n")
    sys.stdin.read()
    return "quiet"


def fork_and_return(arguments):
    child = os.fork()
    if child == 0:
        return "child"
    os.waitpid(child, 0)
    return "parent"


def fork_and_linger(arguments):
    if os.fork() == 0:
        time.sleep(600)
    os.kill(os.getpid(), signal.SIGKILL)


def fill_the_disk(arguments):
    """From here on every write of this process fails, as on a full disk."""
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))
    return "done"


def unfit(arguments):
    return {"nan": object()}


def infinite(arguments):
    return float("inf")


def huge(arguments):
    return "x" * (2 << 20)


def three(a, b, c):
    return 1


def _private(arguments):
    return 1
