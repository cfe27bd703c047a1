"""Random bundles and random traffic, for tests that must hold whatever comes."""

from __future__ import annotations

from typing import Any

from hypothesis import strategies as st
from tests.flow.looping import ENGINES, Rig, at, bundle, event

from flo.flow.reload import LoadedBundle

FLO = ENGINES + 'dependencies: {profiles: {kind: http, url: "http://127.0.0.1:9/{key}"}}\n'

FUNCTIONS = """
def risk(card: str, amount: float) -> float:
    if amount > 90.0:
        raise ValueError(f"{card} is too rich")
    return amount * 2.0

def tags(card: str) -> list[str]:
    return [card, "x"]
"""

STATES = {
    "c": "{count: 'true'}",
    "cw": "{count: 'data.amount > 20.0', over: 60s}",
    "s": "{sum: data.amount}",
    "si": "{sum: data.n, over: 60s}",
    "m": "{mean: data.amount, over: 60s}",
    "mi": "{min: data.amount, over: 60s}",
    "ma": "{max: data.n}",
    "sd": "{std: data.amount, over: 60s}",
    "sh": "{share: data.ok, over: 60s}",
    "e": "{ewma: data.amount, half_life: 30s}",
    "l": "{last: data.note}",
    "ln": "{last: data.amount, over: 60s}",
    "lt": "{last: signal.time}",
    "q": "{quantile: data.amount, q: 0.5, over: 60s}",
    "d": "{distinct: data.note, over: 60s}",
    "all": "{count: 'true', over: 60s, shared: true}",
    "alls": "{sum: data.amount, over: 60s, shared: true}",
    "alld": "{distinct: data.card, over: 60s, shared: true}",
}
"""Every kind of state, with and without a window, by key and shared."""

CONDITIONS = [
    ("", "data.amount > 50.0 && data.n % 2 == 0"),
    ("c", "state.c >= 3"),
    ("cw", "state.cw > 1 || 10 / data.n > 3"),
    ("s", "state.s > 100.0"),
    ("si", "state.si > 5"),
    ("m", "state.m > 30.0"),
    ("mi", "state.mi < 10.0"),
    ("ma", "state.ma == data.n"),
    ("sd", "state.sd > 12.0"),
    ("sh", "state.sh > 0.5"),
    ("e", "state.e > 40.0"),
    ("l", 'state.l.changed && state.l.previous == "b"'),
    ("ln", "state.ln.delta > 5.0"),
    ("lt", 'state.lt.delta > duration("20s") && state.lt.value == signal.time'),
    ("q", "state.q > 30.0"),
    ("d", "state.d >= 2"),
    ("all", "state.all > 3"),
    ("alls", "state.alls > 120.0"),
    ("alld", "state.alld > 2"),
    ("", "need.p.missing || need.p.score > 3"),
    ("", "risk(data.card, data.amount) > 60.0"),
    ("", 'size(tags(data.card)) == 2 && data.note == "a"'),
    ("", "context.hops > 1 || context.deadline < now"),
    ("", 'loop.seq > 3 && loop.key != "z"'),
    ("", 'has(data.note) && data.note in ["a", "c"]'),
    ("", "1 / data.n == 1"),
]

SCHEMA = {
    "type": "object",
    "properties": {
        "card": {"type": "string"},
        "amount": {"type": "number"},
        "n": {"type": "integer"},
        "ok": {"type": "boolean"},
        "note": {"type": "string"},
    },
    "required": ["card", "amount", "n", "ok", "note"],
}


@st.composite
def loops(draw: st.DrawFn, mask: bool = True) -> str:
    """One loop file."""
    states = draw(st.lists(st.sampled_from(sorted(STATES)), max_size=6, unique=True))
    usable = [text for state, text in CONDITIONS if not state or state in states]
    lines = ["on: tx", "key: data.card", "needs: {p: profiles}", "ttl: 10m", "hops: 4"]
    if draw(st.booleans()):
        lines.append("contract: full/1")
    if draw(st.integers(0, 3)) == 0:
        lines.append("where: data.n != 3")
    if draw(st.booleans()):
        lines.append("fresh: {data: 40s}")
    lines.append(f"match: {draw(st.sampled_from(['first', 'all']))}")
    if states:
        lines.append("state:")
        lines += [f"  {name}: {STATES[name]}" for name in states]
    lines.append("rules:")
    for number in range(draw(st.integers(1, 5))):
        when = draw(st.sampled_from(usable))
        lines.append(f"  - id: r{number}")
        lines.append(f"    when: '{when}'")
        lines.append(f"    mode: {draw(st.sampled_from(['live', 'live', 'live', 'shadow']))}")
        lines.append(f"    priority: {draw(st.integers(0, 2))}")
        if draw(st.booleans()):
            lines.append("    once_within: 45s")
        if draw(st.booleans()):
            shown = draw(st.sampled_from(["${data.amount}", "${data.note} of ${loop.seq}", "${1 / data.n}"]))
            lines.append(
                f"    then: [{{do: stub.call, with: {{v: '{shown}'}}, target: 'card:${{data.card}}'}}]"
            )
    lines.append("otherwise: none")
    if mask and draw(st.integers(0, 4)) == 0 and "data.ok" not in "".join(STATES[name] for name in states):
        lines.append("mask: [data.ok]")
    return "\n".join(lines) + "\n"


@st.composite
def bundles(draw: st.DrawFn) -> LoadedBundle:
    return bundle(
        *draw(st.lists(loops(), min_size=1, max_size=2)), flo=FLO, functions=FUNCTIONS, full_1=SCHEMA
    )


DATA = st.fixed_dictionaries(
    {
        "card": st.sampled_from(["x", "y", "z"]),
        "amount": st.sampled_from([0.0, 1.5, 20.25, 33.3, 60.0, 95.0]),
        "n": st.integers(0, 4),
        "ok": st.booleans(),
        "note": st.sampled_from(["a", "b", "c"]),
    }
)


@st.composite
def signals(draw: st.DrawFn, now: float) -> bytes:
    """In order mostly; sometimes late, repeated, incomplete, or somebody's child."""
    data: dict[str, Any] = dict(draw(DATA))
    if draw(st.integers(0, 7)) == 0:
        del data[draw(st.sampled_from(sorted(data)))]
    extensions: dict[str, Any] = {}
    if draw(st.integers(0, 4)) == 0:
        extensions = {
            "floroot": "r",
            "floborn": at(now - draw(st.sampled_from([1, 700]))),
            "flohops": draw(st.integers(0, 5)),
        }
        if draw(st.booleans()):
            extensions["flodeadline"] = at(now + 30)
    when = now - draw(st.sampled_from([0, 0, 0, 1, 25, 50, 90]))
    return event(data, at=when, **extensions)


@st.composite
def needs(draw: st.DrawFn, count: int) -> dict[int, dict[str, dict[str, Any]]]:
    found: dict[int, dict[str, dict[str, Any]]] = {}
    for row in range(count):
        if draw(st.booleans()):
            answer = draw(
                st.sampled_from(
                    [{"score": 5, "missing": False}, {"score": 1, "missing": False}, {"missing": True}]
                )
            )
            found[row] = {"l0": {"p": answer}, "l1": {"p": answer}}
    return found


@st.composite
def batches(draw: st.DrawFn, rig: Rig) -> None:
    """Send some signals to a rig, a little later than the last ones."""
    rig.now += draw(st.sampled_from([0.5, 5, 31]))
    raws = draw(st.lists(signals(rig.now), min_size=1, max_size=4))
    rig.send(*raws, needs=draw(needs(len(raws))))
