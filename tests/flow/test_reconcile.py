"""What becomes of commands and iterations: every end, fencing, silence, kills, and the same after a restart."""

from __future__ import annotations

from typing import Any

import pytest
from tests.flow.looping import Rig, S, at, bundle, event

from flo.core.record import Answered, CommandIssued, CommandOutcome, DeadLetter, IterationClosed, Killed

CALLS = "on: tx\nkey: data.card\nrules: [{id: a, when: 'true', then: [%s]}]\n"


def rig(*actions: str, flo: str | None = None) -> Rig:
    loop = CALLS % ", ".join(actions)
    return Rig(bundle(loop) if flo is None else bundle(loop, flo=flo))


def ended(r: Rig, key: str, outcome: str, **more: Any) -> None:
    r.learned(CommandOutcome(command_key=key, outcome=outcome, at_ns=r.now_ns, attempts=1, **more))


def answered(r: Rig, key: str, result: Any = None) -> None:
    r.learned(Answered(command_key=key, at_ns=r.now_ns, attempts=1, reference="run-1", result=result))


def statuses(r: Rig) -> list[str]:
    return [each.status for each in r.events(IterationClosed)]


def outcomes(r: Rig) -> list[tuple[str, str]]:
    return [(each.command_key, each.outcome) for each in r.events(CommandOutcome)]


def test_an_iteration_is_open_until_its_command_ends() -> None:
    r = rig("{do: stub.call}")
    r.one({"card": "x"})
    (iteration,) = r.reconciler.iterations.values()
    assert (iteration.status, iteration.key, iteration.seq) == ("open", "x", 1)
    ended(r, "l0/x/1/a/0", "succeeded", result={"ok": 1})
    assert not r.reconciler.iterations
    assert not r.reconciler.commands
    assert statuses(r) == ["closed"]


@pytest.mark.parametrize(
    ("outcome", "status"),
    [("succeeded", "closed"), ("tolerated", "tolerated"), ("failed", "failed"), ("expired", "killed")],
)
def test_an_iteration_ends_as_its_command_did(outcome: str, status: str) -> None:
    r = rig("{do: stub.call}")
    r.one({"card": "x"})
    ended(r, "l0/x/1/a/0", outcome)
    assert statuses(r) == [status]
    assert r.restarted().reconciler.snapshot() == r.reconciler.snapshot()


def test_of_several_commands_the_worst_end_counts_and_the_last_closes() -> None:
    r = rig("{do: stub.call}", "{do: stub.call}", "{do: stub.call}")
    r.one({"card": "x"})
    ended(r, "l0/x/1/a/1", "failed")
    ended(r, "l0/x/1/a/0", "succeeded")
    assert statuses(r) == []
    ended(r, "l0/x/1/a/2", "tolerated")
    assert statuses(r) == ["failed"]


def test_success_on_old_data_is_stale() -> None:
    r = Rig(
        bundle(
            "on: tx\nkey: data.card\nfresh: {data: 1m}\nrules: [{id: a, when: 'true', then: [{do: stub.call}]}]\n"
        )
    )
    r.one({"card": "x"}, at=-100)
    ended(r, "l0/x/1/a/0", "succeeded")
    assert outcomes(r) == [("l0/x/1/a/0", "stale")]
    assert statuses(r) == ["stale"]


def test_review_is_done_by_being_recorded() -> None:
    r = rig("{do: review, with: {queue: manual}}")
    record = r.one({"card": "x"})
    assert outcomes(r) == [("l0/x/1/a/0", "succeeded")]
    assert statuses(r) == ["closed"]
    assert "succeeded" in r.explain(record)["text"]


def test_page_goes_to_the_on_call_of_the_loops_pipeline() -> None:
    flo = (
        "engines: {stub: {kind: stub}, pager: {kind: stub}}\npipelines: {p: {loops: [l0], on_call: pager}}\n"
    )
    r = rig("{do: page, with: {summary: 'card ${data.card}'}}", flo=flo)
    r.one({"card": "x"})
    (issued,) = r.events(CommandIssued)
    assert (issued.command.engine, issued.command.verb) == ("pager", "page")
    assert issued.command.arguments == {"summary": "card x"}


# -- expect -----------------------------------------------------------------------------------------------

