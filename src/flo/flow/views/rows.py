"""Dead letters, commands and iterations: lists read from the ledger's events."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

from flo.core.errors import UsageError
from flo.core.record import (
    CommandIssued,
    CommandOutcome,
    CommandReissued,
    DeadLetter,
    Event,
    GroupView,
    IterationClosed,
    Killed,
    decode_group,
)
from flo.core.record.group import decode_summary
from flo.core.signal import parse_signal, text_from_time
from flo.flow.open_work import OpenCommand, OpenIteration
from flo.flow.views.decisions import query_time
from flo.flow.views.gone import Gone
from flo.flow.views.listing import Found, Place
from flo.ports.service import NotFound
from flo.ports.store import LedgerView

DEAD_LETTER_KEYS = ("loop", "reason", "key", "since", "until")
COMMAND_KEYS = ("loop", "key", "engine", "verb", "status", "since", "until")
ITERATION_KEYS = ("loop", "key", "status", "since", "until")

Item = Callable[[LedgerView, int, int, Event, GroupView], dict[str, Any] | None]
"""(shard, block, place, event, group) -> the listed item, or None where it does not match."""


def check_query(query: Mapping[str, str], known: tuple[str, ...], what: str) -> None:
    unknown = sorted(set(query) - set(known))
    if unknown:
        raise UsageError(f"unknown filter {', '.join(unknown)}: {what} are found by {', '.join(known)}")


def search_events(
    kinds: frozenset[str], query: Mapping[str, str], item: Item
) -> Callable[[LedgerView, Place], Iterator[Found]]:
    """Events of some kinds, newest first; blocks whose header names none of them are not read."""
    since, until = query_time("since", query.get("since")), query_time("until", query.get("until"))

    def search(view: LedgerView, before: Place) -> Iterator[Found]:
        for header in view.headers(min(view.last_block(), before[0])):
            if since is not None and header.written_ns < since:
                return
            if (until is not None and header.written_ns > until) or not kinds & set(
                decode_summary(header.summary).events
            ):
                continue
            try:
                group = decode_group(view.read(header.number).payload)
            except LookupError:  # dropped by retention meanwhile, with all before it
                return
            events = group.events()
            for place in range(len(events) - 1, -1, -1):
                if (header.number, place) >= before:
                    continue
                found = item(view, header.number, place, events[place], group)
                if found is not None:
                    yield group.decided_ns, (header.number, place), found

    return search


# -- dead letters -----------------------------------------------------------------------------------------


def dead_letter_id(shard: int, block: int, place: int) -> str:
    return f"{shard}-{block}-{place}"


def dead_letters(
    query: Mapping[str, str], gone: Mapping[int, Gone]
) -> Callable[[LedgerView, Place], Iterator[Found]]:
    """`gone`: by shard, dead letters that were dropped or replayed, which are not listed. Those whose block went stand
    behind the ledger's.
    """
    check_query(query, DEAD_LETTER_KEYS, "dead letters")
    since, until = query_time("since", query.get("since")), query_time("until", query.get("until"))

    def item(
        view: LedgerView, block: int, place: int, event: Event, group: GroupView
    ) -> dict[str, Any] | None:
        if not isinstance(event, DeadLetter) or not _matches(event, query, ("loop", "reason", "key")):
            return None
        if gone[view.shard].has(block, place):
            return None
        return _dead_letter(dead_letter_id(view.shard, block, place), event)

    in_ledger = search_events(frozenset({"dead"}), query, item)

    def search(view: LedgerView, before: Place) -> Iterator[Found]:
        for found in in_ledger(view, before):
            yield found
            before = found[1]
        # looked at behind the ledger: what went from there meanwhile is found here
        for kept in view.letters.find((0, -1), min(before, (view.first_block(), -1)), reverse=True):
            place, letter = (kept.block, kept.place), kept.letter
            if since is not None and kept.decided_ns < since:
                return
            if (
                (until is None or kept.decided_ns <= until)
                and not gone[view.shard].has(*place)
                and _matches(letter, query, ("loop", "reason", "key"))
            ):
                yield kept.decided_ns, place, _dead_letter(dead_letter_id(view.shard, *place), letter)

    return search


def find_dead_letter(views: Mapping[int, LedgerView], text: str) -> dict[str, Any]:
    """One dead letter with its signal's bytes, as text where they are text."""
    parts = text.split("-")
    if len(parts) != 3 or not all(part.isascii() and part.isdecimal() and len(part) < 19 for part in parts):
        raise NotFound(f'"{text[:60]}" is not a dead letter id: they look like 0-1023-0')
    shard, block, place = (int(part) for part in parts)
    stored = _stored(views[shard], block, place) if shard in views else None
    if stored is None:
        raise NotFound(f"no dead letter {text}: `flo dead list` shows those there are")
    event, raw = stored
    found = _dead_letter(text, event)
    if raw is not None:
        found["bytes"] = raw.decode("utf-8", "replace")
        envelope = parse_signal(raw)
        found["signal"] = {
            "id": envelope.id,
            "source": envelope.source,
            "type": envelope.type,
            "time": envelope.time,
        }
    return found


def _stored(view: LedgerView, block: int, place: int) -> tuple[DeadLetter, bytes | None] | None:
    """A dead letter and its signal's bytes: from the ledger, or kept beyond it; one that left stays to be shown."""
    try:
        group = decode_group(view.read(block).payload)
        event = group.events()[place]
    except LookupError:
        kept = next(view.letters.find((block, place - 1), (block, place + 1)), None)
        return None if kept is None else (kept.letter, kept.raw)
    if not isinstance(event, DeadLetter):
        return None
    return event, None if event.signal is None else group.raws()[event.signal]


