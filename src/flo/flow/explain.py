"""Why: one decision, for people. Everything said here comes from its record and the bundle it was decided under."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

from flo.core.expression import EvaluationError
from flo.core.expression.trace import Traced, Tracer
from flo.core.loop.definition import RuleDefinition
from flo.core.loop.program import LoopProgram
from flo.core.signal import time_from_text
from flo.flow.views.record import record_bytes, redecide

TEXT_CHARS_MAX = 100
"""A value's length in the text; the record has it whole."""

FindRecord = Callable[[str], dict[str, Any] | None]

PARENTS_MAX = 32


def explain(
    program: LoopProgram,
    record: Mapping[str, Any],
    outcomes: Mapping[str, Mapping[str, Any]],
    find: FindRecord,
) -> dict[str, Any]:
    """The record with the trace of every rule, the chain it hangs on, the check by deciding it again, and `text`."""
    program.calls.heard = {}
    again = redecide(program, record)
    same = record_bytes(again) == record_bytes(record)
    traces = {rule.id: _trace(program, rule, record) for rule in program.rules}
    chain = list(_chain(record, find))
    commands = [{**command, "outcome": outcomes.get(command["key"])} for command in record["commands"]]
    answer = {
        "record": dict(record),
        "rules": [_rule(entry, traces[entry["id"]]) for entry in record["rules"]],
        "commands": commands,
        "chain": [
            {name: each[name] for name in ("decision_id", "loop", "key", "seq", "result", "rule")}
            for each in chain
        ],
        "redecided": "the same" if same else "different",
    }
    answer["text"] = "\n".join(_text(program, record, answer, traces))
    return answer


def _chain(record: Mapping[str, Any], find: FindRecord) -> Iterator[dict[str, Any]]:
    """The decisions this one came from, nearest first."""
    parent = record["parent"]
    for _ in range(PARENTS_MAX):
        found = None if parent is None else find(parent)
        if found is None:
            return
        yield found
        parent = found["parent"]


def trace_bindings(program: LoopProgram, record: Mapping[str, Any]) -> dict[str, Any]:
    """What a trace reads: the record's own JSON."""
    timing, signal = record["timing"], record["signal"]
    return {
        "signal": {**signal, "time": signal.get("time") or timing["time"], "received": timing["decided"]},
        "data": signal.get("data"),
        "state": record["state"],
        "need": record["need"] or {},
        "now": timing["decided"],
        "loop": {
            "name": program.name,
            "owner": program.definition.owner,
            "key": record["key"],
            "seq": record["seq"],
        },
        "context": {
            "root": record["root"],
            "hops": record["hops"],
            "born": timing["born"],
            "deadline": timing["deadline"],
        },
    }


def _trace(program: LoopProgram, rule: RuleDefinition, record: Mapping[str, Any]) -> Traced:
    program.calls.only_heard = True
    try:
        return Tracer(program.conditions[rule.id])(trace_bindings(program, record))
    finally:
        program.calls.only_heard = False


def _rule(entry: Mapping[str, Any], traced: Traced) -> dict[str, Any]:
    return {**entry, "expression": traced.text, "trace": _tree(traced)}


def _tree(traced: Traced) -> dict[str, Any]:
    return {
        "text": traced.text,
        "value": None if traced.error is not None else _plain(traced.value),
        "error": None if traced.error is None else str(traced.error),
        "parts": [_tree(part) for part in traced.children],
    }


def _plain(value: Any) -> Any:
    return value if value is None or isinstance(value, bool | int | float | str | list | dict) else str(value)


# -- the text ---------------------------------------------------------------------------------------------


def _text(
    program: LoopProgram, record: Mapping[str, Any], answer: Mapping[str, Any], traces: Mapping[str, Traced]
) -> Iterator[str]:
    yield from _head(program, record)
    yield ""
    yield from _state(program, record)
    yield from _rules(program, record, traces)
    yield from _commands(answer["commands"])
    yield from _where_from(record, answer["chain"])
    check = (
        "the same" if answer["redecided"] == "the same" else "SOMETHING ELSE: report this, with the record"
    )
    yield f"Decided again from this record alone: {check}."


def _head(program: LoopProgram, record: Mapping[str, Any]) -> Iterator[str]:
    signal, timing = record["signal"], record["timing"]
    result = record["result"] if record["result"] is not None else "no result"
    yield f"{record['decision_id']}  {record['loop']} decided {result} for {record['key'] or 'an unknown key'}"
    yield f"  at {timing['decided']}, sequence {record['seq']}, revision {record['revision']}"
    yield ""
    yield f"What came    {signal['type']} {signal['id']} from {signal['source']}, of {timing['time']}"
    contract = f" (contract {record['contract']})" if record["contract"] else ""
    yield f"             {_short(signal.get('data'))}{contract}"
    if record.get("late"):
        yield "             too late for a window: the state was not changed by it"
    if record.get("stale"):
        age_s = record["stale"] / 1e9
        fresh_s = (program.definition.fresh_data_ns or 0) / 1e9
        yield f"             stale: {age_s:g} s old when decided, the loop calls {fresh_s:g} s fresh"
    if record.get("error"):
        yield f"Failed       {record['error']['message']}"


