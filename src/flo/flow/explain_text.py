"""The text of an explanation: one decision, for people, at most 100 columns wide."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator, Mapping
from typing import Any

from flo.core.expression import EvaluationError
from flo.core.expression.conversions import to_json
from flo.core.expression.trace import Traced
from flo.core.loop.definition import RuleDefinition
from flo.core.loop.program import NOT_CALLED, LoopProgram
from flo.core.signal import time_from_text

WIDTH = 100
VALUE_CHARS_MAX = 200
"""A value's length in the text; the record has it whole."""

DATA_CHARS_MAX = 500
"""A signal's data in the text. What a watchdog found is a sentence with its figures, of up to 300 characters."""

MARGIN = 13
"""Columns of the labels at the left."""

CHECKS: Mapping[str, str] = {
    "the same": "the same.",
    "the same, but for what is masked": "the same. Rules marked * read what is masked: the record's word is taken.",
    "different": "SOMETHING ELSE. This is a defect of FLO: report it, with the record.",
    "masked": "not possible: what the rules read is masked, and the contract cannot be read without it.",
}
"""What deciding again can come to, and how that is said."""


def told(
    program: LoopProgram, record: Mapping[str, Any], answer: Mapping[str, Any], traces: Mapping[str, Traced]
) -> str:
    """The whole text. `answer` has the commands with their outcomes, the chain, and the check."""
    return "\n".join(
        [
            *_head(record),
            "",
            *_what_came(program, record),
            "",
            *_state(program, record),
            *_fetched(record),
            *_rules(program, record, traces),
            *_commands(answer["commands"]),
            *_where_from(record, answer["chain"]),
            f"Decided again from this record alone: {CHECKS[answer['redecided']]}",
        ]
    )


def _block(label: str, text: str, indent: int = 0, hang: int = 2) -> list[str]:
    """Text beside a label, wrapped; what follows the first line hangs a little deeper."""
    left = MARGIN + indent
    lines = textwrap.wrap(
        text,
        WIDTH,
        initial_indent=label.ljust(left),
        subsequent_indent=" " * (left + hang),
        break_on_hyphens=False,
    )
    return lines or [label]


def _head(record: Mapping[str, Any]) -> Iterator[str]:
    timing = record["timing"]
    result = record["result"]
    said = "failed" if record.get("error") else f"decided {result if result is not None else 'no result'}"
    key = record["key"]
    yield f"{record['decision_id']}  {record['loop']} {said} for {key or 'an unknown key'}"
    yield f"  at {timing['decided']}, sequence {record['seq']}, revision {record['revision']}"


def _what_came(program: LoopProgram, record: Mapping[str, Any]) -> Iterator[str]:
    signal, timing = record["signal"], record["timing"]
    yield from _block(
        "What came", f"{signal['type']} {signal['id']} from {signal['source']}, of {timing['time']}"
    )
    contract = f" (contract {record['contract']})" if record["contract"] else ""
    yield from _block("", f"{_short(signal.get('data'), DATA_CHARS_MAX)}{contract}")
    if record.get("replayed"):
        before = record["replayed"]
        said = (
            f"parked at {before['taken']}"
            if before["how"] == "parked"
            else f"a dead letter since {before['taken']}"
        )
        yield from _block("", f"{said}, decided at {timing['decided']}")
    if record.get("masked"):
        yield from _block("", f"masked: {', '.join(record['masked'])}")
    if record.get("late"):
        yield from _block("", "late: older than a window of the state, which it did not change")
    if record.get("stale"):
        age, fresh = _duration(record["stale"]), _duration(program.definition.fresh_data_ns or 0)
        yield from _block("", f"stale: {age} old when decided, where {fresh} is fresh")
    if record.get("skewed"):
        age, fresh = _duration(record["skewed"]), _duration(program.definition.fresh_logic_ns or 0)
        yield from _block("", f"stale: decided by logic {age} older than the data, where {fresh} is fresh")
    if record.get("error"):
        yield from _block("Failed", record["error"]["message"])
        held = "holds" if record["applied"] else "does not hold"
        yield from _block("", f"nothing was commanded; the state {held} this signal")


def _state(program: LoopProgram, record: Mapping[str, Any]) -> Iterator[str]:
    error = record.get("error")
    if not record["state"] or (error is not None and error["rule"] is None):
        return
    definitions = {state.name: state for state in program.definition.state}
    width = max(map(len, record["state"]))
    label = "State"
    for name, value in record["state"].items():
        definition = definitions[name]
        over = f" over {_duration(definition.over_ns)}" if definition.over_ns else ""
        shared = ", all keys" if definition.shared else ""
        about = f"{definition.kind} of {_flat(definition.expression.text)}{over}{shared}"
        yield from _block(label, f"{name.ljust(width)} = {_short(value)}   ({about})", hang=width + 3)
        label = ""
    yield ""


def _fetched(record: Mapping[str, Any]) -> Iterator[str]:
    label = "Fetched"
    for name, value in (record["need"] or {}).items():
        if value.get("missing"):
            reason = f" ({value['reason']})" if value.get("reason") else ""
            yield from _block(label, f"{name}: missing{reason}; decided without it")
        else:
            fields = {field: each for field, each in value.items() if field != "missing"}
            yield from _block(label, f"{name}: {_short(fields)}")
        label = ""
    if record["need"]:
        yield ""


