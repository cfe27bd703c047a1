"""The OpenAPI 3.1 description, made from the table of routes."""

from __future__ import annotations

import re
from typing import Any

from flo.faces.http.limits import Limits
from flo.faces.http.problems import KINDS, MEDIA_TYPE
from flo.faces.http.routes import ROUTES, Route
from flo.faces.http.schemas import SCHEMAS

_PARAMETER = re.compile(r"\{(\w+)\}")

FILTER_HELP = {
    "loop": "of this loop",
    "key": "of this key",
    "rule": "decided by this rule",
    "result": "with this result",
    "type": "of this type",
    "subject": "about this loop, pipeline, dependency, dataset or edge",
    "reason": "parked for this reason",
    "status": "in this status",
    "evidence": "with this evidence: context, fetched, traced, reported or declared",
    "engine": "sent to this engine",
    "verb": "of this verb",
    "since": "not before this time (RFC 3339)",
    "until": "before this time (RFC 3339)",
}


def build_openapi(version: str, limits: Limits) -> dict[str, Any]:
    """The whole document; every call makes a new one."""
    paths: dict[str, dict[str, Any]] = {}
    for route in ROUTES:
        paths.setdefault(route.path, {})[route.method.lower()] = _operation(route, limits)
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "FLO",
            "version": version,
            "description": "A feedback-loop orchestrator: signals in, decisions out, and why.",
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
        },
        "paths": paths,
        "components": {
            "schemas": SCHEMAS,
            "securitySchemes": {
                "token": {
                    "type": "http",
                    "scheme": "bearer",
                    "description": "Needed where FLO was started with --tokens.",
                }
            },
        },
    }


def _operation(route: Route, limits: Limits) -> dict[str, Any]:
    text = (route.handler.__doc__ or "").strip()
    summary = text.partition("\n")[0].rstrip(".")
    operation: dict[str, Any] = {
        "operationId": route.name,
        "summary": summary,
        "description": " ".join(text.split()) + (f" Scope: {route.scope}." if route.scope else ""),
        "responses": _responses(route),
        "security": [{"token": []}, {}] if route.scope else [],
    }
    parameters = _parameters(route, limits)
    if parameters:
        operation["parameters"] = parameters
    if route.body is not None:
        schema = {"$ref": f"#/components/schemas/{route.body}"}
        operation["requestBody"] = {
            "required": True,
            "content": {media: {"schema": schema} for media in route.body_types},
        }
    return operation


def _parameters(route: Route, limits: Limits) -> list[dict[str, Any]]:
    parameters: list[dict[str, Any]] = [
        {"name": name, "in": "path", "required": True, "schema": {"type": "string"}}
        for name in _PARAMETER.findall(route.path)
    ]
    if route.filters is None:
        return parameters
    for name in route.filters:
        schema = (
            {"type": "string", "format": "date-time"} if name in ("since", "until") else {"type": "string"}
        )
        parameters.append({"name": name, "in": "query", "description": FILTER_HELP[name], "schema": schema})
    limit = {"type": "integer", "minimum": 1, "maximum": limits.list_limit_max, "default": limits.list_limit}
    parameters.append({"name": "limit", "in": "query", "description": "how many", "schema": limit})
    cursor = "the `next` of the page before"
    parameters.append({"name": "cursor", "in": "query", "description": cursor, "schema": {"type": "string"}})
    return parameters


def _responses(route: Route) -> dict[str, Any]:
    schema = {"$ref": f"#/components/schemas/{route.schema}"}
    responses: dict[str, Any] = {
        str(route.status): {"description": "done", "content": {route.media_type: {"schema": schema}}}
    }
    if route.path == "/readyz":
        responses["503"] = {"description": "not ready", "content": {"application/json": {"schema": schema}}}
    kinds = [*route.problems, *(("unauthenticated", "forbidden") if route.scope else ()), "host", "internal"]
    problem = {"$ref": "#/components/schemas/Problem"}
    own = {name: {"schema": {"$ref": "#/components/schemas/Any"}} for name in route.error_types}
    for kind in sorted((KINDS[name] for name in dict.fromkeys(kinds)), key=lambda kind: kind.status):
        status = str(kind.status)
        if status in responses:
            responses[status]["description"] += f"; {kind.title}"
        else:
            content = own if own and kind.name in route.problems else {MEDIA_TYPE: {"schema": problem}}
            responses[status] = {"description": kind.title, "content": content}
    return responses
