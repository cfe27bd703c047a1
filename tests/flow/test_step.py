"""Every key of a loop file does what the reference says, on real signals."""

from __future__ import annotations

from typing import Any

import pytest
from tests.flow.looping import ACTS, CARD, T0, S, at, event, rig

from flo.core.record import CommandIssued, DeadLetter, Killed

# -- which signals ----------------------------------------------------------------------------------------


def test_a_loop_hears_only_the_types_it_lists() -> None:
    r = rig("on: [a, b]\nkey: data.card\notherwise: ok\n")
    decided = r.decided(
        event({"card": "x"}, type="a"), event({"card": "x"}, type="c"), event({"card": "x"}, type="b")
    )
    assert [each["signal"]["type"] for each in decided] == ["a", "b"]


def test_where_keeps_out_what_is_not_for_the_loop_and_its_state() -> None:
    r = rig(
        f"on: tx\n{CARD}where: data.ok == true\nstate: {{n: {{count: 'true'}}}}\nrules: [{{id: a, when: state.n > 1}}]\n"
    )
    for ok in (True, False, False, True):
        r.send(event({"card": "x", "ok": ok}))
    assert [each["state"]["n"] for each in r.records()] == [1, 2]


def test_an_error_in_where_is_a_dead_letter_and_not_false() -> None:
    r = rig("on: tx\nkey: data.card\nwhere: data.ok\notherwise: fine\n")
    record = r.one({"card": "x"})
    assert record["result"] is None
    assert record["error"]["code"] == "no_such_key"
    (dead,) = r.events(DeadLetter)
    assert (dead.reason, dead.applied, dead.decision_id) == ("expression", False, record["decision_id"])


# -- contract ---------------------------------------------------------------------------------------------


def test_what_breaks_the_contract_is_refused_once_and_its_neighbours_go_on() -> None:
    r = rig(f"on: tx\n{CARD}otherwise: ok\n")
    bad = event({"amount": 1.0}, id="bad")
    first, second, third = r.send(event({"card": "x"}), bad, event({"card": "y"}))
    assert (first.status, second.status, third.status) == ("accepted", "rejected", "accepted")
    assert second.reason == "contract"
    (dead,) = r.events(DeadLetter)
    assert dead.reason == "contract"
    assert r.groups()[1].raws()[dead.signal] == bad
    assert r.send(bad)[0].status == "duplicate"  # never retried
    assert len(r.events(DeadLetter)) == 1


def test_a_refused_signal_may_come_again_corrected_under_the_same_id() -> None:
    r = rig(f"on: tx\n{CARD}otherwise: ok\n")
    assert r.send(event({"card": 1}, id="one"))[0].status == "rejected"
    assert r.send(event({"card": "x"}, id="one"))[0].status == "accepted"
    assert r.send(event({"card": "x"}, id="one"))[0].status == "duplicate"


def test_two_loops_that_refuse_one_signal_leave_two_dead_letters_of_that_signal() -> None:
    r = rig(*[f"on: tx\n{CARD}otherwise: ok\n"] * 2)
    bad, good = event({"card": 1}), event({"card": "x"})
    receipts = r.send(bad, good)
    assert [each.status for each in receipts] == ["rejected", "accepted"]
    dead = r.events(DeadLetter)
    assert [each.loop for each in dead] == ["l0", "l1"]
    assert {r.groups()[1].raws()[each.signal] for each in dead} == {bad}
    assert r.send(bad)[0].status == "duplicate"


def test_a_signal_that_one_loop_takes_and_another_refuses_is_accepted_with_a_dead_letter() -> None:
    r = rig(f"on: tx\n{CARD}otherwise: ok\n", "on: tx\nkey: string(data.card)\notherwise: any\n")
    (receipt,) = r.send(event({"card": 7}))
    assert receipt.status == "accepted"
    assert len(receipt.decisions) == 1
    assert [each.loop for each in r.events(DeadLetter)] == ["l0"]


def test_a_newer_version_than_the_loop_knows_is_refused_by_name() -> None:
    r = rig(f"on: tx\n{CARD}otherwise: ok\n")
    for schema in ("tx/2", "https://schemas.example.com/tx/2"):
        (receipt,) = r.send(event({"card": "x"}, dataschema=schema))
        assert receipt.reason == "contract"
        assert "tx/2" in receipt.detail
        assert "tx/1" in receipt.detail
    for schema in ("tx/1", "other/9", "tx/x"):
        assert r.send(event({"card": "x"}, dataschema=schema))[0].status == "accepted"


def test_data_that_is_not_json_is_a_dead_letter_where_there_is_no_contract() -> None:
    r = rig("on: tx\nkey: data.card\notherwise: ok\n")
    raw = b'{"specversion":"1.0","id":"q","source":"s","type":"tx","data":{"card":"\xff"}}'
    assert r.send(raw)[0].reason in ("contract", "json")


# -- key --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("value", "key"), [("x", "x"), (7, "7"), (-1, "-1"), (True, "true"), (False, "false"), ("ä", "ä")]
)
def test_a_key_is_a_text_a_whole_number_or_a_bool(value: Any, key: str) -> None:
    r = rig("on: tx\nkey: data.id\notherwise: ok\n")
    assert r.one({"id": value})["key"] == key


@pytest.mark.parametrize("value", ["", "k" * 513, 1.5, None, [1], {"a": 1}])
def test_a_bad_key_is_a_dead_letter_and_makes_no_state(value: Any) -> None:
    r = rig("on: tx\nkey: data.id\nstate: {n: {count: 'true'}}\nrules: [{id: a, when: state.n > 0}]\n")
    record = r.one({"id": value})
    assert record["error"]["code"] == "invalid_key"
    assert [each.applied for each in r.events(DeadLetter)] == [False]
    assert not r.route().cells