def _rules(program: LoopProgram, record: Mapping[str, Any], traces: Mapping[str, Traced]) -> Iterator[str]:
    rules = {rule.id: rule for rule in program.rules}
    label = "Rules"
    for entry in record["rules"]:
        rule = rules[entry["id"]]
        masked = program.mask.hides_any(program.conditions[rule.id].references)
        star = " *" if masked else ""
        said = f"{_mark(entry)} {rule.id}{star}: {_verdict(entry, rule, record)}"
        yield from _block(label, said)
        label = ""
        yield from _block("", f"when {_flat(traces[rule.id].text)}", indent=4, hang=5)
        if masked:
            yield from _block("", "reads what is masked: only the record knows what it saw", indent=6)
        elif entry["value"] is not None or entry.get("error"):
            yield from _parts(traces[rule.id])
    if record["rule"] is None and not record.get("error"):
        otherwise = "no result" if record["result"] is None else record["result"]
        yield from _block(label, f"→ no rule acted: otherwise {otherwise}")
    yield ""


def _mark(entry: Mapping[str, Any]) -> str:
    if entry.get("error"):
        return "!"
    if entry["value"] is None:
        return "·"
    return "✓" if entry["value"] and not entry["suppressed"] else "○" if entry["value"] else "✗"


def _verdict(entry: Mapping[str, Any], rule: RuleDefinition, record: Mapping[str, Any]) -> str:
    if entry.get("error"):
        trial = " in shadow, where it harms nothing" if entry["suppressed"] == "shadow" else ""
        return f"could not be decided{trial}: {entry['error']}"
    if entry["suppressed"] == "once_within":
        since = time_from_text(record["timing"]["time"]) - record["memory"].get(rule.id, 0)
        limit = _duration(rule.once_within_ns or 0)
        acted = f"it acted {_duration(since)} before" if since >= 0 else "it acted on a later signal"
        return f"true, but held back: {acted}, and may once within {limit}"
    if entry["suppressed"] == "shadow":
        return f"true, but in shadow: it would have decided {rule.result}"
    if entry["value"] is None:
        failed = "the decision failed" if record.get("error") else "an earlier rule had decided"
        return f"not tried: {failed}"
    if not entry["value"]:
        return "false"
    means = f", which means {rule.means}" if rule.means else ""
    return f"true → {rule.result}{means}"


def _parts(traced: Traced) -> Iterator[str]:
    """The comparisons of a condition, and the values on their sides."""
    for part in traced.children or (traced,):
        if part.children and _is_logic(part):
            yield from _parts(part)
            continue
        read = dict.fromkeys(
            f"{_flat(side.text)} = {_outcome(side)}" for side in _references(part) if side.text != part.text
        )
        sides = f"   ({', '.join(read)})" if read else ""
        yield from _block("", f"{_flat(part.text)} is {_outcome(part)}{sides}", indent=6)


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
        if NOT_CALLED in traced.error.message:
            return "not looked at: what stands before it had settled it"
        return f"an error ({traced.error.message})"
    return _short(to_json(traced.value))


def _commands(commands: list[dict[str, Any]]) -> Iterator[str]:
    label = "Commands"
    for command in commands:
        target = f" {command['target']}" if command["target"] else ""
        verb = f"{command['engine']}.{command['verb']}"
        yield from _block(label, f"{verb}{target}  {_short(command['arguments'])}")
        label = ""
        yield from _block("", f"key {command['key']}", indent=2)
        outcome = command["outcome"]
        if outcome is None:
            yield from _block("", "no outcome yet", indent=2)
            continue
        tries = f" after {outcome['attempts']} attempts" if outcome["attempts"] > 1 else ""
        detail = f": {outcome['detail']}" if outcome["detail"] else ""
        yield from _block("", f"{outcome['outcome']} at {outcome['at']}{tries}{detail}", indent=2)
        if outcome.get("result") is not None:
            yield from _block("", f"answered {_short(outcome['result'])}", indent=2)
    if commands:
        yield ""


def _where_from(record: Mapping[str, Any], chain: list[dict[str, Any]]) -> Iterator[str]:
    if not record["hops"] and not record["parent"]:
        return
    hops = f"{record['hops']} hop{'' if record['hops'] == 1 else 's'}"
    yield from _block("Came from", f"{record['root']}, {hops}")
    for each in chain:
        said = f"{each['loop']} decided {each['result']} for {each['key']}"
        yield from _block("", f"← {each['decision_id']}  {said}")
    if not chain:
        yield from _block("", f"← {record['parent']}, which is not kept here any more")
    yield ""


def _flat(text: str) -> str:
    return " ".join(text.split())


def _short(value: Any, chars_max: int = VALUE_CHARS_MAX) -> str:
    text = _value(value, chars_max)
    return text if len(text) <= chars_max else text[: chars_max - 1] + "…"


def _value(value: Any, chars_max: int = VALUE_CHARS_MAX) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float):
        return f"{value:.6g}"
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{name}: {_short(each, chars_max)}" for name, each in value.items()) + "}"
    if isinstance(value, list | tuple):
        return "[" + ", ".join(_short(each, chars_max) for each in value) + "]"
    return "null" if value is None else str(value)


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
