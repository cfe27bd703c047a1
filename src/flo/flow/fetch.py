"""Dependencies: what loops read from shared services before they decide.

A fetch never fails and never takes longer than its dependency's deadline: what is not there by then is
`missing`, with the reason, and the loop decides without it. Identical fetches in flight are one request;
concurrency and rate are held per dependency; nothing is sent for callers that are all gone. A request is sent
again only where a kept connection turned out dead, and within a budget of a tenth, so a service in trouble is
never asked more than 1.1 times as often.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Mapping
from typing import Any, Protocol

import msgspec

from flo.core.errors import UsageError
from flo.core.loop.definition import DependencyDefinition
from flo.flow.fetch_cache import FetchCache
from flo.flow.http_get import FetchFailed, HttpGet
from flo.flow.key_url import KeyUnusable, KeyUrl
from flo.flow.latency import RecentLatencies
from flo.flow.pace import Pace
from flo.flow.versions import NewestVersions
from flo.ports.clock import Clock

NS_PER_S = 1_000_000_000
NS_PER_MS = 1_000_000

QUEUED_MAX = 10_000
"""Keys waiting for a place. Their callers leave at the deadline; this bounds what a burst within one deadline
may hold.
"""

RETRY_SHARE = 0.1
RETRY_TOKENS_MAX = 10.0


class Fetched(msgspec.Struct, frozen=True, kw_only=True):
    """What became of one fetch. `value` is None where `missing`; `age_s` is above 0 where it came from the
    cache.
    """

    value: Any = None
    missing: bool = False
    reason: str = ""  # deadline | overloaded | unusable key: ... | status 503 | timeout | unreachable: ...
    age_s: float = 0.0
    ms: float = 0.0  # how long the caller waited


class FetchStats(msgspec.Struct, frozen=True, kw_only=True):
    """Figures of one dependency since the start. Latencies are of requests, over the last 1,024."""

    fetches: int
    requests: int
    cached: int
    coalesced: int
    missing: int
    late: int  # of those missing: the answer came after the deadline, or never
    retried: int
    in_flight: int
    queued: int
    p50_s: float | None
    p99_s: float | None
    idle_timeout_s: float | None  # what p99 is watched against
    stale: int = 0  # answers with an older version than an earlier one of the same key
    stale_key: str = ""  # the key of the last one


class Transport(Protocol):
    """How a dependency is reached; `HttpGet` is the real one."""

    async def get(self, url: str) -> tuple[object, int]:
        """(value, size in bytes), or `FetchFailed`. Bounds its own time and size."""
        ...

    async def close(self) -> None: ...


class _Flight:
    """One request and whoever waits for it."""

    __slots__ = ("key", "url", "waiters")

    def __init__(self, key: str, url: str) -> None:
        self.key = key
        self.url = url
        self.waiters: list[asyncio.Future[Fetched]] = []

    def wanted(self) -> bool:
        return any(not waiter.done() for waiter in self.waiters)


class _Dependency:
    """One dependency's cache, queue and requests."""

    def __init__(self, definition: DependencyDefinition, clock: Clock, transport: Transport) -> None:
        self.definition = definition
        self.transport = transport
        self.counts = dict.fromkeys(
            ("fetches", "requests", "cached", "coalesced", "missing", "late", "retried", "stale"), 0
        )
        self.latencies = RecentLatencies()
        self._clock = clock
        self._url = KeyUrl(definition.url)
        self._deadline_ns = round(definition.deadline_s * NS_PER_S)
        self._cache = FetchCache(round(definition.cache_s * NS_PER_S))
        self._pace = Pace(definition.rate_per_s)
        self._versions = NewestVersions(definition.version)
        self._stale_key = ""
        self._flights: dict[str, _Flight] = {}
        self._queue: deque[_Flight] = deque()
        self._requests: set[asyncio.Task[None]] = set()
        self._limits: deque[tuple[int, asyncio.Future[Fetched]]] = deque()
        self._reaper: asyncio.Task[None] | None = None
        self._pacer: asyncio.Task[None] | None = None
        self._retry_tokens = 1.0
        self._closing = False  # no new callers
        self._closed = False  # no new requests

    async def fetch(self, key: str) -> Fetched:
        now_ns = self._clock.now_ns()
        self.counts["fetches"] += 1
        hit = self._cache.get(key, now_ns)
        if hit is not None:
            value, reason, fetched_ns = hit
            self.counts["cached"] += 1
            self.counts["missing"] += bool(reason)
            age_s = (now_ns - fetched_ns) / NS_PER_S
            return Fetched(value=value, missing=bool(reason), reason=reason, age_s=age_s)
        flight = self._flights.get(key)
        if flight is not None:
            self.counts["coalesced"] += 1
        else:
            try:
                flight = self._queue_flight(key)
            except KeyUnusable as error:
                return self._missed(f"unusable key: {error}")
            if flight is None:
                return self._missed("closed" if self._closing else "overloaded")
        waiter: asyncio.Future[Fetched] = asyncio.get_running_loop().create_future()
        flight.waiters.append(waiter)
        self._limits.append((now_ns + self._deadline_ns, waiter))
        if self._reaper is None:
            self._reaper = asyncio.ensure_future(self._reap())
        self._pump()
        result = await waiter
        self.counts["missing"] += result.missing
        self.counts["late"] += result.reason == "deadline"
        return msgspec.structs.replace(result, ms=(self._clock.now_ns() - now_ns) / NS_PER_MS)

    def _missed(self, reason: str) -> Fetched:
        self.counts["missing"] += 1
        return Fetched(missing=True, reason=reason)

    def _queue_flight(self, key: str) -> _Flight | None:
        if self._closing or len(self._queue) >= QUEUED_MAX:
            return None
        flight = _Flight(key, self._url.render(key))
        self._flights[key] = flight
        self._queue.append(flight)
        return flight

    def _pump(self) -> None:
        while self._queue and len(self._requests) < self.definition.concurrency and not self._closed:
            if not self._queue[0].wanted():
                del self._flights[self._queue.popleft().key]
                continue
            now_ns = self._clock.now_ns()
            free_ns = self._pace.free_at_ns(now_ns)
            if free_ns > now_ns:
                if self._pacer is None:
                    self._pacer = asyncio.ensure_future(self._pump_at(free_ns))
                return
            self._pace.take(now_ns)
            self._requests.add(asyncio.ensure_future(self._request(self._queue.popleft())))

    async def _pump_at(self, when_ns: int) -> None:
        await self._clock.sleep_until_ns(when_ns)
        self._pacer = None
        self._pump()

    async def _request(self, flight: _Flight) -> None:
        value, size_bytes, reason = None, 0, ""
        try:
            value, size_bytes = await self._send(flight.url)
        except FetchFailed as error:
            reason = error.reason
        finally:
            self._flights.pop(flight.key, None)
            task = asyncio.current_task()
            assert task is not None
            self._requests.discard(task)
        if self._versions.went_back(flight.key, value):
            self.counts["stale"] += 1
            self._stale_key = flight.key
        # "There is no such profile" is an answer and is kept like one; a service in trouble is asked again.
        if not reason or reason == "status 404":
            self._cache.put(flight.key, value, reason, self._clock.now_ns(), size_bytes)
        result = Fetched(value=value, missing=bool(reason), reason=reason)
        for waiter in flight.waiters:
            if not waiter.done():
                waiter.set_result(result)
        self._pump()

    async def _send(self, url: str) -> tuple[object, int]:
        self._retry_tokens = min(RETRY_TOKENS_MAX, self._retry_tokens + RETRY_SHARE)
        while True:
            self.counts["requests"] += 1
            start_ns = self._clock.now_ns()
            try:
                return await self.transport.get(url)
            except FetchFailed as error:
                if not error.stale or self._retry_tokens < 1.0 or self._closed:
                    raise
                self._retry_tokens -= 1.0
                self.counts["retried"] += 1
            finally:
                self.latencies.add(self._clock.now_ns() - start_ns)

    async def _reap(self) -> None:
        """Send callers home at their deadline. Deadlines are equal, so the oldest caller's is always the
        next.
        """
        while self._limits:
            limit_ns, waiter = self._limits[0]
            if not waiter.done():
                now_ns = self._clock.now_ns()
                if now_ns < limit_ns:
                    await self._clock.sleep_until_ns(limit_ns)
                    continue
                waiter.set_result(Fetched(missing=True, reason="deadline"))
            self._limits.popleft()
        self._reaper = None

    def stats(self) -> FetchStats:
        p50_s, p99_s = self.latencies.quantiles_s(0.5, 0.99)
        return FetchStats(
            in_flight=len(self._requests),
            queued=len(self._queue),
            p50_s=p50_s,
            p99_s=p99_s,
            idle_timeout_s=self.definition.idle_timeout_s,
            stale_key=self._stale_key,
            **self.counts,
        )

    async def close(self) -> None:
        self._closing = True
        if waiting := [waiter for _, waiter in self._limits if not waiter.done()]:
            await asyncio.wait(waiting)
        self._closed = True
        tasks = [*self._requests, *(task for task in (self._reaper, self._pacer) if task is not None)]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await self.transport.close()


