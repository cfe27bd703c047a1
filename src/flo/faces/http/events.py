"""From an HTTP request to the events in it, in every form CloudEvents has over HTTP.

Inside FLO an event is one line of structured JSON; what comes out of here is that, or is refused.
"""

from __future__ import annotations

import enum
from collections.abc import Mapping

import msgspec
from aiohttp import web

from flo.core.errors import SignalRejected
from flo.core.signal import split_batch, split_lines, structured_from_binary
from flo.faces.http.body import is_deeper
from flo.faces.http.limits import Limits
from flo.faces.http.problems import Refused
from flo.ports.service import Receipt

READS = (
    "application/cloudevents+json, application/cloudevents-batch+json, application/x-ndjson, "
    "application/json, or ce- headers with JSON data"
)


class Form(enum.Enum):
    """How events stand in a request body."""

    STRUCTURED = "structured"
    BATCH = "batch"
    LINES = "lines"
    JSON = "json"  # one event or an array of them, by its first character
    BINARY = "binary"


_FORMS = {
    "application/cloudevents+json": Form.STRUCTURED,
    "application/cloudevents-batch+json": Form.BATCH,
    "application/x-ndjson": Form.LINES,
    "application/ndjson": Form.LINES,
    "application/jsonl": Form.LINES,
    "application/json": Form.JSON,
}


def form_of(request: web.BaseRequest) -> Form:
    """How the events travel. `Refused` (415) lists what FLO reads."""
    headers = request.headers
    header = headers.get("Content-Type", "")
    form = _FORMS.get(header)
    if form is None:
        form = _form_with_parameters(header)
    if "ce-specversion" in headers and form in (None, Form.JSON):
        return Form.BINARY
    if form is None:
        if any(name.lower().startswith("ce-") for name in headers):
            return Form.BINARY  # an incomplete event: the reader of attributes names what is missing
        raise Refused("media-type", f"content-type: this route reads {READS}", {"Accept": ", ".join(_FORMS)})
    return form


def _form_with_parameters(header: str) -> Form | None:
    media, *parameters = (part.strip().lower() for part in header.split(";"))
    for parameter in parameters:
        name, _, value = parameter.partition("=")
        if name.strip() == "charset" and value.strip(' "') not in ("utf-8", "utf8", "us-ascii"):
            raise Refused("media-type", "charset: JSON is UTF-8 (RFC 8259)", {"Accept": ", ".join(_FORMS)})
    return _FORMS.get(media)


def one_event(request: web.BaseRequest, body: bytes, limits: Limits) -> bytes:
    """The single event of a request. Batches are refused: their answers belong to many."""
    form = form_of(request)
    if form is Form.BINARY:
        return checked(_from_binary(request.headers, body), limits)
    if form is Form.BATCH or (form is Form.JSON and body.lstrip()[:1] == b"["):
        raise Refused("bad-request", "one event a request here; send batches to /v1/signals")
    if form is Form.LINES:
        lines = split_lines(body)
        if len(lines) != 1:
            raise Refused(
                "bad-request", f"{len(lines)} lines: one event a request here; send many to /v1/signals"
            )
        body = lines[0]
    return checked(body, limits)


def many_events(request: web.BaseRequest, body: bytes, limits: Limits) -> list[bytes | Receipt]:
    """The events of a request in order; a `Receipt` stands where one is refused before it is read.

    Raises `SignalRejected` where the body as a whole cannot be taken apart, `Refused` where it holds too
    many.
    """
    form = form_of(request)
    if form is Form.BINARY:
        raws = [_from_binary(request.headers, body)]
    elif form is Form.LINES:
        raws = split_lines(body)
    elif form is Form.BATCH or (form is Form.JSON and body.lstrip()[:1] == b"["):
        raws = split_batch(body)
    else:
        raws = [body]
    if len(raws) > limits.batch_count_max:
        detail = f"{len(raws)} events in one request, at most {limits.batch_count_max}: send them in several"
        raise Refused("too-large", detail)
    return [_received(raw, limits) for raw in raws]


def _received(raw: bytes, limits: Limits) -> bytes | Receipt:
    try:
        return checked(raw, limits)
    except SignalRejected as error:
        return Receipt("rejected", error.reason, error.detail)


def checked(raw: bytes, limits: Limits) -> bytes:
    """Bounded in depth, and on one line."""
    if is_deeper(raw, limits.json_depth_max):
        raise SignalRejected(
            "too-deep", f"nests deeper than {limits.json_depth_max} levels: flatten the data"
        )
    if b"\n" not in raw:
        return raw
    try:
        return msgspec.json.format(raw, indent=-1)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise SignalRejected("json", f"not JSON: {error}") from None


def _from_binary(headers: Mapping[str, str], body: bytes) -> bytes:
    try:
        return structured_from_binary(headers, body)
    except UnicodeEncodeError:
        raise SignalRejected("cloudevent", "a ce- header is not UTF-8; percent-encode it") from None
