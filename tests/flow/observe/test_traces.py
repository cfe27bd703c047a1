"""Spans in any order and from any sender: the edges they show, the other ends they name, and the bounds they keep."""

from __future__ import annotations

from flo.core.span import CLIENT, SERVER, Span
from flo.flow.observe.graph import Graph
from flo.flow.observe.siblings import Siblings
from flo.flow.observe.traces import QUIET_NS, SPANS_PER_TRACE_MAX, TraceBook


def span(own: str, parent: str, service: str, kind: str = SERVER, trace: str = "t", **more: object) -> Span:
    return Span(
        trace_id=trace,
        span_id=own,
        parent_id=parent,
        service=service,
        name="n",
        kind=kind,
        start_ns=1,
        end_ns=2,
        **more,  # type: ignore[arg-type]
    )


def book(spans_max: int = 1_000) -> tuple[TraceBook, Graph]:
    graph = Graph()
    return TraceBook(graph, Siblings(), spans_max), graph


def edges(graph: Graph) -> set[str]:
    return {f"{edge.source} -> {edge.target}".replace("service:", "") for edge in graph.newest_first()}


def test_the_parent_may_come_last() -> None:
    traces, graph = book()
    traces.take(span("2", "1", "b"), 1)
    assert edges(graph) == set()
    traces.take(span("1", "", "a"), 2)
    assert edges(graph) == {"a -> b"}


def test_a_span_sent_twice_counts_once() -> None:
    traces, graph = book()
    for _ in range(3):
        traces.take(span("1", "", "a"), 1)
        traces.take(span("2", "1", "b"), 1)
    (edge,) = graph.newest_first()
    assert (edge.count, traces.repeated) == (1, 4)


def test_a_called_service_that_reports_itself_goes_by_its_own_name() -> None:
    traces, graph = book()
    traces.take(span("1", "", "a", CLIENT, peer="10.0.0.3:80"), 1)
    traces.fold(1 + QUIET_NS - 1)
    assert edges(graph) == set(), "it may still come"
    traces.take(span("2", "1", "b"), QUIET_NS)
    traces.fold(3 * QUIET_NS)
    assert edges(graph) == {"a -> b"}


def test_one_that_never_does_goes_by_what_its_caller_calls_it() -> None:
    traces, graph = book()
    traces.take(span("1", "", "a", CLIENT, peer="postgresql/orders"), 1)
    traces.fold(2 * QUIET_NS)
    assert edges(graph) == {"a -> postgresql/orders"}
    traces.fold(4 * QUIET_NS)
    (edge,) = graph.newest_first()
    assert edge.count == 1, "a trace is looked through once"


def test_who_answers_at_an_address_is_learnt_from_other_traces() -> None:
    """A sampled-out server must not make a second node of one that is known."""
    traces, graph = book()
    traces.take(span("1", "", "a", CLIENT, peer="10.0.0.3:80"), 1)
    traces.take(span("2", "1", "b"), 1)
    traces.take(span("1", "", "a", CLIENT, "other", peer="10.0.0.3:80"), 1)
    traces.fold(2 * QUIET_NS)
    assert edges(graph) == {"a -> b"}


def test_what_comes_after_the_quiet_is_joined_all_the_same() -> None:
    traces, graph = book()
    traces.take(span("2", "1", "b"), 1)
    traces.fold(2 * QUIET_NS)
    traces.take(span("1", "", "a"), 6 * 3_600 * 1_000_000_000)
    assert edges(graph) == {"a -> b"}


def test_a_consumer_is_linked_to_its_producer() -> None:
    traces, graph = book()
    traces.take(span("1", "", "producer", trace="t1"), 1)
    traces.take(span("9", "", "consumer", trace="t2", links=(("t1", "1"), ("gone", "1"))), 1)
    assert edges(graph) == {"producer -> consumer"}


def test_calls_within_a_service_are_no_edges() -> None:
    traces, graph = book()
    traces.take(span("1", "", "a"), 1)
    traces.take(span("2", "1", "a", CLIENT, peer="a"), 1)
    traces.fold_all()
    assert edges(graph) == set()


def test_spans_are_bounded_and_the_trace_silent_longest_leaves_looked_through() -> None:
    traces, graph = book(spans_max=10)
    traces.take(span("1", "", "a", CLIENT, "first", peer="x"), 1)
    for number in range(20):
        traces.take(span("1", "", "b", trace=f"t{number}"), 2)
    assert traces.kept() == 10
    assert edges(graph) == {"a -> x"}
    long = TraceBook(Graph(), Siblings())
    for number in range(SPANS_PER_TRACE_MAX + 5):
        long.take(span(str(number + 1), "", "a"), 1)
    assert (long.kept(), long.cut) == (SPANS_PER_TRACE_MAX, 5)


def test_a_span_that_is_its_own_ancestor_ends_nothing() -> None:
    traces, graph = book()
    traces.take(span("1", "2", "a"), 1)
    traces.take(span("2", "1", "a"), 1)
    traces.take(span("3", "1", "b"), 1)
    traces.take(span("4", "4", "c"), 1)
    traces.fold_all()
    assert edges(graph) == {"a -> b"}
