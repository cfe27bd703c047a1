"""Dispatch: from the outbox to the engines, and what became of it back into the ledger.

The promise, by what the engine honours (`KeyClass`):

- A submitted command is sent, or its end is recorded: none is dropped. `submit` is called after the commit
  that holds the command, so a crash at any point leaves it in the outbox, and `resume` takes it up: resent
  with the same key (HONOURS_KEY), asked about first (ASKABLE), or, once a send may have gone out, parked for
  a person (NEITHER).
- A command of an engine of class NEITHER goes out at most once without a certain "not done" in between: the
  ledger holds its `Attempted` before the first byte leaves. So a crash between the two parks it although
  nothing was sent.
- Past its deadline a command is never sent; what is on its way then is still waited for.
- Shutdown: `stop` lets flights land for a while and then cuts them; the next start treats them as after a
  crash.
"""

from __future__ import annotations

import asyncio
import functools
import random
from collections.abc import Callable, Iterable, Mapping

import msgspec

from flo.core.command import Command
from flo.core.errors import UsageError
from flo.core.loop.definition import EngineDefinition
from flo.flow.delivery import Delivery, Next, Step, after_error
from flo.flow.dispatch_record import Record, Recorder
from flo.flow.flight import fly
from flo.flow.lane import NS_PER_S, Lane, LaneStats
from flo.flow.settling import Settling
from flo.ports.clock import Clock
from flo.ports.engine import Engine, FateUnknown, KeyClass

STOP_GRACE_S = 5.0


class Pending(msgspec.Struct, frozen=True, kw_only=True):
    """A command the outbox still owes after a restart, and what the ledger knows of it."""

    command: Command
    attempts: int = 0  # the highest `Attempted.attempt` in the ledger; 0: none
    answered: bool = False  # an `Answered` is in the ledger


