"""The payment gateway: offers transactions to FLO at a steady rate, obeys its decisions, reports labels when
they come.

Open loop: each transaction is offered at its own moment, whether or not earlier ones were answered, up to
`OUTSTANDING_MAX` unanswered; the latency of one is counted from when it was handed to a connection, or
queued for one.
"""

from __future__ import annotations

import asyncio
import time
from datetime import datetime
from typing import Any

import msgspec
from models import Models
from report import PHASES, Report
from store import Store
from traffic import Traffic
from wire import Answer, Pool

OUTSTANDING_MAX = 2000
FLUSH_EVERY_S = 0.25
"""How often labels are sent, the record is appended to and the model in use is looked at."""
TRIES = 5

EVENT = "application/cloudevents+json"
BATCH = "application/cloudevents-batch+json"

_encode = msgspec.json.Encoder().encode


class _Decision(msgspec.Struct, gc=False):
    loop: str
    result: str | None = None


class _Decisions(msgspec.Struct, gc=False):
    decisions: list[_Decision]


_decode = msgspec.json.Decoder(_Decisions).decode


class Gateway:
    def __init__(self, pool: Pool, traffic: Traffic, store: Store, models: Models, rate_per_s: float) -> None:
        self.report = Report()
        self._pool = pool
        self._traffic = traffic
        self._store = store
        self._models = models
        self._rate_per_s = rate_per_s
        self._decided: dict[str, str] = {}  # frauds only: what their labels will say
        self._version_of: dict[str, str] = {}
        self._undecided: set[str] = set()  # frauds offered and not yet answered
        self._version = self._old_version = self._version_in_use()
        self._shifted = False
        self._labels: list[dict[str, Any]] = []
        self._transactions: list[bytes] = []
        self._tasks: set[asyncio.Task[None]] = set()
        self._started_s = 0.0

    async def run(self, count: int) -> Report:
        """Offer `count` transactions, and the labels that come meanwhile; returns when all are answered."""
        self._started_s = time.perf_counter()
        flusher = asyncio.create_task(self._flush_regularly())
        last = None
        try:
            for event in self._traffic.events(count):
                if event["type"] != "tx.authorized":
                    if self.report.offered == count:
                        break  # what is left are labels that are not due yet
                    self._labels.append(event)
                    continue
                await self._wait_for_turn()
                self._offer(event)
                last = event
            while self._tasks:
                await asyncio.wait(self._tasks)
        finally:
            flusher.cancel()
            await asyncio.gather(flusher, return_exceptions=True)
        await self._flush()
        self.report.took_s = time.perf_counter() - self._started_s
        if last is not None:
            self.report.event_hours = (_time_ns(last["time"]) - self._traffic.plan.start_ns) / 3.6e12
        return self.report

    # offering

    async def _wait_for_turn(self) -> None:
        due_s = self._started_s + self.report.offered / self._rate_per_s
        wait_s = due_s - time.perf_counter()
        if wait_s > 0.0005:
            await asyncio.sleep(wait_s)
        while len(self._tasks) >= OUTSTANDING_MAX:
            await asyncio.wait(self._tasks, return_when=asyncio.FIRST_COMPLETED)
        self.report.lags_ms.append(max(0.0, (time.perf_counter() - due_s) * 1000.0))

    def _offer(self, event: dict[str, Any]) -> None:
        self.report.offered += 1
        body = _encode(event)
        self._transactions.append(body + b"\n")
        if event["id"] in self._traffic.truth:
            self._undecided.add(event["id"])
        task = asyncio.create_task(self._decide(event["id"], body, self._phase(event)))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def _phase(self, event: dict[str, Any]) -> str:
        shift_ns = self._traffic.plan.shift_ns
        if not self._shifted:
            self._shifted = shift_ns is not None and _time_ns(event["time"]) >= shift_ns
            self._old_version = self._version
        if not self._shifted:
            return PHASES[0]
        return PHASES[1] if self._version == self._old_version else PHASES[2]

    async def _decide(self, tx_id: str, body: bytes, phase: str) -> None:
        scenario = self._traffic.truth.get(tx_id)
        version = self._version
        began_s = time.perf_counter()
        answer = await self._post("/v1/decisions", body, EVENT)
        self._undecided.discard(tx_id)
        if answer is None:
            self.report.failed += 1
            return
        if answer.status != 200:
            self.report.refused[str(answer.status)] += 1
            return
        self.report.latencies_ms.append((time.perf_counter() - began_s) * 1000.0)
        result = next((d.result for d in _decode(answer.body).decisions if d.loop == "payments-score"), None)
        self.report.results[result or "none"] += 1
        self.report.phases[phase].add(result or "none", scenario)
        if scenario is not None:
            self._decided[tx_id] = result or "unknown"
            self._version_of[tx_id] = version

    async def _post(self, path: str, body: bytes, media: str) -> Answer | None:
        """The answer, or None after `TRIES`. Sending again is safe: FLO knows the event by its source and
        id."""
        for attempt in range(TRIES):
            try:
                answer = await self._pool.post(path, body, media)
            except OSError:
                await asyncio.sleep(0.1 * 2**attempt)
                continue
            if answer.status not in (429, 503):
                return answer
            self.report.busy += 1
            await asyncio.sleep(_retry_after_s(answer))
        return None

    # labels, the record, the model in use

    async def _flush_regularly(self) -> None:
        while True:
            await asyncio.sleep(FLUSH_EVERY_S)
            await self._flush()

    async def _flush(self) -> None:
        self._look_at_models()
        due: list[dict[str, Any]] = []
        held: list[dict[str, Any]] = []
        for label in self._labels:
            (held if label["data"]["tx_id"] in self._undecided else due).append(label)
        labels = [self._told(label) for label in due]
        transactions = b"".join(self._transactions)
        self._labels, self._transactions = held, []
        self._store.append(transactions, b"".join(_encode(label) + b"\n" for label in labels))
        if labels:
            answer = await self._post("/v1/signals", _encode(labels), BATCH)
            if answer is None or answer.status != 202:
                said = "nothing" if answer is None else f"{answer.status}: {answer.body[:200]!r}"
                self.report.notes.append(f"{len(labels)} labels were not taken; FLO said {said}")

    def _told(self, label: dict[str, Any]) -> dict[str, Any]:
        """A label with what had been decided: fraud that was stopped comes back from review, not as a
        chargeback."""
        data = label["data"]
        decided = self._decided.pop(data["tx_id"], "unknown")
        data |= {"decided": decided, "version": self._version_of.pop(data["tx_id"], "unknown")}
        return label | {
            "data": data,
            "type": "tx.reviewed" if decided in ("review", "decline") else "tx.chargeback",
        }

    def _look_at_models(self) -> None:
        version = self._version_in_use()
        if version != self._version:
            self._version = version
            note = self._models.meta(version) or {"version": version}
            self.report.networks.append(
                note | {"swapped_at_s": round(time.perf_counter() - self._started_s, 1)}
            )

    def _version_in_use(self) -> str:
        alias = self._models.alias()
        return alias.version if alias else "none"


def _retry_after_s(answer: Answer) -> float:
    text = answer.header("retry-after") or ""
    return min(float(text), 10.0) if text.isdecimal() else 0.5


def _time_ns(text: str) -> int:
    return int(datetime.fromisoformat(text).timestamp() * 1_000_000) * 1000