def _state(program: LoopProgram, record: Mapping[str, Any]) -> Iterator[str]:
    if record["state"]:
        definitions = {state.name: state for state in program.definition.state}
        width = max(len(name) for name in record["state"])
        for index, (name, value) in enumerate(record["state"].items()):
            definition = definitions[name]
            over = f" over {_duration(definition.over_ns)}" if definition.over_ns else ""
            label = "State        " if index == 0 else "             "
            shared = ", all keys" if definition.shared else ""
            about = f"{definition.kind} of {definition.expression.text}{over}{shared}"
            yield f"{label}{name:<{width}} = {_short(value)}   ({about})"
        yield ""
    for name, value in (record["need"] or {}).items():
        missing = isinstance(value, Mapping) and value.get("missing")
        yield f"Fetched      {name}: {'missing, decided without it' if missing else _short(value)}"


def _rules(program: LoopProgram, record: Mapping[str, Any], traces: Mapping[str, Traced]) -> Iterator[str]:
    for index, entry in enumerate(record["rules"]):
        rule = next(rule for rule in program.rules if rule.id == entry["id"])
        label = "Rules        " if index == 0 else "             "
        yield f"{label}{_mark(entry, record)} {rule.id}: {_verdict(entry, rule, record)}"
        traced = traces[rule.id]
        yield f"                 when {' '.join(traced.text.split())}"
        if entry["value"] is not None or entry.get("error"):
            yield from _leaves(traced)
    if record["rule"] is None and record["result"] is not None:
        yield f"             → no rule acted: otherwise {record['result']}"
    yield ""


def _mark(entry: Mapping[str, Any], record: Mapping[str, Any]) -> str:
    if entry.get("error"):
        return "!"
    if entry["value"] is None:
        return "·"
    return "✓" if entry["value"] and not entry["suppressed"] else "○" if entry["value"] else "✗"


def _verdict(entry: Mapping[str, Any], rule: RuleDefinition, record: Mapping[str, Any]) -> str:
    if entry.get("error"):
        return f"could not be decided: {entry['error']}"
    if entry["suppressed"] == "once_within":
        since = record["memory"].get(rule.id, 0)
        ago = time_from_text(record["timing"]["time"]) - since
        limit = _duration(rule.once_within_ns or 0)
        return f"true, but held back: it acted {_duration(ago)} before, once within {limit} is allowed"
    if entry["suppressed"] == "shadow":
        return "true, but in shadow: it would have acted"
    if entry["value"] is None:
        return "not tried: " + (
            "the decision failed" if record.get("error") else "an earlier rule had decided"
        )
    if not entry["value"]:
        return "false"
    means = f", which means {rule.means}" if rule.means else ""
    return f"true → {rule.result}{means}"


def _leaves(traced: Traced) -> Iterator[str]:
    """The comparisons of a condition, and the values on their sides."""
    for part in traced.children or (traced,):
        if part.children and _is_logic(part):
            yield from _leaves(part)
            continue
        sides = ", ".join(
            f"{side.text} = {_outcome(side)}" for side in _references(part) if side.text != part.text
        )
        yield f"                   {' '.join(part.text.split())} is {_outcome(part)}{f'   ({sides})' if sides else ''}"


def _is_logic(traced: Traced) -> bool:
    return "&&" in traced.text or "||" in traced.text


def _references(traced: Traced) -> Iterator[Traced]:
    for part in traced.children:
        if part.children:
            yield from _references(part)
        else:
            yield part


def _outcome(traced: Traced) -> str:
    if isinstance(traced.error, EvaluationError):
        return f"an error ({traced.error.message})"
    return _short(_plain(traced.value))


def _commands(commands: list[dict[str, Any]]) -> Iterator[str]:
    for index, command in enumerate(commands):
        label = "Commands     " if index == 0 else "             "
        target = f" {command['target']}" if command["target"] else ""
        yield f"{label}{command['engine']}.{command['verb']}{target}  {_short(command['arguments'])}"
        yield f"               key {command['key']}"
        outcome = command["outcome"]
        if outcome is None:
            yield "               no outcome yet"
        else:
            tries = f" after {outcome['attempts']} attempts" if outcome["attempts"] > 1 else ""
            detail = f": {outcome['detail']}" if outcome["detail"] else ""
            yield f"               {outcome['outcome']} at {outcome['at']}{tries}{detail}"
            if outcome.get("result") is not None:
                yield f"               answered {_short(outcome['result'])}"
    if commands:
        yield ""


def _where_from(record: Mapping[str, Any], chain: list[dict[str, Any]]) -> Iterator[str]:
    if not record["hops"] and not chain:
        return
    yield f"Came from    {record['root']}, {record['hops']} hops"
    for each in chain:
        yield f"             ← {each['decision_id']}  {each['loop']} decided {each['result']} for {each['key']}"
    yield ""


def _short(value: Any) -> str:
    if isinstance(value, float):
        text = f"{value:.6g}"
    elif isinstance(value, Mapping):
        text = "{" + ", ".join(f"{name}: {_short(each)}" for name, each in value.items()) + "}"
    elif isinstance(value, bool):
        text = "true" if value else "false"
    else:
        text = "null" if value is None else str(value)
    return text if len(text) <= TEXT_CHARS_MAX * 2 else text[: TEXT_CHARS_MAX * 2 - 1] + "…"


def _duration(ns: int) -> str:
    for unit, size in (
        ("d", 86_400_000_000_000),
        ("h", 3_600_000_000_000),
        ("m", 60_000_000_000),
        ("s", 10**9),
    ):
        if ns >= size and ns % size == 0:
            return f"{ns // size}{unit}"
    return f"{ns / 1e9:g}s"