def _dead_letter(own_id: str, event: DeadLetter) -> dict[str, Any]:
    return {
        "dead_letter_id": own_id,
        "loop": event.loop,
        "key": event.key,
        "reason": event.reason,
        "detail": event.detail,
        "at": text_from_time(event.at_ns),
        "command": event.command_key,
        "decision_id": event.decision_id,
        "applied": event.applied,
        "replay_of": event.replay_of,
    }


# -- commands ---------------------------------------------------------------------------------------------


COMMAND_EVENTS = frozenset({"command", "reissued", "outcome"})

Ends = dict[str, CommandOutcome | None]
"""The newest word on commands, by key, met on the way back to where they were issued. None: sent again, no end since."""


def _meet(event: Event, ends: Ends) -> None:
    if isinstance(event, CommandOutcome):
        ends.setdefault(event.command_key, event)
    elif isinstance(event, CommandReissued):
        ends.setdefault(event.command.key, None)  # whatever it had come to before


def ends_behind(view: LedgerView, before: Place, ends: Ends) -> None:
    """Gather what pages before this place have met."""
    for header in view.headers(view.last_block(), before[0]):
        if COMMAND_EVENTS & set(decode_summary(header.summary).events):
            try:
                events = decode_group(view.read(header.number).payload).events()
            except LookupError:  # dropped by retention meanwhile, with all before it
                return
            for place in range(len(events) - 1, -1, -1):
                event = events[place]
                if (header.number, place) < before:
                    break
                if isinstance(event, CommandIssued):
                    ends.pop(event.command.key, None)
                else:
                    _meet(event, ends)


def commands(
    query: Mapping[str, str], open_commands: Mapping[str, OpenCommand], ends: Ends
) -> Callable[[LedgerView, Place], Iterator[Found]]:
    """Newest first, so an outcome is met before the command it belongs to: `ends` gathers them on the way. A command that
    was sent again has one row, where it was issued, with what it is now.
    """
    check_query(query, COMMAND_KEYS, "commands")

    def item(
        view: LedgerView, block: int, place: int, event: Event, group: GroupView
    ) -> dict[str, Any] | None:
        if not isinstance(event, CommandIssued):
            _meet(event, ends)
            return None
        command = event.command
        # its own outcome is not asked for again: over a whole ledger they would fill memory
        outcome, waiting = ends.pop(command.key, None), open_commands.get(command.key)
        status = (
            outcome.outcome if outcome is not None else waiting.state if waiting is not None else "pending"
        )
        wanted = {
            "loop": command.loop,
            "key": command.loop_key,
            "engine": command.engine,
            "verb": command.verb,
            "status": status,
        }
        if any(query[name] != value for name, value in wanted.items() if name in query):
            return None
        return {
            "command_key": command.key,
            "decision_id": command.decision_id,
            **wanted,
            "seq": command.seq,
            "target": command.target,
            "arguments": command.arguments,
            "issued": text_from_time(command.issued_ns),
            "ended": None if outcome is None else text_from_time(outcome.at_ns),
            "attempts": outcome.attempts
            if outcome is not None
            else waiting.attempts
            if waiting is not None
            else 0,
            "detail": "" if outcome is None else outcome.detail,
            "reference": None if outcome is None else outcome.reference,
            "result": None if outcome is None else outcome.result,
        }

    return search_events(COMMAND_EVENTS, query, item)


# -- iterations -------------------------------------------------------------------------------------------


def open_iteration(iteration: OpenIteration) -> dict[str, Any]:
    """An iteration whose end is not known, as it is listed."""
    return {
        "loop": iteration.loop,
        "key": iteration.key,
        "seq": iteration.seq,
        "status": iteration.status,
        "opened": text_from_time(iteration.opened_ns),
        "ended": None,
        "decision_id": iteration.decision_id,
        "root": iteration.root,
        "commands": list(iteration.commands),
        "detail": "",
    }


def ended_iterations(query: Mapping[str, str]) -> Callable[[LedgerView, Place], Iterator[Found]]:
    """Iterations that had commands, or died: those without commands open and close within their decision."""
    check_query(query, ITERATION_KEYS, "iterations")

    def item(
        view: LedgerView, block: int, place: int, event: Event, group: GroupView
    ) -> dict[str, Any] | None:
        if isinstance(event, IterationClosed):
            found = {"loop": event.loop, "key": event.key, "seq": event.seq, "status": event.status}
            root = None
        elif isinstance(event, Killed) and event.why != "operator":  # else its iterations say so themselves
            found = {"loop": event.loop, "key": event.key, "seq": None, "status": "killed"}
            root = event.root
        else:
            return None
        if any(query[name] != found[name] for name in ("loop", "key", "status") if name in query):
            return None
        detail = event.detail if isinstance(event, IterationClosed) else f"{event.why}: {event.detail}"
        return {
            **found,
            "opened": None,
            "ended": text_from_time(event.at_ns),
            "decision_id": None,
            "root": root,
            "commands": [],
            "detail": detail,
        }

    return search_events(frozenset({"iteration", "killed"}), query, item)


def _matches(event: Event, query: Mapping[str, str], names: tuple[str, ...]) -> bool:
    return all(getattr(event, name) == query[name] for name in names if name in query)
