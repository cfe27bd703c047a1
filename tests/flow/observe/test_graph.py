"""The graph stays whole and bounded, whatever is observed; what is summarised is what comes back."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from flo.core.lineage import DatasetUse, JobName
from flo.core.signal import parse_signal
from flo.flow.observe.graph import CONTEXT, FETCHED, REPORTED, TRACED, Graph, Seen
from flo.flow.observe.observer import Observer
from flo.flow.observe.summary import EDGES_PER_SIGNAL_MAX

NODES = st.sampled_from([f"service:s{number}" for number in range(8)])
SIGHTINGS = st.lists(
    st.tuples(
        NODES,
        NODES,
        st.sampled_from([TRACED, FETCHED, CONTEXT, REPORTED]),
        st.integers(1, 10**18),
        st.integers(1, 9),
    )
)


@given(SIGHTINGS, st.integers(1, 6))
def test_it_holds_the_newest_edges_and_no_trace_of_others(
    sightings: list[tuple[str, str, str, int, int]], edges_max: int
) -> None:
    graph = Graph(edges_max)
    told: list[tuple[str, str]] = []
    for source, target, evidence, at_ns, count in sightings:
        graph.observe(source, target, evidence, at_ns, "example", count)
        told = [place for place in told if place != (source, target)] + [(source, target)]
        told = told[-edges_max:]
        assert [(edge.source, edge.target) for edge in graph.newest_first()] == told[::-1]
    nodes = {node for place in told for node in place}
    assert {(source, target) for source, into in graph.out.items() for target in into} == set(told)
    assert {(source, target) for target, outof in graph.into.items() for source in outof} == set(told)
    assert set(graph.shorts) == nodes
    assert {node for named in graph.by_short.values() for node in named} == nodes
    assert set(graph.changed) == set(told)


@given(SIGHTINGS)
def test_what_is_summarised_into_signals_is_what_is_restored(
    sightings: list[tuple[str, str, str, int, int]],
) -> None:
    """In as many summaries as one likes, and in any order."""
    observer, whole = Observer(), Graph()
    signals: list[bytes] = []
    for place, (source, target, evidence, at_ns, count) in enumerate(sightings):
        if evidence == REPORTED:
            continue  # a signal itself
        for graph in (observer.graph, whole):
            graph.observe(
                source, target, evidence, at_ns, f"example of {at_ns}", count, took_ns=at_ns % 1_000_000
            )
        if place % 3 == 0:
            signals += observer.due(place, at_once=True)
    signals += observer.due(10**6, at_once=True)
    assert observer.due(10**6, at_once=True) == []
    again = Observer()
    for raw in reversed(signals):
        again.restore(raw)
    assert _seen(again.graph) == _seen(whole)
    assert again.due(1, at_once=True) == [], "what the ledger has already is not recorded once more"


def _seen(graph: Graph) -> dict[tuple[str, str], dict[str, tuple[int, ...]]]:
    return {
        (edge.source, edge.target): {
            kind: (seen.first_ns, seen.last_ns, seen.count, seen.took_ns, seen.longest_ns)
            for kind, seen in sorted(edge.seen.items())
        }
        for edge in graph.newest_first()
    }


def test_a_summary_that_was_not_taken_is_due_again_with_what_came_since() -> None:
    observer = Observer()
    observer.graph.observe("service:a", "service:b", TRACED, 1, "x", 2)
    assert len(observer.due(1, at_once=True)) == 1
    observer.graph.observe("service:a", "service:b", TRACED, 2, "y", 3)
    observer.put_back()
    (raw,) = observer.due(2, at_once=True)
    again = Observer()
    again.restore(raw)
    assert _seen(again.graph) == _seen(observer.graph)


def test_many_edges_are_summarised_into_signals_that_flo_takes() -> None:
    observer = Observer()
    for number in range(EDGES_PER_SIGNAL_MAX + 1):
        observer.graph.observe(
            f"service:{'x' * 250}{number}", f"service:{'y' * 250}{number}", TRACED, 1, "z" * 512
        )
    signals = observer.due(1, at_once=True)
    assert [len(raw) > 100 and parse_signal(raw).type for raw in signals] == ["flo.trace.edges"] * 2


def test_what_is_no_summary_restores_nothing() -> None:
    observer = Observer()
    for raw in (
        b"{",
        b'{"specversion":"1.0","id":"1","source":"s","type":"flo.trace.edges","data":{"edges":[{}]}}',
    ):
        observer.restore(raw)
    assert len(observer.graph) == 0


def test_jobs_and_datasets_are_known_by_their_own_name_whatever_is_in_their_namespace() -> None:
    graph = Graph()
    job, dataset = graph.job(JobName("a/b", "c/d")), graph.dataset(DatasetUse("s3://bucket", "path/x"))
    assert (graph.shorts[job], graph.shorts[dataset]) == ("c/d", "path/x")


def test_a_node_keeps_its_name_when_its_last_edge_makes_room_for_its_next() -> None:
    graph = Graph(edges_max=1)
    for number in range(3):
        job, dataset = graph.job(JobName("a/b", "etl")), graph.dataset(DatasetUse("s3://x", f"d{number}"))
        graph.observe(dataset, job, REPORTED, 1, "run")
        assert graph.shorts == {job: "etl", dataset: f"d{number}"}


def test_whether_one_leads_to_another_is_told_by_what_is_seen_and_declared_together() -> None:
    graph = Graph()
    a, x, b = graph.job(JobName("n", "a")), graph.dataset(DatasetUse("n", "x")), graph.job(JobName("n", "b"))
    for source, target in ((a, x), (x, b), ("service:b", "service:c")):
        graph.add(source, target, REPORTED, Seen(1, 1, 1, ""))
    declared = {"c": frozenset({"d"})}
    assert graph.leads_to("a", "d", declared, "")
    assert not graph.leads_to("a", "d", declared, "b"), "every way goes through b"
    assert not graph.leads_to("d", "a", declared, "")
