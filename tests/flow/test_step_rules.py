"""The rules of a loop file, their commands and what they remember, on real signals."""

from __future__ import annotations

import json

import pytest
from tests.flow.looping import ACTS, CARD, T0, S, at, rig

from flo.core.record import CommandIssued, DeadLetter

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
