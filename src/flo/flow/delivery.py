"""One command on its way to its engine: what is known of it, and what an answer or an error means for it.

Pure: the lane does the waiting and the sending, this decides what comes next.

    send ──▶ final answer ─────────────────────────────────────▶ settle
      │ ├──▶ accepted ─────────▶ ask now and then, or wait ────▶ settle
      │ ├──▶ rejected ─────────────────────────────────────────▶ settle: failed, dead letter `rejected`
      │ ├──▶ unavailable, run failed ──▶ send again ─ ─ ─ ─ ─ ─▶ settle: failed, dead letter `exhausted`
      │ └──▶ fate unknown
      │         ├─ honours the key: send again ─ ─ ─ ─ ─ ─ ─ ─ ▶ park: dead letter `unknown-fate`
      │         ├─ can be asked: ask; "never heard of it": send again
      │         └─ neither: ───────────────────────────────────▶ park: dead letter `unknown-fate`
"""

from __future__ import annotations

import enum
from dataclasses import dataclass
from typing import Any

from flo.core.command import Command
from flo.ports.engine import (
    Answer,
    EngineError,
    EngineRejected,
    EngineUnavailable,
    FateUnknown,
    KeyClass,
    RunFailed,
    Status,
)


class Next(enum.Enum):
    """What the lane does next with a delivery."""

    SETTLE = "settle"  # record the outcome, done
    PARK = "park"  # record a dead letter without an outcome: a person decides
    RESEND = "resend"  # after a pause, within the retry budget
    ASK = "ask"  # after a pause: what became of it is not known
    AWAIT = "await"  # the engine has it: ask now and then, or wait to be told
    LISTEN = "listen"  # the engine has it and cannot be asked: only wait to be told


@dataclass(slots=True, eq=False)
class Delivery:
    """What is known of one command. Lives from `submit` (or `resume`) until it is settled, parked or
    forgotten.
    """

    command: Command
    attempts: int = 0  # sends that count against `attempts_max`
    failures: int = 0  # tries of any kind since the last good one: the exponent of the back-off
    sends: int = 0  # every send, also those an engine that was down never saw
    sends_before: int = 0  # those of them that were made before FLO last started
    ask_first: bool = False  # the next try asks
    uncertain: bool = False  # a send may have been done without our knowing
    uncertain_since_ns: int = 0
    accepted: bool = False
    answered: bool = False  # the acceptance is in the ledger
    asks: int = 0  # how often an accepted command was asked about: the exponent of the asking pause
    killed: str = ""  # why it must not be sent any more, by a person's word
    settled: bool = False
    flying: bool = False

    @property
    def is_retry(self) -> bool:
        """Whether its next send costs the retry budget: one that FLO's own end cut off says nothing against the engine."""
        return self.sends > self.sends_before


@dataclass(frozen=True, slots=True)
class Step:
    """What comes next, and what to record of it."""

    next: Next
    outcome: str = ""
    dead: str = ""  # reason of the dead letter, if there is one
    detail: str = ""
    result: Any = None
    reference: str | None = None
    retry_after_s: float | None = None


_FINAL = {Status.SUCCEEDED: "succeeded", Status.FAILED: "failed", Status.CANCELLED: "failed"}


def expire(delivery: Delivery) -> Step:
    """The deadline has passed and nothing is on its way: never sent from here on."""
    if delivery.uncertain:
        return _unknown_fate("its deadline passed before the engine's answer to an earlier send was learned")
    if delivery.killed:
        return Step(Next.SETTLE, outcome="expired", detail=delivery.killed)
    return Step(
        Next.SETTLE, outcome="expired", dead="expired", detail="its deadline passed before it could be sent"
    )


def after_answer(delivery: Delivery, answer: Answer, *, asked: bool) -> Step:
    """The engine answered a send, or a question."""
    delivery.failures = 0
    if answer.status is Status.UNKNOWN:
        delivery.uncertain = False
        if delivery.accepted:
            return _failed(
                delivery, "", f"the engine took it and no longer knows it: {answer.detail}".rstrip(": ")
            )
        if not asked:
            return _failed(
                delivery, "rejected", answer.detail or "the engine does not know what to do with it"
            )
        delivery.ask_first = False
        return _resend(delivery, answer.detail or "the engine never heard of it", None)
    delivery.uncertain = False
    if answer.status in (Status.ACCEPTED, Status.RUNNING):
        delivery.accepted = True
        delivery.ask_first = True
        return Step(Next.AWAIT, detail=answer.detail, result=answer.result, reference=answer.reference)
    return final(delivery, answer)


def final(delivery: Delivery, answer: Answer) -> Step:
    """The end of the command's run, however it was learned."""
    detail = answer.detail
    if answer.status is Status.CANCELLED:
        detail = f"cancelled: {detail}" if detail else "cancelled"
    outcome = _FINAL[answer.status]
    if outcome == "failed" and not delivery.command.blocking:
        outcome = "tolerated"
    return Step(Next.SETTLE, outcome=outcome, detail=detail, result=answer.result, reference=answer.reference)


def after_error(delivery: Delivery, error: EngineError, key_class: KeyClass, *, asked: bool) -> Step:
    """The engine's adapter raised, on a send or on a question."""
    detail = str(error)
    if asked:
        if isinstance(error, EngineRejected):
            return Step(Next.LISTEN, detail=detail) if delivery.accepted else _unknown_fate(detail)
        delivery.failures += 1
        return Step(Next.ASK, detail=detail, retry_after_s=getattr(error, "retry_after_s", None))
    delivery.failures += 1
    if isinstance(error, EngineUnavailable):
        delivery.attempts += error.reached
        return _resend(delivery, detail, error.retry_after_s)
    delivery.attempts += 1
    if isinstance(error, RunFailed):
        delivery.uncertain = False
        return _resend(delivery, detail, None)
    if isinstance(error, FateUnknown):
        if key_class is KeyClass.NEITHER:
            return _unknown_fate(detail)
        delivery.uncertain = True
        if key_class is KeyClass.ASKABLE:
            delivery.ask_first = True
            return Step(Next.ASK, detail=detail)
        return _resend(delivery, detail, None)
    return _failed(delivery, "rejected", detail)


def _resend(delivery: Delivery, detail: str, retry_after_s: float | None) -> Step:
    if delivery.attempts >= delivery.command.attempts_max:
        if delivery.uncertain:
            return _unknown_fate(f"after {delivery.attempts} attempts: {detail}")
        return _failed(delivery, "exhausted", f"after {delivery.attempts} attempts: {detail}")
    if delivery.killed:
        return expire(delivery)
    return Step(Next.RESEND, detail=detail, retry_after_s=retry_after_s)


def _failed(delivery: Delivery, dead: str, detail: str) -> Step:
    """A command that need not succeed leaves no dead letter: nobody has to do anything about it."""
    if not delivery.command.blocking:
        return Step(Next.SETTLE, outcome="tolerated", detail=detail)
    return Step(Next.SETTLE, outcome="failed", dead=dead, detail=detail)


def _unknown_fate(detail: str) -> Step:
    return Step(Next.PARK, dead="unknown-fate", detail=detail)
