"""Services of the pipeline in one process, each an HTTP server of its own: it works, calls those behind it, and answers.

python services.py COLLECTOR '{"names": [...], "calls": {...}, "addresses": {...}, "stall_s": 0, "at_once": 100}'
"""

from __future__ import annotations

import asyncio
import json
import signal
import sys
import time
from typing import Any

import aiohttp
from aiohttp import web
from tracing import CLIENT, SERVER, Tracer, caller_of, new_id, traceparent

WORK_S = 0.002


class Service:
    """One step."""

    def __init__(
        self, name: str, options: dict[str, Any], tracer: Tracer, session: aiohttp.ClientSession
    ) -> None:
        self.name = name
        self._options = options
        self._tracer = tracer
        self._session = session
        self._at_once = asyncio.Semaphore(options["at_once"])

    async def handle(self, request: web.Request) -> web.Response:
        trace, parent = caller_of(request.headers.get("traceparent"))
        span, start_ns = new_id(8), time.time_ns()
        await asyncio.sleep(self._options["stall_s"] or WORK_S)
        called = self._options["calls"].get(self.name, ())
        if self._options["beside"]:
            await asyncio.gather(*(self._call(name, trace, span) for name in called))
        else:
            for name in called:
                await self._call(name, trace, span)
        self._tracer.finish(self.name, SERVER, "handle", trace, parent, span, start_ns)
        return web.json_response({"status": "ok"})

    async def _call(self, name: str, trace: str, parent: str) -> None:
        address, span, start_ns = self._options["addresses"][name], new_id(8), time.time_ns()
        headers = {"traceparent": traceparent(trace, span)}
        async with self._at_once, self._session.get(address, headers=headers) as response:
            response.raise_for_status()
            await response.read()
        self._tracer.finish(self.name, CLIENT, f"GET {name}", trace, parent, span, start_ns, address)


async def main(collector: str, options: dict[str, Any]) -> None:
    tracer = Tracer(collector)
    tracer.start()
    addresses: dict[str, str] = options["addresses"]
    async with aiohttp.ClientSession() as session:
        for name in reversed(options["names"]):
            service = Service(name, options, tracer, session)
            app = web.Application()
            app.router.add_get("/", service.handle)
            runner = web.AppRunner(app, access_log=None)
            await runner.setup()
            site = web.TCPSite(runner, "127.0.0.1", 0)
            await site.start()
            addresses[name] = f"http://127.0.0.1:{runner.addresses[0][1]}/"
        print(json.dumps({name: addresses[name] for name in options["names"]}), flush=True)
        ended = asyncio.Event()
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, ended.set)
        await ended.wait()


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], json.loads(sys.argv[2])))
