"""One try of a command: the question or the send, and what its answer or its error means."""

from __future__ import annotations

from flo.core.errors import StorageUnavailable
from flo.flow.delivery import Delivery, Next, Step, after_answer, after_error, expire
from flo.flow.dispatch_record import Recorder
from flo.flow.lane import Lane
from flo.ports.clock import Clock
from flo.ports.engine import EngineError, EngineRejected, FateUnknown, KeyClass, RunFailed


async def fly(lane: Lane, delivery: Delivery, recorder: Recorder, clock: Clock) -> Step:
    """Ask about the command, or send it; what comes next by the engine's answer. Raises nothing but cancellation."""
    asked = delivery.ask_first
    command, engine = delivery.command, lane.engine
    timeout_s = lane.definition.timeout_s
    try:
        if asked:
            answer = await engine.ask(command, timeout_s=timeout_s)
        else:
            await _attempted(lane, delivery, recorder)
            now_ns = clock.now_ns()
            if delivery.killed or now_ns >= command.deadline_ns:
                lane.circuit.released()
                return expire(delivery)
            answer = await engine.send(command, timeout_s=timeout_s)
            lane.latencies.add(clock.now_ns() - now_ns)
    except StorageUnavailable as error:
        lane.circuit.released()
        return Step(Next.RESEND, detail=str(error), retry_after_s=error.retry_after_s)
    except EngineError as error:
        if isinstance(error, EngineRejected | RunFailed):
            lane.circuit.succeeded()
        else:
            lane.circuit.failed(clock.now_ns())
        return after_error(delivery, error, engine.key_class, asked=asked)
    except Exception as error:  # an adapter's own bug must not end the dispatcher, nor look like an answer
        lane.circuit.failed(clock.now_ns())
        unknown = FateUnknown(f"the {engine.kind} adapter failed: {type(error).__name__}: {error}")
        return after_error(delivery, unknown, engine.key_class, asked=asked)
    lane.circuit.succeeded()
    return after_answer(delivery, answer, asked=asked)


async def _attempted(lane: Lane, delivery: Delivery, recorder: Recorder) -> None:
    """Note that a send is about to happen; durable first where a lost answer could not be found out later."""
    event = recorder.attempted(delivery)
    if lane.engine.key_class is KeyClass.NEITHER:
        await recorder.now(event)
    else:
        recorder.later(event)
