"""Events as FLO reads them: every form, every refusal, and times to the nanosecond."""

from __future__ import annotations

import base64
import json
from datetime import UTC, datetime
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from flo.core.errors import SignalRejected
from flo.core.signal import (
    ATTRIBUTE_CHARS_MAX,
    SIGNAL_BYTES_MAX,
    encode_signal,
    parse_signal,
    split_batch,
    split_lines,
    structured_from_binary,
    text_from_time,
    time_from_text,
)

EVENT = {"specversion": "1.0", "id": "1", "source": "s", "type": "t"}


def raw(**changes: Any) -> bytes:
    return json.dumps({**EVENT, **changes}).encode()


def refused(content: bytes) -> SignalRejected:
    with pytest.raises(SignalRejected) as caught:
        parse_signal(content)
    return caught.value


def test_an_event_needs_four_attributes_and_keeps_its_data_as_bytes() -> None:
    event = parse_signal(raw(data={"a": 1.50}, subject="x", other={"kept": "in the bytes"}))
    assert (event.id, event.source, event.type, event.subject) == ("1", "s", "t", "x")
    assert bytes(event.data) == b'{"a": 1.5}'
    assert bytes(parse_signal(raw()).data) == b"null"


@pytest.mark.parametrize("name", ["id", "source", "type", "specversion"])
def test_what_lacks_an_attribute_is_no_event(name: str) -> None:
    event = {each: value for each, value in EVENT.items() if each != name}
    assert name in refused(json.dumps(event).encode()).detail


@pytest.mark.parametrize(
    ("changes", "reason", "says"),
    [
        ({"id": ""}, "cloudevent", "`id` is empty"),
        ({"source": "s" * (ATTRIBUTE_CHARS_MAX + 1)}, "cloudevent", "1025 characters"),
        ({"specversion": "0.3"}, "cloudevent", "FLO reads"),
        ({"id": 7}, "cloudevent", "id"),
        ({"data_base64": "!!"}, "cloudevent", "does not hold JSON"),
        ({"data_base64": base64.b64encode(b"\x00text").decode()}, "cloudevent", "does not hold JSON"),
        ({"data": 2**64}, "json", "64 bits"),
        ({"data": {"deep": [-(2**63) - 1]}}, "json", "64 bits"),
    ],
)
def test_a_bad_event_is_refused_by_name(changes: dict[str, Any], reason: str, says: str) -> None:
    error = refused(raw(**changes))
    assert error.reason == reason
    assert says in error.detail


def test_a_body_that_is_not_json_is_refused() -> None:
    for content in (b"", b"{", b"[]", b"null", b'"x"', b"\xff", b'{"id": "\xff"}'):
        assert refused(content).reason in ("json", "cloudevent")


def test_size_and_depth_are_bounded() -> None:
    assert refused(b" " * (SIGNAL_BYTES_MAX + 1)).reason == "too-large"
    nested = b"[" * 5000 + b"]" * 5000
    assert refused(raw(data=0).replace(b'"data": 0', b'"data": ' + nested)).reason in ("too-deep", "json")
    shallow = b"[" * 100 + b"]" * 100
    parse_signal(raw(data=0).replace(b'"data": 0', b'"data": ' + shallow))


def test_many_brackets_are_not_depth_and_long_digits_are_not_integers() -> None:
    brackets = parse_signal(raw(data=[[]] * 1000, subject="1" * 40))
    assert msgspec.json.decode(brackets.data) == [[]] * 1000
    data = {"text": "9" * 40, "real": 1.2345678901234567890123, "id": 2**64 - 1, "low": -(2**63)}
    assert msgspec.json.decode(parse_signal(raw(data=data)).data) == data


def test_base64_data_is_the_json_it_holds() -> None:
    event = parse_signal(raw(data_base64=base64.b64encode(b'{"a":1}').decode()))
    assert bytes(event.data) == b'{"a":1}'


# -- times ------------------------------------------------------------------------------------------------


@given(st.integers(-(2**63) + 2 * 10**9, 2**63 - 2 * 10**9))
def test_a_time_comes_back_to_the_nanosecond(time_ns: int) -> None:
    text = text_from_time(time_ns)
    assert time_from_text(text) == time_ns
    assert time_from_text(text) == time_ns  # also by what is remembered of its second
    assert len(text) in (20, 24, 27, 30)


