"""Metrics of what FLO asks of others: the dependencies it reads from, the engines it commands.

Both keep their own figures; they are read when somebody asks, so that counting costs nothing twice.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from flo.flow.fetch import FetchStats
from flo.flow.lane import LaneStats

_DEPENDENCY_COUNTERS = {
    "fetches": ("flo_dependency_fetches", "What loops asked of a dependency, however it was answered"),
    "requests": ("flo_dependency_requests", "Requests that reached a dependency"),
    "cached": ("flo_dependency_cached", "Fetches answered from the cache"),
    "coalesced": ("flo_dependency_coalesced", "Fetches that joined one in flight"),
    "missing": ("flo_dependency_missing", "Fetches that were missing when the loop decided"),
    "late": ("flo_dependency_late", "Of those missing: the answer came after the deadline, or never"),
    "stale": ("flo_dependency_stale_reads", "Answers older than one before, of the same key"),
}
_DEPENDENCY_GAUGES = {
    "in_flight": ("flo_dependency_requests_in_flight", "Requests under way"),
    "queued": ("flo_dependency_requests_queued", "Fetches that wait for a place"),
    "p99_s": ("flo_dependency_p99_seconds", "p99 of the last 1,024 requests"),
    "idle_timeout_s": ("flo_dependency_idle_timeout_seconds", "What p99 is watched against"),
}
_ENGINE_COUNTERS = {
    "sent": ("flo_engine_sends", "Commands sent to an engine, retries included"),
    "retried": ("flo_engine_retries", "Sends that were retries"),
    "asked": ("flo_engine_asks", "Questions after what became of a command"),
}
_ENGINE_GAUGES = {
    "queued": ("flo_engine_commands_queued", "Commands that wait for their turn"),
    "in_flight": ("flo_engine_commands_in_flight", "Commands being sent"),
    "awaiting": ("flo_engine_commands_awaiting", "Commands that an engine has taken and not ended"),
    "parked": ("flo_engine_commands_parked", "Commands of unknown fate that wait for a person"),
    "p99_s": ("flo_engine_p99_seconds", "p99 of the last 1,024 sends"),
}
_CIRCUIT = (
    "flo_engine_circuit_open",
    "1 while an engine that keeps failing is left alone, 0.5 while it is tried again",
)
_CIRCUIT_VALUES = {"closed": 0.0, "half-open": 0.5, "open": 1.0}

Dependencies = Callable[[], Mapping[str, FetchStats]]
Lanes = Callable[[], Mapping[str, LaneStats]]


class OutwardMetrics(Collector):
    """A collector for a registry; `dependencies` and `lanes` give the figures of now."""

    def __init__(self, dependencies: Dependencies, lanes: Lanes) -> None:
        self._dependencies = dependencies
        self._lanes = lanes

    def collect(self) -> Iterable[Metric]:
        dependencies, lanes = self._dependencies(), self._lanes()
        yield from _families("dependency", dependencies, _DEPENDENCY_COUNTERS, _DEPENDENCY_GAUGES)
        yield from _families("engine", lanes, _ENGINE_COUNTERS, _ENGINE_GAUGES)
        circuit = GaugeMetricFamily(*_CIRCUIT, labels=["engine"])
        for name, stats in lanes.items():
            circuit.add_metric([name], _CIRCUIT_VALUES[stats.circuit])
        yield circuit


def _families(
    label: str,
    figures: Mapping[str, Any],
    counters: Mapping[str, tuple[str, str]],
    gauges: Mapping[str, tuple[str, str]],
) -> Iterator[Metric]:
    for field, (name, about) in counters.items():
        counter = CounterMetricFamily(name, about, labels=[label])
        for of, stats in figures.items():
            counter.add_metric([of], getattr(stats, field))
        yield counter
    for field, (name, about) in gauges.items():
        gauge = GaugeMetricFamily(name, about, labels=[label])
        for of, stats in figures.items():
            value = getattr(stats, field)
            if value is not None:  # nothing was measured yet, or nothing declared
                gauge.add_metric([of], value)
        yield gauge
