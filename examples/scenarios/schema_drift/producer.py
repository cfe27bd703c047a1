"""The upstream: a process that sends transactions as fast as they are taken, and whose schema changes on the way.

    python producer.py URL COUNT DRIFT_AT SOURCE

From transaction DRIFT_AT on the field `amount` is called `total`: the release nobody told the others about.
Prints one JSON line when it is done.
"""

from __future__ import annotations

import http.client
import json
import sys
import time
from urllib.parse import urlsplit

BATCH = 1_000
CARDS = 5_000
PATIENCE_S = 0.2


def transaction(number: int, drift_at: int, source: str) -> str:
    field = "amount" if number < drift_at else "total"
    amount = number * 7919 % 1000
    return (
        f'{{"specversion":"1.0","id":"t{number}","source":"{source}","type":"tx.authorized",'
        f'"data":{{"n":{number},"card":"c{number % CARDS}","{field}":{amount}}}}}'
    )


def send(connection: http.client.HTTPConnection, body: bytes) -> dict[str, object]:
    """Once taken; what is refused for now is sent again, as any sender does."""
    while True:
        connection.request("POST", "/v1/signals", body, {"Content-Type": "application/x-ndjson"})
        answer = connection.getresponse()
        content = answer.read()
        if answer.status == 202:
            said: dict[str, object] = json.loads(content)
            return said
        if answer.status not in (429, 503):
            raise OSError(f"{answer.status}: {content[:200]!r}")
        time.sleep(PATIENCE_S)


def main() -> None:
    url, count, drift_at, source = sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), sys.argv[4]
    parts = urlsplit(url)
    connection = http.client.HTTPConnection(parts.hostname or "", parts.port, timeout=60)
    accepted = rejected = 0
    began_s = time.monotonic()
    for start in range(0, count, BATCH):
        lines = [transaction(number, drift_at, source) for number in range(start, min(start + BATCH, count))]
        said = send(connection, "\n".join(lines).encode())
        accepted += int(str(said["accepted"]))
        rejected += len(list(said["rejected"]))  # type: ignore[call-overload]
    took_s = time.monotonic() - began_s
    print(json.dumps({"accepted": accepted, "rejected": rejected, "seconds": took_s}))


if __name__ == "__main__":
    main()
