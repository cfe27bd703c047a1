"""An open-loop HTTP client: `python -m bench.open_loop URL < plan`. The plan and the answer are one JSON object each.

Requests leave on schedule whether or not earlier ones were answered, and a latency counts from the scheduled time: so
a server that stalls is charged with everyone who had to wait, and the client's own delay counts against it too
(`lag_ms` shows how much that was). Plain sockets under `select`, which waits with microseconds: an event loop's timers
have milliseconds.
"""

from __future__ import annotations

import gc
import json
import select
import socket
import sys
import time
from collections import deque
from pathlib import Path
from urllib.parse import urlsplit

CONNECTIONS = 32
CONNECTIONS_MAX = 512
ANSWER_WAIT_S = 20.0


class Connection:
    """One kept-alive connection with at most one request under way."""

    __slots__ = ("due", "got", "need", "socket")

    def __init__(self, address: tuple[str, int]) -> None:
        self.socket = socket.create_connection(address)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.due = 0.0
        self.got = b""
        self.need = 0

    def fileno(self) -> int:
        return self.socket.fileno()

    def send(self, request: bytes, due: float) -> None:
        self.due, self.got, self.need = due, b"", 0
        self.socket.sendall(request)

    def receive(self) -> int:
        """The status when the answer is whole, else 0."""
        data = self.socket.recv(1 << 16)
        if not data:
            raise ConnectionError("the server closed the connection")
        self.got += data
        if not self.need:
            head, found, _ = self.got.partition(b"\r\n\r\n")
            if not found:
                return 0
            at = head.lower().index(b"content-length:") + 15
            self.need = len(head) + 4 + int(head[at:].split(b"\r\n", 1)[0])
        return int(self.got[9:12]) if len(self.got) >= self.need else 0


class Client:
    """Sends each request at its time, to whichever connection is free; opens more when none is."""

    def __init__(self, url: str, path: str) -> None:
        parts = urlsplit(url)
        assert parts.hostname is not None
        assert parts.port is not None
        self.address = (parts.hostname, parts.port)
        self.head = (
            f"POST {path} HTTP/1.1\r\nHost: {parts.netloc}\r\nContent-Type: application/cloudevents+json\r\n"
        )
        self.free = [Connection(self.address) for _ in range(CONNECTIONS)]
        self.busy: set[Connection] = set()
        self.latencies_ms: list[float] = []
        self.lags_ms: list[float] = []
        self.failed = 0

    def run(self, bodies: list[bytes], offsets_s: list[float]) -> None:
        """`offsets_s`: when each leaves, from the start."""
        requests = deque(f"{self.head}Content-Length: {len(body)}\r\n\r\n".encode() + body for body in bodies)
        began = time.perf_counter() + 0.05
        dues = deque(began + offset for offset in offsets_s)
        last = dues[-1]
        while dues or self.busy:
            now = time.perf_counter()
            while dues and dues[0] <= now and (self.free or len(self.busy) < CONNECTIONS_MAX):
                connection = self.free.pop() if self.free else Connection(self.address)
                due = dues.popleft()
                connection.send(requests.popleft(), due)
                self.busy.add(connection)
                now = time.perf_counter()
                self.lags_ms.append((now - due) * 1e3)
            if now > last + ANSWER_WAIT_S:
                raise TimeoutError(f"{len(self.busy)} requests were not answered within {ANSWER_WAIT_S:g} s")
            wait_s = max(0.0, dues[0] - now) if dues else 0.5
            for connection in select.select(self.busy, (), (), wait_s)[0]:
                status = connection.receive()
                if status:
                    self.latencies_ms.append((time.perf_counter() - connection.due) * 1e3)
                    self.failed += status != 200
                    self.busy.remove(connection)
                    self.free.append(connection)


def main() -> None:
    plan = json.load(sys.stdin)
    lines = Path(plan["signals"]).read_bytes().splitlines()
    bodies = lines[plan["first"] : plan["first"] + len(plan["offsets_s"])]
    client = Client(sys.argv[1], plan["path"])
    gc.disable()
    client.run(bodies, plan["offsets_s"])
    print(json.dumps({"ms": client.latencies_ms, "lag_ms": client.lags_ms, "failed": client.failed}))


if __name__ == "__main__":
    main()