class Fetcher:
    """Fetches from every dependency of a bundle. Used from one event loop; connections open on first use."""

    def __init__(
        self,
        dependencies: Mapping[str, DependencyDefinition],
        clock: Clock,
        transport: Callable[[DependencyDefinition], Transport] = HttpGet,
    ) -> None:
        self._dependencies = {
            name: _Dependency(definition, clock, transport(definition))
            for name, definition in dependencies.items()
        }

    async def fetch(self, dependency: str, key: str) -> Fetched:
        """The value of `key`, or why it is missing, at the dependency's deadline at the latest. Raises for
        nothing but an unknown dependency. The value is shared with other callers: read it, do not change
        it."""
        try:
            known = self._dependencies[dependency]
        except KeyError:
            names = ", ".join(sorted(self._dependencies)) or "none"
            message = f"there is no dependency `{dependency}`; the dependencies are: {names}"
            raise UsageError(message) from None
        return await known.fetch(key)

    def stats(self) -> dict[str, FetchStats]:
        return {name: dependency.stats() for name, dependency in self._dependencies.items()}

    async def close(self) -> None:
        """New callers get `missing`; those that wait are served to the end, which their deadline bounds. Then
        connections are closed.
        """
        await asyncio.gather(*(dependency.close() for dependency in self._dependencies.values()))
