"""Edges that nobody declared, and declared ones that are never seen: what is found, and what is left alone."""

from __future__ import annotations

import pytest
from tests.flow.observe.looking import Looking
from tests.flow.watchdogs.watched import DAY, HOUR, S

from flo.flow.digest import Caused, Digest

LOOPS = {
    "score": "on: tx\nfeeds: [retrain]\nreads: [dataset:profiles, model:fraud]\nwrites: [dataset:scores]",
    "retrain": "on: label\nreads: [dataset:warehouse/scores]\nwrites: [model:fraud]",
}


def test_a_dataset_that_a_loop_reads_undeclared_is_named_with_first_seen_count_and_evidence() -> None:
    looking = Looking(LOOPS)
    run = looking.run("score", ["profiles", "blocklist"])
    looking.look()
    looking.run("score", ["profiles", "blocklist"])
    (finding,) = looking.look().values()
    assert finding.subject == "dataset:warehouse/blocklist -> job:jobs/score"
    assert (finding.type, finding.loop) == ("flo.edge.phantom", "score")
    assert finding.figures["kind"] == "phantom"
    assert (finding.figures["count"], finding.figures["first_seen"]) == (2, "2026-01-01T00:00:10Z")
    assert finding.figures["evidence"]["reported"]["count"] == 2
    assert finding.figures["evidence"]["reported"]["example"] != run
    assert "under `reads` of loop score" in finding.detail
    assert len(looking.raised) == 1, "seen again it is the same finding"


@pytest.mark.parametrize(("source", "target"), [("score", "score"), ("retrain", "score")])
def test_a_loop_that_feeds_another_or_itself_undeclared_is_told_to_say_so(source: str, target: str) -> None:
    looking = Looking(LOOPS)
    looking.observer.find_loop = lambda section: source
    caused = [Caused("0-1-0", target, 1, "0-2-0-0")]
    looking.observer.observe_digest(Digest(0, 2, looking.now_ns, [], [], caused))
    (finding,) = looking.look().values()
    assert finding.subject == f"loop:{source} -> loop:{target}"
    assert f"under `feeds` of loop {source}" in finding.detail


def test_every_declared_edge_is_left_alone_however_it_is_seen() -> None:
    looking = Looking(
        {
            **LOOPS,
            "enrich": "on: tx\nneeds: {profile: profiles}\nreads: [service:geo]\nrules:\n"
            "  - {id: r, when: 'true', then: [{do: airflow.trigger}]}",
        },
        "engines: {airflow: {kind: stub}}\n"
        "dependencies: {profiles: {kind: http, url: 'http://127.0.0.1/{key}'}}",
    )
    looking.run("score", ["profiles", "fraud"], ["scores"])
    looking.run("retrain", ["scores"], ["fraud"])
    looking.trace(("score", "retrain", 0, 5))
    looking.trace(("retrain", "score", 0, 5))  # a call carries data both ways
    looking.trace(("enrich", "profiles", 0, 5), ("enrich", "geo", 5, 6), ("enrich", "airflow", 6, 7))
    looking.observer.fetched["profiles", "enrich"] = 3
    assert looking.look() == {}
    assert {edge.status for edge in looking.observer.graph.newest_first()} == {"both"}


def test_a_declared_namespace_is_meant() -> None:
    looking = Looking({"retrain": "on: label\nreads: [dataset:lake/scores]"})
    looking.run("retrain", ["scores"])
    assert list(looking.look()) == ["dataset:warehouse/scores -> job:jobs/retrain"]


def test_hidden_steps_behind_a_loop_are_found_however_deep() -> None:
    looking = Looking(LOOPS)
    calls = [("score", "step-1", 0, 9)] + [(f"step-{n}", f"step-{n + 1}", 0, 9) for n in range(1, 20)]
    looking.trace(*calls)
    found = looking.look()
    assert set(found) == {f"service:{caller} -> service:{called}" for caller, called, *_ in calls}
    assert {finding.loop for finding in found.values()} == {"score"}


def test_hidden_steps_are_found_when_the_call_that_leads_to_them_is_seen_last() -> None:
    looking = Looking(LOOPS)
    looking.trace(("step-1", "step-2", 0, 9))
    assert looking.look() == {}, "nobody knows yet whose work it is"
    looking.trace(("score", "step-1", 0, 9))
    assert len(looking.look()) == 2


def test_what_strangers_do_among_themselves_is_shown_and_not_judged() -> None:
    looking = Looking(LOOPS)
    looking.run("billing", ["orders"], ["invoices"])
    looking.trace(("shop", "cart", 0, 5), ("cart", "stock", 1, 2))
    looking.trace(("gateway", "score", 0, 5))  # who calls a loop from outside cannot be declared
    looking.run("report", ["scores"])  # nor who else reads what a loop writes
    assert looking.look() == {}
    assert {edge.status for edge in looking.observer.graph.newest_first()} == {"observed"}


