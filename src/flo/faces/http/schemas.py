"""The shapes of what the HTTP API takes and answers, as JSON Schema 2020-12 (OpenAPI 3.1 components).

Objects are open: fields are added in later versions, and a client must not break on one it does not know.
"""

from __future__ import annotations

from typing import Any

from flo.flow.observe.listing import STATUSES

Schema = dict[str, Any]

TEXT: Schema = {"type": "string"}
TEXT_OR_NULL: Schema = {"type": ["string", "null"]}
COUNT: Schema = {"type": "integer", "minimum": 0}
TIME: Schema = {"type": "string", "format": "date-time"}
TIME_OR_NULL: Schema = {"type": ["string", "null"], "format": "date-time"}
ANY_OBJECT: Schema = {"type": "object"}


def _object(
    properties: dict[str, Schema], required: tuple[str, ...] | None = None, about: str = ""
) -> Schema:
    schema: Schema = {"type": "object", "properties": properties}
    names = tuple(properties) if required is None else required
    if names:
        schema["required"] = list(names)
    if about:
        schema["description"] = about
    return schema


def _ref(name: str) -> Schema:
    return {"$ref": f"#/components/schemas/{name}"}


def _list(plural: str, item: str) -> Schema:
    cursor = {**TEXT_OR_NULL, "description": "the cursor of the next page, or null"}
    return _object({plural: {"type": "array", "items": _ref(item)}, "next": cursor})


_LETTER_FILTER: dict[str, Schema] = {
    "loop": TEXT,
    "reason": TEXT,
    "key": TEXT,
    "since": TIME,
    "until": TIME,
    "ids": {"type": "array", "maxItems": 1000, "items": TEXT, "description": "these and no others"},
    "cursor": {**TEXT_OR_NULL, "description": "the `next` of the page before"},
    "limit": {"type": "integer", "minimum": 1, "maximum": 1000},
    "note": {**TEXT, "description": "why: kept in the ledger"},
    "dry_run": {"type": "boolean", "description": "only say what would be done"},
}
_LETTER_NEXT: Schema = {**TEXT_OR_NULL, "description": "the cursor of the next page, or null at the end"}

