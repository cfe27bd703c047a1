"""One record explains a decision: all of its fields, the same bytes again, and what functions answered."""

from __future__ import annotations

import json
import threading
from typing import Any

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.flow.histories import batches, bundles
from tests.flow.looping import Rig, at, bundle

from flo.core.record import DeadLetter
from flo.flow.views.record import record_bytes, redecide

FIELDS = (
    "decision_id loop key seq root parent hops signal contract revision state "
    "memory need calls rules rule result means commands timing trace_id"
)


@settings(
    max_examples=25,
    deadline=None,
    print_blob=True,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)
@given(st.data())
def test_given_the_record_alone_the_core_decides_the_same_bytes(data: st.DataObject) -> None:
    rig = Rig(data.draw(bundles()))
    for _ in range(data.draw(st.integers(1, 6))):
        data.draw(batches(rig))
    for record in rig.records():
        assert set(FIELDS.split()) <= set(record)
        program = rig.program(record["revision"], record["loop"])
        assert record_bytes(redecide(program, record)) == record_bytes(record)
        # also from its JSON, as another tool would hand it over
        plain = json.loads(msgspec.json.encode(record))
        assert record_bytes(redecide(program, plain)) == record_bytes(plain)
        explained = rig.explain(record)
        assert explained["redecided"] in ("the same", "the same, but for what is masked")
        assert all(len(line) <= 100 for line in explained["text"].split("\n"))
        msgspec.json.encode(explained)


def test_a_record_has_every_field_of_the_design() -> None:
    rig = Rig(
        bundle(
            "on: tx\ncontract: tx/1\nkey: data.card\nfresh: {data: 1m}\n"
            "state: {n: {count: 'true'}, l: {last: data.amount}}\n"
            "rules: [{id: a, when: 'state.n > 0 && state.l.delta >= 0.0', means: odd, then: [{do: stub.call}]}]\n"
        )
    )
    rig.now = 5
    record = rig.one(
        {"card": "x", "amount": 2.0},
        at=3,
        floroot="root",
        floparent="0-9-0-0",
        floborn=at(1),
        flohops=2,
        traceparent="00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
    )
    assert set(FIELDS.split()) <= set(record)
    assert (record["root"], record["parent"], record["hops"]) == ("root", "0-9-0-0", 2)
    assert record["state"] == {"n": 1, "l": {"delta": 0.0}}
    assert record["contract"] == "tx/1"
    assert record["revision"] == rig.book.revision
    assert record["timing"] == {
        "time": at(3),
        "decided": at(5),
        "age_ms": 2000.0,
        "born": at(1),
        "deadline": at(3601),
    }
    assert record["trace_id"] == "0af7651916cd43dd8448eb211c80319c"
    assert record["commands"] == [
        {"key": "l0/x/1/a/0", "engine": "stub", "verb": "call", "target": None, "arguments": {}, "rule": "a"}
    ]


# -- functions --------------------------------------------------------------------------------------------


def calling(source: str, when: str, **more: Any) -> Rig:
    return Rig(
        bundle(
            f"on: tx\nkey: data.card\nrules: [{{id: a, when: '{when}'}}]\notherwise: b\n",
            functions=source,
            **more,
        )
    )


def test_what_a_function_answered_is_recorded_and_played_back() -> None:
    rig = calling(
        "import itertools\n_count = itertools.count()\ndef nth(card: str) -> int:\n    return next(_count)\n",
        "nth(data.card) % 2 == 1 || nth(data.card) > 2",
    )
    records = [rig.one({"card": "x"}) for _ in range(4)]
    assert [each["calls"] for each in records] == [
        [[True, 0], [True, 1]],
        [[True, 2], [True, 3]],
        [[True, 4], [True, 5]],
        [[True, 6], [True, 7]],
    ]
    for _ in range(2):  # as often as one likes: nothing is asked again
        assert {rig.explain(each)["redecided"] for each in records} == {"the same"}
    assert rig.one({"card": "x"})["calls"][0] == [True, 8]
    assert rig.states() == rig.restarted().states()


