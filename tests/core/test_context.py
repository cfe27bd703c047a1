"""The context: what travels with a signal, and what a signal caused by a decision carries on."""

from __future__ import annotations

from typing import Any

import pytest

from flo.core.command import Command
from flo.core.context import Context, context_of, extensions, root_id
from flo.core.errors import SignalRejected
from flo.core.signal import Envelope, encode_signal, parse_signal, text_from_time

NOW = 1_767_225_600_000_000_000


def envelope(**attributes: Any) -> Envelope:
    return Envelope(id="1", source="s", type="t", specversion="1.0", **attributes)


def command(*, root_new: bool) -> Command:
    return Command(
        key="loop/card/9/rule/0",
        loop="loop",
        loop_key="card",
        seq=9,
        rule="rule",
        n=0,
        engine="flo",
        verb="emit",
        arguments={},
        decision_id="0-1-2-3",
        root="r",
        hops=2,
        born_ns=NOW - 5,
        deadline_ns=NOW + 7,
        issued_ns=NOW,
        revision="r1",
        root_new=root_new,
    )


def test_a_signal_without_attributes_opens_a_context_of_its_own_name() -> None:
    assert context_of(envelope(), NOW) is None
    assert root_id(envelope()) == "s#1"


def test_a_parent_alone_opens_a_new_root_that_remembers_it() -> None:
    assert context_of(envelope(floparent="0-1-2-3"), NOW) == Context("s#1", "0-1-2-3", NOW, None, 0)


def test_what_is_carried_is_read_back() -> None:
    carried = extensions(command(root_new=False))
    event = parse_signal(
        encode_signal(id="1", source="s", type="t", time_ns=NOW, data=None, extensions=carried)
    )
    assert context_of(event, NOW) == Context("r", "0-1-2-3", NOW - 5, NOW + 7, 3, 9)


def test_a_new_root_keeps_the_parent_and_nothing_else() -> None:
    assert extensions(command(root_new=True)) == {"floparent": "0-1-2-3"}


def test_what_is_absent_has_a_default_and_texts_are_read_as_numbers() -> None:
    assert context_of(envelope(floroot="r"), NOW) == Context("r", None, NOW, None, 0)
    assert context_of(envelope(floroot="r", flohops="07", floseq="3"), NOW) == Context(
        "r", None, NOW, None, 7, 3
    )


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("floborn", 5),
        ("floborn", ""),
        ("floborn", "yesterday"),
        ("flodeadline", "9999-12-31T23:59:59Z"),
        ("flohops", -1),
        ("flohops", "1.5"),
        ("flohops", 10**7),
        ("flohops", "٣"),
        ("floseq", "x"),
        ("floseq", 10**19),
    ],
)
def test_what_cannot_be_read_is_refused_by_name(name: str, value: Any) -> None:
    with pytest.raises(SignalRejected) as caught:
        context_of(envelope(floroot="r", **{name: value}), NOW)
    assert caught.value.reason == "context"
    assert name in caught.value.detail


def test_times_travel_to_the_nanosecond() -> None:
    context = context_of(envelope(floroot="r", floborn=text_from_time(NOW + 1)), NOW)
    assert context is not None
    assert context.born_ns == NOW + 1
