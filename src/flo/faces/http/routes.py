"""Every route of the HTTP API in one table: its handler, its scope, and what the OpenAPI says of it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from aiohttp import web

from flo.faces.http import control, intake, lists, live, observed
from flo.flow.observe.listing import EDGE_KEYS
from flo.flow.views.decisions import QUERY_KEYS
from flo.flow.views.rows import COMMAND_KEYS, DEAD_LETTER_KEYS, ITERATION_KEYS
from flo.flow.watchdogs.board import QUERY_KEYS as FINDING_KEYS

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]

EVENT_TYPES = (
    "application/cloudevents+json",
    "application/cloudevents-batch+json",
    "application/x-ndjson",
    "application/json",
)


@dataclass(frozen=True, slots=True)
class Route:
    """One operation. The description is its handler's docstring.

    `schema` and `body` name schemas of `flo.faces.http.schemas`; `problems` the kinds it answers beside those
    every route has. `scope` None: no token is asked for.
    """

    method: str
    path: str
    handler: Handler
    name: str
    scope: str | None
    schema: str
    status: int = 200
    media_type: str = "application/json"
    filters: tuple[str, ...] | None = None  # None: not a list
    body: str | None = None
    body_types: tuple[str, ...] = ("application/json",)
    problems: tuple[str, ...] = ()
    error_types: tuple[
        str, ...
    ] = ()  # of its own errors, where its protocol has another form than problem documents


_BODY = ("bad-request", "timeout", "too-large", "media-type")
_INTAKE = (*_BODY, "signal", "overloaded", "unavailable")
_LIST = ("bad-request", "unavailable")
_ONE = ("not-found", "unavailable")

ROUTES: tuple[Route, ...] = (
    Route(
        "POST", "/v1/signals", intake.post_signals, "sendSignals", "send", "Accepted", 202,
        body="Signals", body_types=EVENT_TYPES, problems=_INTAKE,
    ),
    Route(
        "POST", "/v1/decisions", intake.post_decisions, "decide", "send", "Decided",
        body="Signal", body_types=("application/cloudevents+json", "application/json"), problems=(*_INTAKE,
        "contract"),
    ),
    Route(
        "GET", "/v1/decisions", lists.get_decisions, "listDecisions", "read", "Decisions",
        filters=QUERY_KEYS, problems=_LIST,
    ),
    Route("GET", "/v1/decisions/{id}", lists.get_decision, "getDecision", "read", "Decision", problems=_ONE),
    Route(
        "GET", "/v1/decisions/{id}/explain", lists.get_explanation, "explainDecision", "read", "Explanation",
        problems=_ONE,
    ),
    Route("GET", "/v1/loops", lists.get_loops, "listLoops", "read", "Loops", problems=_LIST),
    Route("GET", "/v1/loops/{name}", lists.get_loop, "getLoop", "read", "Loop", problems=_ONE),
    Route(
        "POST", "/v1/loops/{name}/kill", control.post_kill, "killLoop", "operate", "Killed",
        body="Kill", problems=(*_BODY, "not-found", "overloaded", "unavailable"),
    ),
    Route(
        "GET", "/v1/pipelines", control.get_pipelines, "listPipelines", "read", "Pipelines", problems=_LIST,
    ),
    Route(
        "POST", "/v1/pipelines/{name}/pause", control.post_pause, "pausePipeline", "operate", "PipelineChanged",
        body="Note", problems=(*_BODY, "not-found", "overloaded", "unavailable"),
    ),
    Route(
        "POST", "/v1/pipelines/{name}/resume", control.post_resume, "resumePipeline", "operate",
        "PipelineChanged", body="Note", problems=(*_BODY, "not-found", "overloaded", "unavailable"),
    ),
    Route(
        "GET", "/v1/dead-letters", lists.get_dead_letters, "listDeadLetters", "read", "DeadLetters",
        filters=DEAD_LETTER_KEYS, problems=_LIST,
    ),
    Route(
        "GET", "/v1/dead-letters/{id}", lists.get_dead_letter, "getDeadLetter", "read", "DeadLetter",
        problems=_ONE,
    ),
    Route(
        "POST", "/v1/dead-letters/replay", control.post_replay, "replayDeadLetters", "operate", "Replayed",
        body="ReplayOrder", problems=(*_BODY, "overloaded", "unavailable"),
    ),
    Route(
        "POST", "/v1/dead-letters/drop", control.post_drop, "dropDeadLetters", "operate", "Dropped",
        body="DropOrder", problems=(*_BODY, "overloaded", "unavailable"),
    ),
    Route(
        "GET", "/v1/iterations", lists.get_iterations, "listIterations", "read", "Iterations",
        filters=ITERATION_KEYS, problems=_LIST,
    ),
    Route(
        "GET", "/v1/commands", lists.get_commands, "listCommands", "read", "Commands",
        filters=COMMAND_KEYS, problems=_LIST,
    ),
    Route(
        "GET", "/v1/watchdogs", lists.get_watchdogs, "listWatchdogs", "read", "Findings",
        filters=FINDING_KEYS, problems=_LIST,
    ),
    Route(
        "GET", "/v1/edges", lists.get_edges, "listEdges", "read", "Edges", filters=EDGE_KEYS, problems=_LIST,
    ),
    Route(
        "POST", "/api/v1/lineage", observed.post_lineage, "sendLineage", "send", "LineageTaken", 201,
        body="LineageEvents", body_types=observed.LINEAGE_TYPES, problems=_INTAKE,
    ),
    Route(
        "POST", "/v1/traces", observed.post_traces, "sendTraces", "send", "Any",
        media_type="application/x-protobuf", body="Any", body_types=observed.TRACE_TYPES,
        problems=("bad-request", "timeout", "too-large", "overloaded", "unavailable"),
        error_types=observed.TRACE_TYPES,
    ),
    Route("GET", "/v1/bundle", control.get_bundle, "getBundle", "read", "Bundle", problems=("unavailable",)),
    Route(
        "PUT", "/v1/bundle", control.put_bundle, "putBundle", "admin", "Bundle",
        body="NewBundle", problems=(*_BODY, "bundle", "overloaded", "unavailable"),
    ),
    Route(
        "GET", "/v1/stream", live.get_stream, "stream", "read", "Event",
        media_type="text/event-stream", problems=("overloaded",),
    ),
    Route("GET", "/metrics", live.get_metrics, "metrics", "read", "Text", media_type=live.METRICS_TYPE),
    Route("GET", "/healthz", live.get_healthz, "healthz", None, "Health"),
    Route("GET", "/readyz", live.get_readyz, "readyz", None, "Readiness"),
    Route("GET", "/openapi.json", live.get_openapi, "openapi", None, "Any"),
)  # fmt: skip
