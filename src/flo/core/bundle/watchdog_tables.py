"""What can be written under `watchdogs` in `flo.yaml`: each watchdog's thresholds, by the type of what it finds."""

from __future__ import annotations

from collections.abc import Mapping

from flo.core.bundle.settings import Setting

_EXCEPT = Setting("texts", default=[], help="Loops, pipelines, dependencies ... that it leaves alone")

WATCHDOG_TABLES: Mapping[str, Mapping[str, Setting]] = {
    "flo.iteration.killed": {
        "clear": Setting(
            "duration", default="15m", minimum="1s", help="Over, when no context died for this long"
        ),
        "except": _EXCEPT,
    },
    "flo.command.silent": {
        "clear": Setting(
            "duration", default="1h", minimum="1s", help="Over, when no command was silent for this long"
        ),
        "except": _EXCEPT,
    },
    "flo.loop.quiet": {
        "silence": Setting("duration", default="1m", minimum="1s", help="A shorter silence is never one"),
        "learn": Setting(
            "duration", default="8d", minimum="1s", help="A loop is watched this long before it is judged"
        ),
        "except": _EXCEPT,
    },
    "flo.loop.flapping": {
        "commands": Setting(
            "int", default=8, minimum=2, unit="turns", help="Commands on one target that undo each other"
        ),
        "results": Setting(
            "int", default=40, minimum=8, unit="turns", help="Results of one key, there and back in a row"
        ),
        "within": Setting(
            "duration", default="30m", minimum="1s", help="The turns must come as close as that"
        ),
        "except": _EXCEPT,
    },
    "flo.logic.skewed": {
        "clear": Setting(
            "duration", default="15m", minimum="1s", help="Over, when no decision was skewed for this long"
        ),
        "except": _EXCEPT,
    },
    "flo.state.stale_read": {
        "clear": Setting(
            "duration", default="15m", minimum="1s", help="Over, when nothing stale was read for this long"
        ),
        "shared": Setting(
            "duration", default="5s", minimum="1s", help="Other workers' part of shared state may be so old"
        ),
        "except": _EXCEPT,
    },
    "flo.state.storm": {
        "share": Setting("probability", default=0.5, help="One key has this share of a loop's decisions"),
        "rate": Setting("rate", default="50/s", help="Below it a hot key harms nobody"),
        "except": _EXCEPT,
    },
    "flo.dependency.slow": {
        "near": Setting(
            "probability", default=0.8, help="p99 of its requests reaches this share of its `idle_timeout`"
        ),
        "late": Setting(
            "probability", default=0.1, help="This share of the last minute's fetches missed the deadline"
        ),
        "except": _EXCEPT,
    },
    "flo.overhead.high": {
        "ratio": Setting(
            "number", default=1.0, minimum=0.01, help="Time waited for each time worked, as engines report it"
        ),
        "commands": Setting(
            "int", default=20, minimum=1, unit="commands", help="Fewer within the hour are not judged"
        ),
        "except": _EXCEPT,
    },
    "flo.cycle.slowing": {
        "grows": Setting(
            "probability", default=0.05, help="Growth below this share of the baseline is not found"
        ),
        "learn": Setting("duration", default="7d", minimum="1s", help="How long a baseline is learned"),
        "except": _EXCEPT,
    },
    "flo.edge.phantom": {
        "after": Setting(
            "duration",
            default="1d",
            minimum="1s",
            help="A declared edge is never seen, where the loop's other edges of its kind were for this long",
        ),
        "sightings": Setting(
            "int", default=100, minimum=1, maximum=1_000_000, help="... and this often, all together"
        ),
        "except": _EXCEPT,
    },
    "flo.edge.serialised": {
        "traces": Setting(
            "int", default=10, minimum=3, maximum=32, help="Traces or parent runs it takes to say so"
        ),
        "lost": Setting(
            "duration", default="5ms", minimum="1ms", help="What a trace must lose by it, at least"
        ),
        "except": _EXCEPT,
    },
    "flo.data.recomputed": {
        "within": Setting(
            "duration", default="1d", minimum="1s", help="Over, when nothing was for this long"
        ),
        "except": _EXCEPT,
    },
}
"""Each watchdog's thresholds, by the type of what it finds. The defaults are meant to need no change."""

WATCHDOG_KEYS: Mapping[str, Setting] = {
    type: Setting("section", table=type, help=about)
    for type, about in {
        "flo.iteration.killed": "Zombies: contexts that died of their TTL or hops",
        "flo.command.silent": "Success reported, nothing written",
        "flo.loop.quiet": "A loop that fell silent against its own rhythm of days and weeks",
        "flo.loop.flapping": "A loop that oscillates",
        "flo.logic.skewed": "Logic older than the data it meets by more than the loop's `fresh.logic`",
        "flo.state.stale_read": "A read that returned an earlier value: of a dependency with `version`, of shared state",
        "flo.state.storm": "A hot key: one of many takes an outsized share of a loop's traffic",
        "flo.dependency.slow": "p99 of a dependency nears its idle timeout, or it misses its deadline too often",
        "flo.overhead.high": "A pipeline that spends more on orchestration than on work",
        "flo.cycle.slowing": "A loop's cycle time drifts up against its own baseline",
        "flo.edge.phantom": "Edges observed and not declared, and declared ones never seen",
        "flo.edge.serialised": "Parallel branches that run one after another",
        "flo.data.recomputed": "A dataset version computed again by others from the same inputs",
    }.items()
}
