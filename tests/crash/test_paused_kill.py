"""A real `flo run` is killed with -9 while a pipeline is paused, is drained, and while dead letters are replayed."""

from __future__ import annotations

import http.client
import json
import os
import random
import threading
import time
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from tests.crash.running_flo import Receiver, RunningFlo
from tests.sim.promises import read_ledger
from tests.sim.test_paused_pipelines import LENIENT, files, made

from flo.core.record import DeadLetter, DeadLetterDropped
from flo.flow.mark_blocks import MARK_REPLAY
from flo.stores.disk import LocalDisk

pytestmark = pytest.mark.crash

KILLS = int(os.environ.get("FLO_CRASH_RUNS", "25"))
KILLS_A_DIRECTORY = 10
PLACES = ("decided", "appended", "durable", "answered")
NOTE = "the contract takes it now"


def ask(flo: RunningFlo, method: str, path: str, body: dict[str, Any] | None = None) -> dict[str, Any] | None:
    """None where FLO died, or could not say."""
    if flo.port is None:
        return None
    connection = http.client.HTTPConnection("127.0.0.1", flo.port, timeout=20)
    try:
        headers = {"Content-Type": "application/json"}
        connection.request(method, path, None if body is None else json.dumps(body), headers)
        answer = connection.getresponse()
        value: dict[str, Any] = json.loads(answer.read())
        return value if answer.status < 300 else None
    except (OSError, http.client.HTTPException, ValueError):
        return None
    finally:
        connection.close()


def status(flo: RunningFlo) -> str | None:
    rows = ask(flo, "GET", "/v1/pipelines")
    return None if rows is None else rows["pipelines"][0]["status"]


class Life:
    """One data directory: what was sent, and what FLO said it took."""

    def __init__(self, seed: int, bundle: Path, data: Path) -> None:
        self.dice = random.Random(seed)
        self.bundle, self.data = bundle, data
        self.taken: set[str] = set()
        self.unsure: list[int] = []
        self.sent = 0

    def start(self, crash: bool) -> RunningFlo:
        place = None
        if crash and self.dice.random() < 0.7:
            place = f"{self.dice.choice(PLACES)}:{self.dice.randrange(1, 30)}"
        flo = RunningFlo(self.bundle, self.data, place)
        if crash and place is None:
            threading.Timer(self.dice.random() * 0.4, flo.process.kill).start()
        return flo

    def send(self, flo: RunningFlo, numbers: list[int]) -> None:
        """Every seventh breaks the contract of the first days; what was refused is a dead letter, and taken too."""
        if flo.port is None:
            self.unsure += numbers
            return
        body = b"\n".join(made(n, f"c{n % 3}", None if n % 7 == 0 else 1) for n in numbers)
        connection = http.client.HTTPConnection("127.0.0.1", flo.port, timeout=20)
        try:
            connection.request("POST", "/v1/signals", body, {"Content-Type": "application/x-ndjson"})
            answer = connection.getresponse()
            answer.read()
            assert answer.status in (202, 429, 503)
            if answer.status == 202:
                self.taken.update(f"p{n}" for n in numbers)
            else:
                self.unsure += numbers
        except (OSError, http.client.HTTPException):
            self.unsure += numbers
        finally:
            connection.close()

    def some(self) -> list[int]:
        many = self.dice.randrange(1, 200)
        self.sent += many
        return list(range(self.sent - many, self.sent))

    def live(self, flo: RunningFlo) -> None:
        """Send, pause, resume and replay, whatever comes, until FLO dies or a while has passed."""
        end_s = time.monotonic() + 1.0
        while flo.alive and time.monotonic() < end_s:
            match self.dice.randrange(6):
                case 0 | 1:
                    self.send(flo, self.some())
                case 2:
                    ask(flo, "POST", "/v1/pipelines/cards/pause", {"note": "a test"})
                case 3:
                    ask(flo, "POST", "/v1/pipelines/cards/resume", {"note": NOTE})
                case 4:
                    ask(flo, "POST", "/v1/dead-letters/replay", {"note": NOTE, "limit": 20})
                case 5:
                    again, self.unsure = self.unsure[:200], self.unsure[200:]
                    self.send(flo, again or self.some())
        flo.kill()

    def settle(self) -> None:
        """A life without a crash, in which everything is decided."""
        flo = self.start(crash=False)
        while self.unsure:
            again, self.unsure = self.unsure[:200], self.unsure[200:]
            self.send(flo, again)
        end_s = time.monotonic() + 60
        while time.monotonic() < end_s:
            ask(flo, "POST", "/v1/pipelines/cards/resume", {"note": NOTE})
            answer = ask(flo, "POST", "/v1/dead-letters/replay", {"note": NOTE})
            if status(flo) == "running" and answer is not None and answer["matched"] == 0:
                break
        assert flo.stop() == 0


def check(life: Life) -> None:
    decided: Counter[str] = Counter()
    marked: Counter[str] = Counter()
    order: dict[str, list[int]] = {}
    letters, left = 0, []
    for _, group in read_ledger(LocalDisk(), str(life.data)).blocks:
        raws = [json.loads(raw) for raw in group.raws()]
        marked.update(e["id"] for row, e in enumerate(raws) if group.marks.get(row, 0) in (0, 4))
        for section in group.sections:
            decided.update(raws[row[0]]["id"] for row in section.rows())
            for row in section.rows():
                order.setdefault(row[1], []).append(row[2])
        letters += sum(isinstance(event, DeadLetter) for event in group.events())
        left += [event.dead_letter_id for event in group.events() if isinstance(event, DeadLetterDropped)]
        assert all(not flags & MARK_REPLAY or row < len(raws) for row, flags in group.marks.items())
    assert not life.taken - set(decided), "a signal that was taken is not decided"
    assert not [id for id, count in decided.items() if count > 1], "a signal was decided twice"
    assert not [id for id, count in marked.items() if count > 1], "a signal was marked twice"
    assert len(left) == len(set(left)) == letters
    for seqs in order.values():
        assert seqs == list(range(1, len(seqs) + 1))


@pytest.mark.parametrize("directory", range(max(1, KILLS // KILLS_A_DIRECTORY)))
def test_kill_9_of_a_paused_pipeline_loses_nothing_and_decides_nothing_twice(
    directory: int, tmp_path: Path
) -> None:
    receiver = Receiver()
    bundle, data = tmp_path / "bundle", tmp_path / "data"
    first = files(flo=files()["flo.yaml"].decode().replace("http://127.0.0.1:9/", receiver.url))
    for name, content in {**first, "loops/pay.yaml": LENIENT["loops/pay.yaml"]}.items():
        (bundle / name).parent.mkdir(parents=True, exist_ok=True)
        (bundle / name).write_bytes(content)
    life = Life(directory, bundle, data)
    try:
        for kill in range(KILLS_A_DIRECTORY):
            if kill == KILLS_A_DIRECTORY // 2:  # the contract is mended half way
                (bundle / "contracts/pay.made/1.json").write_bytes(LENIENT["contracts/pay.made/1.json"])
            life.live(life.start(crash=True))
        life.settle()
        check(life)
        assert life.taken
    except BaseException as problem:
        problem.add_note(f"directory {directory}")
        raise
    finally:
        receiver.close()
