"""Pausing and resuming pipelines: what is recorded, and what their engines and their on-call are told.

Everything happens in the group under way: the pause, the page and the commands to the engines commit with the dead letter
that caused them. Commands go through the outbox like any other, under a key that is the same in every shard.
"""

from __future__ import annotations

from flo.core.command import Command
from flo.core.loop.definition import PipelineDefinition
from flo.core.record import DeadLetter, Group, PipelinePaused, PipelineResumed, PipelineRunning
from flo.flow.reconcile import Reconciler

TOLD_WITHIN_NS = 3_600_000_000_000
"""A page, or the word to an engine, that does not get through for an hour is too late."""

TOLD_ATTEMPTS = 10


def pause(
    work: Reconciler,
    group: Group,
    pipeline: str,
    *,
    by: str,
    reason: str,
    loop: str | None = None,
    incident: int = 0,
    tell: bool = True,
) -> bool:
    """Pause a pipeline from here on; False where it is paused already. `tell`: page and command its engines too."""
    held = work.pauses.get(pipeline)
    if held is not None and not held.is_draining:
        return False
    definition = work.pipelines.get(pipeline)
    event = PipelinePaused(
        pipeline=pipeline,
        by=by,
        reason=reason,
        at_ns=group.decided_ns,
        incident=max(incident, work.pauses.incident(pipeline) + 1),
        loops=list(definition.loops if definition is not None else held.loops if held is not None else ()),
        loop=loop,
    )
    group.events.append(event)
    work.apply(event)
    if tell and definition is not None:
        if by == "breaker" and definition.on_call is not None:
            summary = f"pipeline {pipeline} is paused: {reason}"
            about = {"summary": summary, "pipeline": pipeline, "loop": loop, "reason": reason}
            _tell(work, group, definition, 2 * event.incident, "page", 0, definition.on_call, about)
        _tell_jobs(work, group, definition, 2 * event.incident, "pause")
    return True


def resume(work: Reconciler, group: Group, pipeline: str, *, note: str, by: str, tell: bool = True) -> bool:
    """Decide what was parked from here on; False where the pipeline is not paused, or resumed already."""
    held = work.pauses.get(pipeline)
    if held is None or held.is_draining:
        return False
    event = PipelineResumed(pipeline=pipeline, note=note, by=by, at_ns=group.decided_ns)
    group.events.append(event)
    work.apply(event)
    definition = work.pipelines.get(pipeline)
    if tell and definition is not None:
        _tell_jobs(work, group, definition, 2 * held.incident + 1, "resume")
    run_when_drained(work, group, pipeline)
    return True


def run_when_drained(work: Reconciler, group: Group, pipeline: str) -> bool:
    """A resumed pipeline of which nothing is parked any more runs from here on."""
    held = work.pauses.get(pipeline)
    if held is None or not held.is_draining or held.waiting:
        return False
    event = PipelineRunning(pipeline=pipeline, at_ns=group.decided_ns, decided=held.decided)
    group.events.append(event)
    work.apply(event)
    return True


def watch(work: Reconciler, letter: DeadLetter, group: Group) -> None:
    """A dead letter was recorded: the last one of too many pauses its pipeline, in the same group."""
    definition = work.pipeline_of.get(letter.loop)
    if definition is None or definition.breaker is None:
        return
    limit = definition.breaker
    if work.breaker.count(letter.loop, letter.at_ns, limit):
        reason = (
            f"{limit.dead_letters} dead letters of {letter.loop} within {limit.within_ns / 1e9:g} s, the last for "
            f"{letter.reason}: {letter.detail}"
        )
        pause(work, group, definition.name, by="breaker", reason=reason, loop=letter.loop)


def _tell_jobs(work: Reconciler, group: Group, definition: PipelineDefinition, seq: int, verb: str) -> None:
    """`seq` is the fencing token: a pause that is late, and arrives behind its resume, has the lower one."""
    for n, job in enumerate(definition.jobs):
        if job in definition.pausable:
            engine, _, name = job.partition(".")
            _tell(work, group, definition, seq, verb, n, engine, {"job": name})


def _tell(
    work: Reconciler,
    group: Group,
    definition: PipelineDefinition,
    seq: int,
    verb: str,
    n: int,
    engine: str,
    arguments: dict[str, str | None],
) -> None:
    now = group.decided_ns
    loop = definition.loops[0] if definition.loops else definition.name
    subject = f"pipeline:{definition.name}"
    work.issue(
        Command(
            key=f"{loop}/{subject}/{seq}/{verb}/{n}",
            loop=loop,
            loop_key=subject,
            seq=seq,
            rule=verb,
            n=n,
            engine=engine,
            verb=verb,
            arguments=dict(arguments),
            decision_id="",
            root=f"{subject}/{seq}",
            hops=0,
            born_ns=now,
            deadline_ns=now + TOLD_WITHIN_NS,
            issued_ns=now,
            revision=work.revision,
            attempts_max=TOLD_ATTEMPTS,
        ),
        group,
    )
