"""State is a fold over the ledger: whatever happened, a restart brings back what was."""

from __future__ import annotations

from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.flow.histories import batches, bundles
from tests.flow.looping import Checkpoint, Rig, bundle, event


def loop(state: str, rules: str = "[{id: a, when: 'true'}]", **more: str) -> str:
    rest = "".join(f"{name}: {value}\n" for name, value in more.items())
    return f"on: tx\ncontract: tx/1\nkey: data.card\nstate: {state}\nrules: {rules}\n{rest}"


def comparable(rig: Rig) -> dict[str, Any]:
    """Keys that were only read as empty count for nothing."""
    return rig.states()


@settings(
    max_examples=25,
    deadline=None,
    print_blob=True,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)
@given(st.data())
def test_a_restart_brings_back_the_state_of_any_history(data: st.DataObject) -> None:
    """With batches in any order, bundles changing under way, and checkpoints taken in the middle."""
    rig = Rig(data.draw(bundles()))
    checkpoints: list[Checkpoint] = []
    for _ in range(data.draw(st.integers(1, 8))):
        step = data.draw(st.sampled_from(["send", "send", "send", "checkpoint", "bundle", "restart"]))
        if step == "send":
            data.draw(batches(rig))
        elif step == "checkpoint":
            checkpoints.append(rig.checkpoint())
        elif step == "bundle":
            rig.turn_to(data.draw(bundles()))
        else:
            rig = rig.restarted(data.draw(st.sampled_from([None, *checkpoints])))
    wanted = rig.states()
    for checkpoint in (None, *checkpoints):
        again = rig.restarted(checkpoint)
        assert again.states() == wanted
        assert again.reconciler.snapshot() == rig.reconciler.snapshot()
    # and both go on alike
    raws = [
        event({"card": "x", "amount": 20.0, "n": 2, "ok": True, "note": "a"}, at=rig.now) for _ in range(3)
    ]
    again = rig.restarted(data.draw(st.sampled_from([None, *checkpoints])))
    blocks = list(rig.view.blocks)
    first = [(each["result"], each["state"]) for each in rig.decided(*raws)]
    rig.view.blocks[:] = blocks
    assert [(each["result"], each["state"]) for each in again.decided(*raws)] == first


def test_marks_come_back_with_the_signals() -> None:
    rig = Rig(bundle(loop("{n: {count: 'true'}}")))
    good, bad = event({"card": "x"}), event({"card": 1})
    rig.send(good, bad)
    again = rig.restarted()
    assert [each.status for each in again.send(good, bad)] == ["duplicate", "duplicate"]
    assert again.states() == rig.states()


def test_a_failing_input_leaves_no_half_state() -> None:
    rig = Rig(
        bundle(
            "on: tx\nkey: data.card\nstate: {n: {count: 'true'}, s: {sum: 10 / data.n}}\n"
            "rules: [{id: a, when: state.n > 0 && state.s > 0.0}]\n"
        )
    )
    rig.send(event({"card": "x", "n": 1}))
    before = rig.states()
    (failed,) = rig.decided(event({"card": "x", "n": 0}))
    assert failed["error"]["code"] == "divide_by_zero"
    assert failed["applied"] is False
    assert failed["seq"] == 0
    assert rig.states() == before == rig.restarted().states()


def test_a_failing_rule_keeps_the_state_and_says_so() -> None:
    rig = Rig(
        bundle(
            "on: tx\nkey: data.card\nstate: {n: {count: 'true'}}\nrules: [{id: a, when: 10 / data.n > state.n}]\n"
        )
    )
    failed, fine = rig.decided(event({"card": "x", "n": 0}), event({"card": "x", "n": 1}))
    assert failed["applied"] is True
    assert failed["state"] == {"n": 1}
    assert fine["state"] == {"n": 2}
    assert rig.states() == rig.restarted().states()


