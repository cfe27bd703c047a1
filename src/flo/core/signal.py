"""Signals: CloudEvents 1.0 as FLO reads them.

Whatever form an event arrives in (structured, binary, batch, NDJSON), inside FLO it is one line of structured JSON,
`raw`: the bytes that are recorded, decided on, replayed and shown. `Envelope` is its decoded head; `data` stays
undecoded until the loop's contract decodes it.
"""

from __future__ import annotations

import base64
import binascii
import functools
import re
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from typing import Annotated, Any, Literal

import msgspec

from flo.core.errors import SignalRejected

SIGNAL_BYTES_MAX = 1 << 20
"""One signal's JSON. Larger payloads belong in a store, with a reference in the signal: FLO moves no data."""

ATTRIBUTE_CHARS_MAX = 1024
"""`id`, `source`, `type`: they are kept in memory for de-duplication, so an unbounded one could fill it."""

DATA_DEPTH_MAX = 128
"""Nesting of a signal's data: whatever is recorded must be readable again, and readers run out of stack near a thousand."""

INTEGER_MIN, INTEGER_MAX = -(2**63), 2**64 - 1
"""Integers that a record can hold."""

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
TIME_NS_MIN, TIME_NS_MAX = -(2**63), 2**63 - 1
"""Times that 64 bits of nanoseconds can say: from 1677-09-21 to 2262-04-11."""

NS_PER_S = 1_000_000_000


_Attribute = Annotated[str, msgspec.Meta(min_length=1, max_length=ATTRIBUTE_CHARS_MAX)]


class Envelope(msgspec.Struct, gc=False):
    """The attributes of one event that FLO reads. Others stay in the recorded bytes."""

    id: _Attribute
    source: _Attribute
    type: _Attribute
    specversion: Literal["1.0"]
    time: str | None = None
    data: msgspec.Raw = msgspec.Raw(b"null")
    subject: str | None = None
    dataschema: str | None = None
    data_base64: str | None = None
    traceparent: str | None = None
    floroot: str | None = None
    floparent: str | None = None
    floborn: str | int | None = None
    flodeadline: str | int | None = None
    flohops: str | int | None = None
    floseq: str | int | None = None


_decode_envelope = msgspec.json.Decoder(Envelope).decode


def plain_event(type: str, data: Any, *, closed: bool) -> type[msgspec.Struct]:
    """A struct for signals of one type, head and data in one pass; `data` is the type of the data.

    It takes the `Envelope`'s attributes in the same form and refuses those that ask for a second look: a context, a
    schema's version, data in base64. So what it takes of at most `SIGNAL_BYTES_MAX`, `parse_signal` takes too, where
    `data` (a `Contract.calm_type`) vouches for its numbers and depth. What it refuses means nothing. `closed`: it also
    refuses every attribute that most events lack.
    """
    head: list[Any] = [("specversion", Literal["1.0"]), ("id", _Attribute), ("source", _Attribute)]
    rest: list[Any] = [
        ("time", str | None, None),
        ("subject", str | None, None),
        ("traceparent", str | None, None),
    ]
    if closed:
        rest.insert(1, ("datacontenttype", Literal["application/json"] | None, None))
    else:
        rest += [(name, None, None) for name in ("data_base64", "dataschema", "floroot", "floparent")]
        rest += [(name, str | int | None, None) for name in ("floborn", "flodeadline", "flohops", "floseq")]
    return msgspec.defstruct(
        "PlainEvent",
        [*head, ("data", data), *rest],  # in the order that most senders write, which is fastest
        namespace={"type": type},
        tag_field="type",
        tag=type,
        forbid_unknown_fields=closed,
        gc=False,
    )


class _Attributes(msgspec.Struct):
    """The attributes that must be there, whatever they are."""

    id: Any = None
    source: Any = None
    type: Any = None
    specversion: Any = None


_decode_attributes = msgspec.json.Decoder(_Attributes).decode
_encode_json = msgspec.json.Encoder().encode
_decode_json = msgspec.json.Decoder().decode

# One pass makes every digit a 0 and every bracket a [, so that two searches tell whether a closer look is needed.
_SHAPE = bytes.maketrans(b"123456789{", b"000000000[")
_NINETEEN_DIGITS = b"0" * 19


