"""Sending signals to a running FLO: batches, pace, and trying again."""

from __future__ import annotations

import random
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any, BinaryIO

from flo.faces.cli.client import Answer, Client, NoAnswer, failure_of_answer
from flo.faces.cli.failure import CommandFailed

BATCH_BYTES_MAX = 8 << 20
"""Half of what FLO takes at once by default."""

LINE_BYTES_MAX = 4 << 20
"""Longer lines are sent cut off, to be refused by index: reading one whole could fill the memory."""

FIRST_REJECTED_MAX = 20

PAUSE_S_MIN = 0.1
PAUSE_S_MAX = 5.0


@dataclass(frozen=True, slots=True)
class Batch:
    """Lines to send together; `numbers` are their places in the file, from 1."""

    lines: list[bytes]
    numbers: list[int]
    read_bytes: int


@dataclass(slots=True)
class Sent:
    """What became of everything so far."""

    accepted: int = 0
    duplicates: int = 0
    rejected_count: int = 0
    retries: int = 0
    reasons: Counter[str] = field(default_factory=Counter)
    first_rejected: list[dict[str, Any]] = field(default_factory=list)


def batches(stream: BinaryIO, count_max: int) -> Iterator[Batch]:
    """The lines of a stream in batches of at most `count_max`; empty lines are left out."""
    lines: list[bytes] = []
    numbers: list[int] = []
    size = read = 0
    number = 0
    while line := stream.readline(LINE_BYTES_MAX):
        number += 1
        read += len(line)
        while not line.endswith(b"\n") and (rest := stream.readline(LINE_BYTES_MAX)):
            read += len(rest)
            if rest.endswith(b"\n"):
                break
        line = line.strip()
        if not line:
            continue
        if lines and (len(lines) >= count_max or size + len(line) > BATCH_BYTES_MAX):
            yield Batch(lines, numbers, read)
            lines, numbers, size, read = [], [], 0, 0
        lines.append(line)
        numbers.append(number)
        size += len(line) + 1
    if lines:
        yield Batch(lines, numbers, read)


class Sender:
    """Sends batches in order, one at a time.

    A batch that was refused for now (429, 503) or met no answer is sent again, for at most `patience_s`
    without progress; FLO counts what it already had as duplicates, so nothing is decided twice. `Retry-After`
    is honoured.
    """

    def __init__(
        self,
        client: Client,
        *,
        patience_s: float,
        rate_per_s: float | None = None,
        sleep: Callable[[float], None] = time.sleep,
        now_s: Callable[[], float] = time.monotonic,
    ) -> None:
        self._client = client
        self._patience_s = patience_s
        self._rate_per_s = rate_per_s
        self._sleep = sleep
        self._now_s = now_s
        self._due_s: float | None = None
        self.sent = Sent()

    def close(self) -> None:
        self._client.close()

    def send(self, batch: Batch) -> None:
        """Send until it is taken. Raises `CommandFailed` where patience ends, or trying again cannot help."""
        self._pace(len(batch.lines))
        body = b"\n".join(batch.lines)
        pause_s = PAUSE_S_MIN
        give_up_s = self._now_s() + self._patience_s
        while True:
            failed, wait_s = self._attempt(batch, body, pause_s)
            if failed is None:
                return
            if self._now_s() + wait_s > give_up_s:
                raise CommandFailed(
                    f"{failed.message} "
                    f"(gave up after {self._patience_s:g} s; {self.sent.accepted} were accepted before)",
                    failed.next_step or "send the file again later: what was taken counts as duplicates",
                )
            self.sent.retries += 1
            self._sleep(wait_s)
            pause_s = min(pause_s * 2, PAUSE_S_MAX)

    def _attempt(self, batch: Batch, body: bytes, pause_s: float) -> tuple[CommandFailed | None, float]:
        """(None, 0) once taken; else what is wrong and how long to wait, jittered to keep senders apart."""
        jittered_s = pause_s * random.uniform(0.5, 1.0)
        try:
            answer = self._client.exchange("POST", "/v1/signals", body, "application/x-ndjson")
        except NoAnswer as error:
            return error, jittered_s
        if answer.status in (429, 503):
            return failure_of_answer(self._client.url, answer), max(_retry_after_s(answer), jittered_s)
        self._count(batch, answer)
        return None, 0.0

    def _count(self, batch: Batch, answer: Answer) -> None:
        body = answer.body if isinstance(answer.body, dict) else {}
        rejected = body.get("rejected")
        if answer.status not in (202, 400) or not isinstance(rejected, list):
            raise failure_of_answer(self._client.url, answer)
        self.sent.accepted += body.get("accepted", 0)
        self.sent.duplicates += body.get("duplicates", 0)
        self.sent.rejected_count += len(rejected)
        for row in rejected:
            self.sent.reasons[row["reason"]] += 1
            if len(self.sent.first_rejected) < FIRST_REJECTED_MAX:
                line = batch.numbers[row["index"]]
                self.sent.first_rejected.append(
                    {"line": line, "reason": row["reason"], "detail": row["detail"]}
                )

    def _pace(self, count: int) -> None:
        """Wait until this batch is due. A sender that fell behind does not catch up with a burst."""
        if self._rate_per_s is None:
            return
        now_s = self._now_s()
        due_s = max(self._due_s or now_s, now_s)
        if due_s > now_s:
            self._sleep(due_s - now_s)
        self._due_s = due_s + count / self._rate_per_s


def _retry_after_s(answer: Answer) -> float:
    text = answer.headers.get("retry-after", "")
    return float(text) if text.isdecimal() else 0.0
