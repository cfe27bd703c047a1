"""A small, honest FLO in memory: one loop, `velocity`, that reviews a card's third signal.

It keeps what it is given, numbers what it decides, knows repeats, and can be told to fail.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from typing import Any

import msgspec

from flo.core.errors import BundleError, FloError, Problem, SignalRejected
from flo.core.signal import parse_signal, time_from_text
from flo.core.span import Span
from flo.ports.service import DeadLetterOrder, NotFound, Page, Receipt


class MemoryService:
    def __init__(self) -> None:
        self.raws: list[bytes] = []
        self.records: list[dict[str, Any]] = []
        self.letters: list[dict[str, Any]] = []
        self.by_identity: dict[tuple[str, str], list[dict[str, Any]]] = {}
        self.counts: dict[str, int] = {}
        self.lineage_taken: list[bytes] = []
        self.spans: list[Span] = []
        self.killed: list[tuple[str, str | None, str]] = []
        self.files: dict[str, str] = {"flo.yaml": "engines: {}\n"}
        self.fail_next: list[BaseException] = []
        self.subscribers: list[asyncio.Queue[dict[str, Any] | None]] = []
        self.not_ready = ""
        self.paused: str | None = None
        self.notes: list[str] = []

    def _fail(self) -> None:
        if self.fail_next:
            raise self.fail_next.pop(0)

    def _take(self, raw: bytes) -> tuple[str, list[dict[str, Any]]]:
        event = parse_signal(raw)
        assert b"\n" not in raw, "a signal is one line"
        data = msgspec.json.decode(event.data)
        identity = (event.source, event.id)
        if identity in self.by_identity:
            return "duplicate", self.by_identity[identity]
        if not isinstance(data, dict) or "card" not in data:
            letter_id = f"0-1-{len(self.letters)}"
            self.letters.append(
                {
                    "dead_letter_id": letter_id,
                    "loop": "velocity",
                    "reason": "contract",
                    "detail": "required:/card",
                    "signal": raw.decode(),
                    "at": event.time or "2026-11-23T05:10:12Z",
                }
            )
            raise SignalRejected("contract", f"required:/card; dead letter {letter_id}")
        card = str(data["card"])
        self.counts[card] = self.counts.get(card, 0) + 1
        fired = self.counts[card] >= 3
        record = {
            "decision_id": f"0-1-0-{len(self.records)}",
            "loop": "velocity",
            "key": card,
            "seq": self.counts[card],
            "revision": "abcdef012345",
            "state": {"count_10m": self.counts[card]},
            "rules": [{"id": "velocity", "value": fired}],
            "rule": "velocity" if fired else None,
            "result": "review" if fired else "approve",
            "commands": [],
            "time": event.time or "2026-11-23T05:10:12Z",
        }
        self.raws.append(raw)
        self.records.append(record)
        self.by_identity[identity] = [record]
        for queue in self.subscribers:
            queue.put_nowait({"type": "decision", **record})
        return "accepted", [record]

    async def ingest(self, raws: Sequence[bytes]) -> list[Receipt]:
        self._fail()
        receipts = []
        for raw in raws:
            try:
                status, records = self._take(raw)
            except SignalRejected as error:
                receipts.append(Receipt("rejected", error.reason, error.detail))
            else:
                receipts.append(Receipt(status, decisions=tuple(record["decision_id"] for record in records)))
        await asyncio.sleep(0)
        return receipts

    async def decide(self, raw: bytes) -> list[dict[str, Any]]:
        self._fail()
        return self._take(raw)[1]

    def _page(
        self, rows: list[dict[str, Any]], query: Mapping[str, str], limit: int, cursor: str | None
    ) -> Page:
        self._fail()
        filters = {name: value for name, value in query.items() if name not in ("since", "until")}
        rows = [row for row in rows if all(str(row.get(name)) == value for name, value in filters.items())]
        if "since" in query:
            since_ns = time_from_text(query["since"])
            rows = [row for row in rows if time_from_text(row["time"]) >= since_ns]
        rows = rows[::-1]
        start = int(cursor) if cursor and cursor.isdecimal() else 0
        following = start + limit
        return Page(rows[start:following], str(following) if following < len(rows) else None)

    async def decisions(self, query: Mapping[str, str], limit: int, cursor: str | None) -> Page:
        return self._page(self.records, query, limit, cursor)

    async def lineage(self, raws: Sequence[bytes]) -> list[Receipt]:
        self._fail()
        self.lineage_taken += raws
        return [Receipt("accepted") for _ in raws]

    async def traces(self, spans: Sequence[Span]) -> None:
        self._fail()
        self.spans += spans

    async def edges(self, query: Mapping[str, str], limit: int, cursor: str | None) -> Page:
        seen = {
            "count": 3,
            "first_seen": "2026-11-23T05:10:12Z",
            "last_seen": "2026-11-23T05:11:12Z",
            "example": "t",
        }
        rows = [
            {
                "from": "loop:velocity",
                "to": f"service:s{number}",
                "status": "phantom",
                "loops": ["velocity"],
                "declared_under": None,
                **{name: seen[name] for name in ("count", "first_seen", "last_seen")},
                "evidence": {"traced": seen},
            }
            for number in range(3)
        ]
        return self._page(rows, {}, limit, cursor)

    async def watchdogs(self, query: Mapping[str, str], limit: int, cursor: str | None) -> Page:
        return self._page([], query, limit, cursor)

    async def decision(self, decision_id: str) -> dict[str, Any]:
        self._fail()
        for record in self.records:
            if record["decision_id"] == decision_id:
                return record
        raise NotFound(f"no decision {decision_id!r}")

    async def explain(self, decision_id: str) -> dict[str, Any]:
        record = await self.decision(decision_id)
        text = f"Decision {decision_id}: {record['result']} for card {record['key']}\n"
        return {"decision": record, "rules": record["rules"], "contexts": [], "text": text}

    async def loops(self) -> list[dict[str, Any]]:
        self._fail()
        return [await self.loop("velocity")]

    async def loop(self, name: str) -> dict[str, Any]:
        if name != "velocity":
            raise NotFound(f"no loop {name!r}; did you mean 'velocity'?")
        return {
            "name": "velocity",
            "status": "healthy",
            "decisions": len(self.records),
            "dead_letters": len(self.letters),
            "open_iterations": 0,
            "state": {"keys": len(self.counts)},
        }

    async def dead_letters(self, query: Mapping[str, str], limit: int, cursor: str | None) -> Page:
        return self._page(self.letters, query, limit, cursor)

    async def dead_letter(self, dead_letter_id: str) -> dict[str, Any]:
        for letter in self.letters:
            if letter["dead_letter_id"] == dead_letter_id:
                return letter
        raise NotFound(f"no dead letter {dead_letter_id!r}")

    async def iterations(self, query: Mapping[str, str], limit: int, cursor: str | None) -> Page:
        rows = [
            {"loop": row["loop"], "key": row["key"], "seq": row["seq"], "status": "closed"}
            for row in self.records
        ]
        return self._page(rows, query, limit, cursor)

    async def commands(self, query: Mapping[str, str], limit: int, cursor: str | None) -> Page:
        return self._page([], query, limit, cursor)

    async def bundle(self) -> dict[str, Any]:
        return {"revision": "abcdef012345", "files": self.files, "applied_at": None, "loops": ["velocity"]}

    async def put_bundle(self, files: Mapping[str, bytes], note: str) -> dict[str, Any]:
        self._fail()
        if "flo.yaml" not in files:
            raise BundleError([Problem("flo.yaml", 1, 1, "there is no flo.yaml", "run `flo init`")])
        self.files = {path: content.decode() for path, content in files.items()}
        return await self.bundle()

    async def kill(self, loop: str, key: str | None, note: str) -> dict[str, Any]:
        await self.loop(loop)
        self.killed.append((loop, key, note))
        return {"loop": loop, "key": key, "iterations": 0, "commands": 0}

    async def pipelines(self) -> list[dict[str, Any]]:
        self._fail()
        status = "paused" if self.paused is not None else "running"
        return [
            {
                "name": "cards",
                "status": status,
                "loops": ["velocity"],
                "jobs": ["airflow.score"],
                "jobs_that_cannot_pause": ["cron.report"],
                "on_call": None,
                "paused_since": None if self.paused is None else "2026-11-23T05:10:12Z",
                "paused_by": None if self.paused is None else "operator",
                "why": self.paused,
                "note": None,
                "parked": 3 if self.paused is not None else 0,
                "parked_by_loop": {},
                "decided_since_resumed": 0,
            }
        ]

    async def _turn(self, pipeline: str, why: str | None) -> dict[str, Any]:
        if pipeline != "cards":
            raise NotFound(f"no pipeline {pipeline!r}; did you mean 'cards'?")
        changed = (self.paused is None) != (why is None)
        self.paused = why if changed else self.paused
        return {**(await self.pipelines())[0], "changed": changed}

    async def pause(self, pipeline: str, note: str) -> dict[str, Any]:
        return await self._turn(pipeline, note)

    async def resume(self, pipeline: str, note: str) -> dict[str, Any]:
        self.notes.append(note)
        return await self._turn(pipeline, None)

    def _take_letters(self, asked: DeadLetterOrder) -> tuple[int, str | None]:
        self._fail()
        fits = [
            letter
            for letter in self.letters
            if all(letter.get(name) == value for name, value in asked.query.items())
            and (not asked.ids or letter["dead_letter_id"] in asked.ids)
        ]
        page = fits[: asked.limit]
        if not asked.dry_run:
            self.notes.append(asked.note)
            self.letters = [letter for letter in self.letters if letter not in page]
        return len(page), "more" if len(fits) > len(page) and not asked.dry_run else None

    async def replay_dead_letters(self, asked: DeadLetterOrder) -> dict[str, Any]:
        count, more = self._take_letters(asked)
        how = "would_replay" if asked.dry_run else "replayed"
        return {"matched": count, how: count, "not_replayed": [], "next": more}

    async def drop_dead_letters(self, asked: DeadLetterOrder) -> dict[str, Any]:
        count, more = self._take_letters(asked)
        return {"matched": count, "would_drop" if asked.dry_run else "dropped": count, "next": more}

    async def stream(self) -> AsyncIterator[dict[str, Any]]:
        queue: asyncio.Queue[dict[str, Any] | None] = asyncio.Queue(10_000)
        self.subscribers.append(queue)
        try:
            while (event := await queue.get()) is not None:
                yield event
        finally:
            self.subscribers.remove(queue)

    async def metrics(self) -> bytes:
        return b"# TYPE flo_decisions_total counter\nflo_decisions_total %d\n" % len(self.records)

    def ready(self) -> tuple[bool, str]:
        return not self.not_ready, self.not_ready


class Boom(FloError):
    """An error of a kind nobody mapped."""
