"""Many loops on one type: the table finds those that may match, and means the same as asking each."""

from __future__ import annotations

from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from tests.flow.looping import Rig, bundle, event

from flo.flow.router import Router


def loop(where: str, result: str, contract: bool = True) -> str:
    head = "contract: tx/1\n" if contract else ""
    return f"on: tx\n{head}key: data.card\nwhere: {where}\notherwise: {result}\n"


def test_a_thousand_loops_on_one_type_are_selected_by_table() -> None:
    rig = Rig(bundle(*[loop(f"'data.card == \"c{n}\"'", f"r{n}") for n in range(1000)]))
    select = rig.step.router.select["tx"]
    for n in (0, 1, 500, 999):
        record = rig.one({"card": f"c{n}"})
        assert (record["loop"], record["result"]) == (f"l{n}", f"r{n}")
        (route,) = select(b'{"card":"c%d"}' % n)
        assert route.name == f"l{n}"
    assert not rig.decided(event({"card": "nobody"}))


def test_a_few_loops_are_asked_one_by_one() -> None:
    rig = Rig(bundle(*[loop(f"'data.card == \"c{n}\"'", "r") for n in range(3)]))
    assert not rig.step.router.select


def test_loops_without_a_constant_to_look_up_are_always_asked() -> None:
    plain = "on: tx\ncontract: tx/1\nkey: data.card\notherwise: all\n"
    rig = Rig(bundle(*[loop(f"'data.card == \"c{n}\"'", f"r{n}") for n in range(5)], plain))
    assert [each["result"] for each in rig.decided(event({"card": "c3"}))] == ["r3", "all"]
    assert [each["result"] for each in rig.decided(event({"card": "?"}))] == ["all"]


def test_what_a_table_cannot_read_is_still_refused_by_every_contract() -> None:
    rig = Rig(bundle(*[loop(f"'data.card == \"c{n}\"'", "r") for n in range(5)]))
    (receipt,) = rig.send(b'{"specversion":"1.0","id":"a","source":"s","type":"tx","data":[1]}')
    assert receipt.status == "rejected"


def test_without_a_contract_the_field_may_be_absent_so_every_loop_is_asked() -> None:
    rig = Rig(bundle(*[loop(f"'data.card == \"c{n}\"'", "r", contract=False) for n in range(5)]))
    assert not rig.step.router.select
    failed = rig.decided(event({}))
    assert len(failed) == 5
    assert all(each["error"]["code"] == "no_such_key" for each in failed)


WHERES = st.one_of(
    st.sampled_from("abc").map(lambda value: f"'data.card == \"{value}\"'"),
    st.sampled_from("abc").map(lambda value: f"'\"{value}\" == data.card && data.n > 1'"),
    st.sampled_from("abc").map(lambda value: f"'data.card == \"{value}\" || data.n == 2'"),
    st.sampled_from("abc").map(lambda value: f"'data.ok && data.card == \"{value}\"'"),
    st.just("'true'"),
    st.sampled_from("abc").map(lambda value: f"'data.note == \"{value}\"'"),
)
FULL = {
    "type": "object",
    "properties": {
        "card": {"type": "string"},
        "n": {"type": "integer"},
        "ok": {"type": "boolean"},
        "note": {"type": "string"},
    },
    "required": ["card", "n", "ok"],
}
DATA = st.fixed_dictionaries(
    {"card": st.sampled_from("abcd"), "n": st.integers(0, 3), "ok": st.booleans()},
    optional={"note": st.sampled_from("abc")},
)


BAD = st.fixed_dictionaries({"n": st.just(1), "ok": st.just(True)}, optional={"card": st.none() | st.just(1)})


@settings(max_examples=30, deadline=None, print_blob=True)
@given(st.lists(WHERES, min_size=4, max_size=9), st.lists(DATA | BAD, min_size=1, max_size=8))
def test_the_table_means_what_asking_each_loop_means(wheres: list[str], data: list[Any]) -> None:
    loops = [
        f"on: tx\ncontract: full/1\nkey: data.card\nwhere: {where}\nstate: {{n: {{count: 'true'}}}}\n"
        "rules: [{id: a, when: state.n > 1}]\notherwise: b\n"
        for where in wheres
    ]
    quick, plain = Rig(bundle(*loops, full_1=FULL)), Rig(bundle(*loops, full_1=FULL))
    plain.step.router.select.clear()
    for number, each in enumerate(data):
        raw = event(each, id=str(number))
        first, second = quick.send(raw), plain.send(raw)
        assert [receipt.status for receipt in first] == [receipt.status for receipt in second]
    for name in quick.book.routes:  # sections are numbered as loops come: compare by loop
        mine, theirs = (
            [
                (each["signal"]["id"], each["seq"], each["result"], each["state"], each.get("error"))
                for each in rig.records()
                if each["loop"] == name
            ]
            for rig in (quick, plain)
        )
        assert mine == theirs


def test_masks_and_relaxed_types_are_known_by_type() -> None:
    rig = Rig(
        bundle(
            "on: [a, b]\nkey: data.k\nmask: [data.x]\nconsistency: relaxed\notherwise: r\n",
            "on: [b, c]\nkey: data.k\nmask: [data.y]\notherwise: r\n",
        )
    )
    router: Router = rig.step.router
    assert {type: mask.paths for type, mask in router.masks.items()} == {
        "a": ("data.x",),
        "b": ("data.x", "data.y"),
        "c": ("data.y",),
    }
    assert router.relaxed_types == {"a"}
