"""Commands: one request to an engine, and what became of it."""

from __future__ import annotations

from typing import Any

import msgspec

OUTCOMES = ("succeeded", "stale", "tolerated", "failed", "silent", "expired")


class Command(msgspec.Struct, frozen=True, kw_only=True):
    """One request to an engine. `key` is the idempotency key `<loop>/<key>/<seq>/<rule>/<n>`: the same for ever.

    A crash, a repeat or a restart may send a command more than once, always with the same `key`; never with another.
    """

    key: str
    loop: str
    loop_key: str
    seq: int  # fencing token: the iteration's number
    rule: str
    n: int
    engine: str
    verb: str
    arguments: dict[str, Any]
    target: str | None = None
    decision_id: str
    root: str  # the context its effects belong to
    hops: int  # hops of the signal that caused it
    born_ns: int
    deadline_ns: int  # never sent after this
    issued_ns: int
    revision: str
    attempts_max: int = 3
    blocking: bool = True
    expect_signal: str | None = None
    expect_within_ns: int | None = None
    root_new: bool = False
    stale: bool = (
        False  # decided on data, or by logic, older than the loop calls fresh: its success is `stale`
    )


class Outcome(msgspec.Struct, frozen=True, kw_only=True):
    """What became of a command. `at_ns` is when FLO learned it."""

    command_key: str
    outcome: str  # one of OUTCOMES
    at_ns: int
    attempts: int
    detail: str = ""
    result: Any = None  # JSON-able: what the engine answered
    reference: str | None = None  # the engine's own name for the run
