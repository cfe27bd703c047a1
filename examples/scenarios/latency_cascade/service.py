"""The enrichment service: four requests at a time, each as long as the hour makes it; whoever finds no place waits.

    python service.py

Prints where it listens. `GET /{card}` answers a profile, `POST /hour` with `{"took_s": seconds}` begins another hour and
answers how many requests came in the one before.
"""

from __future__ import annotations

import asyncio
import json
import signal

from aiohttp import web

PLACES = 4
GOOD_S = 0.02


class Enrichment:
    def __init__(self) -> None:
        self.requests = 0
        self.took_s = GOOD_S
        self._places = asyncio.Semaphore(PLACES)

    async def answer(self, request: web.Request) -> web.Response:
        self.requests += 1
        async with self._places:
            await asyncio.sleep(self.took_s)
        return web.json_response({"risk": len(request.match_info["card"]) % 7})

    async def turn(self, request: web.Request) -> web.Response:
        before, self.requests = self.requests, 0
        self.took_s = (await request.json())["took_s"]
        return web.json_response({"requests": before})


async def main() -> None:
    enrichment = Enrichment()
    app = web.Application()
    app.router.add_post("/hour", enrichment.turn)
    app.router.add_get("/{card}", enrichment.answer)
    runner = web.AppRunner(app, access_log=None)  # a caller that leaves keeps its place, as with most servers
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    print(json.dumps({"url": f"http://127.0.0.1:{runner.addresses[0][1]}"}), flush=True)
    ended = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, ended.set)
    await ended.wait()


if __name__ == "__main__":
    asyncio.run(main())
