"""Whatever is sent, in whatever form: an answer of the API, never a 500, never a hang, never a half-taken body."""

from __future__ import annotations

import asyncio
import gzip
import json
import os
from collections.abc import Coroutine, Iterator
from typing import Any

import aiohttp
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.faces.commands import Background, background
from tests.faces.conftest import event

from flo.faces.scaffold import write_scaffold

MEDIA = (
    "application/cloudevents+json",
    "application/cloudevents-batch+json",
    "application/x-ndjson",
    "application/json",
    "application/json; charset=utf-8",
    "text/plain",
    "",
)

SETTINGS = settings(
    max_examples=int(os.environ.get("FLO_FUZZ_EXAMPLES", "100")),
    deadline=None,
    print_blob=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)

json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=12,
)
attributes = st.sampled_from(
    [
        "specversion",
        "id",
        "source",
        "type",
        "time",
        "data",
        "data_base64",
        "floroot",
        "flohops",
        "subject",
        "x",
    ]
)
near_events = st.builds(
    lambda changes, gone: {**{k: v for k, v in event().items() if k not in gone}, **changes},
    st.dictionaries(attributes, json_values, max_size=3),
    st.sets(attributes, max_size=2),
)
encoded = near_events.map(lambda value: json.dumps(value).encode())
bodies = st.one_of(
    st.binary(max_size=200),
    encoded,
    st.lists(near_events | json_values, max_size=5).map(lambda value: json.dumps(value).encode()),
    st.lists(encoded | st.binary(max_size=30), max_size=5).map(b"\n".join),
    st.tuples(encoded, st.integers(0, 300)).map(lambda pair: pair[0][: pair[1]]),
    st.integers(1, 100_000).map(lambda depth: b"[" * depth),
    st.integers(1, 100_000).map(lambda depth: b'{"a":' * depth),
)
header_texts = st.text(st.characters(codec="latin-1", exclude_categories=["Cc"]), max_size=30)
ce_headers = st.dictionaries(
    attributes.map(lambda name: "ce-" + name.replace("_", "-")), header_texts.map(str.strip), max_size=6
)


@pytest.fixture(scope="module", params=["memory", "embedded"])
def fuzzed(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Background]:
    place = tmp_path_factory.mktemp("fuzz")
    write_scaffold(place / "bundle")
    real = (place / "bundle", place / "data") if request.param == "embedded" else None
    with background(bundle_and_data=real) as served:
        yield served


def ask(coroutine: Coroutine[Any, Any, Any]) -> Any:
    return asyncio.run(asyncio.wait_for(coroutine, 20))


async def exchange(served: Background, method: str, path: str, **options: Any) -> tuple[int, dict[str, Any]]:
    async with (
        aiohttp.ClientSession(skip_auto_headers=["Content-Type"]) as session,
        session.request(method, served.url + path, **options) as response,
    ):
        body = await response.read()
        assert response.headers["Content-Type"] in ("application/json", "application/problem+json"), body
        return response.status, json.loads(body)


@SETTINGS
@given(
    path=st.sampled_from(["/v1/signals", "/v1/decisions"]),
    body=bodies,
    media=st.sampled_from(MEDIA),
    headers=ce_headers,
    zipped=st.booleans(),
)
def test_no_body_and_no_header_brings_the_intake_down(
    fuzzed: Background, path: str, body: bytes, media: str, headers: dict[str, str], zipped: bool
) -> None:
    sent = {**headers, **({"Content-Type": media} if media else {})}
    if zipped:
        body, sent["Content-Encoding"] = gzip.compress(body), "gzip"
    status, answer = ask(exchange(fuzzed, "POST", path, data=body, headers=sent))
    assert status in (200, 202, 400, 413, 415, 422), answer
    if status == 202:
        assert set(answer) == {"accepted", "duplicates", "rejected"}
        assert all(row["reason"] and row["detail"] for row in answer["rejected"])
    elif status >= 400:
        assert answer["type"].startswith("urn:flo:problem:")
        assert answer["status"] == status
        assert answer["detail"]


@SETTINGS
@given(
    path=st.sampled_from(
        ["/v1/decisions", "/v1/dead-letters", "/v1/iterations", "/v1/commands", "/v1/loops"]
    ),
    query=st.dictionaries(
        st.sampled_from(["limit", "cursor", "loop", "key", "since", "until", "status", "x"])
        | st.text(max_size=5),
        st.text(st.characters(exclude_categories=["Cs"]), max_size=20),
        max_size=4,
    ),
)
def test_no_query_brings_a_list_down(fuzzed: Background, path: str, query: dict[str, str]) -> None:
    status, answer = ask(exchange(fuzzed, "GET", path, params=query))
    assert status in (200, 400), answer


@SETTINGS
@given(
    path=st.sampled_from(
        ["/v1/decisions/{}", "/v1/decisions/{}/explain", "/v1/loops/{}", "/v1/dead-letters/{}"]
    ),
    name=st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=20),
)
def test_no_name_brings_a_lookup_down(fuzzed: Background, path: str, name: str) -> None:
    quoted = "".join(f"%{byte:02X}" for byte in name.encode())
    url = aiohttp.client.URL(fuzzed.url + path.format(quoted), encoded=True)
    status, _ = ask(exchange(fuzzed, "GET", str(url).removeprefix(fuzzed.url)))
    assert status in (200, 400, 404)


@SETTINGS
@given(
    path=st.sampled_from(
        [
            ("POST", "/v1/loops/velocity/kill"),
            ("PUT", "/v1/bundle"),
            ("POST", "/v1/pipelines/cards/pause"),
            ("POST", "/v1/pipelines/cards/resume"),
            ("POST", "/v1/dead-letters/replay"),
            ("POST", "/v1/dead-letters/drop"),
        ]
    ),
    body=st.binary(max_size=60)
    | json_values.map(lambda value: json.dumps(value).encode())
    | st.dictionaries(st.sampled_from(["key", "note", "files"]), json_values).map(
        lambda value: json.dumps(value).encode()
    ),
)
def test_no_body_brings_the_control_routes_down(
    fuzzed: Background, path: tuple[str, str], body: bytes
) -> None:
    headers = {"Content-Type": "application/json"}
    status, answer = ask(exchange(fuzzed, *path, data=body, headers=headers))
    assert status in (200, 400, 422), answer
