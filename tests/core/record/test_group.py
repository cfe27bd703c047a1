"""A group's bytes: what goes in comes out, whatever is in it; what a header says is true."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from flo.core.errors import CorruptLedger
from flo.core.record import Applied, DecisionSection, Group, Killed, Note, decode_group, encode_group
from flo.core.record.group import decode_summary

VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**64 - 1)
    | st.floats(allow_nan=False)
    | st.text(max_size=20)
    | st.binary(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=6,
)


@st.composite
def groups(draw: st.DrawFn) -> Group:
    raws = draw(st.lists(st.binary(max_size=400), max_size=6))
    sections = []
    for number in range(draw(st.integers(0, 3))):
        columns = tuple(f"c{each}" for each in range(draw(st.integers(0, 3))))
        count = draw(st.integers(0, 5)) if raws else 0
        rows = [
            (
                draw(st.integers(0, len(raws) - 1)),
                draw(st.text(max_size=5)),
                row,
                0,
                *draw(st.tuples(*[VALUES] * len(columns))),
                None,
                draw(VALUES),
            )
            for row in range(count)
        ]
        sections.append(DecisionSection(f"loop{number}", "rev", columns, rows))
    events: list[Any] = draw(
        st.lists(
            st.builds(Note, action=st.text(), subject=st.text(), text=st.text(), at_ns=st.integers(0, 2**63))
            | st.builds(Killed, loop=st.text(), why=st.text(), detail=st.text(), at_ns=st.integers(0, 2**63))
            | st.builds(
                Applied, revision=st.text(), files=st.dictionaries(st.text(), st.binary()), at_ns=st.just(1)
            ),
            max_size=4,
        )
    )
    rows = range(len(raws))
    contexts = {row: ("r", None, 1, None, 0, None) for row in rows if draw(st.booleans())}
    marks = {row: 1 for row in rows if draw(st.booleans())}
    return Group(3, 0, 12345, raws, 12345, contexts, marks, sections, events)


@given(groups())
def test_what_goes_in_comes_out(group: Group) -> None:
    payload, summary = encode_group(group)
    view = decode_group(payload)
    assert view.raws() == group.raws
    assert view.events() == group.events
    assert (view.decided_ns, view.signal_count, view.contexts, view.marks) == (
        group.decided_ns,
        len(group.raws),
        group.contexts,
        group.marks,
    )
    assert len(view.sections) == len(group.sections)  # empty ones keep their number: ids count them
    for section, original in zip(view.sections, group.sections, strict=True):
        assert (section.loop, section.count) == (original.loop, len(original.rows))
        assert section.rows() == [tuple(row) for row in original.rows]
        if original.rows:
            assert section.state_columns == original.state_columns
            assert section.column("key") == [row[1] for row in original.rows]
    told = decode_summary(summary)
    assert told.signals == len(group.raws)
    assert told.loops == [section.loop for section in group.sections]
    assert set(told.events) == {type(event).__struct_config__.tag for event in group.events}


def test_large_columns_are_compressed_and_small_ones_are_not() -> None:
    small, _ = encode_group(Group(0, 0, 1, [b"abc"]))
    large, _ = encode_group(Group(0, 0, 1, [b"abc" * 10_000]))
    assert b"abc" in small
    assert len(large) < 1_000


def test_a_newer_format_is_refused_with_the_way_out() -> None:
    payload, _ = encode_group(Group(0, 0, 1, [b"x"]))
    version, *rest = msgspec.msgpack.decode(payload)
    with pytest.raises(CorruptLedger, match="use a newer FLO"):
        decode_group(msgspec.msgpack.encode([version + 1, *rest]))


def test_an_event_with_fields_of_a_newer_flo_is_still_read() -> None:
    group = Group(0, 0, 1, events=[Note(action="kill", subject="l", text="why", at_ns=1)])
    payload, _ = encode_group(group)
    parts = msgspec.msgpack.decode(payload)
    (note,) = msgspec.msgpack.decode(parts[4][1:])
    parts[4] = b"\x00" + msgspec.msgpack.encode([{**note, "later": 7}])
    assert decode_group(msgspec.msgpack.encode(parts)).events() == group.events


def test_a_group_is_empty_without_signals_and_events() -> None:
    assert Group(0, 0, 1).is_empty()
    assert not Group(0, 0, 1, [b"x"]).is_empty()
    assert not Group(0, 0, 1, events=[Note(action="a", subject="", text="", at_ns=1)]).is_empty()
