"""Every key of a loop file does what the reference says, on real signals."""

from __future__ import annotations

import json
from typing import Any

import pytest
from tests.flow.looping import T0, Rig, S, at, bundle, event

from flo.core.record import CommandIssued, DeadLetter, Killed

CARD = "contract: tx/1\nkey: data.card\n"


def rig(*loops: str, **more: Any) -> Rig:
    return Rig(bundle(*loops, **more))


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

ACTS = "rules: [{id: a, when: 'true', then: [{do: stub.call}]}]\n"


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


# -- rules ------------------------------------------------------------------------------------------------


def test_rules_are_tried_by_priority_then_as_written() -> None:
    r = rig(
        f"""on: tx
{CARD}
rules:
  - {{id: c, when: 'true'}}
  - {{id: b, when: 'data.n == 1', priority: 5}}
  - {{id: a, when: 'data.n <= 2', priority: 5}}
  - {{id: z, when: 'data.n == 4', priority: -1}}
"""
    )
    assert [r.one({"card": "x", "n": n})["rule"] for n in (1, 2, 3, 4)] == ["b", "a", "c", "c"]
    assert [each["id"] for each in r.one({"card": "x", "n": 3})["rules"]] == ["b", "a", "c", "z"]


def test_the_result_is_the_rules_own_or_its_id_or_otherwise_or_null() -> None:
    r = rig(
        f"on: tx\n{CARD}rules: [{{id: a, when: data.n == 1, result: review, means: odd}}, {{id: b, when: data.n == 2}}]\n"
        "otherwise: approve\n",
        f"on: ty\n{CARD}rules: [{{id: a, when: data.n == 1}}]\n",
    )
    first, second, third = (r.one({"card": "x", "n": n}) for n in (1, 2, 3))
    assert (first["result"], first["means"]) == ("review", "odd")
    assert (second["result"], second["means"]) == ("b", None)
    assert (third["result"], third["rule"]) == ("approve", None)
    assert r.one({"card": "x", "n": 3}, type="ty")["result"] is None


MATCH_ALL = f"""on: tx
{CARD}
match: all
rules:
  - {{id: a, when: data.n > 1, then: [{{do: stub.call, with: {{r: a}}}}]}}
  - {{id: b, when: data.n > 2, result: bee, then: [{{do: stub.call, with: {{r: b}}}}]}}
  - {{id: c, when: data.n > 0, then: [{{do: other.call, with: {{r: c}}}}]}}
otherwise: none
"""


@pytest.mark.parametrize(
    ("n", "acted", "result"), [(0, "", "none"), (1, "c", "c"), (2, "ac", "a"), (3, "abc", "a")]
)
def test_match_all_lets_every_rule_act_and_the_first_gives_the_result(
    n: int, acted: str, result: str
) -> None:
    r = rig(MATCH_ALL)
    record = r.one({"card": "x", "n": n})
    assert record["result"] == result
    assert "".join(each["id"] for each in record["rules"] if each["value"]) == acted
    assert "".join(each["arguments"]["r"] for each in record["commands"]) == acted
    assert r.explain(record)["redecided"] == "the same"


def test_a_failing_rule_of_match_all_takes_the_whole_decision_back() -> None:
    r = rig(
        f"""on: tx
{CARD}
match: all
rules:
  - {{id: a, when: 'true', once_within: 1h, then: [{{do: stub.call}}]}}
  - {{id: t, when: 'true', mode: shadow}}
  - {{id: b, when: 10 / data.n > 1}}
"""
    )
    failed = r.one({"card": "x", "n": 0})
    assert failed["error"]["rule"] == "b"
    assert failed["commands"] == []
    assert not r.events(CommandIssued)
    assert [each["value"] for each in failed["rules"]] == [True, True, None]
    assert r.one({"card": "x", "n": 1})["rules"][0] == {"id": "a", "value": True, "suppressed": None}
    assert r.states() == r.restarted().states()
    assert {r.explain(each)["redecided"] for each in r.records()} == {"the same"}


def test_a_rule_that_is_off_is_not_there() -> None:
    r = rig(f"on: tx\n{CARD}rules: [{{id: a, when: 'true', mode: off}}]\notherwise: ok\n")
    record = r.one({"card": "x"})
    assert (record["result"], record["rules"]) == ("ok", [])


def test_a_shadow_rule_is_recorded_and_changes_nothing() -> None:
    r = rig(
        f"on: tx\n{CARD}rules: [{{id: a, when: data.n > 1, mode: shadow, then: [{{do: stub.call}}]}}]\notherwise: ok\n"
    )
    record = r.one({"card": "x", "n": 2})
    assert record["result"] == "ok"
    assert record["rules"] == [{"id": "a", "value": True, "suppressed": "shadow"}]
    assert not r.events(CommandIssued)
    assert r.one({"card": "x", "n": 1})["rules"] == [{"id": "a", "value": False, "suppressed": None}]


def test_a_shadow_rule_that_fails_spoils_nothing() -> None:
    r = rig(
        "on: tx\nkey: data.card\nrules: [{id: a, when: data.n > 1, mode: shadow}, {id: b, when: 'true'}]\n"
    )
    record = r.one({"card": "x"})
    assert record["result"] == "b"
    assert record["rules"][0]["suppressed"] == "shadow"
    assert "no such key" in record["rules"][0]["error"]
    assert not r.events(DeadLetter)
    assert r.explain(record)["redecided"] == "the same"


