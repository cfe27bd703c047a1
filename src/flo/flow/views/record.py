"""One decision's record: all that explains it, and all that is needed to decide it again.

The stored row is short because the revision gives it meaning: names of state, rules and results come from the bundle
it was decided under. `decision_record` puts both together; `redecide` goes the other way, from the record alone.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

import msgspec

from flo.core.context import Context, root_id
from flo.core.contract import ContractViolation
from flo.core.errors import UsageError
from flo.core.expression import DURATION, TIMESTAMP, Type
from flo.core.expression.conversions import to_cel
from flo.core.expression.times import duration_text, timestamp_text
from flo.core.loop.program import EXIT_ERROR, LoopProgram, Row
from flo.core.loop.support import as_recorded
from flo.core.record import CommandIssued, DecisionSection, Event, Group, GroupView, SignalsReplayed
from flo.core.record.group import SectionView
from flo.core.signal import Envelope, parse_signal, text_from_time, time_from_text
from flo.flow.inputs import decode_data
from flo.flow.router import Route

_TEXT_OF: Mapping[Type, Callable[[Any], str]] = {TIMESTAMP: timestamp_text, DURATION: duration_text}

_encode = msgspec.json.Encoder(order="deterministic").encode


def decision_id(shard: int, block: int, section: int, row: int) -> str:
    return f"{shard}-{block}-{section}-{row}"


def parse_decision_id(text: str) -> tuple[int, int, int, int]:
    """(shard, block, section, row); `ValueError` says what an id looks like."""
    parts = text.split("-")
    if len(parts) != 4 or not all(part.isascii() and part.isdecimal() and len(part) < 19 for part in parts):
        raise ValueError(f'"{text[:60]}" is not a decision id: they look like 0-1023-0-17')
    shard, block, section, row = (int(part) for part in parts)
    return shard, block, section, row


def record_bytes(record: Mapping[str, Any]) -> bytes:
    """A record as canonical JSON: the same record gives the same bytes."""
    return _encode(record)


def decision_record(
    program: LoopProgram,
    group: GroupView | Group,
    section: SectionView | DecisionSection,
    place: tuple[int, int, int, int],
    row: Row,
    raw: bytes,
    events: Iterable[Event],
) -> dict[str, Any]:
    """The record of §7. `events` are the block's: the commands of this decision are picked out, and where its signal
    stood before, if it did."""
    event = parse_signal(raw)
    own_id = decision_id(*place)
    kept = group.contexts.get(row[0])
    context = None if kept is None else Context(*kept)
    now = group.decided_ns
    t = now if event.time is None else time_from_text(event.time)
    columns = dict(zip(section.state_columns, row[4 : 4 + len(section.state_columns)], strict=True))
    state: dict[str, Any] = {}
    memory: dict[str, Any] = {}
    for name, value in columns.items():
        if name.startswith("once:"):
            memory[name.removeprefix("once:")] = value
        elif "." in name:
            owner, part = name.split(".", 1)
            state.setdefault(owner, {})[part] = value
        else:
            state[name] = value
    for name, kind in program.time_columns.items():
        owner, _, part = name.partition(".")
        holder, at = (state[owner], part) if part else (state, owner)
        holder[at] = None if holder[at] is None else _TEXT_OF[kind](holder[at])
    inputs = row[-2]
    trace = (
        event.traceparent.split("-")[1] if event.traceparent and event.traceparent.count("-") >= 3 else None
    )
    record: dict[str, Any] = {
        "decision_id": own_id,
        "loop": program.name,
        "key": row[1],
        "seq": row[2],
        "root": root_id(event) if context is None else context.root,
        "parent": None if context is None else context.parent,
        "hops": 0 if context is None else context.hops,
        "signal": msgspec.json.decode(raw),
        "contract": None if program.contract is None else program.contract.id,
        "revision": program.revision,
        "state": state,
        "memory": memory,
        "need": None if inputs is None else inputs[0],
        "calls": None if inputs is None else inputs[1],
        **verdict(program, row),
        "commands": [],
        "timing": {
            "time": text_from_time(t),
            "decided": text_from_time(now),
            "age_ms": round((now - t) / 1e6, 3),
            "born": text_from_time(now if context is None else context.born_ns),
            "deadline": _deadline(program, context, now),
        },
        "trace_id": trace,
    }
    if program.mask.paths:
        record["masked"] = list(program.mask.paths)
    for each in events:
        if isinstance(each, CommandIssued) and each.command.decision_id == own_id:
            record["commands"].append(command_view(each.command))
        elif isinstance(each, SignalsReplayed) and (before := _before(each, row[0])) is not None:
            record["replayed"] = before
    return record


def _before(event: SignalsReplayed, row: int) -> dict[str, Any] | None:
    """Where a signal stood before it was decided here: parked, or a dead letter."""
    for first, many, block, before, taken_ns in event.rows:
        if first <= row < first + many:
            how = "parked" if event.pipeline else "dead letter"
            return {
                "how": how,
                "taken": text_from_time(taken_ns),
                "block": block,
                "row": before + row - first,
            }
    return None


def command_view(command: Any) -> dict[str, Any]:
    """A command as its decision's record shows it."""
    return {
        "key": command.key,
        "engine": command.engine,
        "verb": command.verb,
        "target": command.target,
        "arguments": command.arguments,
        "rule": command.rule,
    }


