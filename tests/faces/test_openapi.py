"""The description says what is served, and is itself well formed."""

from __future__ import annotations

import re
from typing import Any

import jsonschema
import pytest
from aiohttp import web
from tests.faces.conftest import Served, line
from tests.faces.memory import MemoryService

from flo.faces.http import Limits, build_app
from flo.faces.http.openapi import build_openapi
from flo.faces.http.problems import KINDS
from flo.faces.http.routes import ROUTES
from flo.faces.http.schemas import SCHEMAS

DOCUMENT = build_openapi("0", Limits())


def resolved(name: str) -> dict[str, Any]:
    return {"$ref": f"#/components/schemas/{name}", "components": {"schemas": SCHEMAS}}


def test_every_served_route_is_described_and_every_described_one_served() -> None:
    app = build_app(MemoryService())
    served = {
        (route.method, route.resource.canonical)
        for route in app.router.routes()
        if isinstance(route, web.ResourceRoute) and route.resource is not None
    }
    described = {(method.upper(), path) for path, item in DOCUMENT["paths"].items() for method in item}
    assert served == described


def test_the_document_has_the_form_of_openapi_3_1() -> None:
    """The rules of the specification that concern what we use."""
    assert DOCUMENT["openapi"] == "3.1.0"
    assert {"title", "version"} <= set(DOCUMENT["info"])
    names = []
    for path, item in DOCUMENT["paths"].items():
        assert path.startswith("/")
        for operation in item.values():
            names.append(operation["operationId"])
            in_path = {entry["name"] for entry in operation.get("parameters", ()) if entry["in"] == "path"}
            assert in_path == set(re.findall(r"\{(\w+)\}", path))
            keys = [(entry["in"], entry["name"]) for entry in operation.get("parameters", ())]
            assert len(keys) == len(set(keys))
            assert operation["responses"]
            assert all(re.fullmatch(r"[2-5]\d\d", status) for status in operation["responses"])
            assert all(answer["description"] for answer in operation["responses"].values())
            assert operation["summary"]
            assert len(operation["summary"]) < 130
            for requirement in operation["security"]:
                assert set(requirement) <= set(DOCUMENT["components"]["securitySchemes"])
    assert len(names) == len(set(names))


def test_every_reference_leads_somewhere_and_no_schema_is_idle() -> None:
    found = set(re.findall(r"'#/components/schemas/(\w+)'", repr(DOCUMENT)))
    assert found == set(SCHEMAS)


@pytest.mark.parametrize("name", sorted(SCHEMAS))
def test_every_schema_is_json_schema_2020_12(name: str) -> None:
    jsonschema.Draft202012Validator.check_schema(SCHEMAS[name])


def test_the_problems_of_each_route_exist() -> None:
    assert {kind for route in ROUTES for kind in route.problems} <= set(KINDS)


async def test_real_answers_have_the_shape_that_is_described(served: Served) -> None:
    await served.post("/v1/signals", line(1) + b"\n" + line(2, data=3), "application/x-ndjson")
    names = {"{id}": "0-1-0-0", "{name}": "velocity"}
    checked = 0
    for route in ROUTES:
        if route.method != "GET" or route.media_type != "application/json":
            continue
        path = route.path
        for name, value in names.items():
            path = path.replace(name, "0-1-0" if "dead-letters" in path else value)
        status, _, body = await served.ask("GET", path)
        assert status == 200, path
        jsonschema.validate(body, resolved(route.schema))
        checked += 1
    assert checked >= 12
    _, _, problem = await served.ask("GET", "/v1/loops/none")
    jsonschema.validate(problem, resolved("Problem"))
    _, _, accepted = await served.post("/v1/signals", line(3) + b"\n{", "application/x-ndjson")
    jsonschema.validate(accepted, resolved("Accepted"))
    _, _, document = await served.ask("GET", "/openapi.json")
    assert document["paths"] == DOCUMENT["paths"]