def test_a_loop_behind_a_loop_answers_for_its_own_calls() -> None:
    looking = Looking({**LOOPS, "retrain": "on: label\nreads: [service:gpu]"})
    looking.trace(("score", "retrain", 0, 9), ("retrain", "gpu", 1, 8))
    assert looking.look() == {}


def test_a_phantom_is_over_once_it_is_declared() -> None:
    looking = Looking(LOOPS)
    looking.run("score", ["blocklist"])
    assert len(looking.look()) == 1
    looking.turn_to({**LOOPS, "score": LOOPS["score"].replace("reads: [", "reads: [dataset:blocklist, ")})
    assert looking.look() == {}


def test_an_edge_that_went_with_its_declaration_is_no_phantom_until_it_is_seen_again() -> None:
    looking = Looking(LOOPS)
    looking.run("score", ["profiles"])
    looking.turn_to({**LOOPS, "score": LOOPS["score"].replace("dataset:profiles, ", "")})
    assert looking.look() == {}
    (dog, *_), again = looking.observer.dogs, Looking({})
    again.observer.dogs[0].restore(dog.snapshot(), 0)
    again.turn_to({**LOOPS, "score": LOOPS["score"].replace("dataset:profiles, ", "")})
    again.run("score", ["profiles"])  # as it is read back from the ledger in another life
    assert again.look() == {}
    again.run("score", ["profiles"])
    assert list(again.look()) == ["dataset:warehouse/profiles -> job:jobs/score"]


def test_a_phantom_that_is_not_seen_for_a_month_is_over() -> None:
    looking = Looking(LOOPS)
    looking.run("score", ["blocklist"])
    assert len(looking.look()) == 1
    assert len(looking.look(29 * DAY)) == 1
    assert looking.look(2 * DAY) == {}
    assert len(looking.observer.graph) == 0


def test_what_is_excepted_is_left_alone() -> None:
    looking = Looking(
        LOOPS, "watchdogs: {flo.edge.phantom: {except: ['dataset:warehouse/blocklist', 'service:otel']}}"
    )
    looking.run("score", ["blocklist", "other"])
    looking.trace(("score", "otel", 0, 1))
    assert list(looking.look()) == ["dataset:warehouse/other -> job:jobs/score"]


def test_a_job_that_reads_what_a_job_wrote_that_it_does_not_follow_is_a_phantom() -> None:
    looking = Looking({})
    looking.run("extract", [], ["raw"], parent="dag-1", after=[])
    looking.run("clean", ["raw"], ["clean"], parent="dag-1", after=["extract"])
    looking.run("train", ["clean", "raw"], [], parent="dag-1", after=["clean"])
    assert list(looking.look()) == ["job:jobs/extract -> job:jobs/train"]


def test_what_an_earlier_run_left_behind_is_not_what_this_ones_order_is_about() -> None:
    looking = Looking({})
    for day in ("dag-1", "dag-2", "dag-3"):
        looking.run("read", ["state"], [], parent=day, after=[])
        looking.run("update", [], ["state"], parent=day, after=["read"])
    assert looking.look() == {}


# -- never seen -----------------------------------------------------------------------------------------------

SEEING = "watchdogs: {flo.edge.phantom: {after: 1d, sightings: 20}}"


def test_a_declared_read_is_never_seen_where_the_loops_other_reads_are() -> None:
    looking = Looking(LOOPS, SEEING)
    for _ in range(25):
        looking.run("score", ["profiles"])
        looking.look(HOUR + S)
    found = looking.look()
    assert list(found) == ["model:fraud -> loop:score"]
    (finding,) = found.values()
    assert (finding.figures["kind"], finding.figures["declared_under"]) == ("never-seen", "reads")
    looking.run("score", ["fraud"])
    assert looking.look() == {}


def test_nothing_is_missed_where_nothing_of_its_kind_comes_in() -> None:
    looking = Looking(LOOPS, SEEING)
    for _ in range(25):
        looking.run("score", [], ["scores"])  # writes are reported, reads are not
        looking.look(HOUR + S)
    assert looking.look() == {}


def test_nothing_is_missed_too_soon_or_after_too_few_runs() -> None:
    looking = Looking(LOOPS, SEEING)
    for _ in range(100):
        looking.run("score", ["profiles"])
    assert looking.look(23 * HOUR) == {}
    rare = Looking(LOOPS, SEEING)
    for _ in range(10):
        rare.run("score", ["profiles"])
        assert rare.look(DAY) == {}


def test_a_loop_that_feeds_another_through_data_is_seen_to() -> None:
    loops = {**LOOPS, "other": "on: x", "score": LOOPS["score"].replace("[retrain]", "[retrain, other]")}
    looking = Looking(loops, SEEING)
    for _ in range(25):
        looking.run("score", ["profiles", "fraud"], ["scores"])
        looking.run("retrain", ["scores"], ["fraud"])
        looking.trace(("score", "other", 0, 5))
        looking.look(HOUR + S)
    assert looking.look() == {}
