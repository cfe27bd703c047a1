"""The process in which functions of a bundle run. Started by `flo.engines.python`, one call at a time.

It is run as a file, not imported as a part of the package, so that it starts in the time of a bare
interpreter. What a function may do to its process is met here: what it prints goes to standard error; a child
it forks has no line to FLO and ends where the function returns; if FLO ends, however it ends, the whole
process group ends.
"""

from __future__ import annotations

import contextlib
import importlib.util
import inspect
import json
import os
import signal
import socket
import struct
import sys
import threading
import traceback
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

FRAME = struct.Struct(">I")
RESULT_BYTES_MAX = 1 << 20
DETAIL_CHARS_MAX = 2_000


@dataclass(frozen=True)
class CommandContext:
    """What a function that takes `command` is told of the command it carries out."""

    key: str  # the idempotency key: the same on every repeat of this command
    loop: str
    loop_key: str
    seq: int
    rule: str
    verb: str
    target: str | None
    root: str
    decision_id: str
    deadline_ns: int


class CallFailed(Exception):
    """`kind`: rejected (it cannot be called so), raised (it ran and failed), unfit (it ran; its result is
    unusable).
    """

    def __init__(self, kind: str, detail: str) -> None:
        super().__init__(detail)
        self.kind = kind


def journal_line(entry: dict[str, Any]) -> bytes:
    """One line of the journal of finished calls: checksum, space, JSON."""
    text = json.dumps(entry, separators=(",", ":")).encode()
    return b"%08x %b\n" % (zlib.crc32(text), text)


def _load(path: Path) -> ModuleType:
    sys.path.insert(0, str(path.parent))
    spec = importlib.util.spec_from_file_location("functions", path)
    if spec is None or spec.loader is None:
        raise CallFailed("rejected", f"{path.name} is not a Python file")
    module = importlib.util.module_from_spec(spec)
    sys.modules["functions"] = module
    try:
        spec.loader.exec_module(module)
    except BaseException as error:
        raise CallFailed("rejected", f"{path.name} does not load: {_describe(error, path)}") from None
    return module


def _describe(error: BaseException, path: Path) -> str:
    """The exception, and the deepest line of the bundle's own file it came through."""
    text = f"{type(error).__name__}: {error}"[:DETAIL_CHARS_MAX]
    if isinstance(error, FileNotFoundError) and error.filename == str(path):
        return "the bundle has no such file"
    for frame in reversed(traceback.extract_tb(error.__traceback__)):
        if frame.filename == str(path):
            return f"{text} ({path.name}:{frame.lineno}, in {frame.name})"
    return text


def _function(module: ModuleType, name: str) -> Callable[..., Any]:
    function = None if name.startswith("_") else getattr(module, name, None)
    if not callable(function) or getattr(function, "__module__", None) != module.__name__:
        known = ", ".join(
            sorted(key for key, value in vars(module).items() if _is_public(key, value, module))
        )
        raise CallFailed("rejected", f"functions.py has no function `{name}`; it has: {known or 'none'}")
    found: Callable[..., Any] = function
    return found


def _is_public(name: str, value: Any, module: ModuleType) -> bool:
    return not name.startswith("_") and inspect.isfunction(value) and value.__module__ == module.__name__


def _call(module: ModuleType, request: dict[str, Any], path: Path) -> str:
    """The result as JSON text, or `CallFailed`."""
    function = _function(module, request["function"])
    parameters = inspect.signature(function).parameters
    given: dict[str, Any] = {}
    if "command" in parameters:
        given["command"] = CommandContext(**request["command"])
    positional = () if set(parameters) <= {"command"} else (request["arguments"],)
    try:
        inspect.signature(function).bind(*positional, **given)
    except TypeError as error:
        raise CallFailed(
            "rejected",
            f"{function.__name__}{inspect.signature(function)} cannot be called: {error}; "
            "a function of the python engine takes (arguments) or (arguments, command)",
        ) from None
    try:
        result = function(*positional, **given)
        if inspect.iscoroutine(result):
            import asyncio  # noqa: PLC0415 (10 ms of start-up that few functions need)

            result = asyncio.run(result)
    except BaseException as error:
        raise CallFailed("raised", _describe(error, path)) from None
    try:
        text = json.dumps(result, allow_nan=False, separators=(",", ":"))
    except (TypeError, ValueError, RecursionError) as error:
        raise CallFailed(
            "unfit",
            f"what {function.__name__} returned is not JSON: {error}; return numbers, texts, lists and dicts",
        ) from None
    if len(text) > RESULT_BYTES_MAX:
        raise CallFailed(
            "unfit",
            f"what {function.__name__} returned takes {len(text)} bytes, at most {RESULT_BYTES_MAX}: "
            "return a reference",
        )
    return text


