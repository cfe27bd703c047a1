"""The python engine, with real processes, real crashes and real kills."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest
import uvloop
from tests.flow.dispatching import make_command

from flo.core.command import Command
from flo.engines.call_journal import CallJournal
from flo.engines.python import PythonEngine
from flo.engines.python_worker import journal_line
from flo.ports.engine import Answer, EngineError, EngineRejected, KeyClass, RunFailed, Status

FUNCTIONS = Path(__file__).with_name("functions.py")
Start = Callable[..., Any]


@pytest.fixture
async def start(tmp_path: Path) -> AsyncIterator[Start]:
    engines: list[PythonEngine] = []

    async def make(functions: Path = FUNCTIONS, **options: Any) -> PythonEngine:
        engine = PythonEngine(functions, journal=tmp_path / "data" / "py.calls", **options)
        engines.append(engine)
        await engine.start(lambda key, answer: None)
        return engine

    yield make
    for engine in engines:
        await engine.close()


def call(function: str, n: int = 1, verb: str = "call", **arguments: Any) -> Command:
    return make_command(n, engine="py", verb=verb, arguments={"function": function, **arguments})


async def send(engine: PythonEngine, command: Command, timeout_s: float = 20.0) -> Answer:
    return await engine.send(command, timeout_s=timeout_s)


def is_running(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


async def until(condition: Callable[[], bool], what: str) -> None:
    for _ in range(1_000):
        if condition():
            return
        await asyncio.sleep(0.01)
    raise AssertionError(f"never happened: {what}")


async def test_a_function_is_called_with_its_arguments_and_answers_json(start: Start) -> None:
    engine = await start()
    assert await send(engine, call("add", a=1, b=2)) == Answer(status=Status.SUCCEEDED, result={"sum": 3})
    assert (await send(engine, call("add_slowly", 2, a=1, b=2))).result == 3
    assert (await send(engine, call("nothing", 3))).result is None


async def test_a_function_that_takes_command_is_told_its_key(start: Start) -> None:
    command = call("tell", verb="trigger")
    assert (await send(await start(), command)).result == {
        "key": command.key,
        "loop": "loop",
        "verb": "trigger",
        "deadline_ns": command.deadline_ns,
    }


async def test_the_engine_may_name_the_function_itself(start: Start) -> None:
    engine = await start(function="add")
    assert (await send(engine, make_command(arguments={"a": 1, "b": 1}))).result == {"sum": 2}


async def test_one_worker_serves_calls_one_after_another(start: Start) -> None:
    engine = await start()
    pids = {(await send(engine, call("pid", n))).result for n in range(5)}
    assert len(pids) == 1
    assert os.getpid() not in pids


@pytest.mark.parametrize(
    ("function", "message"),
    [
        ("gone", "functions.py has no function `gone`; it has: add, add_slowly"),
        ("_private", "no function `_private`"),
        ("Path", "no function `Path`"),
        ("three", "takes (arguments) or (arguments, command)"),
    ],
)
async def test_what_cannot_be_called_is_rejected_by_name(start: Start, function: str, message: str) -> None:
    with pytest.raises(EngineRejected) as caught:
        await send(await start(), call(function))
    assert message in str(caught.value)


async def test_functions_that_do_not_load_or_are_not_there_are_named(start: Start, tmp_path: Path) -> None:
    broken = tmp_path / "functions.py"
    engine = await start(broken)
    with pytest.raises(EngineRejected, match="no such file"):
        await send(engine, call("add"))
    broken.write_text("import json\nraise RuntimeError('no model')\n")
    engine = await start(broken)
    with pytest.raises(EngineRejected, match=r"does not load: RuntimeError: no model \(functions.py:2"):
        await send(engine, call("add"))


@pytest.mark.parametrize(
    ("function", "message"),
    [
        ("fail", r"ValueError: the learning rate is negative \(functions.py:\d+, in fail\)"),
        ("leave", "SystemExit: 3"),
        ("crash", "SIGSEGV"),
        ("leave_at_once", "code 7"),
        ("fork_and_linger", "SIGKILL"),
    ],
)
async def test_a_function_that_fails_or_takes_its_process_down_failed_and_the_engine_lives_on(
    start: Start, function: str, message: str
) -> None:
    engine = await start()
    with pytest.raises(RunFailed, match=message):
        await send(engine, call(function))
    assert (await send(engine, call("add", 2, a=1, b=2))).result == {"sum": 3}


@pytest.mark.parametrize(
    ("function", "message"), [("unfit", "not JSON"), ("infinite", "not JSON"), ("huge", "at most")]
)
async def test_a_result_that_cannot_be_kept_fails_and_is_not_run_again(
    start: Start, function: str, message: str
) -> None:
    engine = await start()
    answer = await send(engine, call(function))
    assert answer.status is Status.FAILED
    assert message in answer.detail
    assert await engine.ask(call(function), timeout_s=1.0) == answer


async def test_what_a_function_prints_or_reads_disturbs_nothing(
    start: Start, capfd: pytest.CaptureFixture[str]
) -> None:
    engine = await start()
    assert (await send(engine, call("chat"))).result == "quiet"
    await engine.close()
    captured = capfd.readouterr()
    assert captured.out == ""
    assert "to its descriptor" in captured.err


async def test_a_child_that_returns_from_a_fork_answers_nothing(start: Start) -> None:
    engine = await start()
    assert (await send(engine, call("fork_and_return"))).result == "parent"
    assert (await send(engine, call("add", 2, a=1, b=2))).result == {"sum": 3}


async def test_a_function_that_hangs_is_ended_with_all_it_started(start: Start, tmp_path: Path) -> None:
    engine = await start()
    with pytest.raises(RunFailed, match=r"ran longer than 1.5 s"):
        await send(engine, call("hang", file=str(tmp_path / "pids")), timeout_s=1.5)
    pids = [int(pid) for pid in (tmp_path / "pids").read_text().split()]
    await until(lambda: not any(is_running(pid) for pid in pids), "the processes end")
    assert (await send(engine, call("add", 2, a=1, b=2))).result == {"sum": 3}


async def test_cancel_ends_a_running_call(start: Start, tmp_path: Path) -> None:
    engine = await start()
    running = asyncio.ensure_future(send(engine, call("hang", file=str(tmp_path / "pids"))))
    await until((tmp_path / "pids").exists, "the function starts")
    assert (await engine.ask(call("hang"), timeout_s=1.0)).status is Status.RUNNING
    cancel = make_command(2, verb="cancel", arguments={"command": call("hang").key})
    assert (await send(engine, cancel)).result == {"cancelled": [call("hang").key]}
    assert (await running).status is Status.CANCELLED
    assert (await engine.ask(call("hang"), timeout_s=1.0)).status is Status.CANCELLED
    again = make_command(3, verb="cancel", arguments={"function": "hang"})
    assert (await send(engine, again)).result == {"cancelled": []}
    with pytest.raises(EngineRejected, match="cancel needs"):
        await send(engine, make_command(4, verb="cancel", arguments={}))


async def test_the_same_key_runs_once_while_it_runs_and_afterwards(start: Start, tmp_path: Path) -> None:
    engine = await start()
    command = call("note", file=str(tmp_path / "notes"), sleep_s=0.2)
    first, second = await asyncio.gather(send(engine, command), send(engine, command))
    third = await send(engine, command)
    assert first == second == third
    assert len((tmp_path / "notes").read_text().splitlines()) == 1


async def test_after_a_restart_a_finished_call_is_known_and_a_failed_one_runs_again(
    start: Start, tmp_path: Path
) -> None:
    engine = await start()
    assert engine.key_class is KeyClass.ASKABLE
    notes = str(tmp_path / "notes")
    await send(engine, call("note", 1, file=notes))
    with pytest.raises(RunFailed):
        await send(engine, call("note", 2, file=notes, fail_until=3))
    await engine.close()
    engine = await start()
    assert (await engine.ask(call("note", 1), timeout_s=1.0)).result == {"noted": True}
    assert (await engine.ask(call("note", 2), timeout_s=1.0)).status is Status.UNKNOWN
    await send(engine, call("note", 1, file=notes))
    await send(engine, call("note", 2, file=notes, fail_until=3))
    assert len((tmp_path / "notes").read_text().splitlines()) == 3


async def test_close_leaves_no_process_behind(start: Start, tmp_path: Path) -> None:
    engine = await start()
    pid = (await send(engine, call("pid"))).result
    running = asyncio.ensure_future(send(engine, call("hang", 2, file=str(tmp_path / "pids"))))
    await until((tmp_path / "pids").exists, "the function starts")
    pids = [pid, *(int(text) for text in (tmp_path / "pids").read_text().split())]
    await engine.close()
    await until(lambda: not any(is_running(each) for each in pids), "the processes end")
    (told,) = await asyncio.gather(running, return_exceptions=True)
    assert isinstance(told, EngineError | asyncio.CancelledError), "no answer is made up"


FLO_THAT_DIES = """
import asyncio, sys
from pathlib import Path
from flo.engines.python import PythonEngine
from flo.engines.python_worker import journal_line
from tests.flow.dispatching import make_command

