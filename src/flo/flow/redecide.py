"""Deciding recorded signals once more: what was parked while a pipeline was paused, and dead letters that are replayed.

Each signal is written a second time into the block that decides it, marked as a replay of where it stood before, so that
recovery folds it like any other and it leaves no second de-duplication mark. What says that it was decided (how far a
drain has come, that a dead letter has left) commits with the decision: a crash neither loses nor repeats one.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec

from flo.core.context import Context
from flo.core.record import DeadLetter, DeadLetterDropped, Group, SignalsReplayed
from flo.core.signal import parse_signal, time_from_text
from flo.flow.mark_blocks import MARK_REFUSED, MARK_REPLAY, MARK_TAKEN_LATER
from flo.flow.pauses import Pause
from flo.flow.pipelines import run_when_drained
from flo.flow.router import Route
from flo.flow.step import Step


class Recorded(msgspec.Struct, array_like=True):
    """A signal as it stands in the ledger: where, since when, and what decides it now."""

    block: int
    row: int
    taken_ns: int
    raw: bytes
    context: tuple[Any, ...] | None
    loops: list[str]
    needs: dict[str, dict[str, Any]] = {}


class Parked(msgspec.Struct, array_like=True):
    """Parked signals of one pipeline, the oldest first, from the place a drain has come to; `until`: the place then."""

    pipeline: str
    since: tuple[int, int]
    signals: list[Recorded]
    until: tuple[int, int]


class Letter(msgspec.Struct, array_like=True):
    """A dead letter of a signal that is to be replayed. `refused`: no loop took the signal when it came, so that its id
    may have come again, corrected. `sibling`: another dead letter of the same signal was replayed before."""

    dead_letter_id: str
    signal: Recorded
    refused: bool
    sibling: bool


def drain(step: Step, parked: Parked, group: Group) -> int:
    """Decide parked signals; how many were. 0 where the pipeline is not being drained, or has come to another place.

    Stops where the breaker opens again: the rest stays parked.
    """
    pause = step.reconciler.pauses.get(parked.pipeline)
    if pause is None or not pause.is_draining or (pause.block, pause.row) != parked.since:
        return 0
    step.marks.turn(group.decided_ns, group.block)
    copied = _Copied(step, group)
    decided: dict[str, int] = {}
    until, done = parked.until, 0
    for signal in parked.signals:
        copied.decide(signal)
        for loop in signal.loops:
            decided[loop] = decided.get(loop, 0) + 1
        done += 1
        if _paused_again(step, pause):
            until = (signal.block, signal.row + 1)
            break
    event = SignalsReplayed(
        rows=copied.runs, pipeline=parked.pipeline, decided=decided, block=until[0], row=until[1]
    )
    group.events.append(event)
    step.reconciler.pauses.apply(event)
    run_when_drained(step.reconciler, group, parked.pipeline)
    return done


def _paused_again(step: Step, pause: Pause) -> bool:
    return step.reconciler.pauses.get(pause.pipeline) is not pause


def replay(step: Step, letters: Sequence[Letter], note: str, group: Group) -> list[tuple[str, str]]:
    """Decide the signals of dead letters under the bundle in force: for each, how it left, or why it did not."""
    step.marks.turn(group.decided_ns, group.block)
    copied = _Copied(step, group)
    answers = [_replay(step, copied, letter, note, group) for letter in letters]
    if copied.runs:
        group.events.append(SignalsReplayed(rows=copied.runs))
    return answers


def _replay(step: Step, copied: _Copied, letter: Letter, note: str, group: Group) -> tuple[str, str]:
    (loop,) = letter.signal.loops
    if step.router.named(loop) is None:
        return "kept", f"the bundle has no loop {loop} any more"
    if loop in step.parking.loops:
        return "kept", f"pipeline {step.parking.loops[loop]} is paused: resume it first"
    event = parse_signal(letter.signal.raw)
    how, detail = "replayed", note
    if letter.refused and not letter.sibling and step.marks.is_taken(event.source, event.id):
        how, detail = "overtaken", "a signal of the same id was taken since: nothing was decided for this one"
    else:
        before = len(group.events)
        step.replay_of = letter.dead_letter_id
        try:
            copied.decide(letter.signal, refused=letter.refused)
        finally:
            step.replay_of = None
        fresh = [event for event in group.events[before:] if isinstance(event, DeadLetter)]
        failed = next((each for each in fresh if each.replay_of == letter.dead_letter_id), None)
        if failed is not None:
            how, detail = "failed", f"{failed.reason}: {failed.detail}"
    group.events.append(
        DeadLetterDropped(
            dead_letter_id=letter.dead_letter_id,
            how="replayed" if how == "failed" else how,
            note=detail if how == "overtaken" else note,
            at_ns=group.decided_ns,
            loop=loop,
        )
    )
    return how, detail


class _Copied:
    """Signals written again into a group, and where each stood before, as runs."""

    def __init__(self, step: Step, group: Group) -> None:
        self.runs: list[tuple[int, int, int, int, int]] = []
        self._step = step
        self._group = group

    def decide(self, signal: Recorded, *, refused: bool = False) -> None:
        """Copy one signal, and have its loops decide it. `refused`: it has left no mark of being taken yet."""
        step, group = self._step, self._group
        row, now = len(group.raws), group.decided_ns
        event = parse_signal(signal.raw)
        t = now if event.time is None else time_from_text(event.time)
        context = None if signal.context is None else Context(*signal.context)
        routes = self._routes(signal.loops)
        refusal = step.decide(group, routes, event, signal.raw, t, context, signal.needs or None, None)
        flags = MARK_REPLAY
        if refused and refusal is None:
            flags = MARK_TAKEN_LATER
            step.marks.add(event.source, event.id)
        elif refused:
            flags = MARK_REPLAY | MARK_REFUSED
        group.marks[row] = flags
        if signal.context is not None:
            group.contexts[row] = signal.context
        group.raws.append(signal.raw)
        self._note(row, signal)

    def _routes(self, loops: Sequence[str]) -> list[Route]:
        """In the bundle's order, as they would have been asked. Of a loop that is gone, the signal is a dead letter."""
        for loop in loops:
            if self._step.router.named(loop) is None:
                detail = "the loop is not in the bundle any more: add it, then replay this dead letter"
                self._step.dead_letter(self._group, loop, "rejected", detail)
        if len(loops) == 1:
            route = self._step.router.named(loops[0])
            return [] if route is None else [route]
        return [route for route in self._step.router.all if route.name in loops]

    def _note(self, row: int, signal: Recorded) -> None:
        last = self.runs[-1] if self.runs else None
        if (
            last is not None
            and last[0] + last[1] == row
            and last[2] == signal.block
            and last[3] + last[1] == signal.row
        ):
            self.runs[-1] = (last[0], last[1] + 1, *last[2:])
        else:
            self.runs.append((row, 1, signal.block, signal.row, signal.taken_ns))