def verdict(program: LoopProgram, row: Row) -> dict[str, Any]:
    """What the rules said, from the way they went."""
    exit, extra = row[3], row[-1] or {}
    fired = set(extra.get("fired", ()))
    error = extra.get("error")
    rules = []
    reached = True
    for index, rule in enumerate(program.rules):
        suppressed = extra.get(f"suppressed:{rule.id}")
        value: bool | None
        if error is not None and error["rule"] == rule.id:
            value, reached = None, False
            rules.append({"id": rule.id, "value": None, "error": error["message"], "suppressed": None})
            continue
        on_trial = extra.get(f"failed:{rule.id}")
        if on_trial is not None:
            rules.append({"id": rule.id, "value": None, "error": on_trial["message"], "suppressed": "shadow"})
            continue
        if not reached or (error is not None and error["rule"] is None):
            value = None
        elif suppressed is not None:
            value = True
        elif program.definition.match == "all":
            value = index in fired
        else:
            value = index == exit
            reached = not value
        rules.append({"id": rule.id, "value": value, "suppressed": suppressed})
    decided = program.rules[exit] if 0 <= exit < len(program.rules) else None
    flags = {name: extra[name] for name in ("late", "stale", "skewed", "error", "applied") if name in extra}
    return {
        "rules": rules,
        "rule": None if decided is None else decided.id,
        "result": program.result(exit) if exit != EXIT_ERROR else None,
        "means": None if decided is None else decided.means,
        **flags,
    }


def _deadline(program: LoopProgram, context: Context | None, now: int) -> str:
    born = now if context is None else context.born_ns
    deadline = born + program.definition.ttl_ns
    if context is not None and context.deadline_ns is not None:
        deadline = min(deadline, context.deadline_ns)
    return text_from_time(deadline)


def bindings(program: LoopProgram, record: Mapping[str, Any]) -> dict[str, Any]:
    """What the expressions of a loop saw, rebuilt from a record."""
    raw = msgspec.json.encode(record["signal"])
    event = parse_signal(raw)
    route = Route(program, program.new_cells())
    now = time_from_text(record["timing"]["decided"])
    t = now if event.time is None else time_from_text(event.time)
    context = Context(
        record["root"],
        record["parent"],
        time_from_text(record["timing"]["born"]),
        time_from_text(record["timing"]["deadline"]),
        record["hops"],
    )
    data = _data_again(program, route, event)
    return {
        "signal": event,
        "data": data,
        "t": t,
        "now": now,
        "context": context,
        "need": record["need"],
        "key": record["key"],
        "seq": record["seq"],
        "state": state_row(program, record),
    }


class CannotDecideAgain(UsageError):
    """A record whose signal is masked where its contract has demands that cannot be lifted."""


def _data_again(program: LoopProgram, route: Route, event: Envelope) -> Any:
    """The data of a recorded signal; of a masked one, under a contract that takes `***` for what is masked."""
    if program.mask.paths and program.contract is not None:
        if program.masked_contract is None:
            raise CannotDecideAgain(
                f"{', '.join(program.mask.paths)} is masked, and {program.contract.id} needs it"
            )
        route.contract = program.masked_contract
    try:
        return decode_data(route, event)
    except ContractViolation as error:
        if not program.mask.paths:
            raise
        raise CannotDecideAgain(f"{', '.join(program.mask.paths)} is masked: {error}") from None


def _recorded(record: Mapping[str, Any]) -> Callable[[int], bool]:
    """What the record says a rule came to, for rules that read what is masked."""

    def recorded(index: int) -> bool:
        entry = record["rules"][index]
        if entry.get("error"):
            error = record.get("error") or {}
            raise as_recorded(error.get("code", "recorded"), entry["error"])
        if entry["value"] is None:
            raise as_recorded("recorded", "the record says that this rule was not tried")
        return bool(entry["value"])

    return recorded


def state_row(program: LoopProgram, record: Mapping[str, Any]) -> tuple[Any, ...]:
    """The state columns of a record, in the order the generated code expects."""
    values = []
    for name in program.state_columns:
        kind = program.time_columns.get(name)
        if kind is not None:
            owner, _, part = name.partition(".")
            text = record["state"][owner][part] if part else record["state"][owner]
            values.append(None if text is None else to_cel(text, kind))
        elif name.startswith("once:"):
            values.append(record["memory"][name.removeprefix("once:")])
        elif "." in name:
            owner, part = name.split(".", 1)
            values.append(record["state"][owner][part])
        else:
            values.append(record["state"][name])
    return tuple(values)


def redecide(program: LoopProgram, record: Mapping[str, Any]) -> dict[str, Any]:
    """Decide a record again, from the record alone; `record_bytes` of both are equal unless something is broken.

    A decision that failed before its rules has none to go through: it is answered as is. Of rules that read what is
    masked, the record's word is taken. `CannotDecideAgain`: the masked signal cannot be read at all.
    """
    if "error" in record and record["error"]["rule"] is None:
        return dict(record)
    seen = bindings(program, record)
    masked = (_recorded(record),) if program.mask.paths else ()
    program.calls.playback = list(record["calls"] or [])
    extra = {name: record[name] for name in ("late", "stale", "skewed") if name in record} or None
    try:
        row = program.redecide(
            seen["signal"],
            seen["data"],
            seen["t"],
            seen["now"],
            seen["context"],
            seen["need"],
            0,
            seen["key"],
            seen["seq"],
            seen["state"],
            extra,
            *masked,
        )
    finally:
        program.calls.playback = None
    intents = (row[-1] or {}).pop("commands", [])
    again = {**record, **verdict(program, row), "commands": []}
    for rule_index, n, arguments, target in intents:
        rule = program.rules[rule_index]
        action = program.actions[rule.id][n]
        again["commands"].append(
            {
                "key": f"{program.name}/{record['key']}/{record['seq']}/{rule.id}/{n}",
                "engine": action.engine,
                "verb": action.definition.verb,
                "target": target,
                "arguments": arguments,
                "rule": rule.id,
            }
        )
    return again