async def main():
    engine = PythonEngine(Path(sys.argv[1]), journal=Path(sys.argv[2]))
    await engine.start(lambda key, answer: None)
    done = await engine.send(make_command(1, arguments={"function": "add", "a": 1, "b": 2}), timeout_s=20)
    print(done.result, flush=True)
    await engine.send(make_command(2, arguments={"function": "hang", "file": sys.argv[3]}), timeout_s=60)

asyncio.run(main())
"""


@pytest.mark.parametrize("sign", [signal.SIGKILL, signal.SIGTERM])
async def test_when_flo_is_killed_its_workers_end_and_what_had_finished_is_known(
    tmp_path: Path, sign: int
) -> None:
    pids_file, journal = tmp_path / "pids", tmp_path / "py.calls"
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", FLO_THAT_DIES, str(FUNCTIONS), str(journal), str(pids_file)),
        cwd=Path(__file__).parents[2],
        stdout=asyncio.subprocess.DEVNULL,
    )
    await until(lambda: pids_file.exists() and pids_file.read_text().count(" ") == 1, "the function starts")
    pids = [int(pid) for pid in pids_file.read_text().split()]
    assert all(is_running(pid) for pid in pids)
    process.send_signal(sign)
    await process.wait()
    await until(lambda: not any(is_running(pid) for pid in pids), "the workers end")
    engine = PythonEngine(FUNCTIONS, journal=journal)
    await engine.start(lambda key, answer: None)
    assert (await engine.ask(make_command(1), timeout_s=1.0)).result == {"sum": 3}
    assert (await engine.ask(make_command(2), timeout_s=1.0)).status is Status.UNKNOWN
    await engine.close()


async def test_a_full_disk_under_the_journal_costs_memory_across_crashes_not_the_answer(
    start: Start,
) -> None:
    engine = await start()
    answer = await send(engine, call("fill_the_disk"))
    assert answer.result == "done"
    assert await engine.ask(call("fill_the_disk"), timeout_s=1.0) == answer
    await engine.close()
    engine = await start()
    assert (await engine.ask(call("fill_the_disk"), timeout_s=1.0)).status is Status.UNKNOWN


def test_a_journal_line_cut_by_a_power_loss_counts_as_not_written(tmp_path: Path) -> None:
    path = tmp_path / "py.calls"
    journal = CallJournal(path)
    journal.load()
    entry = {"key": "a", "status": "succeeded", "detail": "", "result": 1}
    whole = journal_line(entry)
    for cut in range(len(whole)):
        path.write_bytes(whole + whole[:cut])
        journal = CallJournal(path)
        journal.load()
        with path.open("ab") as file:
            file.write(journal_line({**entry, "key": "b"}))
        journal.refresh()
        assert journal.get("a") is not None
        assert journal.get("b") is not None


def test_a_journal_grown_large_is_compacted_and_remembers_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("flo.engines.call_journal.COMPACT_BYTES_MIN", 1_000)
    monkeypatch.setattr("flo.engines.call_journal.ENTRIES_MAX", 10)
    path = tmp_path / "py.calls"
    entries = [{"key": f"k{n}", "status": "succeeded", "detail": "", "result": n} for n in range(100)]
    path.write_bytes(b"".join(journal_line(entry) for entry in entries))
    CallJournal(path).load()
    assert path.stat().st_size < 1_000
    journal = CallJournal(path)
    journal.load()
    assert journal.get("k99") == Answer(status=Status.SUCCEEDED, result=99)
    assert journal.get("k89") is None
    with path.open("ab") as file:
        file.write(journal_line({"key": "new", "status": "failed", "detail": "x", "result": None}))
    journal.refresh()
    assert journal.get("new") == Answer(status=Status.FAILED, detail="x")


def test_the_engine_runs_on_uvloop_too() -> None:
    async def run() -> Any:
        engine = PythonEngine(FUNCTIONS)
        await engine.start(lambda key, answer: None)
        result = (await send(engine, call("add", a=1, b=2))).result
        with pytest.raises(RunFailed, match="SIGSEGV"):
            await send(engine, call("crash", 2))
        await engine.close()
        return result

    assert uvloop.run(run()) == {"sum": 3}