def parse_signal(raw: bytes) -> Envelope:
    """The envelope of one structured event; `SignalRejected` says what is wrong with it."""
    if len(raw) > SIGNAL_BYTES_MAX:
        raise SignalRejected(
            "too-large",
            f"{len(raw)} bytes, the limit is {SIGNAL_BYTES_MAX}: send a reference to the data instead",
        )
    try:
        event = _decode_envelope(raw)
    except msgspec.ValidationError as error:
        raise SignalRejected("cloudevent", _what_is_wrong(raw, error)) from None
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise SignalRejected("json", f"not JSON: {error}") from None
    if event.data_base64 is not None:
        event.data = _data_from_base64(event.data_base64)
    shape = bytes(event.data).translate(_SHAPE)
    if _NINETEEN_DIGITS in shape or (len(shape) > DATA_DEPTH_MAX and shape.count(b"[") > DATA_DEPTH_MAX):
        check_data(event.data)
    return event


def _what_is_wrong(raw: bytes, error: msgspec.ValidationError) -> str:
    """The rule of CloudEvents 1.0 that an event breaks, in its own words."""
    try:
        attributes = _decode_attributes(raw)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return f"not a CloudEvent 1.0: {error}"
    version = attributes.specversion
    if isinstance(version, str) and version != "1.0":
        return f'specversion is "{version[:20]}", FLO reads "1.0"'
    for name in ("id", "source", "type"):
        value = getattr(attributes, name)
        if value == "":
            return f"attribute `{name}` is empty"
        if isinstance(value, str) and len(value) > ATTRIBUTE_CHARS_MAX:
            return f"attribute `{name}` has {len(value)} characters, at most {ATTRIBUTE_CHARS_MAX}"
    return f"not a CloudEvent 1.0: {error}"


def check_data(data: bytes | msgspec.Raw) -> None:
    """Refuse what no record could hold, or none could read again: integers beyond 64 bits, and very deep nesting.

    Values that are not JSON at all are the contract's to refuse.
    """
    try:
        level = [_decode_json(data)]
    except (msgspec.DecodeError, UnicodeDecodeError):
        return
    except RecursionError:
        raise SignalRejected("too-deep", _TOO_DEEP) from None
    for _ in range(DATA_DEPTH_MAX + 1):
        for value in level:
            if type(value) is int and not INTEGER_MIN <= value <= INTEGER_MAX:
                shown = str(value) if value.bit_length() < 200 else "of more than 60 digits"
                raise SignalRejected(
                    "json", f"the data holds the integer {shown}, beyond 64 bits: send it as a text"
                )
        level = [child for value in level for child in _children(value)]
        if not level:
            return
    raise SignalRejected("too-deep", _TOO_DEEP)


_TOO_DEEP = f"the data nests deeper than {DATA_DEPTH_MAX} levels: flatten it"


def _children(value: Any) -> Iterable[Any]:
    if isinstance(value, dict):
        return value.values()
    return value if isinstance(value, list) else ()


def _data_from_base64(text: str) -> msgspec.Raw:
    """JSON carried as base64 (what a binary-minded sender makes of it); other media types are not FLO's to read."""
    try:
        data = base64.b64decode(text, validate=True)
        msgspec.json.decode(data)
    except (binascii.Error, ValueError, RecursionError):
        raise SignalRejected(
            "cloudevent", "data_base64 does not hold JSON; FLO decides on JSON data"
        ) from None
    check_data(data)
    return msgspec.Raw(data)


_RFC3339 = re.compile(
    r"(\d{4})-(\d\d)-(\d\d)[Tt ](\d\d):(\d\d):(\d\d)(?:\.(\d{1,9})\d*)?(?:[Zz]|([+-])(\d\d):(\d\d))\Z"
)
_seconds_seen: dict[str, int] = {}
_SECONDS_SEEN_MAX = 4096
FRACTIONS_SEEN: dict[str, int] = {"Z": 0}
"""What follows the second in UTC times that were read, in nanoseconds: `.345Z`. Of milliseconds at most."""


def time_from_text(text: str) -> int:
    """RFC 3339 text to nanoseconds since the epoch.

    Traffic repeats its seconds and its milliseconds, so both are remembered of UTC times: 0.1 µs instead of 1.5.
    """
    fraction = FRACTIONS_SEEN.get(text[19:])
    base = _seconds_seen.get(text[:19])
    if base is None:
        return _time_from_text_slowly(text)
    if fraction is None:
        fraction = _fraction(text[19:])
    return _time_from_text_slowly(text) if fraction is None else base + fraction


def _fraction(rest: str) -> int | None:
    """`.345Z` in nanoseconds, None where it is anything else. Milliseconds are remembered: there are a thousand."""
    digits = rest[1:-1]
    if rest[:1] != "." or rest[-1] != "Z" or not 0 < len(digits) <= 9:
        return None
    if not (digits.isdecimal() and digits.isascii()):
        return None
    fraction = int(digits) * _SCALE[len(digits)]
    if len(digits) <= 3:
        FRACTIONS_SEEN[rest] = fraction
    return fraction