def test_a_sum_beyond_64_bits_is_an_error_and_not_a_wrong_number() -> None:
    rig = Rig(bundle(loop("{s: {sum: data.n}}", "[{id: a, when: state.s > 0}]")))
    results = [rig.one({"card": "x", "n": 2**62}) for _ in range(3)]
    assert [each["result"] for each in results] == ["a", None, None]
    assert results[1]["error"] == {"rule": None, "code": "state", "message": results[1]["error"]["message"]}
    assert results[1]["applied"] is True
    assert "64" in results[1]["error"]["message"]
    assert {rig.explain(each)["redecided"] for each in results} == {"the same"}
    assert rig.one({"card": "x", "n": -(2**62)})["error"] is not None
    assert (
        rig.one({"card": "x", "n": -(2**62)})["result"] is not None
    )  # back in range, the state was never wrong
    assert rig.states() == rig.restarted().states()


# -- a change of bundle -----------------------------------------------------------------------------------

BEFORE = loop(
    "{n: {count: 'true'}, s: {sum: data.amount, over: 1h}}", "[{id: o, when: 'true', once_within: 1h}]"
)
AFTER = loop(
    "{s: {sum: data.amount, over: 2h}, n: {count: 'true'}}", "[{id: o, when: 'true', once_within: 1h}]"
)


def test_state_is_kept_where_its_definition_stays_and_begins_anew_where_not() -> None:
    rig = Rig(bundle(BEFORE))
    for _ in range(3):
        rig.send(event({"card": "x", "amount": 5.0}))
    rig.turn_to(bundle(AFTER.replace("[{id: o", "[{id: seen, when: state.n > 3 && state.s < 6.0}, {id: o")))
    record = rig.one({"card": "x", "amount": 5.0})
    assert record["state"] == {"n": 4, "s": 5.0}
    assert record["seq"] == 4  # the sequence is never begun anew: it fences
    assert record["rule"] == "seen"
    assert rig.one({"card": "x", "amount": 50.0})["rules"][1]["suppressed"] == "once_within"
    assert rig.states() == rig.restarted().states()


def test_keys_still_cold_are_converted_when_they_are_touched() -> None:
    rig = Rig(bundle(BEFORE))
    for card in ("x", "y", "z"):
        rig.send(event({"card": card, "amount": 5.0}))
    again = rig.restarted(rig.checkpoint())
    assert set(again.route().cells.cold) == {"x", "y", "z"}
    reads = AFTER.replace("'true', once", "state.n > 0 && state.s > 0.0, once")
    again.turn_to(bundle(reads))
    assert set(again.route().cells.cold) == {"x", "y", "z"}
    assert again.one({"card": "y", "amount": 1.0})["state"] == {"n": 2, "s": 1.0}
    again.turn_to(
        bundle(reads.replace("data.amount, over: 2h", "data.amount, over: 3h"))
    )  # converted twice over
    assert again.one({"card": "z", "amount": 1.0})["state"] == {"n": 2, "s": 1.0}
    assert again.states() == again.restarted().states()


def test_a_loop_that_goes_and_comes_back_begins_anew() -> None:
    rig = Rig(bundle(BEFORE, "on: ty\nkey: data.card\notherwise: r\n"))
    rig.send(event({"card": "x", "amount": 5.0}))
    rig.turn_to(bundle("loop: l1\non: ty\nkey: data.card\notherwise: r\n"))
    rig.send(event({"card": "x"}, type="ty"))
    rig.turn_to(bundle(BEFORE))
    assert rig.one({"card": "x", "amount": 5.0})["seq"] == 1
    assert rig.states() == rig.restarted().states()


def test_shared_state_is_not_counted_twice_where_a_key_is_ahead_of_its_checkpoint() -> None:
    rig = Rig(bundle(loop("{all: {count: 'true', shared: true, over: 1h}, n: {count: 'true'}}")))
    for card in "xyxyx":
        rig.send(event({"card": card}))
    checkpoint = rig.checkpoint()
    rig.send(event({"card": "x"}), event({"card": "w"}))
    assert rig.restarted(checkpoint).states() == rig.states()


def test_cold_keys_stay_readable_through_a_change_of_layout_and_one_that_changes_none() -> None:
    rig = Rig(bundle(BEFORE))
    rig.send(event({"card": "x", "amount": 5.0}))
    again = rig.restarted(rig.checkpoint())
    again.turn_to(bundle(AFTER))
    again.turn_to(bundle(AFTER + "about: only words changed\n"))
    assert set(again.route().cells.cold) == {"x"}
    assert again.one({"card": "x", "amount": 1.0})["seq"] == 2
    assert again.states() == again.restarted().states()
