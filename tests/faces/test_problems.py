"""Every error becomes one shape, and none tells of the inside."""

from __future__ import annotations

import json

import pytest
from aiohttp import web
from tests.faces.conftest import Served, line
from tests.faces.memory import Boom

from flo.core.contract import ContractViolation, load_contract
from flo.core.errors import BundleError, CorruptLedger, FloError, InputError, Problem
from flo.faces.http.problems import KINDS, kind_of, problem_of
from flo.ports.service import NotFound

MAY_BE_500 = {CorruptLedger, FloError}
"""What nobody outside can help: everything else must tell its caller what to do."""

STAYS_INSIDE = {"EvaluationError"}
"""Becomes a dead letter before anyone outside could see it."""


def tree(root: type[BaseException]) -> list[type[BaseException]]:
    return [root, *(found for child in root.__subclasses__() for found in tree(child))]


@pytest.mark.parametrize(
    "error",
    [
        found
        for found in tree(FloError)
        if found.__module__.startswith("flo.")
        and found not in MAY_BE_500
        and found.__name__ not in STAYS_INSIDE
    ],
    ids=lambda error: error.__name__,
)
def test_every_error_of_the_tree_has_a_kind_of_its_own(error: type[FloError]) -> None:
    kind = kind_of(error.__new__(error))
    if kind.name == "internal":
        pytest.fail(f"{error.__name__} has no kind: map it in flo.faces.http.problems")


def test_the_errors_of_core_and_ports_are_all_in_the_tree() -> None:
    loaded = {found.__name__ for found in tree(FloError)}
    assert {"SignalRejected", "ContractViolation", "Overloaded", "FateUnknown", "CorruptLedger"} <= loaded


async def test_an_unknown_error_is_a_500_without_its_words(served: Served) -> None:
    for error in (Boom("secret inside"), ValueError("secret inside"), CorruptLedger("/data/secret: block 7")):
        served.service.fail_next = [error]
        status, headers, body = await served.post("/v1/decisions", line(), "application/cloudevents+json")
        assert status == 500
        assert headers["Content-Type"] == "application/problem+json"
        assert "secret" not in json.dumps(body)


async def test_an_answer_that_cannot_be_encoded_is_a_500_problem(served: Served) -> None:
    served.service.records.append({"decision_id": "x", "odd": object()})
    status, _, body = await served.ask("GET", "/v1/decisions/x")
    assert (status, body["type"]) == (500, "urn:flo:problem:internal")


async def test_a_broken_contract_lists_each_violation(served: Served) -> None:
    schema = {"type": "object", "required": ["amount"], "properties": {"amount": {"minimum": 0}}}
    contract, problems = load_contract("tx", 1, json.dumps(schema).encode(), "contracts/tx/1.json")
    assert contract is not None, problems
    with pytest.raises(ContractViolation) as caught:
        contract.decode(b'{"amount": -1}')
    served.service.fail_next = [caught.value]
    status, _, body = await served.post("/v1/decisions", line(), "application/cloudevents+json")
    assert (status, body["type"]) == (422, "urn:flo:problem:contract")
    assert body["violations"][0]["path"] == "/amount"
    assert body["contract"] == caught.value.contract


async def test_a_bad_bundle_lists_each_problem_and_its_place(served: Served) -> None:
    status, _, body = await served.ask("PUT", "/v1/bundle", json={"files": {"x": "y"}})
    assert (status, body["type"]) == (422, "urn:flo:problem:bundle")
    assert body["problems"] == [
        {
            "file": "flo.yaml",
            "line": 1,
            "column": 1,
            "message": "there is no flo.yaml",
            "hint": "run `flo init`",
        }
    ]


def test_plurals_and_quotes_are_right() -> None:
    problem = Problem("a", 1, 1, "x")
    assert problem_of(BundleError([problem])).detail.startswith("1 problem;")
    assert problem_of(BundleError([problem] * 2)).detail.startswith("2 problems;")
    assert problem_of(NotFound("no loop 'x'")).detail == "no loop 'x'"
    assert problem_of(InputError("x")).kind.status == 422


def test_kinds_have_distinct_names_and_true_statuses() -> None:
    for name, kind in KINDS.items():
        assert kind.name == name
        assert 400 <= kind.status < 600
        assert kind.help.endswith(".")


async def test_an_unknown_route_is_a_404_and_later_ones_are_absent(served: Served) -> None:
    later = (
        "/v1/replay",
        "/v1/alerts",
        "/nope",
        "/",
    )
    for path in later:
        status, headers, body = await served.ask("GET", path)
        assert (status, body["type"]) == (404, "urn:flo:problem:not-found"), path
        assert headers["Content-Type"] == "application/problem+json"


async def test_a_wrong_method_is_a_405_with_allow(served: Served) -> None:
    status, headers, body = await served.ask("DELETE", "/v1/decisions")
    assert (status, body["type"]) == (405, "urn:flo:problem:method")
    assert headers["Allow"] == "GET, POST"


async def test_other_exceptions_of_the_server_are_mapped_by_status() -> None:
    assert problem_of(web.HTTPRequestEntityTooLarge(1, 2)).kind.name == "too-large"
    assert problem_of(web.HTTPGone()).kind.name == "bad-request"
    assert problem_of(web.HTTPBadGateway()).kind.status >= 500
