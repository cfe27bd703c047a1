"""Engine `python`: runs a function of the bundle's functions.py in a worker process, so that it cannot block
deciding.

    - do: scorer.call
      with: {function: retrain, since: '${signal.time}'}

calls `retrain({"since": ...})`, or `retrain({"since": ...}, command=...)` where the function takes `command`
(`CommandContext`: the idempotency key, the loop, the deadline). All verbs but `cancel` call the function; it
reads which from `command.verb`. `cancel` ends calls that are running: `with: {command: KEY}` one, `with:
{function: NAME}` all of a function. What the function returns must be JSON; what it prints goes to FLO's
standard error.

The promise (class: can be asked by key):

- A call that has returned is not run again under its key, not even after a crash or power cut of FLO
  (`CallJournal`).
- A call that was running when FLO, its process or the power ended left no line; it is run again, so the half
  of its effects that happened may happen twice: **a function must be idempotent by `command.key`**, as by
  naming its file so.
- A function that raises, hangs beyond the engine's `timeout` or takes its process down failed; the command's
  `attempts` say how often it is run. One that hangs is killed with every process it started.
- Shutdown: `close` ends all workers. If FLO is killed, its workers see the end of a pipe and end with all
  they started (once they reach Python code: an endless loop inside C that never releases the interpreter
  would outlive it).
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any, ClassVar

from flo.core.bundle.settings import Setting
from flo.core.command import Command
from flo.engines.call_journal import CallJournal
from flo.engines.python_process import WorkerDied, WorkerProcess, start_worker
from flo.ports.engine import (
    Answer,
    EngineRejected,
    EngineUnavailable,
    KeyClass,
    OutcomeSink,
    RunFailed,
    Status,
)


class PythonEngine:
    """See the module. Workers are started when they are first needed, and kept."""

    kind: ClassVar[str] = "python"
    verbs: ClassVar[frozenset[str]] = frozenset({"call", "trigger", "swap", "rerun", "restart", "cancel"})
    settings: ClassVar[Mapping[str, Setting]] = MappingProxyType(
        {
            "function": Setting(
                "name", help="the function of functions.py to call where a command's `with` names none"
            ),
        }
    )
    key_class: ClassVar[KeyClass] = KeyClass.ASKABLE

    def __init__(self, functions: Path, *, journal: Path | None = None, function: str | None = None) -> None:
        """`functions` is the bundle's functions.py; `journal` a file of this engine alone in the data
        directory.
        """
        self._functions = functions
        self._function = function
        self._journal = CallJournal(journal)
        self._idle: list[WorkerProcess] = []
        self._workers: set[WorkerProcess] = set()
        self._runs: dict[str, asyncio.Task[Answer]] = {}
        self._running: dict[str, tuple[str, WorkerProcess]] = {}
        self._cancelled: set[str] = set()
        self._closed = False

    async def start(self, outcome: OutcomeSink) -> None:
        await asyncio.to_thread(self._journal.load)

    async def send(self, command: Command, *, timeout_s: float) -> Answer:
        if self._closed:
            raise EngineUnavailable("the engine is closed", reached=False)
        if command.verb == "cancel":
            return self._cancel(command)
        if command.verb not in self.verbs:
            known = ", ".join(sorted(self.verbs))
            raise EngineRejected(f"the python engine knows no `{command.verb}`; it knows {known}")
        done = self._journal.get(command.key)
        if done is not None:
            return done
        run = self._runs.get(command.key)
        if run is None:
            run = asyncio.ensure_future(self._run(command, timeout_s))
            self._runs[command.key] = run
            run.add_done_callback(lambda _: self._runs.pop(command.key, None))
        # Shielded: the run goes on where whoever waits for it is cancelled, and `ask` still finds it.
        return await asyncio.shield(run)

    async def ask(self, command: Command, *, timeout_s: float) -> Answer:
        done = self._journal.get(command.key)
        if done is not None:
            return done
        if command.key in self._runs:
            return Answer(status=Status.RUNNING)
        return Answer(status=Status.UNKNOWN, detail="no call with this key has finished")

    async def close(self) -> None:
        self._closed = True
        runs = list(self._runs.values())
        for run in runs:
            run.cancel()
        for worker in self._workers:
            worker.kill()
        await asyncio.gather(*runs, return_exceptions=True)
        await asyncio.gather(*(worker.ended() for worker in tuple(self._workers)))
        self._workers.clear()
        self._idle.clear()

    async def _run(self, command: Command, timeout_s: float) -> Answer:
        arguments = dict(command.arguments)
        function = arguments.pop("function", self._function)
        if not isinstance(function, str):
            raise EngineRejected(
                "no function is named: write `with: {function: NAME}`, or `function:` at the engine"
            )
        request = {"function": function, "arguments": arguments, "command": _context(command)}
        worker = await self._worker()
        self._running[command.key] = (function, worker)
        try:
            async with asyncio.timeout(timeout_s):
                answer = await worker.call(request)
        except TimeoutError:
            await self._replace(worker)
            raise RunFailed(
                f"{function} ran longer than {timeout_s:g} s, the engine's `timeout`, and was ended"
            ) from None
        except WorkerDied as death:
            await self._replace(worker)
            return self._after_death(command.key, function, death)
        except asyncio.CancelledError:
            worker.kill()
            raise
        finally:
            self._running.pop(command.key, None)
            self._cancelled.discard(command.key)
        self._idle.append(worker)
        return self._answer(command.key, answer)

    def _answer(self, key: str, answer: dict[str, Any]) -> Answer:
        kind = answer["kind"]
        if kind == "rejected":
            raise EngineRejected(answer["detail"])
        if kind == "raised":
            raise RunFailed(answer["detail"])
        status = Status.SUCCEEDED if kind == "ok" else Status.FAILED
        final = Answer(status=status, detail=answer.get("detail", ""), result=answer.get("result"))
        self._journal.remember(key, final)
        return final

    def _after_death(self, key: str, function: str, death: WorkerDied) -> Answer:
        self._journal.refresh()
        done = self._journal.get(key)
        if done is not None:
            return done
        if key in self._cancelled:
            cancelled = Answer(status=Status.CANCELLED, detail=f"{function} was ended by a cancel command")
            self._journal.remember(key, cancelled)
            return cancelled
        raise RunFailed(f"{function} did not return: {death}")

    def _cancel(self, command: Command) -> Answer:
        key, function = command.arguments.get("command"), command.arguments.get("function")
        if key is None and function is None:
            raise EngineRejected("cancel needs `with: {command: KEY}` or `with: {function: NAME}`")
        ended = [
            running
            for running, (name, _) in self._running.items()
            if running == key or (key is None and name == function)
        ]
        for running in ended:
            self._cancelled.add(running)
            self._running[running][1].kill()
        return Answer(status=Status.SUCCEEDED, result={"cancelled": ended})

    async def _worker(self) -> WorkerProcess:
        while self._idle:
            worker = self._idle.pop()
            if worker.alive():
                return worker
            await self._replace(worker)
        try:
            worker = await start_worker(self._functions, self._journal.path)
        except OSError as error:
            raise EngineUnavailable(f"no worker process could be started: {error}", reached=False) from None
        self._workers.add(worker)
        return worker

    async def _replace(self, worker: WorkerProcess) -> None:
        self._workers.discard(worker)
        await worker.ended()


def _context(command: Command) -> dict[str, Any]:
    return {
        "key": command.key,
        "loop": command.loop,
        "loop_key": command.loop_key,
        "seq": command.seq,
        "rule": command.rule,
        "verb": command.verb,
        "target": command.target,
        "root": command.root,
        "decision_id": command.decision_id,
        "deadline_ns": command.deadline_ns,
    }
