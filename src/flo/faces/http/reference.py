"""The reference page of the HTTP API (docs/reference/http-api.md), made from the tables that serve it."""

from __future__ import annotations

from flo.faces.http.limits import Limits
from flo.faces.http.openapi import FILTER_HELP
from flo.faces.http.problems import KINDS, TYPE_PREFIX
from flo.faces.http.routes import ROUTES, Route
from flo.faces.http.tokens import SCOPES

_HEAD = """# HTTP API

Made from the tables in `flo.faces.http`; the same as OpenAPI is at `/openapi.json`.

Lists answer `{"<plural>": [...], "next": cursor}`, newest first; give `next` back as `cursor` for the following page.
Objects may gain fields: a client must not break on one it does not know. Times are RFC 3339, UTC.

## Signals

`POST /v1/signals` and `POST /v1/decisions` take CloudEvents 1.0 with JSON data:

| form | content type |
|---|---|
| structured | `application/cloudevents+json`, or `application/json` |
| binary | `ce-` headers, data as the body (`application/json`) |
| batch | `application/cloudevents-batch+json`, or an array as `application/json` (`/v1/signals` alone) |
| one event a line | `application/x-ndjson` (`/v1/signals`; `/v1/decisions` where it is one line) |

Bodies may be compressed with gzip. A bad event of a batch is refused alone: the answer's `rejected` names its place,
a reason and a sentence. Reasons `json`, `cloudevent`, `too-large` and `too-deep`: nothing of it is kept, and where
no event of a request could be read the whole answer is a 400. `paused`: its pipeline is paused and its data masked, so
nothing is kept; send it again later. With any other reason the event is a dead letter.
Sending an event again (same `source` and `id`) changes nothing and is counted as a duplicate, so a sender that got
no answer repeats the request.

## Access

Without tokens FLO listens on loopback only, and answers requests whose `Host` is a loopback name and whose `Origin`,
where there is one, is too: no web page can reach it through a browser. With `--tokens FILE` (or `FLO_TOKENS`) every
route below with a scope asks for `Authorization: Bearer <token>`:

```yaml skip
tokens:
  - {name: gateway, sha256: "<the 64 hex digits of: printf %s TOKEN | sha256sum>", scopes: [send]}
  - {name: ops, token: "${env:FLO_OPS_TOKEN}", scopes: [read, operate]}
```

"""


def reference_page() -> str:
    """The whole page, as Markdown."""
    scopes = ", ".join(f"`{scope}`" for scope in SCOPES)
    parts = [_HEAD, f"Scopes are {scopes}; `admin` holds all the others.\n", "\n## Routes\n"]
    parts += [_route(route) for route in ROUTES]
    parts += ["\n## Problems\n\n", _problems(), "\n## Limits\n\n", _limits()]
    return "".join(parts)


def _route(route: Route) -> str:
    text = " ".join((route.handler.__doc__ or "").split())
    lines = [f"\n### `{route.method} {route.path}`\n\n{text}\n"]
    facts = [f"answers {route.status} `{route.media_type}` ({route.schema})"]
    facts.append(f"scope `{route.scope}`" if route.scope else "no token needed")
    if route.body is not None:
        facts.append(f"body: {route.body}")
    lines.append(f"\n{'; '.join(facts)}.\n")
    if route.filters is not None:
        filters = ", ".join(f"`{name}` ({FILTER_HELP[name]})" for name in route.filters)
        lines.append(f"\nParameters: {filters}, `limit`, `cursor`.\n")
    return "".join(lines)


def _problems() -> str:
    rows = "".join(
        f"| {kind.status} | `{TYPE_PREFIX}{kind.name}` | {kind.title}. {kind.help} |\n"
        for kind in KINDS.values()
    )
    return (
        "Every error is a problem document (RFC 9457, `application/problem+json`) with `type`, `title`, `status` and\n"
        "`detail`, which says what to do. Types are stable.\n\n| status | type | |\n|---|---|---|\n" + rows
    )


def _limits() -> str:
    limits = Limits()
    rows = (
        ("a body, after inflation", f"{limits.body_bytes_max >> 20} MiB"),
        ("events in one request", f"{limits.batch_count_max:,}"),
        ("nesting of one event", f"{limits.json_depth_max} levels"),
        ("a request line, a header field", f"{limits.line_bytes_max}, {limits.header_bytes_max} bytes"),
        ("header fields", str(limits.headers_max)),
        ("time for a whole head, and for a connection to stay idle", f"{limits.head_timeout_s:g} s"),
        ("time for a whole body", f"{limits.body_timeout_s:g} s"),
        ("rows of one page", f"{limits.list_limit}, up to {limits.list_limit_max} with `limit`"),
        ("event streams", str(limits.streams_max)),
        (
            "unsent bytes of a stream before its client is dropped",
            f"{limits.stream_buffer_bytes_max >> 10} KiB",
        ),
        ("time between heartbeats of a silent stream", f"{limits.heartbeat_s:g} s"),
    )
    return "| what | at most |\n|---|---|\n" + "".join(f"| {what} | {limit} |\n" for what, limit in rows)
