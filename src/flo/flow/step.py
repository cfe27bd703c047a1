"""The step: a batch of signals becomes one group of records.

Runs on the deciding thread only. It does no I/O: everything it needs is in memory or came with the batch (fetched
needs), and everything it learns goes into the group, which the committer makes durable before anyone is answered.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import msgspec

from flo.core.command import Command
from flo.core.context import Context, context_of
from flo.core.contract import ContractViolation
from flo.core.errors import SignalRejected
from flo.core.loop.definition import BundleDefinition
from flo.core.loop.program import EXIT_ERROR, Row
from flo.core.record import DeadLetter, Group, Killed
from flo.core.signal import Envelope, parse_signal, time_from_text
from flo.flow.express import PATIENCE_MAX, Express, Offer
from flo.flow.inputs import decode_data, effective_context, nothing_fetched, root_context
from flo.flow.mark_blocks import MARK_REFUSED
from flo.flow.marks import Marks
from flo.flow.parking import Parking
from flo.flow.pipelines import watch
from flo.flow.reconcile import Reconciler
from flo.flow.router import Route, Router
from flo.ports.service import ACCEPTED, DUPLICATE, Receipt


@dataclass(slots=True)
class Submission:
    """Signals offered together, and whoever waits for them. `needs` holds what was fetched for each signal, by loop."""

    raws: Sequence[bytes]
    done: Callable[[list[Receipt] | BaseException], None]
    needs: Mapping[int, Mapping[str, Mapping[str, Any]]] = field(default_factory=dict)
    only: Mapping[int, frozenset[str]] = field(default_factory=dict)  # the loops that decide a signal here
    detailed: bool = False  # receipts name their decisions
    strict: bool = True  # found while deciding: whether any loop that met it waits for the commit


class Step:
    """Decides batches, in order, into groups."""

    def __init__(self, router: Router, marks: Marks, reconciler: Reconciler, shard: int = 0) -> None:
        self.router = router
        self.marks = marks
        self.reconciler = reconciler
        self.shard = shard
        self.replay_of: str | None = None  # the dead letter that is being replayed
        self.parking = Parking(reconciler.pauses)
        reconciler.pauses.changed = lambda: self.parking.turn_to(self.router)
        reconciler.told_of_dead = lambda letter, group: watch(reconciler, letter, group)
        self.counts: dict[str, int] = {"accepted": 0, "duplicate": 0, "rejected": 0, "late": 0}

    @property
    def router(self) -> Router:
        return self._router

    @router.setter
    def router(self, router: Router) -> None:
        self._router = router
        self._express = Express(router)

    def turn_to(self, router: Router, definition: BundleDefinition) -> None:
        """From the next signal on, decide by this bundle."""
        self.router = router
        self.reconciler.turn_to(definition)
        self.parking.turn_to(router)

    def run(self, batch: Sequence[Submission], group: Group) -> list[list[Receipt]]:
        """Decide a batch into `group`. Receipts are in the order of the signals."""
        self.marks.turn(group.decided_ns, group.block)
        group.received_ns = group.decided_ns
        receipts = [self._submission(submission, group) for submission in batch]
        self.parking.close(group)
        self.router.close_group(group)
        for each in receipts:
            self._count(each)
        return receipts

    def _count(self, receipts: list[Receipt]) -> None:
        plain = receipts.count(ACCEPTED)  # nearly all of nearly every batch: no look at each
        self.counts["accepted"] += plain
        if plain != len(receipts):
            for receipt in receipts:
                if receipt is not ACCEPTED and receipt != ACCEPTED:
                    self.counts[receipt.status] += 1

    def _submission(self, submission: Submission, group: Group) -> list[Receipt]:
        """The express way as far as it leads, the general way for what it does not take, and on."""
        express, raws = self._express, submission.raws
        receipts: list[Receipt] = []
        submission.strict = not self.router.relaxed_types
        if (
            submission.detailed
            or submission.needs
            or submission.only
            or not express.takes(raws, self.reconciler.expected)
        ):
            self._general(submission, 0, len(raws), group, receipts)
            return receipts
        unusual = functools.partial(self._unusual, group, None)
        offer = Offer(raws, receipts, group, self.marks, self.parking.types, unusual)
        place, patience = 0, 1
        while place < len(raws):
            began = place
            place, strict = express.run(offer, began)
            submission.strict = submission.strict or strict
            patience = 1 if place > began else min(2 * patience, PATIENCE_MAX)
            if place < len(raws):
                end = min(len(raws), place + patience)
                self._general(submission, place, end, group, receipts)
                place = end
        return receipts

    def _general(
        self, submission: Submission, start: int, end: int, group: Group, receipts: list[Receipt]
    ) -> None:
        """Signals of any kind, one after the other."""
        now, raws = group.decided_ns, group.raws
        marks, hot, older = self.marks, self.marks.hot, self.marks.older
        routes, select = self.router.routes, self.router.select
        expected = self.reconciler.expected
        masks, only, detailed = self.router.masks, submission.only, submission.detailed
        relaxed_types, parking = self.router.relaxed_types, self.parking.types
        found: Sequence[Route]
        strict = submission.strict
        for index in range(start, end):
            raw = submission.raws[index]
            parked: list[str] | None = None
            try:
                event = parse_signal(raw)
                t = now if event.time is None else time_from_text(event.time)
                context = context_of(event, now)
            except SignalRejected as error:
                receipts.append(Receipt("rejected", error.reason, error.detail))
                continue
            source, id = event.source, event.id
            ids = hot.get(source)
            if ids is None:
                ids = hot[source] = set()
            if id in ids or (older and marks.seen_before(source, id)):
                receipts.append(DUPLICATE)
                continue
            type = event.type
            if type in select:
                found = select[type](event.data)
            else:
                found = routes.get(type, ())
            if only and index in only:
                found = tuple(route for route in found if route.name in only[index])
            strict = strict or type not in relaxed_types
            if parking and type in parking:
                found, parked = self.parking.split(found)
                if parked and masks and type in masks:
                    receipts.append(self.parking.refuse(type))
                    continue
            if masks and type in masks:
                raw = masks[type].hide(raw)
            needs = submission.needs.get(index) if submission.needs else None
            decided: list[str] | None = [] if detailed else None
            refusal = self.decide(group, found, event, raw, t, context, needs, decided)
            if refusal is REPEATED:
                receipts.append(DUPLICATE)
                continue
            if parked:
                self.parking.park(parked, len(raws))
                refusal = None
            if type in expected:
                self.reconciler.observe(event, t, group)
            if context is not None:
                group.contexts[len(raws)] = tuple(msgspec.structs.astuple(context))
            if refusal is None:
                ids.add(id)
                receipts.append(
                    ACCEPTED if decided is None else Receipt("accepted", decisions=tuple(decided))
                )
            else:
                group.marks[len(raws)] = MARK_REFUSED
                marks.add_refused(source, id, raw)
                receipts.append(refusal)
            raws.append(raw)
        submission.strict = strict

    def decide(
        self,
        group: Group,
        routes: Sequence[Route],
        event: Envelope,
        raw: bytes,
        t: int,
        context: Context | None,
        needs: Mapping[str, Mapping[str, Any]] | None,
        decided: list[str] | None,
    ) -> Receipt | None:
        """One signal, at the next row of the group, meets its loops. None: taken; else why every one refused it."""
        row, now = len(group.raws), group.decided_ns
        refusal: Receipt | None = None
        taken = not routes
        data: Any = None
        decoded: object = _NOTHING
        for route in routes:
            contract = route.contract
            if contract is not decoded:
                try:
                    data = decode_data(route, event)
                except ContractViolation as error:
                    refusal = self._refuse(group, route, event, raw, error, refusal)
                    continue
                decoded = contract
            taken = True
            if context is not None and self._dead(group, route, event, data, t, context):
                continue
            need = None if needs is None else needs.get(route.name)
            if need is None and route.needs:
                need = nothing_fetched(route)
            about = effective_context(context, event, now, route) if route.uses_context else None
            decision = route.decide(event, data, t, now, about, need, route.cells, row)
            if decision is None:
                continue
            rows = route.rows
            if rows is None:
                rows = route.open(group)
            if decision[-1] is not None:
                decision = self._unusual(group, context, route, event, t, decision, len(rows))
            rows.append(decision)
            if decided is not None:
                decided.append(f"{self.shard}-{group.block}-{route.section}-{len(rows) - 1}")
        return None if taken else refusal

    def _refuse(
        self,
        group: Group,
        route: Route,
        event: Envelope,
        raw: bytes,
        error: ContractViolation,
        before: Receipt | None,
    ) -> Receipt:
        """A signal that breaks its contract: a dead letter at once, never retried. The same bytes again are a repeat.

        `before`: what another loop had to say of this signal.
        """
        if before is REPEATED or (
            before is None
            and self.replay_of is None
            and self.marks.refused_before(event.source, event.id, raw)
        ):
            return REPEATED
        mask = self.router.masks.get(event.type)
        detail = str(error) if mask is None else mask.refusal(error)
        self.dead_letter(group, route.name, "contract", detail)
        return before or Receipt("rejected", "contract", detail)

    def dead_letter(self, group: Group, loop: str, reason: str, detail: str, **about: Any) -> None:
        """A dead letter of the signal at the next row of the group, or of the row that `signal` says."""
        about = {"signal": len(group.raws), "replay_of": self.replay_of, **about}
        letter = DeadLetter(loop=loop, reason=reason, detail=detail, at_ns=group.decided_ns, **about)
        self.reconciler.dead(letter, group)

    def _dead(self, group: Group, route: Route, event: Envelope, data: Any, t: int, context: Context) -> bool:
        """Past its deadline or its hops, a context dies: one `killed` row, no decision, no command.

        A loop whose `where` is false for the signal never met it, and has nothing to say.
        """
        now = group.decided_ns
        deadline = context.born_ns + route.ttl_ns
        if context.deadline_ns is not None:
            deadline = min(deadline, context.deadline_ns)
        if now > deadline:
            why, detail = "ttl", f"{(now - deadline) / 1e9:.3f} s past its deadline"
        elif context.hops > route.hops:
            why, detail = "hops", f"{context.hops} hops, {route.hops} are allowed"
        else:
            return False
        about = effective_context(context, event, now, route)
        key = route.program.key_of(event, data, t, now, about)
        if key is not None:
            row = len(group.raws)
            group.events.append(
                Killed(
                    loop=route.name,
                    why=why,
                    detail=detail,
                    at_ns=now,
                    signal=row,
                    key=key or None,
                    root=context.root,
                )
            )
        return True

    def _unusual(
        self,
        group: Group,
        context: Context | None,
        route: Route,
        event: Envelope,
        t: int,
        decision: Row,
        place: int,
    ) -> Row:
        """What a decision brings besides its row: commands, a failed expression, marks."""
        extra: dict[str, Any] = decision[-1]
        row, key, seq, exit = decision[0], decision[1], decision[2], decision[3]
        section = route.section
        decision_id = f"{self.shard}-{group.block}-{section}-{place}"
        if exit == EXIT_ERROR:
            error = extra["error"]
            where = f"rule {error['rule']}: " if error["rule"] else ""
            about = {
                "signal": row,
                "decision_id": decision_id,
                "key": key or None,
                "applied": extra["applied"],
            }
            self.dead_letter(group, route.name, "expression", f"{where}{error['message']}", **about)
        if extra.get("late"):
            self.counts["late"] += 1
        intents = extra.pop("commands", None)
        if intents:
            now = group.decided_ns
            context = context or root_context(event, now, route)
            stale = "stale" in extra or "skewed" in extra
            for intent in intents:
                self._issue(group, route, context, decision_id, key, seq, intent, stale)
        return (*decision[:-1], extra or None)

    def _issue(
        self,
        group: Group,
        route: Route,
        context: Context,
        decision_id: str,
        key: str,
        seq: int,
        intent: tuple[int, int, dict[str, Any], str | None],
        stale: bool,
    ) -> None:
        """One command of a rule: into the outbox, within the same group as its decision."""
        rule_index, n, arguments, target = intent
        program = route.program
        rule = program.rules[rule_index]
        action = program.actions[rule.id][n]
        definition = action.definition
        expect = definition.expect
        now = group.decided_ns
        new = definition.root_new
        born = now if new else context.born_ns
        deadline = born + route.ttl_ns
        if not new and context.deadline_ns is not None:
            deadline = min(deadline, context.deadline_ns)
        command = Command(
            key=f"{route.name}/{key}/{seq}/{rule.id}/{n}",
            loop=route.name,
            loop_key=key,
            seq=seq,
            rule=rule.id,
            n=n,
            engine=action.engine,
            verb=definition.verb,
            arguments=arguments,
            target=target,
            decision_id=decision_id,
            root=context.root,
            hops=context.hops,
            born_ns=born,
            deadline_ns=deadline,
            issued_ns=now,
            revision=program.revision,
            attempts_max=definition.attempts,
            blocking=definition.blocking,
            expect_signal=None if expect is None else expect.signal,
            expect_within_ns=None if expect is None else expect.within_ns,
            root_new=new,
            stale=stale,
        )
        self.reconciler.issue(command, group)


_NOTHING = object()
REPEATED = Receipt("duplicate", "contract")
