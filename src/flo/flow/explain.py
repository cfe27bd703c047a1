"""Why: one decision, for people. Everything said here comes from its record and the bundle it was decided under."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

from flo.core.expression import EvaluationError
from flo.core.expression.conversions import to_json
from flo.core.expression.trace import Traced, Tracer
from flo.core.loop.definition import RuleDefinition
from flo.core.loop.program import LoopProgram
from flo.flow.explain_text import told
from flo.flow.views.record import CannotDecideAgain, record_bytes, redecide

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
    again = _again(program, record)
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
        "redecided": again,
    }
    answer["text"] = told(program, record, answer, traces)
    return answer


def _again(program: LoopProgram, record: Mapping[str, Any]) -> str:
    """One of CHECKS: what deciding again from the record alone comes to."""
    try:
        same = record_bytes(redecide(program, record)) == record_bytes(record)
    except CannotDecideAgain:
        return "masked"
    taken = any(program.mask.hides_any(checked.references) for checked in program.conditions.values())
    word = "the same" if same else "different"
    return f"{word}, but for what is masked" if same and taken else word


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
    """What each part of a condition came to. Of what was not read, or is masked, nothing can be said."""
    error = record.get("error")
    if error is not None and error["rule"] is None:
        return Traced(rule.when.text, None, EvaluationError("not_tried", "the decision failed before"), ())
    if program.mask.hides_any(program.conditions[rule.id].references):
        return Traced(rule.when.text, None, EvaluationError("masked", "what it read is masked"), ())
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
        "value": None if traced.error is not None else to_json(traced.value),
        "error": None if traced.error is None else str(traced.error),
        "parts": [_tree(part) for part in traced.children],
    }