@pytest.mark.parametrize(
    ("body", "says"),
    [
        ("raise KeyError('gone')", "KeyError"),
        ("raise SystemExit(3)", "SystemExit"),
        ("return 2 ** 70", "OverflowError"),
        ("return object()", "nothing that a record can hold"),
        ("return {1: 2}", "keys that are not text"),
        ("return '\\ud800'", "surrogates"),
        ("x = []; x.append(x); return x", "RecursionError"),
        ("return lambda: 1", "nothing that a record can hold"),
    ],
)
def test_a_failing_function_is_the_third_outcome(body: str, says: str) -> None:
    rig = calling(f"def f(card: str) -> object:\n    {body}\n", 'f(data.card) == "x"')
    record = rig.one({"card": "x"})
    assert record["result"] is None
    assert record["error"]["code"] == "function_failed"
    assert says in record["error"]["message"]
    assert [each.reason for each in rig.events(DeadLetter)] == ["expression"]
    assert rig.explain(record)["redecided"] == "the same"


@pytest.mark.parametrize(
    ("kind", "value", "when"),
    [
        ("float", "numpy.float64(3)", "f(data.card) == 3.0"),
        ("float", "numpy.float32(0.5)", "f(data.card) == 0.5"),
        ("int", "numpy.int64(3)", "f(data.card) == 3"),
        ("bool", "numpy.bool_(True)", "f(data.card)"),
        ("list[float]", "numpy.array([1.0, 2.0])", "f(data.card)[1] == 2.0"),
        ("list[int]", "(1, 2)", "f(data.card) == [1, 2]"),
        ("dict[str, int]", "{'a': 1}", "f(data.card).a == 1"),
    ],
)
def test_what_models_answer_with_is_taken_as_it_is_recorded(kind: str, value: str, when: str) -> None:
    rig = calling(f"import numpy\ndef f(card: str) -> {kind}:\n    return {value}\n", when)
    record = rig.one({"card": "x"})
    assert record["rule"] == "a", record.get("error")
    assert rig.explain(json.loads(json.dumps(record)))["redecided"] == "the same"


def test_explaining_on_another_thread_does_not_disturb_deciding() -> None:
    rig = calling(
        "def f(card: str) -> str:\n    return card\n", 'f(data.card) == data.card && f(data.card) != "y"'
    )
    record = rig.one({"card": "other"})
    stop = threading.Event()
    wrong: list[str] = []

    def explain() -> None:
        while not stop.is_set():
            if rig.explain(record)["redecided"] != "the same":
                wrong.append("explained wrongly")

    thread = threading.Thread(target=explain)
    thread.start()
    for number in range(200):
        decided = rig.one({"card": f"c{number}"})
        if decided["rule"] != "a" or decided["calls"] != [[True, f"c{number}"]] * 2:
            wrong.append(f"decided wrongly: {decided['calls']}")
    stop.set()
    thread.join()
    assert not wrong


def test_a_record_that_was_tampered_with_is_noticed() -> None:
    rig = Rig(
        bundle(
            "on: tx\nkey: data.card\nstate: {n: {count: 'true'}}\nrules: [{id: a, when: state.n > 1}]\notherwise: b\n"
        )
    )
    record = rig.one({"card": "x"})
    record["state"]["n"] = 5
    explained = rig.explain(record)
    assert explained["redecided"] == "different"
    assert "SOMETHING ELSE" in explained["text"]


@pytest.mark.parametrize(
    ("last", "shown"),
    [
        ("signal.time", at(0)),
        ('duration("90s")', "90s"),
        ("3u", 3),
        ("[1, 2]", [1, 2]),
        ("{1: true}", {"1": True}),
        ("dyn(signal.time)", at(0)),
        ("data", {"card": "x"}),
        ("null", None),
    ],
)
def test_a_last_of_any_type_is_recorded_as_json_and_read_back(last: str, shown: Any) -> None:
    rig = Rig(
        bundle(
            f"on: tx\nkey: data.card\nstate: {{l: {{last: '{last}'}}}}\n"
            "rules: [{id: a, when: state.l.value == state.l.previous}]\n"
        )
    )
    record = rig.one({"card": "x"})
    assert record["rule"] == "a"
    assert record["state"]["l"]["value"] == shown
    assert rig.explain(json.loads(json.dumps(record)))["redecided"] == "the same"
    assert rig.states() == rig.restarted().states()