ONCE = f"""on: tx
{CARD}
rules:
  - {{id: a, when: 'true', once_within: 1h, then: [{{do: stub.call}}]}}
otherwise: quiet
"""


def test_once_within_acts_once_a_key_in_event_time() -> None:
    r = rig(ONCE)
    times = [("x", 0), ("x", 10), ("y", 20), ("x", 3599), ("x", 3600), ("x", 3601)]
    results = [r.one({"card": card}, at=when)["result"] for card, when in times]
    assert results == ["a", "quiet", "a", "quiet", "a", "quiet"]
    assert r.records()[1]["rules"] == [{"id": "a", "value": True, "suppressed": "once_within"}]


def test_once_within_is_remembered_over_a_restart() -> None:
    r = rig(ONCE)
    r.one({"card": "x"})
    r.one({"card": "y"}, at=5)
    again = r.restarted()
    assert again.one({"card": "x"}, at=3599)["result"] == "quiet"
    assert again.one({"card": "x"}, at=3600)["result"] == "a"


def test_a_rule_held_back_lets_the_next_one_decide() -> None:
    r = rig(f"on: tx\n{CARD}rules: [{{id: a, when: 'true', once_within: 1h}}, {{id: b, when: 'true'}}]\n")
    assert [r.one({"card": "x"})["rule"] for _ in range(3)] == ["a", "b", "b"]


def test_a_command_that_cannot_be_rendered_does_not_use_up_once_within() -> None:
    r = rig(
        "on: tx\nkey: data.card\n"
        "rules: [{id: a, when: 'true', once_within: 1h, then: [{do: stub.call, with: {n: '${data.n}'}}]}]\n"
    )
    assert r.one({"card": "x"})["error"]["rule"] == "a"
    assert r.one({"card": "x", "n": 1})["commands"][0]["arguments"] == {"n": 1}
    assert r.states() == r.restarted().states()


# -- commands ---------------------------------------------------------------------------------------------


def test_templates_fill_arguments_and_targets() -> None:
    r = rig(
        """on: tx
key: data.card
state: {n: {count: 'true'}, l: {last: data.v}}
rules:
  - id: a
    when: 'true'
    then:
      - do: stub.swap
        target: 'model:${data.model}'
        with:
          whole: '${data.v}'
          text: 'card ${data.card}, ${state.n} of ${loop.name} at ${signal.time}'
          deep: [{n: '${state.n}'}, '$${not}', 3, true, null]
          key: '${loop.key}/${loop.seq}'
"""
    )
    (command,) = r.one({"card": "x", "v": {"a": [1.5]}, "model": "m"})["commands"]
    assert command["target"] == "model:m"
    assert command["key"] == "l0/x/1/a/0"
    assert command["arguments"] == {
        "whole": {"a": [1.5]},
        "text": "card x, 1 of l0 at 2026-01-01T00:00:00Z",
        "deep": [{"n": 1}, "${not}", 3, True, None],
        "key": "x/1",
    }


def test_a_command_belongs_to_the_context_of_its_signal() -> None:
    r = rig(
        f"on: tx\n{CARD}ttl: 1m\n"
        "rules: [{id: a, when: 'true', then: [{do: stub.call}, {do: stub.call, root: new}]}]\n"
    )
    r.now = 20
    r.one({"card": "x"}, floroot="r", floborn=at(0), flohops=3, floparent="0-0-0-0")
    inside, new = (each.command for each in r.events(CommandIssued))
    assert (inside.root, inside.hops, inside.born_ns, inside.deadline_ns) == ("r", 3, T0, T0 + 60 * S)
    assert (new.root_new, new.born_ns, new.deadline_ns) == (True, T0 + 20 * S, T0 + 80 * S)


def test_the_sequence_counts_the_iterations_of_a_key_and_names_its_commands() -> None:
    r = rig(f"on: tx\n{CARD}{ACTS}")
    keys = [r.one({"card": card})["commands"][0]["key"] for card in ("x", "x", "y", "x")]
    assert keys == ["l0/x/1/a/0", "l0/x/2/a/0", "l0/y/1/a/0", "l0/x/3/a/0"]


def test_integers_beyond_64_bits_are_refused_before_they_reach_a_loop() -> None:
    r = rig(
        "on: tx\nkey: data.card\nstate: {l: {last: data.n}}\n"
        "rules: [{id: a, when: state.l.changed || true, then: [{do: stub.call, with: {n: '${data.n}'}}]}]\n"
    )
    raw = json.dumps(
        {"specversion": "1.0", "id": "q", "source": "s", "type": "tx", "data": {"card": "x", "n": 2**70}}
    )
    (receipt,) = r.send(raw.encode())
    assert receipt.status == "rejected"
    assert "64 bits" in receipt.detail
    assert r.one({"card": "x", "n": 2**64 - 1})["commands"][0]["arguments"] == {"n": 2**64 - 1}


# -- consistency ------------------------------------------------------------------------------------------


def test_only_signals_of_relaxed_loops_alone_are_answered_before_the_commit() -> None:
    r = rig(
        "on: [fast, both]\nconsistency: relaxed\nkey: data.card\notherwise: ok\n",
        "on: [slow, both]\nkey: data.card\notherwise: ok\n",
    )
    assert r.step.router.relaxed_types == {"fast"}