def test_a_key_of_512_characters_is_allowed() -> None:
    r = rig("on: tx\nkey: data.id\notherwise: ok\n")
    assert r.one({"id": "k" * 512})["result"] == "ok"


# -- ttl, hops --------------------------------------------------------------------------------------------


def test_past_its_ttl_a_context_dies_with_one_row_and_without_a_command() -> None:
    r = rig(f"on: tx\n{CARD}ttl: 30s\nstate: {{n: {{count: 'true'}}}}\n{ACTS}")
    assert r.one({"card": "x"}, floroot="r", floborn=at(-30))["result"] == "a"
    (receipt,) = r.send(event({"card": "x"}, floroot="r", floborn=at(-30.001)))
    assert receipt.status == "accepted"
    assert not receipt.decisions
    (killed,) = r.events(Killed)
    assert (killed.why, killed.loop, killed.key, killed.root) == ("ttl", "l0", "x", "r")
    assert "0.001 s past its deadline" in killed.detail
    assert len(r.events(CommandIssued)) == 1
    assert r.route().cells["x"][0] == 1  # the dead one was not counted


def test_a_deadline_of_the_context_itself_holds_where_it_is_earlier() -> None:
    r = rig(f"on: tx\n{CARD}ttl: 1h\n{ACTS}")
    record = r.one({"card": "x"}, floroot="r", floborn=at(0), flodeadline=at(10))
    assert record["timing"]["deadline"] == at(10)
    (issued,) = r.events(CommandIssued)
    assert issued.command.deadline_ns == T0 + 10 * S
    r.now = 11
    assert not r.decided(event({"card": "x"}, floroot="r", floborn=at(0), flodeadline=at(10)))


def test_past_its_hops_a_context_dies() -> None:
    r = rig(f"on: tx\n{CARD}hops: 2\n{ACTS}")
    assert r.one({"card": "x"}, floroot="r", floborn=at(0), flohops=2)["hops"] == 2
    assert not r.decided(event({"card": "x"}, floroot="r", floborn=at(0), flohops=3))
    assert [each.why for each in r.events(Killed)] == ["hops"]


def test_a_dead_context_leaves_no_row_for_a_loop_that_would_not_have_met_it() -> None:
    r = rig(f"on: tx\n{CARD}ttl: 1s\nwhere: data.ok == true\n{ACTS}", f"on: tx\n{CARD}ttl: 1s\n{ACTS}")
    r.send(event({"card": "x", "ok": False}, floroot="r", floborn=at(-5)))
    assert [each.loop for each in r.events(Killed)] == ["l1"]


def test_a_signal_without_a_context_is_not_dead_however_old_it_is() -> None:
    r = rig(f"on: tx\n{CARD}ttl: 1s\n{ACTS}")
    record = r.one({"card": "x"}, at=-86_400)
    assert record["result"] == "a"
    assert record["timing"]["deadline"] == at(1)


def test_expressions_always_see_a_deadline() -> None:
    r = rig(
        f"on: tx\n{CARD}ttl: 1h\nrules: [{{id: a, when: 'context.deadline - now == duration(\"1h\")'}}]\n"
    )
    assert r.one({"card": "x"})["rule"] == "a"
    assert (
        r.one({"card": "x"}, floroot="r", floborn=at(0))["rule"] == "a"
    )  # it carries no deadline of its own


@pytest.mark.parametrize(
    "bad",
    [{"floborn": "yesterday"}, {"flohops": -1}, {"flohops": "many"}, {"flodeadline": 5}, {"floseq": "x"}],
)
def test_a_context_that_cannot_be_read_is_refused(bad: dict[str, Any]) -> None:
    r = rig(f"on: tx\n{CARD}otherwise: ok\n")
    (receipt,) = r.send(event({"card": "x"}, floroot="r", **bad))
    assert (receipt.status, receipt.reason) == ("rejected", "context")


# -- fresh, needs -----------------------------------------------------------------------------------------


def test_old_data_makes_a_decision_and_its_commands_stale() -> None:
    r = rig(f"on: tx\n{CARD}fresh: {{data: 1m}}\n{ACTS}")
    assert "stale" not in r.one({"card": "x"}, at=-60)
    record = r.one({"card": "x"}, at=-61)
    assert record["stale"] == 61 * S
    assert [each.command.stale for each in r.events(CommandIssued)] == [False, True]


NEEDS = """
on: tx
key: data.card
needs: {p: profiles}
state: {n: {sum: "need.p.missing ? 0.0 : double(need.p.score)"}}
rules:
  - {id: missing, when: need.p.missing}
  - {id: high, when: need.p.score > 5}
otherwise: low
"""
PROFILES = 'dependencies: {profiles: {kind: http, url: "http://127.0.0.1:9/{key}"}}\n'


def test_what_was_fetched_is_bound_as_need_and_recorded() -> None:
    r = rig(NEEDS, flo=PROFILES)
    record = r.one({"card": "x"}, needs={"p": {"score": 7, "missing": False}})
    assert (record["rule"], record["need"]["p"]["score"]) == ("high", 7)
    assert r.one({"card": "x"}, needs={"p": {"missing": True, "reason": "deadline"}})["rule"] == "missing"
    assert r.states() == r.restarted().states()


def test_where_nobody_fetched_the_need_is_missing_and_the_loop_decides() -> None:
    r = rig(NEEDS, flo=PROFILES)
    record = r.one({"card": "x"})
    assert record["rule"] == "missing"
    assert record["need"]["p"]["missing"] is True
