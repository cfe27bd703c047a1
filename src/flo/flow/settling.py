"""What became of a try: tried again, asked about, awaited, settled or parked; and into the ledger with it."""

from __future__ import annotations

from collections.abc import Callable

from flo.core.command import Command
from flo.flow.delivery import Delivery, Next, Step, expire, final
from flo.flow.dispatch_record import DispatchEvent, Recorder
from flo.flow.lane import NS_PER_S, Lane
from flo.ports.clock import Clock
from flo.ports.engine import Answer, KeyClass, Status

ASK_S_FIRST = 0.2
ASK_S_MAX = 60.0
ASK_GROWTH = 1.6
"""An accepted run is asked about after about 0.2 s, then ever more rarely: about ten questions in the first
minute, one a minute from then on. Each costs the engine a request of its rate."""

UNCERTAIN_NS_MAX = 3_600 * NS_PER_S
"""An engine that cannot say for an hour what became of a command is a person's case."""

AWAITING_MAX = 100_000
"""Accepted commands remembered per engine. Older ones are forgotten here (the ledger has them): a signal or
their own `within` still closes them."""


class Settling:
    """Carries out what comes next for a delivery. Nothing here waits; what is to be recorded is handed over."""

    def __init__(self, recorder: Recorder, clock: Clock, idle: Callable[[], None]) -> None:
        """`idle` is called where a command that was under way may have been the last."""
        self._recorder = recorder
        self._clock = clock
        self._idle = idle

    def finish(self, lane: Lane, delivery: Delivery, step: Step) -> None:
        """Carry out what comes next."""
        if step.next is Next.RESEND:
            if delivery.killed or self._clock.now_ns() >= delivery.command.deadline_ns:
                step = expire(delivery)
            else:
                lane.resend_later(delivery, step.retry_after_s)
                return
        if step.next is Next.ASK:
            self._ask_again(lane, delivery, step)
        elif step.next in (Next.AWAIT, Next.LISTEN):
            self._accepted(lane, delivery, step)
        else:
            self.settle(lane, delivery, step)

    def _ask_again(self, lane: Lane, delivery: Delivery, step: Step) -> None:
        now_ns = self._clock.now_ns()
        if not delivery.accepted:
            delivery.uncertain_since_ns = delivery.uncertain_since_ns or now_ns
            if now_ns - delivery.uncertain_since_ns > UNCERTAIN_NS_MAX:
                detail = f"the engine could not say for an hour: {step.detail}"
                self.settle(lane, delivery, Step(Next.PARK, dead="unknown-fate", detail=detail))
                return
        lane.resend_later(delivery, step.retry_after_s)

    def _accepted(self, lane: Lane, delivery: Delivery, step: Step) -> None:
        self.note_acceptance(delivery, step)
        self.await_end(lane, delivery, ask=step.next is Next.AWAIT)

    def note_acceptance(self, delivery: Delivery, step: Step) -> None:
        if delivery.accepted and not delivery.answered:
            delivery.answered = True
            self._recorder.later(self._recorder.answered(delivery, step))

    def await_end(self, lane: Lane, delivery: Delivery, *, ask: bool = True) -> None:
        """The engine has it: ask ever more rarely, where it can be asked, or wait to be told."""
        lane.awaiting[delivery.command.key] = delivery
        if len(lane.awaiting) > AWAITING_MAX:
            lane.remove(next(iter(lane.awaiting.values())))
        if ask and lane.engine.key_class is not KeyClass.NEITHER:
            delivery.ask_first = True
            pause_s = min(ASK_S_MAX, ASK_S_FIRST * ASK_GROWTH ** min(delivery.asks, 20))
            delivery.asks += 1
            lane.later(delivery, self._clock.now_ns() + round(pause_s * NS_PER_S))
            lane.pump()
        self._idle()

    def learned(self, lane: Lane, command_key: str, answer: Answer) -> None:
        """The adapter heard of an end by itself. A key not known here was settled before: nothing changes."""
        delivery = lane.deliveries.get(command_key)
        if delivery is not None and answer.status in (Status.SUCCEEDED, Status.FAILED, Status.CANCELLED):
            self.settle(lane, delivery, final(delivery, answer))

    def expire(self, lane: Lane, delivery: Delivery) -> None:
        self.settle(lane, delivery, expire(delivery))

    def settle(self, lane: Lane, delivery: Delivery, step: Step) -> None:
        command = delivery.command
        lane.remove(delivery)
        recorder = self._recorder
        events: list[DispatchEvent] = []
        if step.next is Next.PARK:
            lane.counts["parked"] += 1
        else:
            lane.counts[step.outcome] += 1
            if step.outcome == "succeeded" and command.expect_signal is not None:
                if not delivery.answered:
                    events.append(recorder.answered(delivery, step))
            else:
                events.append(recorder.outcome(delivery, step))
        if step.dead:
            events.append(recorder.dead_letter(command, step))
        if events:
            recorder.later(*events)
        else:
            self._idle()

    def no_engine(self, command: Command) -> None:
        """A command of an older bundle whose engine is gone: nobody can send it."""
        detail = (
            f"the engine `{command.engine}` is not in flo.yaml any more: add it and replay the dead letter"
        )
        outcome = "failed" if command.blocking else "tolerated"
        step = Step(Next.SETTLE, outcome=outcome, dead="rejected", detail=detail)
        recorder = self._recorder
        recorder.later(recorder.outcome(Delivery(command), step), recorder.dead_letter(command, step))
