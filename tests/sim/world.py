"""A bundle with everything that can go wrong in it, and what its loops must decide, worked out by hand.

The oracle knows nothing of FLO's code: it keeps every signal it was given and counts from the beginning each time.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

S = 1_000_000_000
MINUTE = 60 * S
START = datetime(2026, 1, 5, 10, tzinfo=UTC)
START_NS = int(START.timestamp()) * S

FLO_YAML = """
engines:
  hook: {kind: webhook, url: "HOOK_URL", allow_private: true, honours_key: HONOURS,
         timeout: 5s, backoff: 20ms, backoff_max: 100ms}
  worker: {kind: python, timeout: 10s, backoff: 20ms, backoff_max: 100ms}
"""

PAY = """
loop: pay
on: pay.made
contract: pay.made/1
key: data.card
ttl: 1d
state:
  count_10m: {count: true, over: 10m}
  sum_10m: {sum: data.amount, over: 10m}
  big_1h: {count: data.amount > 80, over: 1h}
  total: {sum: data.amount}
  everyone: {count: true, over: 1h, shared: true}
rules:
  - id: often
    when: state.count_10m >= 3 && state.sum_10m > 100
    result: review
    once_within: 5m
    then:
      - do: hook.call
        with: {card: '${data.card}', count: '${state.count_10m}', everyone: '${state.everyone}'}
      - do: emit
        with: {type: pay.flagged, data: {card: '${data.card}', sum: '${state.sum_10m}'}}
  - id: big
    when: data.amount > 90
    result: slow
    then:
      - do: hook.trigger
        with: {amount: '${data.amount}'}
        expect: {signal: run.finished, where: data.key == command.key, within: 30m}
  - id: odd
    when: data.amount % 7 == 0
    then:
      - do: worker.call
        with: {function: double, amount: '${data.amount}'}
otherwise: ok
"""

FLAGGED = """
loop: flagged
on: pay.flagged
key: data.card
ttl: 1d
state:
  times: {count: true}
rules:
  - id: third
    when: state.times % 3 == 0
    then:
      - do: review
        with: {card: '${data.card}'}
otherwise: noted
"""

FUNCTIONS = """
def double(arguments):
    return {"twice": arguments["amount"] * 2}
"""

CONTRACT = {
    "type": "object",
    "properties": {"card": {"type": "string"}, "amount": {"type": "integer"}},
    "required": ["card", "amount"],
}


def bundle_files(hook_url: str = "http://127.0.0.1:9/", *, honours_key: bool = True) -> dict[str, bytes]:
    flo_yaml = FLO_YAML.replace("HOOK_URL", hook_url).replace("HONOURS", str(honours_key).lower())
    return {
        "flo.yaml": flo_yaml.encode(),
        "loops/pay.yaml": PAY.encode(),
        "loops/flagged.yaml": FLAGGED.encode(),
        "functions.py": FUNCTIONS.encode(),
        "contracts/pay.made/1.json": json.dumps(CONTRACT).encode(),
    }


@dataclass(frozen=True)
class Payment:
    """A signal of the tests; `at_s` counts from the start."""

    id: str
    card: str
    amount: int
    at_s: float

    def raw(self) -> bytes:
        event = {
            "specversion": "1.0",
            "id": self.id,
            "source": "terminal",
            "type": "pay.made",
            "time": (START + timedelta(seconds=self.at_s)).isoformat().replace("+00:00", "Z"),
            "data": {"card": self.card, "amount": self.amount},
        }
        return json.dumps(event).encode()


def finished(id: str, key: str) -> bytes:
    """The effect that a `big` command promised."""
    event = {
        "specversion": "1.0",
        "id": id,
        "source": "engine",
        "type": "run.finished",
        "data": {"key": key},
    }
    return json.dumps(event).encode()


@dataclass
class Decided:
    """What the oracle says of one payment."""

    key: str
    seq: int
    state: dict[str, int]
    rule: str | None
    suppressed: bool
    commands: list[str]


@dataclass
class _Card:
    received: list[tuple[int, int]] = field(default_factory=list)
    in_window: dict[int, list[tuple[int, int]]] = field(default_factory=dict)
    last_often_ns: int = 0


@dataclass
class PayOracle:
    """The loop `pay` on payments in the order FLO took them."""

    cards: dict[str, _Card] = field(default_factory=dict)

    def decide(self, card: str, amount: int, t: int) -> Decided:
        of = self.cards.setdefault(card, _Card())
        newest = max((time for time, _ in of.received), default=None)
        of.received.append((t, amount))
        ten = self._window(of, t, amount, newest, 10 * MINUTE)
        hour = self._window(of, t, amount, newest, 60 * MINUTE)
        state = {
            "count_10m": len(ten),
            "sum_10m": sum(ten),
            "big_1h": sum(amount > 80 for amount in hour),
            "total": sum(amount for _, amount in of.received),
        }
        seq = len(of.received)
        rule, suppressed, commands = None, False, []
        if state["count_10m"] >= 3 and state["sum_10m"] > 100:
            if of.last_often_ns and t - of.last_often_ns < 5 * MINUTE:
                suppressed = True
            else:
                of.last_often_ns = t
                rule, commands = "often", [f"pay/{card}/{seq}/often/{n}" for n in (0, 1)]
        if rule is None and amount > 90:
            rule, commands = "big", [f"pay/{card}/{seq}/big/0"]
        elif rule is None and amount % 7 == 0:
            rule, commands = "odd", [f"pay/{card}/{seq}/odd/0"]
        return Decided(card, seq, state, rule, suppressed, commands)

    @staticmethod
    def _window(of: _Card, t: int, amount: int, newest: int | None, over: int) -> list[int]:
        """Amounts inside (moment − over, moment]. What is older than the window changes nothing, and reads at its end."""
        moment = t
        taken = of.in_window.setdefault(over, [])
        if newest is not None and t <= newest - over:
            moment = newest
        else:
            taken.append((t, amount))
        return [amount for time, amount in taken if moment - over < time <= moment]


def decide_all(payments: Iterable[tuple[str, int, int]]) -> list[Decided]:
    oracle = PayOracle()
    return [oracle.decide(*payment) for payment in payments]


def as_json(raw: bytes) -> Any:
    return json.loads(raw)