EXPECTS = (
    "{do: stub.trigger, expect: {signal: done, where: 'data.run == command.run_id', within: 10s},"
    " on_silent: [{do: other.page, with: {s: '${command.key} ${command.run_id}'}}]}"
)


def test_a_success_answer_waits_for_the_effect_it_promised() -> None:
    r = rig(EXPECTS)
    r.one({"card": "x"})
    ended(r, "l0/x/1/a/0", "succeeded", result={"run_id": 7})
    (iteration,) = r.reconciler.iterations.values()
    assert iteration.status == "awaiting"
    assert outcomes(r) == []
    r.now = 5
    r.send(event({"run": 8}, type="done"), event({}, type="done"), event({"run": "7"}, type="done"))
    assert outcomes(r) == []  # another run, and signals without what the condition reads
    r.send(event({"run": 7}, type="done", id="the-one"))
    assert outcomes(r) == [("l0/x/1/a/0", "succeeded")]
    assert r.events(CommandOutcome)[0].detail == "done test#the-one"
    assert r.events(CommandOutcome)[0].reference is None
    assert statuses(r) == ["closed"]
    r.tick(100)
    assert statuses(r) == ["closed"]


def test_what_never_shows_is_silent_and_says_so_by_its_on_silent() -> None:
    r = rig(EXPECTS)
    r.one({"card": "x"})
    r.now = 2
    answered(r, "l0/x/1/a/0", {"run_id": 7})
    assert r.reconciler.next_timer_ns() == r.now_ns + 10 * S
    r.tick(11.999)
    assert outcomes(r) == []
    r.tick(12)
    assert outcomes(r) == [("l0/x/1/a/0", "silent")]
    (dead,) = r.events(DeadLetter)
    assert (dead.reason, dead.command_key) == ("silent", "l0/x/1/a/0")
    paged = r.events(CommandIssued)[-1].command
    assert (paged.engine, paged.verb, paged.key) == ("other", "page", "l0/x/1/a/0/silent/0")
    assert paged.arguments == {"s": "l0/x/1/a/0 7"}
    assert r.restarted().reconciler.snapshot() == r.reconciler.snapshot()
    ended(r, paged.key, "succeeded")
    assert statuses(r)[0] == "silent"


def test_silence_runs_only_from_the_engines_answer() -> None:
    r = rig(EXPECTS)
    r.one({"card": "x"})
    r.tick(1000)
    assert outcomes(r) == []


def test_the_effect_may_come_before_the_engines_answer() -> None:
    r = rig("{do: stub.trigger, expect: {signal: done, within: 10s}}")
    r.one({"card": "x"})
    r.send(event({}, type="done"))
    assert statuses(r) == ["closed"]
    answered(r, "l0/x/1/a/0")  # late: no news
    assert not r.reconciler.commands


def test_an_effect_after_the_ttl_still_closes_its_iteration() -> None:
    loop = f"ttl: 1s\n{CALLS % '{do: stub.trigger, expect: {signal: done, within: 1h}}'}"
    r = Rig(bundle(loop))
    r.one({"card": "x"})
    answered(r, "l0/x/1/a/0")
    r.now = 1800
    r.send(event({}, type="done"))
    assert statuses(r) == ["closed"]


def test_a_signal_whose_bytes_are_not_text_closes_nothing_and_breaks_nothing() -> None:
    r = rig("{do: stub.trigger, expect: {signal: done, where: 'data.a == 1', within: 10s}}")
    r.one({"card": "x"})
    r.send(b'{"specversion":"1.0","id":"q","source":"s","type":"done","data":{"a":"\xff"}}')
    assert outcomes(r) == []


def test_an_on_silent_that_cannot_be_rendered_is_a_dead_letter() -> None:
    r = rig(
        "{do: stub.trigger, expect: {signal: done, within: 1s}, on_silent: [{do: other.page, with: {s: '${command.nix}'}}]}"
    )
    r.one({"card": "x"})
    answered(r, "l0/x/1/a/0")
    r.tick(2)
    assert [each.reason for each in r.events(DeadLetter)] == ["silent", "expression"]
    assert statuses(r) == ["silent"]


# -- fencing ----------------------------------------------------------------------------------------------