_SCALE: tuple[int, ...] = tuple(10 ** (9 - digits) for digits in range(10))


def _time_from_text_slowly(text: str) -> int:
    match = _RFC3339.match(text) if text.isascii() else None
    if match is None:
        raise SignalRejected(
            "cloudevent", f'time "{text[:40]}" is not RFC 3339, as 2026-11-23T05:10:12.345Z is'
        )
    year, month, day, hour, minute, second = (int(part) for part in match.group(1, 2, 3, 4, 5, 6))
    leap = second == 60
    try:
        moment = datetime(year, month, day, hour, minute, 59 if leap else second, tzinfo=UTC)
    except ValueError as error:
        raise SignalRejected("cloudevent", f'time "{text[:40]}": {error}') from None
    delta = moment - EPOCH
    base = (delta.days * 86_400 + delta.seconds + leap) * NS_PER_S
    is_utc = match.group(8) is None
    if not is_utc:
        if int(match.group(9)) > 23 or int(match.group(10)) > 59:
            raise SignalRejected("cloudevent", f'time "{text[:40]}": its offset is at most 23:59')
        offset = (int(match.group(9)) * 3600 + int(match.group(10)) * 60) * NS_PER_S
        base += -offset if match.group(8) == "+" else offset
    if not TIME_NS_MIN + NS_PER_S <= base <= TIME_NS_MAX - NS_PER_S:
        raise SignalRejected(
            "cloudevent", f'time "{text[:40]}" is not between the years 1678 and 2261, which FLO can record'
        )
    if is_utc and not leap and text[10] == "T" and text[-1] == "Z":
        if len(_seconds_seen) >= _SECONDS_SEEN_MAX:
            _seconds_seen.clear()
        _seconds_seen[text[:19]] = base
    fraction = match.group(7)
    return base + (int(fraction) * _SCALE[len(fraction)] if fraction else 0)


@functools.lru_cache(maxsize=1024)
def _second_text(seconds: int) -> str:
    """Traffic repeats its seconds here too; `isoformat` takes a fifth of `strftime`."""
    return datetime.fromtimestamp(seconds, UTC).isoformat()[:19]


def text_from_time(time_ns: int) -> str:
    """Nanoseconds since the epoch as RFC 3339 in UTC, with as many digits as needed (0, 3, 6 or 9)."""
    seconds, rest = divmod(time_ns, NS_PER_S)
    head = _second_text(seconds)
    if not rest:
        return head + "Z"
    digits = f"{rest:09d}"
    return f"{head}.{digits[:3] if digits.endswith('000000') else digits[:6] if digits.endswith('000') else digits}Z"


def encode_signal(
    *, id: str, source: str, type: str, time_ns: int, data: Any, extensions: Mapping[str, Any] | None = None
) -> bytes:
    """One structured event, as FLO itself emits them."""
    return _encode_json(
        {
            "specversion": "1.0",
            "id": id,
            "source": source,
            "type": type,
            "time": text_from_time(time_ns),
            **(extensions or {}),
            "datacontenttype": "application/json",
            "data": data,
        }
    )


def split_batch(body: bytes) -> list[bytes]:
    """The events of an `application/cloudevents-batch+json` body, each as its own bytes."""
    try:
        return [bytes(item) for item in msgspec.json.decode(body, type=list[msgspec.Raw])]
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise SignalRejected("json", f"not a JSON array of events: {error}") from None


def split_lines(body: bytes) -> list[bytes]:
    """The events of an NDJSON body; empty lines count for nothing."""
    return [line for line in body.split(b"\n") if line and not line.isspace()]


def structured_from_binary(headers: Mapping[str, str], body: bytes) -> bytes:
    """A binary-mode HTTP event (`ce-` headers, data as body) as one structured event."""
    event: dict[str, Any] = {}
    for name, value in headers.items():
        lower = name.lower()
        if lower.startswith("ce-"):
            event[lower[3:]] = _percent_decoded(value)
    media = next((value for name, value in headers.items() if name.lower() == "content-type"), "")
    if media:
        event["datacontenttype"] = media
    if body:
        if media and "json" not in media.lower():
            raise SignalRejected("cloudevent", f'content-type "{media[:60]}": FLO decides on JSON data')
        try:
            msgspec.json.decode(body)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            raise SignalRejected("json", f"the body is not JSON: {error}") from None
        event["data"] = msgspec.Raw(body)
    return _encode_json(event)


_PERCENT = re.compile(r"((?:%[0-9A-Fa-f]{2})+)")


def _percent_decoded(value: str) -> str:
    return _PERCENT.sub(
        lambda match: binascii.unhexlify(match.group(1).replace("%", "")).decode("utf-8", "replace"), value
    )
