"""Who may ask: tokens and scopes, hosts and origins, and where FLO may listen."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest
from tests.faces.conftest import Serve, Served, line

from flo.core.errors import UsageError
from flo.faces.http import check_bind, load_tokens
from flo.faces.http.routes import ROUTES

CANARY = "canary-0123456789abcdef"
SENDER = "sender-0123456789abcdef"


def token_file(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "tokens.yaml"
    path.write_text(text)
    return path


@pytest.fixture
async def guarded(start: Serve, tmp_path: Path) -> Served:
    digest = hashlib.sha256(SENDER.encode()).hexdigest()
    path = token_file(
        tmp_path,
        f"tokens:\n  - {{name: gateway, sha256: {digest}, scopes: [send]}}\n"
        '  - {name: ops, token: "${env:OPS}", scopes: [read, operate]}\n'
        '  - {name: root, token: "${env:ROOT}", scopes: [admin]}\n',
    )
    return await start(tokens=load_tokens(path, {"OPS": CANARY, "ROOT": "root-0123456789abcdef"}))


def bearer(token: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}"}


async def test_a_token_opens_what_its_scopes_say_and_no_more(guarded: Served) -> None:
    media = {"Content-Type": "application/cloudevents+json"}
    asked = {
        "send": ("POST", "/v1/signals", {"data": line(), "headers": media}),
        "read": ("GET", "/v1/loops", {}),
        "operate": ("POST", "/v1/loops/velocity/kill", {"json": {}}),
        "admin": ("PUT", "/v1/bundle", {"json": {"files": {"flo.yaml": ""}}}),
    }
    granted = {
        SENDER: {"send"},
        CANARY: {"read", "operate"},
        "root-0123456789abcdef": {"send", "read", "operate", "admin"},
    }
    for token, scopes in granted.items():
        for scope, (method, path, options) in asked.items():
            headers = {**options.get("headers", {}), **bearer(token)}
            status, answered, body = await guarded.ask(method, path, **{**options, "headers": headers})
            assert (status < 300) == (scope in scopes), (scope, status)
            if status >= 300:
                assert (status, body["type"]) == (403, "urn:flo:problem:forbidden")
                assert f'scope="{scope}"' in answered["WWW-Authenticate"]


@pytest.mark.parametrize(
    "header", ["", "Bearer", "Bearer ", "Basic Zm9v", "Bearer wrong-canary-5c", "Bearer \xff\xfe"]
)
async def test_no_token_or_a_wrong_one_is_a_401_that_does_not_repeat_it(guarded: Served, header: str) -> None:
    status, headers, body = await guarded.ask(
        "GET", "/v1/loops", headers={"Authorization": header} if header else {}
    )
    assert (status, body["type"]) == (401, "urn:flo:problem:unauthenticated")
    assert headers["WWW-Authenticate"].startswith("Bearer")
    assert "wrong-canary" not in str(body) + str(headers)


async def test_every_route_but_the_probes_and_the_description_asks_for_a_token(guarded: Served) -> None:
    open_routes = set()
    for route in ROUTES:
        status, _, _ = await guarded.ask(route.method, route.path.replace("{", "").replace("}", ""))
        if status != 401:
            open_routes.add(route.path)
    assert open_routes == {"/healthz", "/readyz", "/openapi.json"}


async def test_without_tokens_only_loopback_names_are_answered(served: Served) -> None:
    for host in ("127.0.0.1", "localhost", "LOCALHOST:80", "[::1]:8750", f"localhost:{served.port}"):
        assert (await served.ask("GET", "/healthz", headers={"Host": host}))[0] == 200, host
    for host in (
        "evil.example",
        "127.0.0.1.evil.example",
        "localhost.evil.example:8750",
        "",
        "[::2]",
        "10.0.0.1",
    ):
        status, _, body = await served.ask("GET", "/v1/loops", headers={"Host": host})
        assert (status, body["type"]) == (421, "urn:flo:problem:host"), host


async def test_a_page_of_another_site_is_refused(served: Served) -> None:
    media = "application/cloudevents+json"
    assert (await served.post("/v1/signals", line(), media, Origin="https://evil.example"))[0] == 403
    assert (await served.post("/v1/signals", line(), media, Origin="null"))[0] == 403
    assert (await served.post("/v1/signals", line(), media, Origin="http://[broken"))[0] == 403
    assert served.service.raws == []
    assert (await served.post("/v1/signals", line(), media, Origin=f"http://localhost:{served.port}"))[
        0
    ] == 202


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "10.1.2.3", "example.com", ""])
def test_listening_beyond_loopback_without_tokens_is_refused_with_the_way_out(host: str) -> None:
    with pytest.raises(UsageError, match="--tokens"):
        check_bind(host, None)


@pytest.mark.parametrize("host", ["127.0.0.1", "127.8.8.8", "::1", "localhost"])
def test_listening_on_loopback_needs_no_tokens(host: str) -> None:
    check_bind(host, None)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "expected a list `tokens:`"),
        ("tokens: []", "expected a list `tokens:`"),
        ("tokens: {", "tokens.yaml:1:10: not YAML"),
        ("tokens: [x]\nother: 1", "only key"),
        ("tokens: [canary-literal]", "token 1: expected name"),
        ("tokens: [{name: a, token: canary-literal, scopes: [read]}]", "must be a reference"),
        ("tokens: [{name: a, token: '${env:MISSING}', scopes: [read]}]", "MISSING is not set"),
        ("tokens: [{name: a, token: '${env:SHORT}', scopes: [read]}]", "at least 16 characters"),
        ("tokens: [{name: a, token: '${file:/nowhere}', scopes: [read]}]", "/nowhere cannot be read"),
        ("tokens: [{name: a, sha256: canary-literal, scopes: [read]}]", "64 hex digits"),
        ("tokens: [{name: a, sha256: x, token: y, scopes: [read]}]", "either"),
        ("tokens: [{name: a, scopes: [read]}]", "either"),
        ("tokens: [{name: a, sha256: x, scopes: [reed]}]", "some of send, read, operate, admin"),
        ("tokens: [{name: a, sha256: x, scopes: []}]", "some of"),
        ("tokens: [{sha256: x, scopes: [read]}]", "`name`"),
        ("tokens: [{name: a, scope: [read]}]", "unknown key 'scope'"),
        ("a: &a [*a]", "not YAML"),
        ("tokens: !!python/object/apply:os.system ['true']", "token 1: expected name"),
    ],
)
def test_a_wrong_token_file_is_refused_by_place_and_never_quoted(
    tmp_path: Path, text: str, says: str
) -> None:
    with pytest.raises(UsageError) as caught:
        load_tokens(token_file(tmp_path, text), {"SHORT": "canary-short"})
    assert says in str(caught.value)
    assert "canary" not in str(caught.value)


def test_two_tokens_of_one_name_are_refused(tmp_path: Path) -> None:
    entry = f"{{name: a, sha256: {'0' * 64}, scopes: [read]}}"
    with pytest.raises(UsageError, match="two tokens are named 'a'"):
        load_tokens(token_file(tmp_path, f"tokens: [{entry}, {entry}]"), {})


def test_a_missing_token_file_and_one_that_is_not_text_are_named(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"none\.yaml cannot be read"):
        load_tokens(tmp_path / "none.yaml", {})
    (tmp_path / "bin.yaml").write_bytes(b"\xff\xfe\xff")
    with pytest.raises(UsageError, match="not UTF-8"):
        load_tokens(tmp_path / "bin.yaml", {})


def test_a_token_never_prints(tmp_path: Path) -> None:
    (tmp_path / "secret").write_text(CANARY + "\n")
    path = token_file(
        tmp_path, f"tokens: [{{name: a, token: '${{file:{tmp_path}/secret}}', scopes: [read]}}]"
    )
    table = load_tokens(path, {})
    token = table.find(CANARY)
    assert token is not None
    assert CANARY not in repr(token)
    assert token.digest.hex() not in repr(token)
