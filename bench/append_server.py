"""The ceiling of the latency benchmark: `python -m bench.append_server FILE`.

A bare aiohttp handler: the body is appended to a file, synced with fdatasync, and answered. It reads nothing in the
body, decides nothing, and serves one request after the other; it is as short as a durable answer over aiohttp can be.
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys

import uvloop
from aiohttp import web


async def serve(path: str) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT, 0o640)
    os.posix_fallocate(descriptor, 0, 64 << 20)
    end = 0

    async def append(request: web.Request) -> web.Response:
        nonlocal end
        body = await request.read()
        end += os.pwrite(descriptor, body, end)
        os.fdatasync(descriptor)
        return web.Response(body=b'{"taken":1}', content_type="application/json")

    app = web.Application()
    app.router.add_post("/", append)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    port = runner.addresses[0][1]
    print(json.dumps({"url": f"http://127.0.0.1:{port}"}), flush=True)
    stop = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
    await stop.wait()
    await runner.cleanup()
    os.close(descriptor)


if __name__ == "__main__":
    uvloop.run(serve(sys.argv[1]))
