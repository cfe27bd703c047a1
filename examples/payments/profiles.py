"""A small profile service: what the bank knows of a card.

    python profiles.py --port 8760 --seed 7
    curl http://127.0.0.1:8760/profiles/c000017

`GET /profiles/{card}` answers 200 with the profile, 404 for a card it does not know, and 429 with
`Retry-After` above its rate. `GET /healthz` answers what it served. The profiles follow from the seed, as
the traffic's cards do.

Port 0 takes a free port; the first line on stdout says which. SIGTERM and SIGINT end it: answers under way
are given, then it exits with 0.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import math
import random
import signal
import sys
import time
from dataclasses import dataclass, field

import msgspec
import uvloop
from aiohttp import web
from population import Population, card_number

RATE_PER_S = 3000.0
BURST_S = 0.1
"""The bucket holds this many seconds' worth of requests."""

_PREFIX = "/profiles/"
_JSON = {"Content-Type": "application/json"}


@dataclass
class TokenBucket:
    """`rate_per_s` on average, bursts up to `capacity`; never less than one at a time."""

    rate_per_s: float
    capacity: float
    tokens: float = field(init=False)
    _filled_s: float | None = field(init=False, default=None)

    def __post_init__(self) -> None:
        self.capacity = max(1.0, self.capacity)
        self.tokens = self.capacity

    def take(self, now_s: float) -> float:
        """0 where a request may be served, else how many seconds until one may."""
        if self._filled_s is not None:
            self.tokens = min(self.capacity, self.tokens + max(0.0, now_s - self._filled_s) * self.rate_per_s)
        self._filled_s = now_s
        if self.tokens >= 1.0:
            self.tokens -= 1.0
            return 0.0
        return (1.0 - self.tokens) / self.rate_per_s


class ProfileService:
    """Answers requests; `latency_ms` is the median of what it waits before each, log-normally spread."""

    def __init__(
        self, population: Population, rate_per_s: float = RATE_PER_S, latency_ms: float = 0.0
    ) -> None:
        self.population = population
        self.latency_ms = latency_ms
        self.served = 0
        self.refused = 0
        self._bucket = TokenBucket(rate_per_s, rate_per_s * BURST_S)
        self._bodies: dict[int, bytes] = {}  # at most one a card: 20,000 take 4 MB
        self._spread = random.Random(population.seed)

    async def handle(self, request: web.BaseRequest) -> web.StreamResponse:
        path = request.path
        if request.method != "GET":
            return _error(405, "only GET")
        if path == "/healthz":
            body = {"served": self.served, "refused": self.refused}
            return web.Response(body=msgspec.json.encode(body), headers=_JSON)
        if not path.startswith(_PREFIX):
            return _error(404, f"no such resource: {path[:80]}; profiles are at {_PREFIX}{{card}}")
        wait_s = self._bucket.take(time.monotonic())
        if wait_s:
            self.refused += 1
            return _error(429, "too many requests", {"Retry-After": str(math.ceil(wait_s))})
        if self.latency_ms:
            await asyncio.sleep(self.latency_ms / 1000.0 * self._spread.lognormvariate(0.0, 0.3))
        number = card_number(path[len(_PREFIX) :])
        if number is None or number >= self.population.cards:
            return _error(404, f"no such card: {path[len(_PREFIX) :][:40]}")
        self.served += 1
        return web.Response(body=self._body(number), headers=_JSON)

    def _body(self, card: int) -> bytes:
        body = self._bodies.get(card)
        if body is None:
            body = self._bodies[card] = msgspec.json.encode(self.population.profile(card))
        return body


def _error(status: int, detail: str, headers: dict[str, str] | None = None) -> web.Response:
    return web.Response(
        status=status, body=msgspec.json.encode({"detail": detail}), headers={**_JSON, **(headers or {})}
    )


async def serve(service: ProfileService, host: str, port: int) -> None:
    """Serve until SIGTERM or SIGINT."""
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    runner = web.ServerRunner(web.Server(service.handle, access_log=None), handle_signals=False)
    await runner.setup()
    site = web.TCPSite(runner, host, port, shutdown_timeout=2.0)
    await site.start()
    bound = runner.addresses[0]
    print(f"profiles: listening on http://{bound[0]}:{bound[1]}", flush=True)
    await stop.wait()
    await runner.cleanup()


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description="Serve the profiles of the example's cards over HTTP.")
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=8760, help="0 for a free one")
    parser.add_argument("--seed", type=int, default=7, help="the traffic's seed")
    parser.add_argument("--cards", type=int, default=20_000)
    parser.add_argument(
        "--rate", type=float, default=RATE_PER_S, help="requests a second, above which it answers 429"
    )
    parser.add_argument("--latency-ms", type=float, default=0.0, help="median wait before an answer")
    options = parser.parse_args(arguments)
    if options.rate <= 0:
        parser.error(f"--rate is {options.rate}: it must be above 0")
    service = ProfileService(Population(options.seed, options.cards), options.rate, options.latency_ms)
    with contextlib.suppress(KeyboardInterrupt):
        uvloop.run(serve(service, options.host, options.port))
    return 0


if __name__ == "__main__":
    sys.exit(main())
