"""The seam between a running FLO and its faces: what the HTTP API, the command line and the console may ask.

Every method answers plain JSON-able values in the shape the API publishes, so a face only carries them.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from typing import Any, Protocol

import msgspec

from flo.core.span import Span


class Receipt(msgspec.Struct, frozen=True, gc=False):
    """What became of one offered signal. `status`: accepted | duplicate | rejected.

    `rejected` signals that reached a loop and broke its contract are also dead letters; malformed ones are kept nowhere.
    """

    status: str
    reason: str = ""
    detail: str = ""
    decisions: tuple[str, ...] = ()  # ids, in the order of the loops


ACCEPTED = Receipt("accepted")
DUPLICATE = Receipt("duplicate")


class Page(msgspec.Struct, frozen=True):
    """One page of a list, newest first; `next` is the cursor of the following page, or None."""

    items: list[dict[str, Any]]
    next: str | None = None


class DeadLetterOrder(msgspec.Struct, frozen=True, kw_only=True):
    """Which dead letters are to be replayed or dropped: one page of them, oldest first.

    `query` keys: loop, reason, key, since, until (RFC 3339). `ids`: where given, these and no others. `cursor`: what the
    page before answered as `next`. `resend`: also commands whose engine may then do them twice.
    """

    query: Mapping[str, str] = {}
    ids: tuple[str, ...] = ()
    cursor: str | None = None
    limit: int = 1_000
    note: str = ""
    resend: bool = False
    dry_run: bool = False


class NotFound(LookupError):
    """No such decision, loop, pipeline ...: the message names it and the nearest that exists."""


class Service(Protocol):
    """A running FLO."""

    async def ingest(self, raws: Sequence[bytes]) -> list[Receipt]:
        """Take signals, in order. Returns once they are durable (loops with `consistency: relaxed` alone: once queued).

        Raises `Overloaded` (nothing taken; says how long to wait) or `StorageUnavailable` (unknown; the same ids may be
        sent again: what was taken is then a duplicate).
        """
        ...

    async def decide(self, raw: bytes) -> list[dict[str, Any]]:
        """Take one signal, answer its decisions' records once committed. A duplicate answers the first decisions again
        where they are still at hand. Raises `SignalRejected`, `ContractViolation`, `Overloaded`, `StorageUnavailable`."""
        ...

    async def decisions(self, query: Mapping[str, str], limit: int, cursor: str | None) -> Page:
        """`query` keys: loop, key, rule, result, since, until (RFC 3339)."""
        ...

    async def decision(self, decision_id: str) -> dict[str, Any]: ...

    async def explain(self, decision_id: str) -> dict[str, Any]:
        """The record, the trace of every rule, the chain of contexts, and `text`: the same for people."""
        ...

    async def loops(self) -> list[dict[str, Any]]: ...

    async def loop(self, name: str) -> dict[str, Any]: ...

    async def dead_letters(self, query: Mapping[str, str], limit: int, cursor: str | None) -> Page: ...

    async def dead_letter(self, dead_letter_id: str) -> dict[str, Any]: ...

    async def iterations(self, query: Mapping[str, str], limit: int, cursor: str | None) -> Page: ...

    async def commands(self, query: Mapping[str, str], limit: int, cursor: str | None) -> Page: ...

    async def watchdogs(self, query: Mapping[str, str], limit: int, cursor: str | None) -> Page:
        """What watchdogs find that holds now, newest first. `query` keys: type, subject, loop."""
        ...

    async def lineage(self, raws: Sequence[bytes]) -> list[Receipt]:
        """Take OpenLineage events, in order, as signals. Raises as `ingest` does."""
        ...

    async def traces(self, spans: Sequence[Span]) -> None:
        """Take spans in. Edges show at once and are in the ledger within a minute. Raises `Overloaded` (none taken)."""
        ...

    async def edges(self, query: Mapping[str, str], limit: int, cursor: str | None) -> Page:
        """Edges observed and declared, newest first. `query` keys: loop, evidence, status."""
        ...

    async def bundle(self) -> dict[str, Any]:
        """`{"revision", "files": {path: text}, "applied_at", "loops": [...]}`"""
        ...

    async def put_bundle(self, files: Mapping[str, bytes], note: str) -> dict[str, Any]:
        """Check and apply; `BundleError` leaves the running bundle as it is."""
        ...

    async def kill(self, loop: str, key: str | None, note: str) -> dict[str, Any]:
        """End the open iterations of a loop (or of one key): queued commands are dropped, each with a `killed` row."""
        ...

    async def pipelines(self) -> list[dict[str, Any]]:
        """Every pipeline, the paused ones first: since when, by whom and why, and how much is parked."""
        ...

    async def pause(self, pipeline: str, note: str) -> dict[str, Any]:
        """Park the pipeline's signals from here on, and pause its jobs where their engines can. Repeatable."""
        ...

    async def resume(self, pipeline: str, note: str) -> dict[str, Any]:
        """Decide what is parked, in order, once each; then the pipeline runs. Returns before that is done."""
        ...

    async def replay_dead_letters(self, asked: DeadLetterOrder) -> dict[str, Any]:
        """Decide a page of dead letters again, or send their commands again, once each: how many of what, which were kept
        and why, and `next`."""
        ...

    async def drop_dead_letters(self, asked: DeadLetterOrder) -> dict[str, Any]:
        """Let a page of dead letters leave."""
        ...

    def stream(self) -> AsyncIterator[dict[str, Any]]:
        """Live events: decisions (sampled under load), commands, outcomes, dead letters, bundle changes."""
        ...

    async def metrics(self) -> bytes:
        """Prometheus text."""
        ...

    def ready(self) -> tuple[bool, str]:
        """Ready to take signals? And if not, why not."""
        ...