def _receive(channel: socket.socket) -> bytes | None:
    """The next frame; None where FLO closed the line."""
    head = _exactly(channel, FRAME.size)
    return None if head is None else _exactly(channel, FRAME.unpack(head)[0])


def _exactly(channel: socket.socket, size_bytes: int) -> bytes | None:
    data = bytearray()
    while len(data) < size_bytes:
        chunk = channel.recv(size_bytes - len(data))
        if not chunk:
            return None
        data += chunk
    return bytes(data)


def _end_with_flo(lifeline: int) -> None:
    """Blocks until FLO's end of the lifeline is gone, then ends this process and all it started."""
    while os.read(lifeline, 1):
        pass
    os.killpg(os.getpgrp(), signal.SIGKILL)


def _journal(fd: int, key: str, status: str, detail: str, result: str) -> None:
    """Durable before FLO hears of it: a FLO that ends in between finds here that the call was done."""
    if fd < 0:
        return
    entry = {"key": key, "status": status, "detail": detail, "result": json.loads(result)}
    try:
        os.write(fd, journal_line(entry))
        os.fdatasync(fd)
    except OSError as error:
        # The call is done all the same, and its answer counts; only its memory across a crash is lost.
        with contextlib.suppress(OSError):  # standard error may be a file on the same full disk
            print(f"flo: call {key} is not in the journal ({error}); a crash would rerun it", file=sys.stderr)


def _answer(
    module: ModuleType | None, broken: CallFailed | None, request: dict[str, Any], path: Path, fd: int
) -> dict[str, Any]:
    key = request["command"]["key"]
    owner = os.getpid()
    try:
        if broken is not None or module is None:
            raise broken or CallFailed("rejected", "functions.py is not loaded")
        result = _call(module, request, path)
        if os.getpid() != owner:
            os._exit(0)
    except CallFailed as error:
        if os.getpid() != owner:
            os._exit(1)
        if error.kind == "unfit":
            _journal(fd, key, "failed", str(error), "null")
        return {"kind": error.kind, "detail": str(error)}
    _journal(fd, key, "succeeded", "", result)
    return {"kind": "ok", "result": json.loads(result)}


def main(arguments: list[str]) -> None:
    """Serve calls until the channel closes or the parent is gone."""
    channel_fd, lifeline, functions, journal = (
        int(arguments[0]),
        int(arguments[1]),
        Path(arguments[2]),
        arguments[3],
    )
    os.dup2(2, 1)
    channel = socket.socket(fileno=channel_fd)
    threading.Thread(target=_end_with_flo, args=(lifeline,), daemon=True).start()

    def cut_off() -> None:
        os.close(channel_fd)
        os.close(lifeline)

    os.register_at_fork(after_in_child=cut_off)
    journal_fd = os.open(journal, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600) if journal else -1
    module, broken = None, None
    try:
        module = _load(functions)
    except CallFailed as error:
        broken = error
    # FLO's end, however it comes, is not an error: what a call returned is in the journal, nobody is left to be told.
    with contextlib.suppress(BrokenPipeError, ConnectionResetError):
        _serve(channel, module, broken, functions, journal_fd)


def _serve(
    channel: socket.socket,
    module: ModuleType | None,
    broken: CallFailed | None,
    functions: Path,
    journal_fd: int,
) -> None:
    """One call after the other, until FLO closes the line."""
    while (frame := _receive(channel)) is not None:
        request = json.loads(frame)
        answer = json.dumps(_answer(module, broken, request, functions, journal_fd)).encode()
        channel.sendall(FRAME.pack(len(answer)) + answer)


if __name__ == "__main__":
    main(sys.argv[1:])
