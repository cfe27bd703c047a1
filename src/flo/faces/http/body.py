"""Reading a request's body, within limits."""

from __future__ import annotations

import asyncio
import itertools
import re
from typing import Any

import msgspec
from aiohttp import web
from aiohttp.web_protocol import RequestPayloadError

from flo.faces.http.limits import Limits
from flo.faces.http.problems import Refused

READS_ENCODINGS = "content-encoding: FLO reads gzip and identity"

_STRINGS = re.compile(rb'"(?:[^"\\]++|\\.)*+"', re.DOTALL)
_NOT_BRACKETS = bytes(byte for byte in range(256) if byte not in b"[]{}")
_STEP = {ord("["): 1, ord("{"): 1, ord("]"): -1, ord("}"): -1}


async def read_body(request: web.Request, limits: Limits) -> bytes:
    """The whole body, inflated. Raises `Refused`: too large, too slow, cut off, or in an unread encoding.

    The limit holds for the inflated bytes: they are counted as they come, so a bomb is cut off at the limit.
    """
    encoding = request.headers.get("Content-Encoding")
    if encoding is not None and encoding.lower() not in ("gzip", "identity"):
        raise Refused("media-type", READS_ENCODINGS, {"Accept-Encoding": "gzip"})
    length = request.content_length
    if length is not None and length > limits.body_bytes_max:
        raise _too_large(limits)
    try:
        if request.content.is_eof():  # already here: no timer needed
            return await request.read()
        async with asyncio.timeout(limits.body_timeout_s):
            return await request.read()
    except web.HTTPRequestEntityTooLarge:
        raise _too_large(limits) from None
    except TimeoutError:
        raise Refused(
            "timeout", f"the body did not arrive within {limits.body_timeout_s:g} s", closes=True
        ) from None
    except (RequestPayloadError, web.PayloadAccessError):
        raise Refused(
            "bad-request", "the body is cut off or badly encoded; send it again", closes=True
        ) from None


def _too_large(limits: Limits) -> Refused:
    detail = f"a body has at most {limits.body_bytes_max} bytes (inflated); split the batch"
    return Refused("too-large", detail, closes=True)


async def read_object(request: web.Request, limits: Limits, keys: frozenset[str]) -> dict[str, Any]:
    """A JSON object with some of `keys`, as the control routes take it.

    The content type is required: a browser sends it across sites only after asking, and FLO never says yes.
    """
    if request.content_type != "application/json":
        raise Refused(
            "media-type", "content-type: this route reads application/json", {"Accept": "application/json"}
        )
    body = await read_body(request, limits)
    if is_deeper(body, limits.json_depth_max):
        raise Refused("bad-request", f"the body nests deeper than {limits.json_depth_max} levels")
    try:
        value = msgspec.json.decode(body) if body.strip() else {}
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise Refused("bad-request", f"the body is not JSON: {error}") from None
    if not isinstance(value, dict):
        raise Refused("bad-request", "the body must be a JSON object")
    unknown = sorted(set(value) - keys)
    if unknown:
        raise Refused("bad-request", f"unknown key {unknown[0][:60]!r}; there are {', '.join(sorted(keys))}")
    return value


def is_deeper(raw: bytes, depth_max: int) -> bool:
    """Whether JSON nests deeper than `depth_max`; of malformed JSON its parser has the last word.

    Counting brackets settles nearly every real body at the speed of memchr; only the others are looked at,
    without their strings, so that a text full of brackets is no nesting.
    """
    if raw.count(b"{") + raw.count(b"[") <= depth_max:
        return False
    brackets = _STRINGS.sub(b"", raw).translate(None, _NOT_BRACKETS)
    return max(itertools.accumulate(map(_STEP.__getitem__, brackets)), default=0) > depth_max