@given(st.datetimes(datetime(1700, 1, 1), datetime(2200, 1, 1)), st.integers(-23 * 60, 23 * 60))
def test_offsets_are_taken_off(moment: datetime, minutes: int) -> None:
    sign = "-" if minutes < 0 else "+"
    text = (
        f"{moment.isoformat(timespec='microseconds')}{sign}{abs(minutes) // 60:02d}:{abs(minutes) % 60:02d}"
    )
    utc = moment.replace(tzinfo=UTC) - datetime(1970, 1, 1, tzinfo=UTC)
    wanted = (utc.days * 86_400 + utc.seconds) * 10**9 + utc.microseconds * 1000 - minutes * 60 * 10**9
    assert time_from_text(text) == wanted


@pytest.mark.parametrize(
    "text",
    [
        "", "2026-01-01", "2026-01-01T00:00:00", "2026-13-01T00:00:00Z", "2026-02-30T00:00:00Z",
        "2026-01-01T24:00:00Z", "2026-01-01T00:00:61Z", "2026-01-01T00:00:00+99:99", "2026-01-01T00:00:00+00:60",
        "2026-01-01T00:00:00.Z", "2026-01-01T00:00:00,5Z", "９９９９-01-01T00:00:00Z", "9999-12-31T23:59:59Z",
        "0001-01-01T00:00:00Z", "1677-01-01T00:00:00Z", "2026-01-01T00:00:00Z ", "x" * 10_000,
    ],
)  # fmt: skip
def test_what_is_no_time_is_refused(text: str) -> None:
    for _ in range(2):
        with pytest.raises(SignalRejected):
            time_from_text(text)


def test_other_spellings_of_a_time_are_read() -> None:
    wanted = time_from_text("2016-12-31T23:59:59Z") + 10**9
    assert time_from_text("2016-12-31T23:59:60Z") == wanted  # a leap second
    assert time_from_text("2017-01-01t00:00:00z") == wanted
    assert time_from_text("2017-01-01 01:00:00.000+01:00") == wanted
    assert time_from_text("2017-01-01T00:00:00.1234567891234Z") == wanted + 123_456_789


# -- forms ------------------------------------------------------------------------------------------------


def test_a_batch_and_lines_are_cut_into_events() -> None:
    assert split_batch(b' [ {"a": 1} , {"b":[2]} ] ') == [b'{"a": 1}', b'{"b":[2]}']
    assert split_lines(b'{"a":1}\n\n  \n{"b":2}') == [b'{"a":1}', b'{"b":2}']
    for body in (b"{}", b"[1", b"\xff"):
        with pytest.raises(SignalRejected):
            split_batch(body)


def test_a_binary_event_becomes_a_structured_one() -> None:
    headers = {
        "CE-SpecVersion": "1.0",
        "ce-id": "1",
        "ce-source": "/caf%C3%A9",
        "ce-type": "t",
        "ce-floHops": "2",
        "Content-Type": "application/json; charset=utf-8",
    }
    event = parse_signal(structured_from_binary(headers, b'{"a": 1.0}'))
    assert (event.source, event.flohops, bytes(event.data)) == ("/café", "2", b'{"a": 1.0}')
    for media, body in (("text/plain", b"x"), ("application/json", b"{")):
        with pytest.raises(SignalRejected):
            structured_from_binary({**headers, "Content-Type": media}, body)


def test_what_flo_emits_it_reads() -> None:
    emitted = encode_signal(
        id="i", source="s", type="t", time_ns=5, data={"x": [1]}, extensions={"flohops": 3}
    )
    event = parse_signal(emitted)
    assert (event.time, event.flohops) == ("1970-01-01T00:00:00.000000005Z", 3)
    assert msgspec.json.decode(event.data) == {"x": [1]}


@given(st.binary(max_size=200) | st.text(max_size=100).map(str.encode))
def test_any_bytes_are_read_or_refused_with_a_reason_and_nothing_else_is_raised(content: bytes) -> None:
    refusals: list[SignalRejected] = []
    try:
        event = parse_signal(content)
    except SignalRejected as refusal:
        refusals.append(refusal)
    else:
        assert all((event.id, event.source, event.type, event.specversion == "1.0"))
    try:
        events = split_batch(content)
    except SignalRejected as refusal:
        refusals.append(refusal)
    else:
        assert split_batch(b"[" + b",".join(events) + b"]") == events
    assert all(each.reason in ("cloudevent", "json", "too-deep") and each.detail for each in refusals)
    assert split_lines(content) == [line for line in content.split(b"\n") if line.strip()]