SCHEMAS: dict[str, Schema] = {
    "Signal": _object(
        {
            "specversion": {"const": "1.0"},
            "id": {"type": "string", "minLength": 1, "maxLength": 1024},
            "source": {"type": "string", "minLength": 1, "maxLength": 1024},
            "type": {"type": "string", "minLength": 1, "maxLength": 1024},
            "time": TIME,
            "subject": TEXT,
            "dataschema": TEXT,
            "data": {},
            "floroot": TEXT,
            "floparent": TEXT,
            "floborn": {"type": ["string", "integer"]},
            "flodeadline": {"type": ["string", "integer"]},
            "flohops": {"type": ["string", "integer"]},
            "floseq": {"type": ["string", "integer"]},
        },
        ("specversion", "id", "source", "type"),
        "A CloudEvents 1.0 event in structured mode. `source` and `id` together are its identity. "
        "Binary mode (ce- headers, data as the body) is taken too.",
    ),
    "Signals": {
        "oneOf": [_ref("Signal"), {"type": "array", "items": _ref("Signal")}],
        "description": "One event, a batch, or (application/x-ndjson) one event a line.",
    },
    "Accepted": _object(
        {"accepted": COUNT, "duplicates": COUNT, "rejected": {"type": "array", "items": _ref("Rejected")}}
    ),
    "Rejected": _object(
        {"index": {**COUNT, "description": "place in the request, from 0"}, "reason": TEXT, "detail": TEXT}
    ),
    "Decided": _object({"decisions": {"type": "array", "items": _ref("Decision")}}),
    "Decision": _object(
        {
            "decision_id": TEXT,
            "loop": TEXT,
            "key": {},
            "seq": COUNT,
            "root": TEXT_OR_NULL,
            "parent": TEXT_OR_NULL,
            "hops": COUNT,
            "signal": {"description": "the event, or its digest where masked"},
            "contract": TEXT_OR_NULL,
            "revision": TEXT,
            "state": {**ANY_OBJECT, "description": "what the rules read"},
            "rules": {
                "type": "array",
                "items": ANY_OBJECT,
                "description": "each with its value and what suppressed it",
            },
            "rule": {**TEXT_OR_NULL, "description": "the rule that decided"},
            "result": TEXT_OR_NULL,
            "means": TEXT_OR_NULL,
            "commands": {"type": "array", "items": ANY_OBJECT},
            "timing": ANY_OBJECT,
            "trace_id": TEXT_OR_NULL,
        },
        ("decision_id", "loop", "result"),
        "The record of one signal meeting one loop.",
    ),
    "Decisions": _list("decisions", "Decision"),
    "Explanation": _object({"text": {**TEXT, "description": "the whole for people"}}, ("text",)),
    "Loop": _object({"name": TEXT}, ("name",), "Health, rates, latencies, open iterations, state."),
    "Loops": _list("loops", "Loop"),
    "Kill": {
        **_object({"key": {**TEXT_OR_NULL, "description": "one key, or null for all"}, "note": TEXT}, ()),
        "additionalProperties": False,
    },
    "Killed": {**ANY_OBJECT, "description": "how many iterations ended and commands were dropped"},
    "DeadLetter": _object(
        {"dead_letter_id": TEXT, "loop": TEXT, "key": {}, "reason": TEXT, "detail": TEXT, "at": TIME},
        ("dead_letter_id", "loop", "reason", "detail", "at"),
        "`bytes`, in the answer for one, is the event as it was received.",
    ),
    "DeadLetters": _list("dead_letters", "DeadLetter"),
    "Pipeline": _object(
        {
            "name": TEXT,
            "status": {"enum": ["running", "paused", "draining"]},
            "loops": {"type": "array", "items": TEXT},
            "jobs": {"type": "array", "items": TEXT, "description": "paused and resumed with it"},
            "jobs_that_cannot_pause": {"type": "array", "items": TEXT},
            "on_call": TEXT_OR_NULL,
            "paused_since": TEXT_OR_NULL,
            "paused_by": {"enum": ["breaker", "operator", None]},
            "why": TEXT_OR_NULL,
            "note": {**TEXT_OR_NULL, "description": "of the resume under way"},
            "parked": {**COUNT, "description": "signals that wait to be decided"},
            "parked_by_loop": {"type": "object", "additionalProperties": COUNT},
            "decided_since_resumed": COUNT,
        },
        ("name", "status", "parked"),
    ),
    "Pipelines": _list("pipelines", "Pipeline"),
    "PipelineChanged": {
        **_object({"name": TEXT, "status": TEXT, "changed": {"type": "boolean"}}),
        "description": "The pipeline as `Pipeline` has it; `changed`: whether this request did it.",
    },
    "Note": {
        **_object({"note": {**TEXT, "description": "what failed, what was changed: kept in the ledger"}}, ()),
        "additionalProperties": False,
    },
    "ReplayOrder": {
        **_object(
            {
                **_LETTER_FILTER,
                "resend": {
                    "type": "boolean",
                    "description": "also commands whose engine may then do them twice; needs a note",
                },
            },
            (),
        ),
        "additionalProperties": False,
    },
    "DropOrder": {**_object(_LETTER_FILTER, ()), "additionalProperties": False},
    "Replayed": _object(
        {
            "matched": COUNT,
            "replayed": COUNT,
            "failed": {**COUNT, "description": "replayed, and a new dead letter that names the old one"},
            "overtaken": {**COUNT, "description": "left without being decided: the same id came again since"},
            "kept": {**COUNT, "description": "cannot be replayed; `not_replayed` says why"},
            "would_replay": {**COUNT, "description": "of a dry run"},
            "not_replayed": {
                "type": "array",
                "items": _object({"dead_letter_id": TEXT, "why": TEXT}),
                "description": "the first 20 that were kept",
            },
            "next": _LETTER_NEXT,
        },
        ("matched", "next"),
        "What became of one page; counts that are 0 may be left out.",
    ),
    "Dropped": _object(
        {"matched": COUNT, "dropped": COUNT, "would_drop": COUNT, "next": _LETTER_NEXT}, ("matched", "next")
    ),
    "Iteration": _object(
        {
            "loop": TEXT,
            "key": {},
            "seq": {"type": ["integer", "null"]},
            "status": TEXT,
            "opened": TEXT_OR_NULL,
            "ended": TEXT_OR_NULL,
            "decision_id": TEXT_OR_NULL,
            "commands": {"type": "array", "items": TEXT},
            "detail": TEXT,
        },
        ("loop", "key", "seq", "status"),
    ),
    "Iterations": _list("iterations", "Iteration"),
    "Command": _object(
        {
            "command_key": {**TEXT, "description": "the idempotency key"},
            "decision_id": TEXT,
            "loop": TEXT,
            "key": {},
            "engine": TEXT,
            "verb": TEXT,
            "status": {**TEXT, "description": "its outcome, or where it is on the way to one"},
            "arguments": ANY_OBJECT,
            "attempts": COUNT,
            "detail": TEXT,
            "result": {},
        },
        ("command_key", "loop", "engine", "verb", "status"),
    ),
    "Commands": _list("commands", "Command"),
    "Finding": _object(
        {
            "type": TEXT,
            "subject": {**TEXT, "description": "the loop, pipeline, dependency, dataset or edge it is about"},
            "detail": {**TEXT, "description": "one sentence, with the figures"},
            "loop": TEXT_OR_NULL,
            "pipeline": TEXT_OR_NULL,
            "figures": ANY_OBJECT,
            "first": {**TIME, "description": "since when it holds"},
            "last": {**TIME, "description": "when it was last seen to hold"},
            "count": COUNT,
        },
        ("type", "subject", "detail", "figures", "first", "last"),
    ),
    "Findings": _list("watchdogs", "Finding"),
    "Seen": _object(
        {
            "count": COUNT,
            "first_seen": TIME,
            "last_seen": TIME,
            "example": {**TEXT, "description": "a trace, run or decision that shows it"},
            "mean_ms": {"type": "number"},
            "longest_ms": {"type": "number"},
        },
        ("count", "first_seen", "last_seen", "example"),
        "One kind of evidence for an edge.",
    ),
    "Edge": _object(
        {
            "from": TEXT,
            "to": TEXT,
            "status": {
                "enum": list(STATUSES),
                "description": "phantom: observed, and nobody declared it; both: observed and declared; declared: not "
                "observed so far; never-seen: not observed although it should have been by now; observed: no declaration "
                "could name it",
            },
            "loops": {"type": "array", "items": TEXT, "description": "whose edge it is"},
            "declared_under": {**TEXT_OR_NULL, "description": "the key that declares what was not observed"},
            "count": COUNT,
            "first_seen": TIME_OR_NULL,
            "last_seen": TIME_OR_NULL,
            "evidence": {"type": "object", "additionalProperties": _ref("Seen")},
        },
    ),
    "Edges": _list("edges", "Edge"),
    "LineageEvents": {
        "oneOf": [ANY_OBJECT, {"type": "array", "items": ANY_OBJECT}],
        "description": "One OpenLineage event, an array of them, or (application/x-ndjson) one a line.",
    },
    "LineageTaken": _object(
        {
            "accepted": COUNT,
            "duplicates": COUNT,
            "rejected": {"type": "array", "items": _ref("Rejected")},
            "status": {"enum": ["success", "partial_success"]},
            "summary": _object({"received": COUNT, "successful": COUNT, "failed": COUNT}),
            "failed_events": {"type": "array", "items": ANY_OBJECT},
        },
        ("accepted", "duplicates", "rejected"),
        "The answer to many events (200) has `status`, `summary` and `failed_events` as well.",
    ),
    "Bundle": _object(
        {
            "revision": TEXT,
            "files": {"type": "object", "additionalProperties": TEXT},
            "applied_at": {},
            "loops": {"type": "array"},
        },
        ("revision",),
    ),
    "NewBundle": {
        **_object(
            {"files": {"type": "object", "minProperties": 1, "additionalProperties": TEXT}, "note": TEXT},
            ("files",),
            "All files of the bundle by their path in it.",
        ),
        "additionalProperties": False,
    },
    "Event": _object(
        {"type": TEXT},
        (),
        "The `data` of one server-sent event: a decision, command, outcome, dead letter or bundle change.",
    ),
    "Health": _object({"status": {"const": "ok"}}),
    "Readiness": _object({"ready": {"type": "boolean"}, "detail": TEXT}),
    "Text": TEXT,
    "Any": {},
    "Problem": _object(
        {
            "type": {**TEXT, "description": "urn:flo:problem:<kind>, stable"},
            "title": TEXT,
            "status": {"type": "integer", "minimum": 400, "maximum": 599},
            "detail": {**TEXT, "description": "what is wrong with this request, and what to do"},
            "reason": {**TEXT, "description": "of a refused signal: a short stable code"},
            "rejected": {"type": "array", "items": _ref("Rejected")},
            "retry_after_s": {"type": "number"},
            "contract": TEXT,
            "violations": {"type": "array", "items": _object({"path": TEXT, "rule": TEXT, "message": TEXT})},
            "problems": {
                "type": "array",
                "description": "of a bundle: everything found",
                "items": _object(
                    {"file": TEXT, "line": COUNT, "column": COUNT, "message": TEXT, "hint": TEXT_OR_NULL}
                ),
            },
        },
        ("type", "title", "status", "detail"),
        "RFC 9457.",
    ),
}
