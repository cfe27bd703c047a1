"""Good hours and bad ones by turns, and how long a loop that needs nothing takes in each.

    python examples/scenarios/latency_cascade/hours.py --rounds 12 --seconds 5        # or: flo bench cascade

The service, FLO, and two senders with a constant rate each are processes of their own. A latency counts from the moment
at which its request was due, so whoever had to wait is counted, and so is a sender that was late. Good and bad hours take
turns, each pair in the other order, so that what the machine does besides hits both.
"""

from __future__ import annotations

import argparse
import json
import random
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
if str(HERE.parent) not in sys.path:
    sys.path.append(str(HERE.parent))

from stage import Program, RunningFlo, copied, running  # noqa: E402
from watched import event  # noqa: E402

CLIENT = HERE.parents[2] / "bench" / "open_loop.py"
SERVICE = "http://127.0.0.1:8762"
GOOD_S, BAD_S = 0.02, 0.3
CARDS = 200
PAYMENTS_PER_S, LOGINS_PER_S = 100, 200
SETTLE_S = 2.5
"""Between two hours: what is cached lives two seconds, and what waits at the service is gone by then."""


class Service:
    """The process of the service, and its hours."""

    def __init__(self) -> None:
        self._program = Program(str(HERE / "service.py"))
        self.url = str(self._program.said["url"])

    def turn(self, took_s: float) -> int:
        """Begin another hour; the requests of the one before."""
        body = json.dumps({"took_s": took_s}).encode()
        request = urllib.request.Request(self.url + "/hour", body, {"Content-Type": "application/json"})
        with urllib.request.urlopen(request, timeout=30) as answer:
            return int(json.load(answer)["requests"])

    def close(self) -> None:
        self._program.stop()


def cards(count: int) -> list[str]:
    """The cards of the traffic, the same each time: some are seen often, most seldom."""
    chosen = random.Random(11)
    return [f"c{int(CARDS * chosen.random() ** 2)}" for _ in range(count)]


def quantile(seconds: list[float], q: float) -> float:
    return sorted(seconds)[min(len(seconds) - 1, int(q * len(seconds)))]


class Traffic:
    """Payments and logins at their rates, none of them sent twice."""

    def __init__(self, home: Path, flo: RunningFlo, hours: int, seconds: float) -> None:
        self._url = flo.url
        self._seconds = seconds
        self._hour = 0
        payments, logins = (int(hours * seconds * rate) for rate in (PAYMENTS_PER_S, LOGINS_PER_S))
        self._files = {
            "payments": (home / "payments.ndjson", PAYMENTS_PER_S),
            "logins": (home / "logins.ndjson", LOGINS_PER_S),
        }
        bodies = {
            "payments": [event("payment", {"card": card}) for card in cards(payments)],
            "logins": [event("login", {"user": f"u{number}"}) for number in range(logins)],
        }
        for name, (path, _) in self._files.items():
            path.write_text("\n".join(map(json.dumps, bodies[name])))

    def hour(self) -> dict[str, Any]:
        """One hour of both; by name the latencies in milliseconds."""
        senders = {name: self._sender(path, rate) for name, (path, rate) in self._files.items()}
        self._hour += 1
        found = {}
        try:
            for name, sender in senders.items():
                out, words = sender.communicate()
                if sender.returncode:
                    raise OSError(f"the sender of {name} failed: {words[-500:]}")
                found[name] = json.loads(out)
                if found[name]["failed"]:
                    raise OSError(f"{found[name]['failed']} {name} were not decided")
        finally:
            for sender in senders.values():
                sender.kill()
                sender.wait()
        return found

    def _sender(self, path: Path, rate: int) -> subprocess.Popen[str]:
        count = int(self._seconds * rate)
        plan = {
            "signals": str(path),
            "first": self._hour * count,
            "offsets_s": [number / rate for number in range(count)],
            "path": "/v1/decisions",
        }
        sender = subprocess.Popen(
            [sys.executable, str(CLIENT), self._url],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        assert sender.stdin is not None
        sender.stdin.write(json.dumps(plan))
        sender.stdin.close()
        sender.stdin = None  # `communicate` would write to it
        return sender


def measure(
    flo: RunningFlo,
    service: Service,
    home: Path,
    rounds: int,
    seconds: float,
    after: Callable[[str, int], None] = lambda hour, round: None,
) -> dict[str, Any]:
    """Figures of all hours. `after` is told of each when it is over."""
    traffic = Traffic(home, flo, 2 * rounds + 1, seconds)
    service.turn(GOOD_S)
    traffic.hour()  # all that is slow once is slow now
    plain: dict[str, list[list[float]]] = {"good": [], "bad": []}
    lag_ms: list[float] = []
    requests = {"good": 0, "bad": 0}
    for number in range(rounds):
        for hour in ("good", "bad") if number % 2 == 0 else ("bad", "good"):
            time.sleep(SETTLE_S)
            service.turn(GOOD_S if hour == "good" else BAD_S)
            found = traffic.hour()
            requests[hour] += service.turn(GOOD_S)
            plain[hour].append(found["logins"]["ms"])
            lag_ms += found["logins"]["lag_ms"]
            after(hour, number)
    p99s = {hour: [quantile(each, 0.99) for each in plain[hour]] for hour in plain}
    pooled = {hour: [ms for each in plain[hour] for ms in each] for hour in plain}
    return {
        "rounds": rounds,
        "seconds": seconds,
        "logins": sum(map(len, pooled.values())),
        "payments": (2 * rounds + 1) * int(seconds * PAYMENTS_PER_S),
        "good": _figures(pooled["good"], requests["good"]),
        "bad": _figures(pooled["bad"], requests["bad"]),
        "p99s_ms": {hour: [round(each, 2) for each in p99s[hour]] for hour in p99s},
        "ratio": round(quantile(pooled["bad"], 0.99) / quantile(pooled["good"], 0.99), 3),
        "ratio_by_round": round(
            statistics.median(bad / good for bad, good in zip(p99s["bad"], p99s["good"], strict=True)), 3
        ),
        "lag_p99_ms": round(quantile(lag_ms, 0.99), 2),
    }


def _figures(ms: list[float], requests: int) -> dict[str, Any]:
    return {
        "median_ms": round(statistics.median(ms), 2),
        "p99_ms": round(quantile(ms, 0.99), 2),
        "requests": requests,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--rounds", type=int, default=12)
    parser.add_argument("--seconds", type=float, default=5.0)
    given = parser.parse_args()
    service = Service()
    try:
        with tempfile.TemporaryDirectory(prefix="flo-cascade-") as scratch:
            home = Path(scratch)
            bundle = copied(HERE / "bundle", home / "bundle", {SERVICE: service.url})
            with running(bundle, home / "data") as flo:
                print(json.dumps(measure(flo, service, home, given.rounds, given.seconds)))
    finally:
        service.close()


if __name__ == "__main__":
    main()