def test_an_answer_from_an_older_sequence_than_the_newest_closed_changes_nothing() -> None:
    r = rig("{do: stub.call}")
    for _ in range(3):
        r.one({"card": "x"})
    ended(r, "l0/x/2/a/0", "succeeded")
    ended(r, "l0/x/1/a/0", "failed", detail="too late")
    first = r.events(CommandOutcome)[-1]
    assert first.fenced
    assert first.detail.startswith("fenced: sequence 2 has closed since")
    ended(r, "l0/x/3/a/0", "failed")
    assert [(each.seq, each.status) for each in r.events(IterationClosed)] == [
        (2, "closed"),
        (1, "closed"),
        (3, "failed"),
    ]
    assert not r.reconciler.newest_closed  # nobody older is open: nothing to remember
    assert r.restarted().reconciler.snapshot() == r.reconciler.snapshot()


def test_fencing_is_known_after_a_restart() -> None:
    r = rig("{do: stub.call}")
    r.one({"card": "x"})
    r.one({"card": "x"})
    ended(r, "l0/x/2/a/0", "succeeded")
    for again in (r.restarted(), r.restarted(r.checkpoint())):
        assert again.reconciler.newest_closed == {("l0", "x"): 2}


# -- unknown fate, kill -----------------------------------------------------------------------------------


def parked(r: Rig, key: str) -> None:
    r.learned(
        DeadLetter(loop="l0", reason="unknown-fate", detail="lost", at_ns=r.now_ns, command_key=key, key="x")
    )


def test_an_unknown_fate_is_parked_and_never_owed_again() -> None:
    r = rig("{do: stub.call}")
    r.one({"card": "x"})
    parked(r, "l0/x/1/a/0")
    assert statuses(r) == ["parked"]
    assert r.reconciler.commands["l0/x/1/a/0"].state == "parked"
    again = r.restarted()
    assert again.reconciler.commands["l0/x/1/a/0"].state == "parked"
    ended(r, "l0/x/1/a/0", "succeeded")  # nothing is news of it any more
    assert outcomes(r) == []


def test_kill_ends_open_iterations_of_one_key_or_of_the_loop() -> None:
    r = rig("{do: stub.call}")
    for card in ("x", "x", "y"):
        r.one({"card": card})
    assert r.kill("l0", "x") == ["l0/x/1/a/0", "l0/x/2/a/0"]
    assert statuses(r) == ["killed", "killed"]
    assert {(each.why, each.key) for each in r.events(Killed)} == {("operator", "x")}
    assert r.kill("other") == []
    assert r.kill("l0") == ["l0/y/1/a/0"]
    assert not r.reconciler.commands
    assert {outcome for _, outcome in outcomes(r)} == {"expired"}
    assert r.restarted().reconciler.snapshot() == r.reconciler.snapshot()


# -- the fold ---------------------------------------------------------------------------------------------


def test_open_commands_timers_and_expectations_are_the_same_after_a_restart() -> None:
    r = rig(EXPECTS, "{do: stub.call}")
    for card in ("x", "y", "z"):
        r.one({"card": card})
    answered(r, "l0/x/1/a/0", {"run_id": 1})
    ended(r, "l0/y/1/a/1", "failed")
    parked(r, "l0/z/1/a/0")
    for again in (r.restarted(), r.restarted(r.checkpoint())):
        assert again.reconciler.snapshot() == r.reconciler.snapshot()
        assert again.reconciler.next_timer_ns() == r.reconciler.next_timer_ns()
        assert {name: set(waits) for name, waits in again.reconciler.expected.items()} == {
            name: set(waits) for name, waits in r.reconciler.expected.items()
        }
    again = r.restarted()
    again.tick(3600)
    assert ("l0/x/1/a/0", "silent") in outcomes(again)


def test_outcomes_show_in_the_explanation_of_their_decision() -> None:
    r = rig("{do: stub.call}")
    record = r.one({"card": "x"})
    assert "no outcome yet" in r.explain(record)["text"]
    r.now = 3
    ended(r, "l0/x/1/a/0", "failed", detail="503", result={"why": "down"})
    text = r.explain(record)["text"]
    assert f"failed at {at(3)}: 503" in text
    assert "answered {why: down}" in text