class Dispatcher:
    """Sends commands, each through its engine's lane. Every method is called on the event loop; see the
    module.
    """

    def __init__(
        self,
        engines: Mapping[str, tuple[Engine, EngineDefinition]],
        clock: Clock,
        record: Record,
        seed: int | str = 0,
    ) -> None:
        self._clock = clock
        self._stopping = False
        self._idle = asyncio.Event()
        self._recorder = Recorder(record, clock, self._check_idle)
        self._settling = Settling(self._recorder, clock, self._check_idle)
        self._seed = seed
        self._retiring: dict[Lane, asyncio.Task[None]] = {}
        self._lanes = {name: self._lane_of(name, *each) for name, each in engines.items()}

    def _lane_of(self, name: str, engine: Engine, definition: EngineDefinition) -> Lane:
        rng = random.Random(f"{self._seed}/{name}")
        return Lane(engine, definition, self._clock, rng, self._fly, self._settling.expire)

    async def start(self) -> None:
        """Start every engine, then send what was submitted so far. An engine that cannot start raises its own
        error.
        """
        for lane in self._lanes.values():
            await lane.engine.start(functools.partial(self._settling.learned, lane))
        for lane in self._lanes.values():
            lane.running = True
            lane.pump()

    async def change(self, engines: Mapping[str, tuple[Engine, EngineDefinition]]) -> None:
        """Turn to the engines of another bundle while commands flow; none is lost, cut off or done twice by
        it.

        Where the same engine object is given again its lane goes on, under the new definition's limits. A
        replaced engine lets what is on its way land (a long call ends in its own time) and is closed then;
        what waits moves to the one that has its name now. Raises what a new engine's `start` raises; nothing
        has changed then.
        """
        fresh = {
            name: self._lane_of(name, *each)
            for name, each in engines.items()
            if name not in self._lanes or self._lanes[name].engine is not each[0]
        }
        for lane in fresh.values():
            await lane.engine.start(functools.partial(self._settling.learned, lane))
        gone = {name: lane for name, lane in self._lanes.items() if name in fresh or name not in engines}
        for name, (_, definition) in engines.items():
            if name not in fresh:
                self._lanes[name].turn_to(definition)
        for name in gone:
            del self._lanes[name]
        for name, lane in fresh.items():
            lane.running = True
            self._lanes[name] = lane
        for lane in gone.values():
            self._retire(lane)

    def _retire(self, lane: Lane) -> None:
        lane.halt()
        for delivery in list(lane.deliveries.values()):
            if not delivery.flying:
                self._move(lane, delivery)
        self._retiring[lane] = asyncio.ensure_future(self._close_when_landed(lane))

    async def _close_when_landed(self, lane: Lane) -> None:
        if flights := lane.flights():
            await asyncio.wait(flights)
        await lane.engine.close()
        del self._retiring[lane]

    def _move(self, lane: Lane, delivery: Delivery) -> Lane | None:
        """Hand a delivery of a retired lane to the one that has its engine's name now; None where none has."""
        lane.remove(delivery)
        delivery.settled = False
        home = self._lanes.get(delivery.command.engine)
        if home is None:
            if not delivery.accepted:  # an accepted one ends by its signal or its `within`
                self._settling.no_engine(delivery.command)
        elif delivery.accepted:
            home.deliveries[delivery.command.key] = delivery
            self._settling.await_end(home, delivery)
        elif home.engine.key_class is KeyClass.NEITHER and (delivery.uncertain or delivery.ask_first):
            home.deliveries[delivery.command.key] = delivery
            detail = "its fate was unknown when its engine was replaced by one that cannot be asked"
            self._settling.settle(home, delivery, Step(Next.PARK, dead="unknown-fate", detail=detail))
        else:
            delivery.ask_first = delivery.uncertain and home.engine.key_class is KeyClass.ASKABLE
            home.add(delivery)
        return home

    def submit(self, command: Command) -> None:
        """Take over a committed command. Never blocks, never refuses; a key that is already here changes
        nothing.
        """
        lane = self._lanes.get(command.engine)
        if lane is None:
            self._settling.no_engine(command)
        elif command.key not in lane.deliveries:
            lane.add(Delivery(command))

    def resume(self, pending: Iterable[Pending]) -> None:
        """Take up what a crash or a shutdown left, by what each engine honours. Call it before new commands
        come.

        Where only a part of FLO crashed, what is here already goes on as it is, and of what is being recorded
        the end is known: neither is taken up again.
        """
        known = self._recorder.commands()
        for item in pending:
            lane = self._lanes.get(item.command.engine)
            if item.command.key in known:
                continue
            if lane is None:
                self._settling.no_engine(item.command)
            elif item.command.key not in lane.deliveries:
                self._resume_one(lane, item)

    def _resume_one(self, lane: Lane, item: Pending) -> None:
        delivery = Delivery(item.command, sends=item.attempts, sends_before=item.attempts)
        delivery.answered = delivery.accepted = item.answered
        key_class = lane.engine.key_class
        if item.answered:
            lane.deliveries[item.command.key] = delivery
            self._settling.await_end(lane, delivery)
        elif key_class is KeyClass.NEITHER and item.attempts:
            lane.deliveries[item.command.key] = delivery
            detail = "FLO stopped while its send was under way, and the engine cannot be asked"
            self._settling.finish(lane, delivery, Step(Next.PARK, dead="unknown-fate", detail=detail))
        else:
            # Without an `Attempted` it may have gone out all the same: its line is not awaited where the
            # engine can tell.
            delivery.ask_first = key_class is KeyClass.ASKABLE
            delivery.uncertain = delivery.ask_first or item.attempts > 0
            delivery.uncertain_since_ns = self._clock.now_ns()
            # An attempt that was cut off by the end of FLO told nothing about the command: it is not held
            # against it.
            delivery.attempts = min(item.attempts, item.command.attempts_max - 1)
            lane.add(delivery)

    def cancel(self, predicate: Callable[[Command], bool], detail: str = "killed") -> int:
        """Drop what is not sent yet, with outcome `expired` and `detail`; returns how many.

        What is on its way or with the engine goes on, but is never sent again.
        """
        dropped = 0
        for lane in self._all_lanes():
            for delivery in [each for each in lane.deliveries.values() if predicate(each.command)]:
                delivery.killed = detail
                if not (delivery.flying or delivery.accepted or delivery.ask_first or delivery.settled):
                    dropped += 1
                    self._settling.expire(lane, delivery)
        return dropped

    def forget(self, command_key: str) -> bool:
        """The command's end was learned elsewhere (by a signal, by its `within`): ask no more. False: not
        known here.
        """
        for lane in self._all_lanes():
            delivery = lane.deliveries.get(command_key)
            if delivery is not None and delivery.accepted:
                lane.remove(delivery)
                self._check_idle()
                return True
        return False

    def room(self, engine: str) -> int:
        """How many more commands `engine` takes before intake should slow down."""
        return self._lane(engine).room()

    def backlog(self, engine: str) -> int:
        """Commands of `engine` that are queued, backing off or on their way."""
        return self._lane(engine).unsettled()

    def stats(self) -> dict[str, LaneStats]:
        return {name: lane.stats() for name, lane in self._lanes.items()}

    async def drain(self, timeout_s: float) -> bool:
        """Wait until every command is settled, parked or with its engine, and recorded. False: not within the
        time.
        """
        limit = self._timer(timeout_s)
        try:
            while self._busy():
                self._idle.clear()
                idle = asyncio.ensure_future(self._idle.wait())
                await asyncio.wait((idle, limit), return_when=asyncio.FIRST_COMPLETED)
                idle.cancel()
                if limit.done():
                    return not self._busy()
            return True
        finally:
            limit.cancel()

    async def stop(self, grace_s: float = STOP_GRACE_S) -> None:
        """Send nothing more, let flights land for `grace_s`, cut the rest, close the engines."""
        for lane in self._lanes.values():
            lane.halt()
        limit = self._timer(grace_s)
        landing = asyncio.ensure_future(self._land())
        await asyncio.wait((landing, limit), return_when=asyncio.FIRST_COMPLETED)
        limit.cancel()
        landing.cancel()
        self._stopping = True
        left = [*self._flights(), *self._recorder.pending()]
        for task in left:
            task.cancel()
        await asyncio.gather(landing, *left, return_exceptions=True)
        for lane in self._all_lanes():
            await lane.engine.close()
        await asyncio.gather(*self._retiring.values(), return_exceptions=True)

    async def _land(self) -> None:
        while tasks := [*self._flights(), *self._recorder.pending()]:
            await asyncio.wait(tasks)

    def _flights(self) -> list[asyncio.Task[None]]:
        return [task for lane in self._all_lanes() for task in lane.flights()]

    def _all_lanes(self) -> list[Lane]:
        return [*self._lanes.values(), *self._retiring]

    def _timer(self, duration_s: float) -> asyncio.Future[None]:
        return asyncio.ensure_future(
            self._clock.sleep_until_ns(self._clock.now_ns() + round(duration_s * NS_PER_S))
        )

    async def _fly(self, lane: Lane, delivery: Delivery) -> None:
        asked = delivery.ask_first
        try:
            step = await fly(lane, delivery, self._recorder, self._clock)
        except asyncio.CancelledError:
            if self._stopping or not lane.is_overdue(delivery):
                lane.landed(delivery)
                lane.circuit.released()
                raise
            error = FateUnknown(
                "the engine's adapter did not come back within one and a half times its timeout"
            )
            lane.circuit.failed(self._clock.now_ns())
            step = after_error(delivery, error, lane.engine.key_class, asked=asked)
        lane.landed(delivery)
        if not delivery.settled:
            if lane in self._retiring and step.next not in (Next.SETTLE, Next.PARK):
                self._settling.note_acceptance(delivery, step)
                self._move(lane, delivery)
            else:
                self._settling.finish(lane, delivery, step)
        lane.pump()

    def _busy(self) -> bool:
        return bool(self._recorder.pending()) or any(lane.unsettled() for lane in self._all_lanes())

    def _check_idle(self) -> None:
        if not self._busy():
            self._idle.set()

    def _lane(self, engine: str) -> Lane:
        try:
            return self._lanes[engine]
        except KeyError:
            known = ", ".join(sorted(self._lanes)) or "none"
            raise UsageError(f"there is no engine `{engine}`; the engines are: {known}") from None
